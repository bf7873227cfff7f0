//! `parlor conformance` on real containers: agents of both levels, and agents with one fault each.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Ran, command, run};
use crate::harness::host::Host;
use crate::harness::{SOON, engine, eventually, image};

/// Label of a check's containers, with the group's name.
const CONTAINERS: &str = "parlor.kind=conformance";

fn host() -> Host {
    Host::builder().prepare()
}

#[track_caller]
fn check(host: &Host, args: &[&str], code: i32) -> Value {
    let mut all = vec!["conformance", "--json"];
    all.extend(args);
    run(host, &all).expect(code).json()
}

#[track_caller]
fn verdict<'a>(report: &'a Value, name: &str) -> &'a str {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["check"] == name).unwrap();
    check["verdict"].as_str().unwrap()
}

/// Returns a level's findings other than passed and skipped ones.
fn faults(report: &Value, level: &str) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap().iter().filter(|check| check["level"] == level);
    let bad = checks.filter(|check| !["ok", "not seen"].contains(&check["verdict"].as_str().unwrap()));
    bad.map(|check| format!("{}: {}", check["check"].as_str().unwrap(), check["verdict"].as_str().unwrap())).collect()
}

/// Changes the shell agent in one place.
fn spoiled(name: &str, from: &str, to: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1-agent.sh");
    let script = std::fs::read_to_string(path).unwrap();
    assert!(script.contains(from), "{from}");
    image::script(name, &script.replacen(from, to, 1))
}

#[test]
fn test_agent_passes_all_checks() {
    let host = host();
    let long = "!heartbeat 3 100";
    let ipc = "!sh cat /workspace/ipc/current_tasks.json\n!message {\"type\": \"message\", \"chatJid\": \"web:conformance\", \
               \"text\": \"hi\"}\n!sh echo x > /home/node/.claude/x";
    let report = check(&host, &["--ipc", ipc, "--long", long, image::test_agent()], 0);
    for name in [
        "user",
        "stdin",
        "markers",
        "json",
        "answer",
        "follow-up",
        "last input",
        "_close",
        "session",
        "signal",
        "folders",
        "requests",
        "snapshots",
        "turn",
        "consumed",
        "heartbeat",
        "results",
    ] {
        assert_eq!(verdict(&report, name), "ok", "{name}: {report:#}");
    }
    assert_eq!((&report["v1"], &report["parlor"]), (&Value::Bool(true), &Value::Bool(true)));
    assert!(report.to_string().contains("/home/node/.claude"), "{report:#}");
}

#[test]
fn small_image_passes_all_checks() {
    let host = host();
    let status = run(&host, &["image", "build"]).expect(0);
    let name = status.out.split_whitespace().next().unwrap();
    let report = check(&host, &["--provider", "guide", name], 0);
    assert_eq!((faults(&report, "v1"), faults(&report, "parlor")), (vec![], vec![]), "{report:#}");
    assert_eq!((verdict(&report, "turn"), verdict(&report, "requests")), ("ok", "not seen"));
}

#[test]
fn v1_agent_passes_the_checks_of_level_v1() {
    let host = host();
    let text = run(&host, &["conformance", image::shell_agent()]).expect(0).out;
    assert!(text.contains("The image speaks the protocol; some of Parlor's additions are missing."), "{text}");
    let report = check(&host, &[image::shell_agent()], 0);
    assert_eq!(faults(&report, "v1"), Vec::<String>::new(), "{report:#}");
    assert_eq!(faults(&report, "parlor"), ["turn: missing", "consumed: missing"]);
    assert_eq!((verdict(&report, "session"), verdict(&report, "signal")), ("ok", "ok"), "{report:#}");
    assert_eq!((&report["v1"], &report["parlor"]), (&Value::Bool(true), &Value::Bool(false)));
}

#[test]
fn agent_that_does_not_read_all_its_input_is_reported() {
    let image = spoiled("conf-stdin", "json=$(cat)", "json=$(head -c 4)");
    let report = check(&host(), &["--timeout", "15", &image], 1);
    assert_eq!(verdict(&report, "stdin"), "wrong", "{report:#}");
}

#[test]
fn markers_that_share_a_line_are_reported() {
    let image = spoiled(
        "conf-markers",
        "printf '%s\\n' '---NANOCLAW_OUTPUT_START---'",
        "printf '%s' '---NANOCLAW_OUTPUT_START---'",
    );
    let report = check(&host(), &["--timeout", "10", &image], 1);
    assert_eq!(verdict(&report, "markers"), "wrong", "{report:#}");
    assert_eq!(verdict(&report, "stdin"), "not seen", "{report:#}");
}

