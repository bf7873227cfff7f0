//! Settings as `parlor config show` and the log's format show them; no container is made.

use serde_json::Value;

use super::{Ran, command, run};
use crate::harness::host::Host;

#[test]
fn settings_are_shown_with_their_sources() {
    let host = Host::builder().dot_env("ASSISTANT_NAME=Mo$es\nPARLOR_TOKEN=0123456789abcdef\n").prepare();
    let shown = run(&host, &["config", "show", "--origin"]).expect(0);
    let line = |name: &str| shown.out.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(
        line("ASSISTANT_NAME").contains("Mo$es") && line("ASSISTANT_NAME").ends_with(".env line 1"),
        "{}",
        shown.out
    );
    assert!(line("PARLOR_TOKEN").contains("(hidden)"), "{}", shown.out);
    assert!(line("PARLOR_CPUS").ends_with("default"), "{}", shown.out);
    let json = run(&host, &["config", "show", "--json"]).expect(0).json();
    let name = json["settings"].as_array().unwrap().iter().find(|s| s["setting"] == "ASSISTANT_NAME").unwrap();
    assert_eq!((name["value"].as_str(), name["toml"].as_str()), (Some("Mo$es"), Some("assistant_name")));
    assert!(!json.to_string().contains("0123456789abcdef"));
}

#[test]
fn wrong_settings_are_shown_beside_the_values_in_use() {
    let host = Host::builder().dot_env("PARLOR_BUDGT_USD=2\nPARLOR_CPUS=many\n").prepare();
    let shown = run(&host, &["config", "show"]).expect(1);
    assert!(shown.out.contains("PARLOR_CPUS"), "{}", shown.out);
    for expected in ["line 1): is not a setting: is PARLOR_BUDGET_USD meant?", "PARLOR_CPUS = \"many\""] {
        assert!(shown.err.contains(expected), "{expected}: {}", shown.err);
    }
    let doctor = run(&host, &["doctor"]);
    assert!(doctor.code == 1 && doctor.out.contains("is PARLOR_BUDGET_USD meant?"), "{}", doctor.out);
}

/// Variables that other programs left in the environment end no command.
#[test]
fn odd_environment_is_harmless() {
    let host = Host::builder().start();
    for (name, value) in [("TZ", ":/etc/localtime"), ("TZ", "CET-1CEST"), ("LOG_LEVEL", "verbose")] {
        let output = command(&host, &["status"]).env(name, value).output().unwrap();
        assert!(output.status.success(), "{name}={value}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn json_log_has_one_object_per_line() {
    let mut host = Host::builder().env("LOG_FORMAT", "json").start();
    assert!(host.terminate().success());
    let log = host.log();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect();
    assert!(
        lines.len() > 3 && lines.iter().all(|line| line["level"].is_string() && line["timestamp"].is_string()),
        "{log}"
    );
    assert!(lines.iter().any(|line| line["message"].as_str().is_some_and(|text| text.starts_with("Parlor "))), "{log}");
}

/// Runs a command without the tester's own time zone.
fn bare(host: &Host, args: &[&str]) -> Ran {
    Ran::of(&command(host, args).env_remove("TZ").output().unwrap())
}

#[track_caller]
fn all_do_without(host: &Host, commands: &[&[&str]]) {
    for args in commands {
        let ran = bare(host, args).expect(0);
        let notes: Vec<&str> = ran.err.lines().filter(|line| line.contains("not right")).collect();
        let note = "(3 settings are not right: IDLE_TIMEOUT, TZ, memory; `parlor doctor` says why)";
        assert_eq!(notes, [note], "{args:?}: {}", ran.err);
    }
}

#[test]
fn wrong_setting_stops_no_command_that_does_not_need_it() {
    let mut host = Host::builder().start();
    host.register_main("tty:main", "main");
    host.ask("tty:main", "hello");
    let id = host.api.get("/v1/runs").expect(200).json()["runs"][0]["id"].as_str().unwrap().to_owned();
    std::fs::write(host.root().join(".env"), "TZ=Mars/Olympus\nIDLE_TIMEOUT=soon\n").unwrap();
    std::fs::write(host.root().join("parlor.toml"), "memory = \"much\"\n").unwrap();
    let reading = [
        &["status"][..],
        &["groups", "list"],
        &["groups", "show", "main"],
        &["tasks", "list"],
        &["runs", "list"],
        &["runs", "show", &id],
        &["messages", "main"],
        &["sessions", "list"],
        &["outbox", "list"],
        &["refusals"],
        &["usage"],
        &["logs", "-n", "1"],
    ];
    all_do_without(&host, &reading);
    // The host keeps the settings with which it started.
    all_do_without(&host, &[&["chat", "-m", "hello again"], &["stop"]]);
    assert!(host.wait_ended().success());
    all_do_without(&host, &reading);
    let file = host.root().join("data/backup.tar.gz").display().to_string();
    all_do_without(&host, &[&["backup", &file], &["stop"]]);
    for args in [&["up"][..], &["chat", "-m", "hello"], &["image", "status"]] {
        assert!(bare(&host, args).expect(1).err.contains("3 settings are not right:\n"), "{args:?}");
    }
    assert!(bare(&host, &["--provider", "gpt", "status"]).expect(1).err.contains("4 settings are not right:\n"));
}
