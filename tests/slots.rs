//! Limits on concurrent containers: which group waits, which room is closed, and which runs may be concurrent.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::host::Host;
use crate::harness::rows::runs;
use crate::harness::{SOON, eventually};

#[test]
fn idle_rooms_are_closed_for_others_the_longest_idle_first() {
    let host = Host::builder().env("MAX_CONCURRENT_CONTAINERS", "2").start();
    for name in ["a", "b", "c"] {
        host.register(&format!("web:{name}"), name);
    }
    host.ask("web:a", "hello");
    host.ask("web:b", "hello");
    host.ask("web:c", "hello");
    let open: Vec<String> = host.containers().iter().map(|name| name[7..8].to_owned()).collect();
    assert!(open.contains(&"b".to_owned()) && open.contains(&"c".to_owned()) && open.len() == 2, "{open:?}");
    assert_eq!(runs(&host, "a")[0]["state"], "succeeded");
    // After its second use, b is the one that was idle for the shorter time.
    host.ask("web:b", "again");
    host.ask("web:a", "again");
    let mut open: Vec<String> = host.containers().iter().map(|name| name[7..8].to_owned()).collect();
    open.sort();
    assert_eq!(open, ["a", "b"]);
}

#[test]
fn slots_are_given_in_the_order_of_requests() {
    let host = Host::builder().env("MAX_CONCURRENT_CONTAINERS", "1").start();
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        host.register(&format!("web:{name}"), name);
    }
    let mut events = host.events();
    // The next messages are not taken by this run, so that its group has to queue again.
    let first = host.send("web:a", &format!("{UNTIL_TOLD}\n!exit 0"));
    events.wait("started turn", SOON, |e| e.is_turn("web:a", "started", first));
    for name in &names[1..] {
        host.send(&format!("web:{name}"), &format!("from {name}"));
        // The group has its place in the queue before the next one comes.
        eventually("it waits", SOON, || waiting(&host, name).contains("waits for a free container").then_some(()));
    }
    let last = host.send("web:a", "from a again");
    go_on(&host, "a");
    events.turn_done("web:a", last, SOON);
    let order: Vec<String> = events
        .seen
        .iter()
        .filter(|e| e.name == "message" && e.text().starts_with("echo"))
        .map(|e| e.text().to_owned())
        .collect();
    assert_eq!(order, ["echo: from b", "echo: from c", "echo: from d", "echo: from e", "echo: from a again"]);
}

#[test]
fn isolated_task_runs_beside_the_chat_and_a_group_task_after_it() {
    let host = Host::builder().start();
    host.register("web:a", "room");
    let mut events = host.events();
    let beside = task(&host, "room", "!stdin", "isolated");
    let inside = task(&host, "room", "!stdin", "group");
    let seq = host.send("web:a", &format!("!session known\n{UNTIL_TOLD}\n!say chat is over"));
    events.message("web:a", SOON, |text| text == "session known");
    run_now(&host, &inside);
    run_now(&host, &beside);
    let first = events.message("web:a", SOON, |text| text.starts_with('{'));
    let input: Value = serde_json::from_str(first.text()).unwrap();
    assert_eq!((&input["sessionId"], &input["isScheduledTask"]), (&Value::Null, &json!(true)));
    assert!(!events.texts("web:a").contains(&"chat is over".to_owned()), "it ran beside the chat");
    go_on(&host, "room");
    let ended = events.turn_done("web:a", seq, SOON).at;
    events.forget();
    let second = events.message("web:a", SOON, |text| text.starts_with('{'));
    let input: Value = serde_json::from_str(second.text()).unwrap();
    assert_eq!((&input["sessionId"], &input["isScheduledTask"]), (&json!("known"), &json!(true)));
    // The idle room was closed for it at once, not after its idle time.
    assert!(second.at - ended < SOON, "{:?}", second.at - ended);
    // The chat does not wait for the task's room to linger, which would take ten seconds.
    let seq = host.send("web:a", "hello");
    let answered = events.turn_done("web:a", seq, SOON).at;
    assert!(answered - second.at < Duration::from_millis(9_500), "{:?}", answered - second.at);
}

/// Keeps an agent busy until [`go_on`].
pub const UNTIL_TOLD: &str = "!sh while [ ! -e go ]; do sleep 0.02; done";

/// Ends the work of an agent that waits in [`UNTIL_TOLD`].
pub fn go_on(host: &Host, folder: &str) {
    std::fs::write(host.root().join("groups").join(folder).join("go"), "").unwrap();
}

/// Makes a task that is not due for a long time.
pub fn task(host: &Host, folder: &str, prompt: &str, context: &str) -> String {
    let new = json!({"folder": folder, "prompt": prompt, "scheduleType": "interval", "scheduleValue": "86400000",
        "contextMode": context});
    host.api.post("/v1/tasks", &new).expect(201).json()["id"].as_str().unwrap().to_owned()
}

/// Makes a task due at once.
pub fn run_now(host: &Host, task: &str) {
    host.api.post(&format!("/v1/tasks/{task}/run"), &Value::Null).expect(200);
}

fn waiting(host: &Host, folder: &str) -> String {
    let status = host.api.get("/v1/status").expect(200).json();
    let group = status["groups"].as_array().unwrap().iter().find(|g| g["folder"] == folder).unwrap().clone();
    group["waiting"].as_str().unwrap_or_default().to_owned()
}
