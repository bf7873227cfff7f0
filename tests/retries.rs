//! Turns that fail: which are tried again, when, and the notices in the chat.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::events::Events;
use crate::harness::host::Host;
use crate::harness::rows::{database, runs, states, tries};
use crate::harness::{SOON, eventually};

#[test]
fn failed_turn_is_retried_unless_it_had_replied() {
    let host = Host::builder().start();
    for name in ["a", "b"] {
        host.register(&format!("web:{name}"), name);
    }
    let mut events = host.events();
    let replied = host.send("web:b", "!say half\n!crash 3 boom");
    let crashed = host.send("web:a", "!once !crash 3 out of luck");
    let failed = events.wait("failed turn", SOON, |e| e.is_turn("web:b", "failed", replied));
    assert!(failed.data["reason"].as_str().unwrap().contains("Container exited with code 3: boom"), "{}", failed.data);
    let first = eventually("the first run has failed", SOON, || {
        runs(&host, "a").into_iter().find(|run| run["state"] == "failed")
    });
    assert_eq!(first["error"], "Container exited with code 3: out of luck");
    assert_eq!(tries(&host, crashed), 1);
    // A message that arrives meanwhile waits, too, and does not shorten the back-off.
    let later = host.send("web:a", "later");
    assert!(waiting(&host, "a").starts_with("tries again in "), "{}", waiting(&host, "a"));
    events.turn_done("web:a", later, SOON);
    let second = runs(&host, "a").into_iter().next().unwrap();
    let wait = at(&second["startedAt"]) - at(&first["endedAt"]);
    assert!(wait >= chrono::Duration::milliseconds(4900), "{wait}");
    assert_eq!(events.texts("web:a"), ["once: over", "echo: later"]);
    assert_eq!(events.texts("web:b").len(), 2);
    assert!(events.texts("web:b")[1].starts_with("The answer ended early: "), "{:?}", events.texts("web:b"));
    assert_eq!(runs(&host, "b").len(), 1);
}

