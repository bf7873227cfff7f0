//! A turn that is tried again gets the texts that its first try already sent.

use serde_json::{Value, json};

use crate::harness::SOON;
use crate::harness::host::Host;

#[test]
fn interrupted_turn_runs_again_and_gets_its_sent_texts() {
    let mut host = Host::builder().start();
    host.register("web:r", "r");
    host.ask("web:r", "!say an earlier turn");
    let mut events = host.events();
    let text = "!once !open part one\n!once !open part <two>\n!once !sleep 1000000\n!stdin";
    let seq = host.send("web:r", text);
    events.message("web:r", SOON, |text| text == "part <two>");
    let cursor = events.cursor().unwrap();
    drop(events);
    host.kill();
    let orphans = host.containers();
    assert_eq!(orphans.len(), 1);
    host.start();
    let mut events = host.events_since(&cursor);
    events.turn_done("web:r", seq, SOON);
    let texts = events.texts("web:r");
    let input: Value = serde_json::from_str(texts.last().unwrap()).unwrap();
    assert_eq!(input["resumed"], json!(["part one", "part <two>"]), "{input}");
    assert!(input["prompt"].as_str().unwrap().contains("!once !open part one"));
    assert!(input["sessionId"].as_str().unwrap().starts_with("test-"), "the session of the turn before");
    assert!(host.containers().iter().all(|name| !orphans.contains(name)), "the first try's room is gone");
    // The texts belong to that turn only.
    host.ask("web:r", "/new");
    let next: Value = serde_json::from_str(&host.ask("web:r", "!stdin")[0]).unwrap();
    assert_eq!(next.get("resumed"), None);
    let runs = host.api.get("/v1/runs?folder=r").json()["runs"].as_array().unwrap().clone();
    assert!(runs.iter().any(|run| run["state"] == "interrupted"), "{runs:?}");
}

#[test]
fn failed_try_without_texts_resumes_nothing() {
    let host = Host::builder().start();
    host.register("web:r", "r");
    let said = host.ask("web:r", "!once !crash 1\n!stdin");
    assert_eq!(said[0], "once: over");
    let input: Value = serde_json::from_str(&said[1]).unwrap();
    assert_eq!(input.get("resumed"), None, "{input}");
}