#[test]
fn outputs_that_violate_the_protocol_are_reported() {
    let report =
        check(&host(), &["--timeout", "10", &spoiled("conf-json", "\"status\":\"success\"", "\"status\":1")], 1);
    assert_eq!(faults(&report, "v1"), ["json: wrong", "answer: missing"], "{report:#}");
    // An agent that exits has its one answer read without markers, too; a live room needs them.
    let bare =
        image::script("conf-bare", "#!/bin/sh\ncat > /dev/null\necho '{\"status\":\"success\",\"result\":\"hi\"}'\n");
    let report = check(&host(), &["--timeout", "10", &bare], 1);
    assert_eq!((verdict(&report, "markers"), verdict(&report, "follow-up")), ("wrong", "missing"), "{report:#}");
    assert_eq!((verdict(&report, "stdin"), verdict(&report, "user")), ("ok", "ok"), "{report:#}");
    for name in ["last input", "_close", "signal", "folders"] {
        assert_eq!(verdict(&report, name), "not seen", "{name}: {report:#}");
    }
}

#[test]
fn agent_that_ignores_close_has_only_this_fault_reported() {
    let image = spoiled("conf-close", "[ -e \"$input/_close\" ] && closing=yes", ":");
    let report = check(&host(), &[&image], 1);
    assert_eq!(faults(&report, "v1"), ["_close: wrong"], "{report:#}");
}

#[test]
fn agent_that_loses_the_last_input_has_only_this_fault_reported() {
    let image = spoiled("conf-last", "[ -e \"$input/_close\" ] && closing=yes", "[ -e \"$input/_close\" ] && exit 0");
    let report = check(&host(), &[&image], 1);
    assert_eq!(faults(&report, "v1"), ["last input: wrong"], "{report:#}");
}

#[test]
fn agent_that_needs_a_known_user_is_reported() {
    let host = host();
    let image = spoiled("conf-user", "json=$(cat)", "json=$(cat)\nwhoami > /dev/null || exit 7");
    let report = check(&host, &[&image], 1);
    if !rustix::process::geteuid().is_root() {
        // Only root can choose the agent's user.
        return;
    }
    assert_eq!(verdict(&report, "user"), "wrong", "{report:#}");
    assert_eq!(faults(&report, "v1"), ["user: wrong", "answer: missing"], "{report:#}");
}

#[test]
fn agents_that_ignore_sigterm_or_fail_on_a_session_are_reported() {
    let report = check(&host(), &[&spoiled("conf-signal", "json=$(cat)", "trap '' TERM\njson=$(cat)")], 1);
    assert_eq!(faults(&report, "v1"), ["signal: wrong"], "{report:#}");
    let failing = "session=$(printf '%s' \"$json\" | value sessionId)\n[ -z \"$session\" ] || exit 3";
    let image = spoiled("conf-session", "session=$(printf '%s' \"$json\" | value sessionId)", failing);
    let report = check(&host(), &[&image], 1);
    assert_eq!(faults(&report, "v1"), ["session: wrong"], "{report:#}");
}

#[test]
fn interrupted_check_leaves_nothing() {
    let host = host();
    let temp = tempfile::tempdir_in(crate::harness::host::scratch()).unwrap();
    let silent = image::script("conf-silent", "#!/bin/sh\n# interrupted\nwhile :; do sleep 1; done\n");
    let mut command = command(&host, &["conformance", "--timeout", "600", &silent]);
    let child = command.env("TMPDIR", temp.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let folder = || std::fs::read_dir(temp.path()).unwrap().find_map(Result::ok);
    // The folder's name contains the installation's id, which is also the label.
    let mine = || -> Vec<String> {
        let Some(entry) = folder() else { return Vec::new() };
        let name = entry.file_name().to_string_lossy().to_uppercase();
        let id = name.rsplit('-').next().unwrap().to_owned();
        engine::Engine::default().containers(&format!("parlor.instance={id}"))
    };
    let names = eventually("a container", SOON, || Some(mine()).filter(|names| !names.is_empty()));
    assert!(names.iter().all(|name| engine::Engine::default().containers(CONTAINERS).contains(name)));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let stderr = child.stderr.take().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let said: Vec<String> = BufReader::new(stderr).lines().map_while(Result::ok).collect();
    assert!(said.join("\n").contains("interrupted: its containers were removed"), "{said:?}");
    let left = engine::lines(&["ps", "--all", "--format", "{{.Names}}"]);
    assert!(names.iter().all(|name| !left.contains(name)), "{left:?}");
    assert!(folder().is_none(), "its folder is gone");
}

#[test]
fn missing_image_is_reported() {
    let ran: Ran = run(&host(), &["conformance", "parlor-test-none:1"]).expect(1);
    assert!(ran.err.contains("has no image parlor-test-none:1: pull or build it first"), "{}", ran.err);
}
