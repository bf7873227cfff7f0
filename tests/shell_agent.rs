//! An agent in plain shell that uses only the v1 formats works with Parlor.

use std::time::Duration;

use serde_json::json;

use crate::harness::host::Host;
use crate::harness::{SOON, image};

/// Returns the numbers of the answered messages, in order.
fn answers(texts: &[String]) -> Vec<u32> {
    texts.iter().map(|text| text.strip_prefix("v1: ").unwrap().parse().unwrap()).collect()
}

#[test]
fn agent_written_from_the_v1_formats_works() {
    let host = Host::builder().env("CONTAINER_IMAGE", image::shell_agent()).start();
    host.register("web:v", "v");
    let odd = "first \"quoted\" <tag> & back\\slash\nsecond line";
    assert_eq!(host.ask("web:v", odd), [format!("v1: {odd}")]);
    let session = host.api.get("/v1/sessions/v").json()["sessionId"].as_str().unwrap().to_owned();
    assert!(session.starts_with("v1-"), "{session}");

    // Follow-ups, each answered before the next, then many at once: in order, and settled when their file is gone.
    for n in 0..3 {
        assert_eq!(host.ask("web:v", &n.to_string()), [format!("v1: {n}")]);
    }
    let mut events = host.events();
    let seqs: Vec<i64> = (10..40).map(|n| host.send("web:v", &n.to_string())).collect();
    events.message("web:v", SOON, |text| text == "v1: 39");
    events.turn_done("web:v", *seqs.last().unwrap(), SOON);
    let answered = answers(&events.texts("web:v"));
    // Messages that waited together are one input; the agent answers the last of them.
    assert!(answered.is_sorted_by(|a, b| a < b), "{answered:?}");
    let runs = host.api.get("/v1/runs?folder=v").json()["runs"].as_array().unwrap().len();
    assert_eq!(runs, 1, "all of it in one room");

    // The next room resumes the session.
    host.api.patch("/v1/groups/v", &json!({ "containerConfig": { "env": { "A": "b" } } })).expect(200);
    let run = host.api.get("/v1/runs?folder=v").json()["runs"][0]["id"].as_str().unwrap().to_owned();
    host.api.delete(&format!("/v1/runs/{run}")).expect(204);
    assert_eq!(host.ask("web:v", "again"), ["v1: again"]);
    assert_eq!(host.api.get("/v1/sessions/v").json()["sessionId"], session.as_str());
}

#[test]
fn message_at_the_moment_of_closing_is_answered() {
    // The idle time is as long as the agent's polling interval: messages meet `_close` in the folder, before, with
    // and after it.
    let host = Host::builder().env("CONTAINER_IMAGE", image::shell_agent()).env("IDLE_TIMEOUT", 150).start();
    host.register("web:c", "c");
    let mut events = host.events();
    let mut sent = Vec::new();
    for n in 0..10_u32 {
        let seq = host.send("web:c", &n.to_string());
        events.turn_done("web:c", seq, SOON);
        sent.push(n);
        // From before `_close` is written until after the agent has exited.
        std::thread::sleep(Duration::from_millis(100 + u64::from(n) * 35));
    }
    events.message("web:c", SOON, |text| text == "v1: 9");
    assert_eq!(answers(&events.texts("web:c")), sent, "each answered once, in order");
    let runs = host.api.get("/v1/runs?folder=c").json()["runs"].as_array().unwrap().clone();
    assert!(runs.len() > 1, "rooms closed in between");
    assert!(runs.iter().all(|run| run["error"].is_null()), "{runs:?}");
}