#[test]
fn failed_messages_are_reported_kept_and_retried_by_hand() {
    let mut host = Host::builder().start();
    host.register("web:a", "room");
    let (seq, cursor) = {
        let mut events = host.events();
        let seq = host.send("web:a", "!once !error other");
        eventually("the first try has failed", SOON, || (tries(&host, seq) == 1).then_some(()));
        let seen = host.api.get("/v1/status").expect(200).json()["cursor"].as_str().unwrap().to_owned();
        events.forget();
        (seq, seen)
    };
    // As if the next four tries had failed, too; and the group's folder loses the record of `!once`.
    assert!(host.terminate().success());
    database(&host).execute("UPDATE inbound SET tries = 5", []).unwrap();
    std::fs::remove_file(host.root().join("groups/room/.once")).unwrap();
    host.start();
    let mut events = host.events_since(&cursor);
    events.wait("failed turn", SOON, |e| e.is_turn("web:a", "failed", seq));
    let told = events.message("web:a", SOON, |text| text.contains("after 6 tries"));
    assert!(
        told.text().contains("told to fail (other)") && told.text().contains("`parlor runs retry room`"),
        "{}",
        told.text()
    );
    assert_eq!(states(&host)["failed"], 1);
    let output = host.command().args(["runs", "retry", "room"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    events.forget();
    events.turn_done("web:a", seq, SOON);
    assert_eq!(events.texts("web:a").last().unwrap(), "once: over");
    assert_eq!(states(&host).get("failed"), None);
}

#[test]
fn permanent_errors_are_reported_once_and_not_retried() {
    let host = Host::builder().start();
    for (name, kind, says) in [
        ("a", "auth", "credentials were refused"),
        ("b", "quota", "quota is used up"),
        ("c", "refused", "This cannot be answered"),
    ] {
        let jid = format!("web:{name}");
        host.register(&jid, name);
        let mut events = host.events();
        let seq = host.send(&jid, &format!("!error {kind}"));
        events.wait("failed turn", SOON, |e| e.is_turn(&jid, "failed", seq));
        events.message(&jid, SOON, |text| text.contains(says));
        assert_eq!(host.ask(&jid, "next"), ["echo: next"]);
        assert_eq!(events.texts(&jid).len(), 1, "{:?}", events.texts(&jid));
        assert_eq!(tries(&host, seq), 0);
    }
    assert_eq!(states(&host)["failed"], 3);
}

#[test]
fn refused_conversation_is_begun_anew_once() {
    let host = Host::builder().start();
    host.register("web:a", "room");
    host.ask("web:a", "hello");
    // In the same room, which began without a session; the new session is refused, too.
    let mut events = host.events();
    let seq = host.send("web:a", "!error session_refused");
    events.wait("failed turn", SOON, |e| e.is_turn("web:a", "failed", seq));
    events.message("web:a", SOON, |text| text.starts_with("This cannot be answered"));
    let said = events.texts("web:a");
    assert!(said[0].contains("refuses the conversation so far") && said[0].contains("`/new`"), "{said:?}");
    assert_eq!((said.len(), host.ask("web:a", "next")), (2, vec!["echo: next".to_owned()]));
}

#[test]
fn rate_limited_group_and_its_tasks_are_paused_until_the_named_time() {
    let host = Host::builder().start();
    host.register("web:a", "room");
    let mut events = host.events();
    let seq = host.send("web:a", "!once !error rate_limit 6000");
    let told = events.message("web:a", SOON, |text| text.contains("rate limit is reached until"));
    assert!(told.text().ends_with("I go on by myself."), "{}", told.text());
    let group = status(&host, "room");
    assert!(group["paused"]["reason"].as_str().unwrap().contains("rate limit"), "{group}");
    let until = at(&group["paused"]["until"]);
    eventually("it waits", SOON, || waiting(&host, "room").starts_with("tries again in").then_some(()));
    let shown = ask_status(&host, &mut events);
    assert!(shown.contains("Paused until") && shown.contains("1 waiting message,"), "{shown}");
    let id = crate::slots::task(&host, "room", "!say task", "isolated");
    crate::slots::run_now(&host, &id);
    events.turn_done("web:a", seq, SOON);
    events.message("web:a", SOON, |text| text == "task");
    let early: Vec<Value> = runs(&host, "room").into_iter().filter(|run| run["state"] != "succeeded").collect();
    assert!(early.len() <= 3, "{early:?}");
    for run in runs(&host, "room").iter().rev().skip(1) {
        assert!(at(&run["startedAt"]) >= until, "{run} before {until}");
    }
    assert_eq!(status(&host, "room")["paused"], Value::Null);
    assert_eq!(tries(&host, seq), 0);
    // `/stop` cancels the pause together with the waiting messages.
    let seq = host.send("web:a", "!error overloaded 60000");
    events.message("web:a", SOON, |text| text.contains("vendor is overloaded"));
    host.ask("web:a", "/stop");
    events.wait("cancelled turn", SOON, |e| e.is_turn("web:a", "cancelled", seq));
    assert_eq!(status(&host, "room")["paused"], Value::Null);
    assert_eq!(host.ask("web:a", "hello"), ["echo: hello"]);
}

#[test]
fn missing_session_is_reset_once_at_once() {
    let host = Host::builder().env("IDLE_TIMEOUT", "100").start();
    host.register("web:a", "room");
    host.ask("web:a", "!session stale");
    host.wait_no_containers();
    let mut events = host.events();
    let seq = host.send("web:a", "!error-resumed session_missing");
    events.turn_done("web:a", seq, SOON);
    assert_eq!(events.texts("web:a"), ["The earlier conversation is gone; a new one begins.", "a new session"]);
    assert_eq!(tries(&host, seq), 0);
    let session = host.api.get("/v1/sessions/room").expect(200).text();
    assert!(!session.contains("stale"), "{session}");
}

fn status(host: &Host, folder: &str) -> Value {
    let status = host.api.get("/v1/status").expect(200).json();
    status["groups"].as_array().unwrap().iter().find(|g| g["folder"] == folder).unwrap().clone()
}

fn waiting(host: &Host, folder: &str) -> String {
    status(host, folder)["waiting"].as_str().unwrap_or_default().to_owned()
}

fn ask_status(host: &Host, events: &mut Events) -> String {
    host.send("web:a", "/status");
    events.message("web:a", Duration::from_secs(5), |text| text.contains("waiting message")).text().to_owned()
}

fn at(value: &Value) -> chrono::DateTime<chrono::Utc> {
    serde_json::from_value(json!(value)).unwrap()
}
