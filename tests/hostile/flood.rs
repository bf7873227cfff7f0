//! More files than the host can handle at once.

use std::time::{Duration, Instant};

use super::{OTHER, ROOM, Stage, names};
use crate::harness::SOON;

/// Returns the median time of the other group's follow-ups.
fn warm(stage: &Stage, count: usize, tag: &str) -> Duration {
    let mut events = stage.host.events();
    let mut all: Vec<Duration> = (0..count)
        .map(|n| {
            let text = format!("{tag} {n}");
            let started = Instant::now();
            stage.host.send(OTHER, &text);
            let reply = events.message(OTHER, SOON, |t| t == format!("echo: {text}"));
            reply.at - started
        })
        .collect();
    all.sort();
    all[all.len() / 2]
}

fn quick_enough(quiet: Duration, loud: Duration) {
    println!("follow-ups of another group: {quiet:?} quiet, {loud:?} in the flood");
    // The lower limit is for machines that are busy with other work.
    assert!(loud < (quiet * 3).max(Duration::from_millis(500)), "{quiet:?} quiet, {loud:?} in the flood");
}

#[test]
fn flood_of_files_delays_no_other_group_and_is_reported_once() {
    let stage = Stage::new();
    stage.host.ask(OTHER, "hello");
    stage.host.ask(ROOM, "hello");
    let quiet = warm(&stage, 15, "quiet");
    // First many small files at once.
    let heap = "cd /workspace/ipc/messages; n=0; while [ $n -lt 20000 ]; do n=$((n+1)); : > $n.json; done; echo heap";
    assert_eq!(stage.attack(heap), "heap");
    let messages = stage.data("ipc/room/messages");
    assert!(names(&messages).len() > 10_000, "the heap is no heap");
    quick_enough(quiet, warm(&stage, 15, "heap"));
    // Then a flood: for three seconds as fast as one program can, with renames that each cause an event.
    let mut events = stage.host.events();
    let flood = stage.host.send(ROOM, "!ipcflood 20000");
    let loud = warm(&stage, 15, "flood");
    events.turn_done(ROOM, flood, SOON);
    quick_enough(quiet, loud);
    assert_eq!(stage.attack("rm -rf /workspace/ipc/messages/* 2>/dev/null; echo gone"), "gone");
    let log = stage.host.log();
    assert_eq!(log.matches("floods its IPC folder").count(), 1, "a flood is reported once");
    assert!(log.lines().count() < 100, "a flood fills the log: {} lines", log.lines().count());
    // Files of other groups are still handled at once.
    let asked = Instant::now();
    let answer = stage.host.ask(OTHER, &format!("!message {}", super::message(OTHER, "through")));
    assert!(answer.iter().any(|text| text.contains(r#""ok":true"#)), "{answer:?}");
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}
