//! The fallback while a group's own provider cannot answer: the next in the operator's list, and no dearer one by
//! itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::host::{Builder, Host};
use crate::harness::models::{Protocol, Reply, Server};
use crate::harness::rows::runs;
use crate::harness::{SOON, eventually};

const JID: &str = "web:f";
const OWN: &str = "llm:claude-sonnet-5";
const OTHER: &str = "llm:gpt-5-mini";

/// Two vendors: the first refuses with the given answer while it is down.
struct Vendors {
    first: Server,
    second: Server,
    down: Arc<AtomicBool>,
}

impl Vendors {
    fn start(refusal: Reply) -> Self {
        let down = Arc::new(AtomicBool::new(true));
        let is_down = down.clone();
        let first = Server::start(Protocol::Anthropic, move |_| {
            if is_down.load(Ordering::Relaxed) { refusal.clone() } else { Reply::text("of the first") }
        });
        let second = Server::start(Protocol::OpenAi, |_| Reply::text("of the second"));
        Self { first, second, down }
    }

    fn host(&self) -> Builder {
        Host::builder()
            .env("CONTAINER_IMAGE", "")
            .env("PARLOR_PROVIDER", "llm")
            .env("PARLOR_MODEL", "claude-sonnet-5")
            .dot_env(&format!("{}{}", self.first.dot_env(), self.second.dot_env()))
    }
}

/// Sends a message; returns all texts of its turn, including notices.
fn ask(host: &Host, text: &str) -> Vec<String> {
    let mut events = host.events();
    let seq = host.send(JID, text);
    events.turn_done(JID, seq, SOON);
    events.texts(JID)
}

fn group(host: &Host) -> Value {
    host.api.get("/v1/status").expect(200).json()["groups"][0].clone()
}

fn close_room(host: &Host) {
    let run = runs(host, "f").remove(0)["id"].as_str().unwrap().to_owned();
    host.api.delete(&format!("/v1/runs/{run}"));
    eventually("the room is closed", SOON, || host.containers().is_empty().then_some(()));
}

#[test]
fn fallback_answers_and_the_chat_is_notified_once_per_change() {
    let vendors = Vendors::start(Reply::later(529, 600, "overloaded_error"));
    let mut host = vendors.host().start();
    host.register_with(JID, "f", &json!({ "fallback": ["gpt-5-mini"] }));
    let said = ask(&host, "the first word");
    assert_eq!((said.len(), said[1].as_str()), (2, "of the second"), "{said:?}");
    assert!(said[0].starts_with(&format!("{OWN} cannot answer: ")), "{said:?}");
    assert!(said[0].contains(&format!(" {OTHER} answers in its place, at least until ")), "{said:?}");
    let asked = vendors.first.requests().len();
    assert_eq!(ask(&host, "another"), ["of the second"]);
    // Also in a later room, and after a crash: the first is not asked again, and the chat gets no second notice.
    host.crash_and_restart();
    assert_eq!(ask(&host, "and one more"), ["of the second"]);
    assert_eq!(vendors.first.requests().len(), asked);
    assert!(vendors.second.newest().messages("user").concat().contains("the first word"), "one conversation");
    let now = group(&host);
    assert_eq!((&now["answers"], &now["outages"][0]["choice"]), (&json!(OTHER), &json!(OWN)), "{now}");
    let shown = host.command().arg("status").output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&format!("{OTHER} answers")), "{shown:?}");
    assert!(host.ask(JID, "/status").concat().contains(&format!("{OTHER} answers in this chat.")));
    // After the operator's change every provider is asked again.
    vendors.down.store(false, Ordering::Relaxed);
    let list = host.command().args(["groups", "update", "f", "--fallback", "llm:gpt-5-mini, guide"]).output().unwrap();
    assert!(list.status.success(), "{list:?}");
    close_room(&host);
    assert_eq!(ask(&host, "back?"), ["of the first", &format!("{OWN} answers again.")]);
    assert_eq!(ask(&host, "still?"), ["of the first"]);
    let now = group(&host);
    assert_eq!((&now["answers"], &now["outages"]), (&Value::Null, &json!([])), "{now}");
}

#[test]
fn fallback_answers_after_a_refused_key_also_for_tasks() {
    let vendors = Vendors::start(Reply::refused(401, "authentication_error", "invalid x-api-key"));
    let host = vendors.host().env("PARLOR_FALLBACK", "guide").start();
    host.register(JID, "f");
    let mut events = host.events();
    let due =
        json!({ "folder": "f", "prompt": "say from the task", "scheduleType": "interval", "scheduleValue": "3600000" });
    let task = host.api.post("/v1/tasks", &due).expect(201).json()["id"].as_str().unwrap().to_owned();
    host.api.post(&format!("/v1/tasks/{task}/run"), &json!({})).expect(200);
    events.message(JID, SOON, |text| text.contains("guide answers in its place") && text.contains("of its own"));
    events.message(JID, SOON, |text| text.contains("from the task"));
    assert_eq!(ask(&host, "say hello"), ["hello"], "told already");
    // A group may opt out.
    host.api.patch("/v1/groups/f", &json!({ "containerConfig": { "fallback": [] } })).expect(200);
    eventually("the rooms are closed", SOON, || {
        for run in runs(&host, "f") {
            host.api.delete(&format!("/v1/runs/{}", run["id"].as_str().unwrap()));
        }
        host.containers().is_empty().then_some(())
    });
    let mut events = host.events();
    host.send(JID, "say hello");
    let notice = events.message(JID, SOON, |text| text.contains("credentials were refused"));
    assert!(!notice.text().contains("in its place"), "{}", notice.text());
}

#[test]
fn fallback_never_uses_a_dearer_provider_unasked() {
    let vendors = Vendors::start(Reply::later(529, 600, "overloaded_error"));
    let host = vendors.host().start();
    host.register(JID, "f");
    for (list, why) in [
        ("gpt-5.4", "is dearer than llm:claude-sonnet-5"),
        ("gpt-5-mini,mystery", "llm:mystery has no price"),
        ("claude", "names no model"),
        ("gemini:gemini-2.5-flash-lite", "has no key"),
    ] {
        let refused = host.command().args(["groups", "update", "f", "--fallback", list]).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(why), "{list}: {said}");
        assert!(said.contains("--fallback"), "{said}");
    }
    assert_eq!(group(&host)["answers"], Value::Null);
    let asked = ["groups", "update", "f", "--fallback", "gpt-5.4", "--fallback-dearer", "true"];
    let allowed = host.command().args(asked).output().unwrap();
    assert!(allowed.status.success(), "{allowed:?}");
    // With such a setting for all groups the host does not start, and the doctor reports the same.
    let mut other = vendors.host().env("PARLOR_FALLBACK", "gpt-5.4").prepare();
    let house = [("PARLOR_FALLBACK", "gpt-5.4"), ("PARLOR_PROVIDER", "llm"), ("PARLOR_MODEL", "claude-sonnet-5")];
    let doctor = other.command().arg("doctor").envs(house).output().unwrap();
    let found = String::from_utf8_lossy(&doctor.stdout);
    assert!(!doctor.status.success() && found.contains("PARLOR_FALLBACK") && found.contains("is dearer"), "{found}");
    other.spawn();
    assert!(!other.wait_ended().success());
}
