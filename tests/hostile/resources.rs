//! Rooms that exhaust the machine's resources.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{OTHER, ROOM, Stage};
use crate::harness::SOON;
use crate::harness::host::Host;

impl Stage {
    /// Returns true if the engine enforces a limit here; if it cannot, the host must say so.
    fn limits(&self, what: &str) -> bool {
        let status = self.host.api.get("/v1/status").expect(200).json();
        let unsupported = status["engine"]["unsupported"].as_array().unwrap();
        !unsupported.iter().any(|u| u["what"].as_str().unwrap_or_default().contains(what))
    }

    #[track_caller]
    fn other_answers(&self, text: &str) {
        let asked = Instant::now();
        assert_eq!(self.host.ask(OTHER, text), [format!("echo: {text}")]);
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    }
}

#[test]
fn fork_bomb_stays_in_its_room() {
    let stage = Stage::with(Host::builder());
    if !stage.limits("pids") {
        return;
    }
    stage.host.api.patch("/v1/groups/room", &json!({ "containerConfig": { "pids": 64, "cpus": "0.5" } })).expect(200);
    stage.host.ask(OTHER, "hello");
    let mut events = stage.host.events();
    stage.host.send(ROOM, "!open ready\n!sh bomb() { bomb | bomb & }; bomb; for i in 1 2 3 4 5 6; do sleep 1; done");
    events.message(ROOM, SOON, |text| text == "ready");
    let started = Instant::now();
    let mut n = 0;
    while n < 3 || started.elapsed() < Duration::from_secs(3) {
        n += 1;
        stage.other_answers(&format!("follow-up {n}"));
    }
    stage.host.send(ROOM, "/stop");
    stage.other_answers("after it");
    // The bomb's turn may have ended by itself before the stop: then its output comes first.
    let said = stage.host.ask(ROOM, "again");
    assert_eq!(said.last().map(String::as_str), Some("echo: again"));
    assert!(said.len() <= 2, "{} texts", said.len());
}

#[test]
fn memory_hog_is_killed_alone_and_the_chat_is_notified() {
    let stage = Stage::new();
    if !stage.limits("memory") {
        return;
    }
    stage.host.api.patch("/v1/groups/room", &json!({ "containerConfig": { "memory": "64m" } })).expect(200);
    stage.host.ask(OTHER, "hello");
    let mut events = stage.host.events();
    let seq = stage.host.send(ROOM, "!once !memory 512");
    stage.other_answers("meanwhile");
    // Killed, reported with its setting, and not tried again: it would only reach the same limit.
    events.wait("a failed turn", SOON, |event| event.is_turn(ROOM, "failed", seq));
    let texts = events.texts(ROOM);
    assert!(
        matches!(&texts[..], [text] if text.contains("memory limit of 64m") && text.contains("--memory")),
        "{texts:?}"
    );
    let runs = stage.host.api.get("/v1/runs?folder=room").expect(200).json();
    let [run] = &runs["runs"].as_array().unwrap()[..] else { panic!("{runs}") };
    assert_eq!((run["state"].as_str(), run["exitCode"].as_i64()), (Some("failed"), Some(137)), "{run}");
    assert_eq!(stage.host.ask(ROOM, "again"), ["echo: again"]);
}
