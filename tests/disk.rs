//! A disk that is full or fails: accepted messages are kept, the agent's outputs come later, and nothing has to be
//! restarted.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::events::Events;
use crate::harness::faults::{SmallDisk, io_switch};
use crate::harness::host::{Host, scratch};
use crate::harness::{SOON, eventually};

const ROOM: &str = "web:room";

/// Starts a turn that waits for a file before it sends several long texts and a short one.
fn long_turn(host: &Host, events: &mut Events) -> i64 {
    let seq = host.send(
        ROOM,
        "!open ready\n!sh while [ ! -e go ]; do sleep 0.05; done\n!big 400001\n!big 400002\n!big 400003\n!say the last\n!sh (cd /workspace/ipc; echo '{\"type\":\"message\",\"chatJid\":\"web:room\",\"text\":\"by file\"}' > t && mv t messages/x.json) 2>/dev/null; : > said",
    );
    events.message(ROOM, SOON, |text| text == "ready");
    seq
}

/// Sends messages until one is refused; returns the accepted ones' numbers and the refusal's code.
fn send_until_refused(host: &Host) -> (Vec<i64>, String) {
    let message = json!({ "sender": "ann", "text": format!("!silent\n{}", "x".repeat(100_000)) });
    let started = Instant::now();
    let mut accepted = Vec::new();
    loop {
        let response = host.api.post("/v1/chats/web:other/messages", &message);
        if response.status != 202 {
            let body = response.expect(503).json();
            assert!(body["detail"].as_str().is_some_and(|why| why.len() > 20), "{body}");
            return (accepted, body["code"].as_str().unwrap().to_owned());
        }
        accepted.push(response.json()["seq"].as_i64().unwrap());
        assert!(started.elapsed() < SOON, "the disk takes everything");
    }
}

/// Checks that all works after the disk accepts writes again.
fn all_is_well_again(host: &Host, events: &mut Events, accepted: &[i64], seq: i64) {
    events.turn_done(ROOM, seq, SOON);
    let said: Vec<String> = events
        .texts(ROOM)
        .into_iter()
        .map(|text| if text.len() > 1000 { text.len().to_string() } else { text })
        .collect();
    let (by_file, said): (Vec<String>, Vec<String>) = said.into_iter().partition(|text| text == "by file");
    // If the disk had no space for the file, the agent could not send it.
    assert!(by_file.len() <= 1, "{by_file:?}");
    assert_eq!(said, ["ready", "400001", "400002", "400003", "the last"]);
    for seq in accepted {
        events.turn_done("web:other", *seq, SOON);
    }
    eventually("the host takes messages again", SOON, || {
        let message = json!({ "sender": "ann", "text": "!say better" });
        (host.api.post("/v1/chats/web:other/messages", &message).status == 202).then_some(())
    });
    events.message("web:other", SOON, |text| text == "better");
}

fn attack(host: &Host, break_it: impl FnOnce(&Host), mend: impl FnOnce(&Host), code: &str) -> Events {
    host.register(ROOM, "room");
    host.register("web:other", "other");
    assert_eq!(host.ask("web:other", "hello"), ["echo: hello"]);
    let group = host.root().join("groups/room");
    let mut events = host.events();
    let seq = long_turn(host, &mut events);
    let pid = host.pid();
    break_it(host);
    let (accepted, refusal) = send_until_refused(host);
    assert_eq!(refusal, code);
    // The agent writes during the fault.
    touch(&group.join("go"));
    eventually("the agent has spoken", SOON, || group.join("said").exists().then_some(()));
    while events.next(Duration::from_millis(300)).is_some() {}
    assert!(!events.texts(ROOM).contains(&"the last".to_owned()), "the disk took what the agent said");
    assert_eq!(host.api.get("/healthz").status, 200, "what is stored can still be read");
    mend(host);
    all_is_well_again(host, &mut events, &accepted, seq);
    assert_eq!(host.pid(), pid);
    events
}

fn touch(path: &Path) {
    fs::File::create(path).unwrap();
}

#[test]
fn full_disk_delays_but_loses_nothing() {
    let Some(disk) = SmallDisk::mount(24) else {
        eprintln!("skipped: only root can mount a small disk");
        return;
    };
    let host = Host::builder().home(&disk.path().join("h")).tolerate("is full").tolerate("disk").start();
    // An agent fills the disk.
    host.register("web:filler", "filler");
    host.ask("web:filler", "hello");
    let folder = host.root().join("groups/filler");
    let fill = |host: &Host| {
        host.send("web:filler", "!sh cat /dev/zero > zeros 2>/dev/null; : > filled; sleep 300");
        eventually("the disk is full", SOON, || folder.join("filled").exists().then_some(()));
    };
    attack(&host, fill, |_| fs::remove_file(folder.join("zeros")).unwrap(), "store_full");
    host.send("web:filler", "/stop");
    host.ask("web:filler", "again");
}

#[test]
fn disk_that_takes_no_writes_delays_but_loses_nothing() {
    let dir = tempfile::tempdir_in(scratch()).unwrap();
    let switch = dir.path().join("broken");
    let host = Host::builder().envs(io_switch(&switch)).tolerate("parlor.db").start();
    let mut events = attack(&host, |_| touch(&switch), |_| fs::remove_file(&switch).unwrap(), "store_read_only");
    events.message(ROOM, SOON, |text| text == "by file");
}
