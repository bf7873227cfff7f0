//! Runs that fail: exit codes, engines that are missing, unreachable or refuse, and the notices in the chat.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::harness::host::Host;
use crate::harness::{SOON, engine, eventually, image, rows};

/// Creates a client of the engine that calls the real one until a file contains another command.
fn client(dir: &Path) -> PathBuf {
    let path = dir.join("engine");
    let found = Command::new("sh").args(["-c", &format!("command -v {}", engine::name())]).output().unwrap();
    let real = String::from_utf8(found.stdout).unwrap();
    let script = format!(
        "#!/bin/sh\nif [ -e {dir}/fault ] && [ \"$1\" != --version ]; then . {dir}/fault; fi\nexec {real} \"$@\"\n",
        dir = dir.display(),
        real = real.trim(),
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn tries(host: &Host) -> i64 {
    let db = rusqlite::Connection::open(host.root().join("data/parlor.db")).unwrap();
    db.query_row("SELECT max(tries) FROM inbound", [], |row| row.get(0)).unwrap()
}

#[test]
fn exit_code_is_reported_with_stderr_and_the_batch_is_retried() {
    let host = Host::builder().start();
    host.register("web:x", "x");
    let stderr = format!("the beginning {}é the end", "0123456789".repeat(30));
    let said = host.ask("web:x", &format!("!once !crash 3 {stderr}\n!say back"));
    assert_eq!(said, ["once: over", "back"]);
    let runs = host.api.get("/v1/runs?folder=x").json()["runs"].clone();
    let failed = runs.as_array().unwrap().iter().find(|run| run["state"] == "failed").unwrap();
    let error = failed["error"].as_str().unwrap();
    let tail = error.strip_prefix("Container exited with code 3: ").unwrap();
    assert_eq!((tail.chars().count(), tail.ends_with("é the end"), &failed["exitCode"]), (200, true, &json!(3)));
    assert_eq!(tries(&host), 1);

    // Killed by a signal; exited successfully without an answer; exited after its reply.
    assert_eq!(host.ask("web:x", "!once !abort\n!say back"), ["once: over", "back"]);
    assert_eq!(host.ask("web:x", "!once !crash 0\n!say back"), ["once: over", "back"]);
    let mut events = host.events();
    let seq = host.send("web:x", "!open half an answer\n!crash 9 boom");
    let end = events.wait("the turn has ended", SOON, |e| e.is_turn("web:x", "failed", seq));
    assert_eq!(end.data["reason"], "Container exited with code 9: boom");
    let told = ["half an answer", "The answer ended early: Container exited with code 9: boom"];
    assert_eq!(events.texts("web:x"), told);
    // An agent that exits without reading a large input.
    host.register_with("web:hasty", "hasty", &json!({ "image": image::script("hasty-agent", HASTY) }));
    assert_eq!(host.ask("web:hasty", &"long ".repeat(50_000)), ["too long, did not read"]);
}

/// Answers without reading stdin.
const HASTY: &str = "#!/bin/sh
echo '---NANOCLAW_OUTPUT_START---'
echo '{\"status\":\"success\",\"result\":\"too long, did not read\"}'
echo '---NANOCLAW_OUTPUT_END---'
";

#[test]
fn engine_failure_uses_no_tries_and_is_reported_once() {
    let dir = tempfile::tempdir().unwrap();
    let fault = dir.path().join("fault");
    let host = Host::builder().env("CONTAINER_RUNTIME", client(dir.path()).display()).start();
    host.register("web:e", "e");
    let mut events = host.events();
    let set = |text: &str| {
        fs::write(dir.path().join("new"), text).unwrap();
        fs::rename(dir.path().join("new"), &fault).unwrap();
    };

    // The daemon cannot be reached.
    set("echo 'docker: Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?' >&2; exit 125");
    let seq = host.send("web:e", "!say after all");
    let notice = events.message("web:e", SOON, |_| true);
    let text = notice.text();
    assert!(text.contains("Cannot connect") && text.contains("Nothing is lost") && text.contains("start"), "{text}");
    let status = host.ask("web:e", "/status").join("\n");
    assert!(status.contains("tries again in") && status.contains("1 waiting"), "{status}");
    fs::remove_file(&fault).unwrap();
    // The turn of `/status` ends before the one that waits.
    events.message("web:e", SOON, |text| text == "after all");
    events.turn_done("web:e", seq, SOON);
    assert_eq!(tries(&host), 0);
    let run = host.api.get("/v1/runs?folder=e").json()["runs"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(run["state"], "engine_failed", "{run}");

    // The daemon refuses this container; then even the client is missing.
    host.ask("web:e", "/new");
    events.forget();
    set(
        "if [ \"$1\" = run ]; then echo 'docker: Error response from daemon: no space left on device.' >&2; exit 125; fi",
    );
    let seq = host.send("web:e", "!say second");
    events.message("web:e", SOON, |text| text.contains("no space left on device"));
    fs::rename(dir.path().join("engine"), dir.path().join("away")).unwrap();
    fs::remove_file(&fault).unwrap();
    let run = eventually("the missing client is noticed", SOON, || {
        let run = host.api.get("/v1/runs?folder=e").json()["runs"][0].clone();
        let error = run["error"].as_str()?;
        (error.contains("is not installed") && error.contains("apt install")).then_some(run)
    });
    // A run that never started has a log, too.
    let log = rows::log_of(&host, run["id"].as_str().unwrap());
    assert!(log.contains("exit: not started") && log.contains("== argv") && log.contains("--rm"), "{log}");
    fs::rename(dir.path().join("away"), dir.path().join("engine")).unwrap();
    events.turn_done("web:e", seq, 2 * SOON);
    let notices = events.texts("web:e").iter().filter(|text| text.contains("Nothing is lost")).count();
    assert_eq!(
        (notices, tries(&host)),
        (2, 0),
        "one notice for each time it stopped working: {:?}",
        events.texts("web:e")
    );
}

#[test]
fn host_without_an_engine_reports_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::builder().prepare();
    let up = |runtime: &str, env: (&str, &str)| -> String {
        let output = host.command().arg("up").env("CONTAINER_RUNTIME", runtime).env(env.0, env.1).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let missing = up("/nonexistent/docker", ("A", "b"));
    assert!(missing.contains("/nonexistent/docker") && missing.contains("set CONTAINER_RUNTIME"), "{missing}");
    if engine::name() == "docker" {
        let down = up("docker", ("DOCKER_HOST", "unix:///nonexistent/docker.sock"));
        assert!(down.contains("cannot be reached") && down.contains("start"), "{down}");
    }
    let neither = dir.path().join("neither");
    fs::write(&neither, "#!/bin/sh\necho something else 1.0\n").unwrap();
    fs::set_permissions(&neither, fs::Permissions::from_mode(0o755)).unwrap();
    let other = up(neither.to_str().unwrap(), ("A", "b"));
    assert!(other.contains("neither docker nor podman"), "{other}");
}

#[test]
fn permanent_failure_is_reported_once_with_the_remedy() {
    let host = Host::builder().start();
    // The shell runs the prompt as its script.
    host.register_with(
        "web:shell",
        "shell",
        &json!({ "image": image::script("no-agent", "#!/bin/sh\nexec /bin/sh\n") }),
    );
    let mut events = host.events();
    let seq = host.send("web:shell", "hello");
    let end = events.wait("the turn has ended", SOON, |e| e.is_turn("web:shell", "failed", seq));
    let reason = end.data["reason"].as_str().unwrap();
    assert!(
        reason.contains("has no agent that speaks Parlor's protocol") && reason.contains("`parlor conformance "),
        "{reason}"
    );
    assert!(!reason.contains("could not start the container"), "{reason}");
    assert_eq!(events.texts("web:shell").len(), 1, "{:?}", events.texts("web:shell"));
    let run = host.api.get("/v1/runs?folder=shell").json()["runs"][0].clone();
    assert_eq!((&run["state"], &run["exitCode"]), (&json!("failed"), &json!(127)));
}

#[test]
fn room_at_its_memory_limit_reports_the_setting() {
    let host = Host::builder().env("CONTAINER_IMAGE", "").env("PARLOR_PROVIDER", "exec").start();
    host.register_with("web:m", "m", &json!({ "memory": "32m" }));
    let can = host.api.get("/v1/status").expect(200).json()["engine"]["unsupported"].to_string();
    let program = host.root().join("groups/m/agent");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::write(&program, "#!/bin/sh\ndd if=/dev/zero of=/dev/null bs=200M count=1\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut events = host.events();
    let seq = host.send("web:m", "hello");
    if can.contains("memory") {
        // The limit is not enforced here: the program may use as much memory as it likes.
        events.turn_done("web:m", seq, SOON);
        return;
    }
    let end = events.wait("the turn has ended", SOON, |e| e.is_turn("web:m", "failed", seq));
    let reason = end.data["reason"].as_str().unwrap();
    assert!(reason.contains("memory limit") && reason.contains("`parlor groups update m --memory"), "{reason}");
    assert_eq!(events.texts("web:m").len(), 1, "{:?}", events.texts("web:m"));
    assert_eq!(tries(&host), 0);
    host.ask("web:m", "/new");
    let run = eventually("its run is over", SOON, || {
        let run = host.api.get("/v1/runs?folder=m").json()["runs"][0].clone();
        (!run["endedAt"].is_null()).then_some(run)
    });
    assert_eq!((&run["state"], run["error"].as_str()), (&json!("failed"), Some(reason)));
}
