//! An engine that fails, hangs, or loses containers: a program between the host and the real engine injects the faults.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::host::Host;
use crate::harness::rows::{runs, tries};
use crate::harness::{SOON, engine, eventually, process};

/// The real engine behind a switch for faults.
struct Faulty {
    dir: tempfile::TempDir,
}

impl Faulty {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let faulty = Self { dir };
        let (engine, here) = (engine::name(), faulty.dir.path().display().to_string());
        let script = format!(
            "#!/bin/sh\n\
             echo \"$1 $2\" >> {here}/calls\n\
             if [ -e {here}/fail-$1 ]; then echo 'the engine has a bad day' >&2; exit 125; fi\n\
             if [ -e {here}/lost-$1 ] && [ \"$2\" = inspect ]; then echo 'no such image' >&2; exit 1; fi\n\
             if [ -e {here}/hang-$1 ]; then echo $$ > {here}/pid-$1; exec sleep 300; fi\n\
             exec {engine} \"$@\"\n"
        );
        std::fs::write(faulty.program(), script).unwrap();
        std::fs::set_permissions(faulty.program(), std::fs::Permissions::from_mode(0o755)).unwrap();
        faulty
    }

    /// Returns the calls so far, by their first two words.
    fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.dir.path().join("calls")).unwrap();
        calls.lines().map(str::to_owned).collect()
    }

    fn program(&self) -> PathBuf {
        self.dir.path().join("engine")
    }

    fn set(&self, fault: &str) {
        std::fs::write(self.dir.path().join(fault), "").unwrap();
    }

    fn clear(&self, fault: &str) {
        std::fs::remove_file(self.dir.path().join(fault)).unwrap();
    }

    fn host(&self) -> crate::harness::host::Builder {
        Host::builder().env("CONTAINER_RUNTIME", path(&self.program()))
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn failing_engine_costs_no_tries_and_messages_wait() {
    let engine = Faulty::new();
    let host = engine.host().start();
    for name in ["a", "b"] {
        host.register(&format!("web:{name}"), name);
    }
    let task = crate::slots::task(&host, "b", "!ledger once", "isolated");
    engine.set("fail-run");
    let mut events = host.events();
    let seq = host.send("web:a", "hello");
    crate::slots::run_now(&host, &task);
    for name in ["a", "b"] {
        let jid = format!("web:{name}");
        let told = events.message(&jid, SOON, |text| text.contains("the engine has a bad day"));
        assert!(told.text().ends_with("Nothing is lost; I go on trying."), "{}", told.text());
        eventually("the run is over", SOON, || {
            runs(&host, name).iter().find(|run| run["state"] == "engine_failed").map(drop)
        });
    }
    assert_eq!(tries(&host, seq), 0);
    engine.clear("fail-run");
    events.turn_done("web:a", seq, SOON);
    events.message("web:b", SOON, |text| text == "ledger: once");
    assert_eq!(events.texts("web:a").len(), 2, "{:?}", events.texts("web:a"));
    assert_eq!(std::fs::read_to_string(host.root().join("groups/b/ledger.txt")).unwrap(), "once\n");
}

#[test]
fn dying_client_leaves_no_container_and_no_message_open() {
    let host = Host::builder().start();
    host.register("web:a", "room");
    let mut events = host.events();
    let seq = host.send("web:a", "!once !hang");
    eventually("it hangs", SOON, || host.root().join("groups/room/.once").exists().then_some(()));
    let container = host.containers().pop().unwrap();
    let client = process::children(host.pid()).into_iter().find(|pid| {
        process::command_line(*pid).is_some_and(|line| line.contains(&"run".to_owned()) && line.contains(&container))
    });
    kill_process(Pid::from_raw(client.unwrap() as i32).unwrap(), Signal::KILL).unwrap();
    eventually("the container is gone", SOON, || (!host.containers().contains(&container)).then_some(()));
    events.turn_done("web:a", seq, SOON);
    assert_eq!(tries(&host, seq), 0);
    assert!(events.texts("web:a").contains(&"once: over".to_owned()));
}

#[test]
fn hanging_engine_blocks_neither_the_host_nor_the_chat() {
    let engine = Faulty::new();
    let host = engine.host().env("IDLE_TIMEOUT", "1").env("CONTAINER_TIMEOUT", "1000").start();
    for name in ["a", "b", "c"] {
        host.register(&format!("web:{name}"), name);
    }
    let mut events = host.events();
    // One room is open when the engine begins to hang.
    host.send("web:b", "!say open\n!hang");
    events.message("web:b", SOON, |text| text == "open");
    for fault in ["hang-run", "hang-rm", "hang-stop", "hang-kill"] {
        engine.set(fault);
    }
    let began = Instant::now();
    let seq = host.send("web:a", "hello");
    events.wait("started turn", SOON, |e| e.is_turn("web:a", "started", seq));
    let stop = host.send("web:b", "/stop");
    events.message("web:b", SOON, |text| text == "Stopped.");
    events.turn_done("web:b", stop, SOON);
    let asked = Instant::now();
    host.api.get("/v1/status").expect(200);
    host.api.get("/v1/runs").expect(200);
    // The engine hangs for the whole test.
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    // No output within the hard timeout; then the run is given up, although nothing can be stopped.
    let failed = eventually("the run is over", Duration::from_secs(80), || {
        runs(&host, "a").into_iter().find(|run| run["state"] == "timed_out")
    });
    assert_eq!(failed["error"], "Container timed out after 1000 ms");
    assert!(began.elapsed() < Duration::from_secs(75), "{:?}", began.elapsed());
    for fault in ["hang-run", "hang-rm", "hang-stop", "hang-kill"] {
        engine.clear(fault);
    }
    events.turn_done("web:a", seq, SOON);
    assert_eq!(host.ask("web:b", "again"), ["echo: again"]);
    // The container that could not be ended then is ended now.
    eventually("the stopped one is gone", SOON, || (host.containers().len() <= 2).then_some(()));
    host.wait_no_containers();
}

#[test]
fn room_that_could_not_open_looks_for_its_image_again() {
    let engine = Faulty::new();
    let host = engine.host().env("CONTAINER_IMAGE", "").start();
    host.register("web:a", "room");
    let mut events = host.events();
    let seq = host.send("web:a", "help");
    events.turn_done("web:a", seq, SOON);
    host.ask("web:a", "/new");
    host.wait_no_containers();
    // As if the image had been removed meanwhile.
    engine.set("fail-run");
    let seq = host.send("web:a", "help");
    events.message("web:a", SOON, |text| text.contains("the engine has a bad day"));
    engine.clear("fail-run");
    events.turn_done("web:a", seq, SOON);
    let calls: Vec<String> =
        engine.calls().into_iter().filter(|call| call.starts_with("run ") || call == "image inspect").collect();
    let end = &calls[calls.len() - 3..];
    assert!(end[0].starts_with("run ") && end[1] == "image inspect" && end[2].starts_with("run "), "{calls:?}");
}

#[test]
fn room_that_waits_for_its_image_can_be_stopped() {
    let engine = Faulty::new();
    // As on a machine without the image, with an engine that imports slowly.
    engine.set("lost-image");
    engine.set("hang-import");
    let host = engine.host().env("CONTAINER_IMAGE", "").start();
    host.register("web:a", "room");
    let mut events = host.events();
    let seq = host.send("web:a", "help");
    let opening = |host: &Host| {
        let status = host.api.get("/v1/status").expect(200).json();
        (status["groups"][0]["runs"][0]["doing"] == "opening").then_some(())
    };
    eventually("its room is being opened", SOON, || opening(&host));
    let pid: u32 = eventually("the engine takes the image in", SOON, || {
        std::fs::read_to_string(engine.dir.path().join("pid-import")).ok()?.trim().parse().ok()
    });
    host.send("web:a", "/stop");
    events.wait("cancelled turn", SOON, |e| e.is_turn("web:a", "cancelled", seq));
    events.message("web:a", SOON, |text| text == "Stopped.");
    eventually("the run is over", SOON, || (runs(&host, "room")[0]["state"] == "stopped").then_some(()));
    // The host itself builds the image in advance, and ends that work when it ends; no room ever opened.
    let mut host = host;
    let seq = host.send("web:a", "help");
    eventually("it waits again", SOON, || opening(&host));
    let asked = Instant::now();
    assert!(host.terminate().success(), "{}", host.log());
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    eventually("the engine's work has ended", SOON, || {
        process::command_line(pid).is_none_or(|line| line.is_empty()).then_some(())
    });
    assert!(!engine.calls().iter().any(|call| call.starts_with("run ")), "{:?}", engine.calls());
    let left: Vec<_> =
        std::fs::read_dir(host.root().join("data")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".tar")), "{left:?}");
    engine.clear("lost-image");
    engine.clear("hang-import");
    host.start();
    eventually("the message is answered", SOON, || {
        let state = "SELECT state = 'done' FROM inbound WHERE seq = ?1";
        crate::harness::rows::database(&host)
            .query_row(state, [seq], |row| row.get::<_, bool>(0))
            .unwrap()
            .then_some(())
    });
}
