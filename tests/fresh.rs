//! The first minutes on a machine: the choice of the home, the image, the doctor, the first conversation in a terminal.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::engine;
use crate::harness::host::{Host, scratch};
use crate::harness::terminal::Terminal;

/// A command with Parlor's own image, as on a fresh machine.
fn parlor(host: &Host, words: &[&str]) -> Command {
    let mut command = host.command();
    command.args(words);
    command
}

#[track_caller]
fn done(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Returns the doctor's findings by check.
fn findings(command: &mut Command) -> BTreeMap<String, Value> {
    let output = command.output().unwrap();
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    found.into_iter().map(|finding| (finding["check"].as_str().unwrap().to_owned(), finding)).collect()
}

#[test]
fn image_build_in_a_new_home_satisfies_the_doctor() {
    let host = Host::builder().prepare();
    // The home does not exist yet, and its parents are accessible to others.
    fs::remove_dir(host.root()).unwrap();
    fs::set_permissions(host.root().parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    done(&parlor(&host, &["image", "build"]).output().unwrap());
    assert_eq!(fs::metadata(host.root().join("data")).unwrap().permissions().mode() & 0o777, 0o700);
    let found = findings(&mut parlor(&host, &["doctor", "--json"]));
    for check in ["folders", "image", "rooms"] {
        assert_eq!(found[check]["state"], "ok", "{:?}", found[check]);
    }
    assert!(found["senders"]["todo"].as_str().unwrap().contains(r#""chats": {"web:family""#), "{found:?}");
    assert!(found["mounts"]["todo"].as_str().unwrap().contains(r#""allowedRoots""#), "{found:?}");
    // The doctor leaves no files.
    let left: Vec<_> = fs::read_dir(host.root().join("data")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("look-")), "{left:?}");
}

#[test]
fn doctor_reports_an_engine_that_does_not_see_the_home() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: only root can hide a folder from an engine");
        return;
    }
    let host = Host::builder().prepare();
    done(&parlor(&host, &["image", "build"]).output().unwrap());
    // The home is on a disk that only this process and its children see, as in a container or a snap.
    let doctor = parlor(&host, &["doctor", "--json"]);
    let mut hidden = Command::new("unshare");
    let script = "cp -a \"$1\" \"$2\"; mount -t tmpfs tmpfs \"$1\"; cp -a \"$2/.\" \"$1\"; shift 2; exec \"$@\"";
    hidden.args(["--mount", "sh", "-euc", script, "-"]).arg(host.root()).arg(host.root().with_extension("copy"));
    hidden.arg(doctor.get_program()).args(doctor.get_args()).env_clear();
    hidden.envs(doctor.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let rooms = findings(&mut hidden)["rooms"].clone();
    // Podman has no daemon: it sees what its caller sees.
    if engine::name() == "docker" {
        assert_eq!(rooms["state"], "failed", "{rooms:?}");
        let todo = rooms["todo"].as_str().unwrap();
        assert!(todo.contains("use an engine of this machine that sees"), "{rooms:?}");
    } else {
        assert_eq!(rooms["state"], "ok", "{rooms:?}");
    }
}

#[test]
fn room_user_has_a_name_and_utf8() {
    // Under sudo, agents run as the calling user.
    let host = Host::builder().env("CONTAINER_IMAGE", "").env("SUDO_UID", 4242).env("SUDO_GID", 4243).start();
    host.register_with("web:who", "who", &json!({ "provider": "exec" }));
    let agent = host.root().join("groups/who/agent");
    fs::create_dir_all(agent.parent().unwrap()).unwrap();
    fs::write(&agent, "#!/bin/sh\necho \"$(whoami) $(id -gn) $LANG\"\n").unwrap();
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
    let said = host.ask("web:who", "hello").join("\n");
    if rustix::process::geteuid().is_root() && engine::name() == "docker" {
        assert_eq!(said, "agent agent C.UTF-8");
    } else {
        let words: Vec<&str> = said.split(' ').collect();
        assert!(words.len() == 3 && words[2] == "C.UTF-8" && !said.contains("unknown"), "{said}");
    }
}

/// Makes a folder like Parlor's own sources after a build.
fn checkout(folder: &Path) {
    for name in ["container/agent-runner", "groups/main", "data", "target/release"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    fs::write(folder.join("Cargo.toml"), "").unwrap();
    fs::write(folder.join("target/release/.env"), "KEY=secret\n").unwrap();
}

/// Returns the program in a folder, as a person with this home starts it, without a setting for the installation's
/// home.
fn in_folder(folder: &Path, user_home: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.arg(format!("--chdir={}", folder.display())).arg(env!("CARGO_BIN_EXE_parlor")).args(words).env_clear();
    command
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", user_home)
        .env("CONTAINER_RUNTIME", engine::name())
        .env("PARLOR_PROVIDER", "guide")
        .env("TZ", "UTC");
    command
}

#[test]
fn first_chat_from_a_checkout_prints_only_the_conversation() {
    let dir = tempfile::Builder::new().prefix("pf-").tempdir_in(scratch()).unwrap();
    let (folder, user) = (dir.path().join("checkout"), dir.path().join("user"));
    checkout(&folder);
    fs::create_dir(&user).unwrap();
    let mut chat = Terminal::open(&in_folder(&folder, &user, &["chat"]));
    chat.wait("main · tty:main");
    chat.wait("› ");
    chat.press("hello\r");
    chat.wait("I am Andy");
    chat.wait("› ");
    chat.press("/quit\r");
    let (status, shown) = chat.ended();
    assert!(status.success(), "{shown}");
    for word in ["WARN", "INFO", "ERROR", "target", "checkout"] {
        assert!(!shown.contains(word), "{word}: {shown}");
    }
    let home = user.join(".local/share/parlor");
    assert!(home.join("data/parlor.db").exists() && !folder.join("data/parlor.db").exists());

    // Any other folder with groups/ is an installation, and the output names it.
    fs::remove_file(folder.join("Cargo.toml")).unwrap();
    let output = in_folder(&folder, &user, &["groups", "add", "web:a", "a"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let here = folder.canonicalize().unwrap();
    assert!(told.contains(&format!("{}, the current folder, because it has a groups/", here.display())), "{told}");
    assert!(told.contains(&format!("the home is {}", home.display())), "{told}");
}
