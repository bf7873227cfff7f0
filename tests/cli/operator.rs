//! An operator's work on a whole host: stop it, read its log, back it up and restore it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::{command, run};
use crate::harness::host::Host;
use crate::harness::{SOON, eventually};

#[test]
fn stop_ends_a_host_and_its_rooms() {
    let mut host = Host::builder().start();
    host.register_main("tty:main", "main");
    host.ask("tty:main", "hello");
    assert_eq!(host.containers().len(), 1);
    let home = host.root().display().to_string();
    let stopped = run(&host, &["stop"]).expect(0);
    assert_eq!(stopped.out, format!("The host for {home} has stopped.\n"));
    assert!(host.containers().is_empty());
    assert!(host.wait_ended().success());
    assert_eq!(run(&host, &["stop"]).expect(0).out, format!("No host is running for {home}.\n"));

    // With `--now` a room that does not finish is ended at once.
    let mut host = Host::builder().env("PARLOR_SHUTDOWN_GRACE", 600_000).start();
    host.register_main("tty:main", "main");
    let mut events = host.events();
    host.send("tty:main", "!sleep 600000");
    events.wait("started turn", SOON, |e| e.is_turn("tty:main", "started", 1));
    run(&host, &["stop", "--now"]).expect(0);
    assert!(host.containers().is_empty());
    assert!(host.wait_ended().success());
}

#[test]
fn log_is_kept_and_followed_however_the_host_was_started() {
    let mut host = Host::builder().env("TZ", "Europe/Berlin").prepare();
    assert!(run(&host, &["logs"]).expect(1).err.contains("no host has logged"));
    // The log of a host inside another command is not on the terminal.
    let inside = run(&host, &["chat", "-m", "hello"]).expect(0);
    assert_eq!(inside.err, "");
    let log = run(&host, &["logs"]).expect(0).out;
    assert!(log.contains("Parlor has shut down") && log.contains(&format!("home {}", host.root().display())), "{log}");

    host.start();
    let first = run(&host, &["logs", "-n", "200"]).expect(0).out;
    let line = first.lines().rfind(|line| line.contains("engine: ")).unwrap();
    assert!(line.split_whitespace().next().unwrap().contains('+'), "local, with the offset: {line}");
    let mut follows = command(&host, &["logs", "-f", "-n", "1000"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follows.stdout.take().unwrap()).lines();
    assert!(host.terminate().success());
    // The end of the host inside, and the end of this one: either may be the first that the reader sees.
    let mut ends = lines.by_ref().filter(|line| line.as_ref().unwrap().contains("Parlor has shut down"));
    assert!(ends.nth(1).is_some());
    follows.kill().unwrap();
    follows.wait().unwrap();
    assert!(run(&host, &["logs", "nosuch"]).expect(1).err.contains("there is no group nosuch"));
    assert_eq!(run(&host, &["logs", "main", "-n", "1"]).expect(0).out.lines().count(), 1);
}

#[test]
fn backup_of_a_running_host_works_in_another_home() {
    let host = Host::builder().start();
    host.register_main("tty:main", "main");
    host.ask("tty:main", "!sh echo remembered > note.txt");
    run(&host, &["tasks", "add", "main", "!say tick", "--every", "1h", "--id", "t1"]).expect(0);
    let dir = tempfile::tempdir_in(crate::harness::host::scratch()).unwrap();
    let file = dir.path().join("b.tar.gz");
    let file = file.to_str().unwrap();
    let made = run(&host, &["backup", file]).expect(0);
    assert!(made.out.contains("read back and in order"), "{}", made.out);
    run(&host, &["backup", file]).expect(1);
    let inside = host.root().join("b.tar.gz");
    let refused = run(&host, &["backup", inside.to_str().unwrap()]).expect(2);
    assert!(refused.err.contains("could read it"), "{}", refused.err);

    let refused = run(&host, &["restore", file, "--replace"]).expect(1);
    assert!(refused.err.contains("a host is running") && refused.err.contains("parlor stop"), "{}", refused.err);
    let other = Host::builder().prepare();
    let restored = run(&other, &["restore", file]).expect(0);
    assert!(restored.out.contains("The keys are not in the backup"), "{}", restored.out);
    let mut other = other;
    other.start();
    assert_ne!(other.instance(), host.instance(), "neither takes the other's containers for its own");
    assert_eq!(other.ask("tty:main", "!sh cat note.txt"), ["remembered"]);
    assert_eq!(run(&other, &["tasks", "list", "--json"]).expect(0).json()[0]["id"], "t1");
    // The restored home does not touch the other host's rooms.
    assert_eq!(host.ask("tty:main", "still here"), ["echo: still here"]);
    eventually("rooms of both", SOON, || (host.containers().len() == 1 && other.containers().len() == 1).then_some(()));
}

#[test]
fn completions_and_man_pages_need_no_installation() {
    let host = Host::builder().prepare();
    let recipe = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Makefile")).unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&host, &["completions", shell]).expect(0).out;
        assert!(script.contains("parlor") && script.contains("conformance"), "{shell}");
        assert!(recipe.contains(&format!("parlor completions {shell} > ")), "`make install` knows no {shell}");
    }
    assert!(run(&host, &["man"]).expect(0).out.contains(".TH"));
    assert!(!host.root().join("data").exists());
    let meant = run(&host, &["version"]).expect(2);
    assert!(meant.err.contains("--version") && !meant.err.contains("sessions"), "{}", meant.err);
}

const STEPS: &str = "#!/bin/sh\ncat > /dev/null\necho step one >&2\nwhile [ ! -e go ]; do sleep 0.05; done\n\
                     echo step two >&2\necho answered\n";

#[test]
fn log_of_a_live_run_is_shown_and_followed_to_its_end() {
    use std::os::unix::fs::PermissionsExt;
    let host =
        Host::builder().env("CONTAINER_IMAGE", "").env("PARLOR_PROVIDER", "exec").env("IDLE_TIMEOUT", 500).start();
    host.register("web:a", "room");
    let folder = host.root().join("groups/room");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("agent"), STEPS).unwrap();
    std::fs::set_permissions(folder.join("agent"), std::fs::Permissions::from_mode(0o755)).unwrap();
    host.send("web:a", "hello");
    let id = eventually("a live run", SOON, || {
        let runs = run(&host, &["runs", "list", "--json"]).expect(0).json();
        runs[0]["id"].as_str().map(str::to_owned)
    });
    eventually("what it logged so far", SOON, || {
        let shown = run(&host, &["runs", "log", &id]);
        (shown.code == 0 && shown.out.contains("step one")).then(|| assert!(shown.err.contains("-f follows it")))
    });
    let mut follows = command(&host, &["runs", "log", "-f", &id[..20]]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follows.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("step one")));
    std::fs::write(folder.join("go"), "").unwrap();
    let rest: Vec<String> = lines.collect();
    assert!(follows.wait().unwrap().success());
    let at =
        |text: &str| rest.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {rest:?}"));
    assert!(at("step two") < at("exit: "), "what it logs comes before the log of its end");
    let kept = std::fs::read_dir(host.root().join("data/runs/room")).unwrap();
    assert!(kept.map(|entry| entry.unwrap().path()).all(|path| path.extension().is_some_and(|e| e == "log")));
}
