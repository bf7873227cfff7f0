//! Kills the host while a live room writes files as fast as it can: each file has its effect once, whatever the moment.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::harness::host::Host;
use crate::harness::{SOON, eventually};

const ROOM: &str = "web:room";
const ROUNDS: u32 = 12;
/// Files per round; the kill comes somewhere among them.
const FILES: u32 = 60;

#[test]
fn each_file_has_exactly_one_effect_across_kills() {
    let mut host = Host::builder().start();
    host.register(ROOM, "room");
    let first = {
        let mut events = host.events();
        let seq = host.send(ROOM, "hello");
        events.turn_done(ROOM, seq, SOON);
        events.cursor().unwrap()
    };
    for round in 0..ROUNDS {
        // A background process of the turn, so that the room continues while the host dies. It records each name in
        // the group's folder before the file appears.
        let script = format!(
            "cd /workspace/ipc; mkdir -p /workspace/group/f; (n=0; while [ $n -lt {FILES} ]; do n=$((n+1))
if [ $((n % 10)) = 0 ]; then echo '{{\"type\":\"schedule_task\",\"prompt\":\"effect {round}-'$n'\",\"schedule_type\":\"once\",\"schedule_value\":\"2099-01-01T00:00:00\",\"targetJid\":\"{ROOM}\"}}' > t
mv t tasks/$n.json && echo {round}-$n >> /workspace/group/tasks; continue; fi
echo '{{\"type\":\"message\",\"chatJid\":\"{ROOM}\",\"text\":\"effect {round}-'$n'\"}}' > t
if [ $((n % 7)) = 0 ]; then echo content {round}-$n > /workspace/group/f/{round}-$n
echo '{{\"type\":\"file\",\"chatJid\":\"{ROOM}\",\"path\":\"f/{round}-'$n'\",\"caption\":\"effect {round}-'$n'\"}}' > t; fi
mv t messages/{round}-$n.json && echo {round}-$n >> /workspace/group/messages; done) >/dev/null 2>&1 & echo dropping"
        );
        let mut events = host.events();
        let seq = host.send(ROOM, &format!("!sh {script}"));
        events.turn_done(ROOM, seq, SOON);
        // Kills in the middle: after this many effects were seen.
        let enough = round * 7 % FILES;
        let started = Instant::now();
        let mut seen = 0;
        while seen < enough && started.elapsed() < Duration::from_secs(5) {
            if let Some(event) = events.next(Duration::from_millis(20)) {
                seen += u32::from(event.is_message(ROOM) && event.text().starts_with(&format!("effect {round}-")));
            }
        }
        host.crash_and_restart();
    }
    // Files that are in the folder or claimed count as accepted; those that the killed room never renamed do not.
    let mut events = host.events_since(&first);
    let dropped = noted(&host, "messages");
    assert!(dropped.len() as u32 > ROUNDS * 5, "{} files were dropped", dropped.len());
    let last = host.send(ROOM, "the end");
    events.turn_done(ROOM, last, 2 * SOON);
    for text in &dropped {
        events.message(ROOM, SOON, |t| t == text);
    }
    let asked = noted(&host, "tasks");
    let tasks = || {
        let all = host.api.get("/v1/tasks?all=true").expect(200).json();
        let prompts = all["tasks"].as_array().unwrap().iter().map(|task| task["prompt"].as_str().unwrap().to_owned());
        prompts.collect::<Vec<String>>()
    };
    eventually("all tasks", SOON, || asked.iter().all(|prompt| tasks().contains(prompt)).then_some(()));
    // When all folders are empty, nothing else comes.
    let left = |dir: &str| std::fs::read_dir(host.root().join("data").join(dir)).unwrap().count();
    assert_eq!(["claimed", "ipc/room/messages", "ipc/room/tasks"].map(left), [0; 3]);
    let sent = events.texts(ROOM).into_iter().filter(|text| text.starts_with("effect ")).collect();
    once_each(sent, &dropped);
    let files: Vec<_> = events.seen.iter().filter(|event| event.data["file"].is_object()).collect();
    assert!(files.len() as u32 > ROUNDS / 2, "{} files were sent", files.len());
    for event in files {
        let id = event.data["deliveryId"].as_str().unwrap();
        let bytes = host.api.get(&format!("/v1/outbox/{id}/file")).expect(200).text();
        assert_eq!(bytes, format!("content {}\n", event.text().strip_prefix("effect ").unwrap()));
    }
    once_each(tasks(), &asked);
}

/// Returns the names that rooms recorded.
fn noted(host: &Host, file: &str) -> Vec<String> {
    let report = std::fs::read_to_string(host.root().join("groups/room").join(file)).unwrap_or_default();
    report.lines().map(|line| format!("effect {line}")).collect()
}

fn once_each(effects: Vec<String>, asked: &[String]) {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for effect in effects {
        *counts.entry(effect).or_default() += 1;
    }
    let twice: Vec<_> = counts.iter().filter(|(_, n)| **n > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    // A room may be killed between the rename and the record: at most one file per round.
    let unknown = counts.keys().filter(|effect| !asked.contains(effect)).count();
    assert!(unknown as u32 <= ROUNDS, "{unknown} effects that nobody asked for");
}
