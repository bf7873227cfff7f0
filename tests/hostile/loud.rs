//! A room that writes, or works, as fast as the machine lets it.

use std::time::{Duration, Instant};

use super::{OTHER, ROOM, Stage};
use crate::harness::events::Events;
use crate::harness::{SOON, eventually, process};

/// Each flood is measured in turns with quiet, so that both have the same machine.
const ROUNDS: usize = 4;
/// Follow-ups of the other group in each round.
const SAMPLES: usize = 25;

/// For machines that have much else to do at the moment.
const FLOOR: Duration = Duration::from_millis(100);
const WORK: &str = "work on every core";

/// What runs in place of the agent in the attacker's room, for as long as it is let.
const FLOODS: [(&str, &str); 5] = [
    ("one line without an end", "while :; do dd if=/dev/zero bs=1M count=1024; done > /proc/1/fd/1"),
    ("short lines", "exec yes x > /proc/1/fd/1"),
    ("stderr", "exec yes 'it does not work' > /proc/1/fd/2"),
    ("broken markers", "exec yes ---NANOCLAW_OUTPUT_END--- > /proc/1/fd/1"),
    (WORK, "for n in 1 2 3 4; do (while :; do :; done) & done; wait"),
];

/// Times of follow-ups of the other group, in order of asking.
fn follow_ups(stage: &Stage, events: &mut Events, tag: &str) -> Vec<Duration> {
    let one = |n: usize| {
        let text = format!("{tag} {n}");
        let asked = Instant::now();
        let seq = stage.host.send(OTHER, &text);
        let reply = events.message(OTHER, SOON, |t| t == format!("echo: {text}"));
        events.turn_done(OTHER, seq, SOON);
        events.forget();
        reply.at - asked
    };
    (0..SAMPLES).map(one).collect()
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[times.len() * percent / 100]
}

/// Lets the flood begin; its turn never ends by itself.
fn begin(stage: &Stage, flood: &str) {
    let sign = stage.host.root().join("groups/room/loud");
    let _ = std::fs::remove_file(&sign);
    stage.host.send(ROOM, &format!("!sh : > /workspace/group/loud; {flood}"));
    eventually("the flood begins", SOON, || sign.exists().then_some(()));
}

/// Ends it with its room.
fn end(stage: &Stage, events: &mut Events) {
    stage.host.send(ROOM, "/stop");
    events.wait("the room's end", SOON, |e| e.name == "run" && e.data["state"] == "stopped");
    events.forget();
}

#[test]
fn a_room_at_full_speed_neither_slows_its_neighbours_down_nor_keeps_memory() {
    let stage = Stage::new();
    stage.host.ask(OTHER, "hello");
    let mut own = Events::of_chat(stage.host.api.socket(), ROOM);
    let mut events = Events::of_chat(stage.host.api.socket(), OTHER);
    follow_ups(&stage, &mut events, "warming up");
    let resting = process::pss_kib(stage.host.pid());
    for (name, flood) in FLOODS {
        let (mut quiet, mut loud) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            quiet.extend(follow_ups(&stage, &mut events, &format!("quiet {round}")));
            begin(&stage, flood);
            loud.extend(follow_ups(&stage, &mut events, &format!("loud {round}")));
            end(&stage, &mut own);
        }
        // A room has its share of the cores by right, so where it takes them the common case counts; words are held back.
        let at = if name == WORK { 50 } else { 95 };
        let (quiet, loud) = (percentile(&mut quiet, at), percentile(&mut loud, at));
        println!("{name}: p{at} {quiet:?} quiet, {loud:?} in the flood");
        assert!(loud < (quiet * 3).max(FLOOR), "{name}: p{at} {quiet:?} quiet, {loud:?} in the flood");
    }
    let grown = || process::pss_kib(stage.host.pid()).saturating_sub(resting);
    eventually("the host's memory is given back", 2 * SOON, || (grown() < 9 << 10).then_some(()));
}
