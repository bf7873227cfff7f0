//! A message's whole way: accepted, given to a room, answered on the event stream; also across restarts.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::host::Host;
use crate::harness::{SOON, eventually};

#[test]
fn message_is_answered_and_a_follow_up_goes_to_the_live_room() {
    let host = Host::builder().start();
    host.register("web:a", "room");
    assert_eq!(host.ask("web:a", "hello"), ["echo: hello"]);
    let room = host.containers();
    assert_eq!(room.len(), 1);
    assert!(room[0].starts_with("parlor-room-"), "{room:?}");
    assert_eq!(host.ask("web:a", "again"), ["echo: again"]);
    assert_eq!(host.containers(), room);
}

#[test]
fn idle_room_closes_and_the_next_message_opens_another() {
    let host = Host::builder().env("IDLE_TIMEOUT", "200").start();
    host.register("web:a", "room");
    host.ask("web:a", "hello");
    host.wait_no_containers();
    assert_eq!(host.ask("web:a", "again"), ["echo: again"]);
}

#[test]
fn accepted_message_is_answered_after_a_restart() {
    let mut host = Host::builder().start();
    host.register("web:a", "room");
    host.ask("web:a", "hello");
    let cursor = {
        let mut events = host.events();
        let seq = host.send("web:a", "!sleep 300");
        events.wait("started turn", SOON, |e| e.is_turn("web:a", "started", seq));
        events.cursor().unwrap()
    };
    let orphans = host.containers();
    host.crash_and_restart();
    let mut events = host.events_since(&cursor);
    events.message("web:a", SOON, |text| text == "slept 300");
    eventually("the orphan is gone", SOON, || host.containers().iter().all(|c| !orphans.contains(c)).then_some(()));
    assert_eq!(events.texts("web:a"), ["slept 300"]);
}

#[test]
fn graceful_shutdown_completes_open_turns_and_leaves_no_repair() {
    let mut host = Host::builder().start();
    host.register("web:a", "room");
    let cursor = {
        let mut events = host.events();
        let seq = host.send("web:a", "!sleep 500");
        events.wait("started turn", SOON, |e| e.is_turn("web:a", "started", seq));
        events.cursor().unwrap()
    };
    assert!(host.terminate().success());
    host.start();
    let mut events = host.events_since(&cursor);
    events.message("web:a", SOON, |text| text == "slept 500");
    assert_eq!(events.texts("web:a"), ["slept 500"]);
}

#[test]
fn unregistered_chat_is_refused_and_then_listed() {
    let host = Host::builder().start();
    let message = json!({ "sender": "ann", "text": "hi" });
    let refused = host.api.post("/v1/chats/web:new/messages", &message).expect(404);
    assert_eq!(refused.json()["code"], "chat_not_registered");
    let chats = host.api.get("/v1/chats").expect(200).text();
    assert!(chats.contains("web:new"), "{chats}");
}

#[test]
fn message_with_the_same_id_is_stored_once() {
    let host = Host::builder().start();
    host.register("web:a", "room");
    let mut events = host.events();
    let message = json!({ "sender": "ann", "text": "hi", "id": "m1" });
    let first = host.api.post("/v1/chats/web:a/messages", &message).expect(202).json();
    assert_eq!(host.api.post("/v1/chats/web:a/messages", &message).expect(202).json(), first);
    events.turn_done("web:a", first["seq"].as_i64().unwrap(), SOON);
    let seq = host.send("web:a", "bye");
    events.turn_done("web:a", seq, SOON);
    assert_eq!(events.texts("web:a"), ["echo: hi", "echo: bye"]);
}

#[test]
fn full_disk_stops_intake_until_there_is_space() {
    use crate::harness::faults::SmallDisk;
    let Some(disk) = SmallDisk::mount(24) else {
        eprintln!("skipped: only root can mount a small disk");
        return;
    };
    let host = Host::builder().home(&disk.path().join("h")).tolerate("is full").tolerate("disk").start();
    host.register("web:a", "room");
    host.ask("web:a", "hello");
    let ballast = disk.fill();
    let message = json!({ "sender": "ann", "text": "x".repeat(100_000) });
    let started = Instant::now();
    let refused = loop {
        let response = host.api.post("/v1/chats/web:a/messages", &message);
        if response.status != 202 {
            break response.expect(503);
        }
        assert!(started.elapsed() < Duration::from_secs(20), "a full disk takes everything");
    };
    assert_eq!(refused.json()["code"], "store_full");
    std::fs::remove_file(ballast).unwrap();
    let answer = eventually("the host takes messages again", SOON, || {
        let response = host.api.post("/v1/chats/web:a/messages", &json!({ "sender": "ann", "text": "!say better" }));
        (response.status == 202).then(|| response.json()["seq"].as_i64())
    });
    assert!(answer.is_some());
    eventually("the answer", SOON, || {
        let runs = host.api.get("/v1/outbox?all=true").text();
        runs.contains("better").then_some(())
    });
}
