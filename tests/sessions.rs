//! A group that changes its provider: each provider has its own conversation, and resumes it later.

use serde_json::{Value, json};

use crate::harness::host::Host;
use crate::harness::models::{Protocol, Reply, Server};
use crate::harness::rows::runs;
use crate::harness::{SOON, eventually};

const JID: &str = "web:s";

fn choose(host: &Host, provider: &str) {
    let patch = json!({ "containerConfig": { "provider": provider } });
    host.api.patch("/v1/groups/s", &patch).expect(200);
    let run = runs(host, "s").remove(0)["id"].as_str().unwrap().to_owned();
    host.api.delete(&format!("/v1/runs/{run}"));
    eventually("the room is closed", SOON, || host.containers().is_empty().then_some(()));
}

fn session(host: &Host, provider: &str) -> Option<String> {
    let all = host.api.get("/v1/sessions").json()["sessions"].as_array().unwrap().clone();
    let found: Option<&Value> = all.iter().find(|one| one["provider"] == provider);
    found.map(|one| one["sessionId"].as_str().unwrap().to_owned())
}

#[test]
fn provider_gets_only_its_own_session_and_resumes_it() {
    let server = Server::start(Protocol::Anthropic, |request| Reply::text(format!("turn {}", request.number)));
    let host = Host::builder()
        .env("CONTAINER_IMAGE", "")
        .env("PARLOR_PROVIDER", "guide")
        .env("PARLOR_MODEL", "claude-test")
        .dot_env(&server.dot_env())
        .start();
    host.register(JID, "s");
    assert_eq!(host.ask(JID, "say one"), ["one"]);
    let guides = session(&host, "guide").unwrap();
    choose(&host, "llm");
    assert_eq!(host.ask(JID, "hello"), ["turn 0"], "no word of a conversation that is gone");
    let models = session(&host, "llm").unwrap();
    assert_ne!(guides, models);
    choose(&host, "guide");
    assert_eq!(host.ask(JID, "say two"), ["two"]);
    assert_eq!(host.api.get("/v1/sessions/s").json()["provider"], "guide", "the one that was used last");
    choose(&host, "llm");
    assert_eq!(host.ask(JID, "what did I say?"), ["turn 1"]);
    assert!(server.newest().messages("user").concat().contains("hello"), "it knows what was said before");
    assert_eq!((session(&host, "guide"), session(&host, "llm")), (Some(guides), Some(models)));
    // `/new` resets the conversations of all providers.
    host.ask(JID, "/new");
    assert_eq!((session(&host, "guide"), session(&host, "llm")), (None, None));
}

#[test]
fn invalid_session_id_is_refused_and_new_ends_a_back_off() {
    let host = Host::builder().env("IDLE_TIMEOUT", 1).tolerate("names a session").start();
    host.register(JID, "s");
    host.ask(JID, "!session good\n!say x");
    for bad in ["--dangerously-skip", "-r"] {
        host.ask(JID, &format!("!session {bad}\n!say x"));
        assert_eq!(host.api.get("/v1/sessions/s").json()["sessionId"], "good", "{bad}");
    }
    assert!(host.log().contains("which is not kept"), "{}", host.log());
    // The agent fails whenever it resumes a session; the next try would come later.
    let mut events = host.events();
    let seq = host.send(JID, "!error-resumed other");
    eventually("it waits for its next try", SOON, || {
        let status = host.api.get("/v1/status").json();
        status["groups"][0]["waiting"].as_str().is_some_and(|why| why.contains("tries again")).then_some(())
    });
    host.send(JID, "/new");
    events.turn_done(JID, seq, SOON);
    assert_eq!(events.texts(JID), ["A new conversation begins.", "a new session"]);
}
