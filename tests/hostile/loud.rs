//! A room that writes, or works, as fast as the machine lets it.

use std::time::{Duration, Instant};

use super::{OTHER, ROOM, Stage};
use crate::harness::events::Events;
use crate::harness::{SOON, eventually, floods, process};

/// Each flood is measured in turns with quiet. A ratio is that of neighbouring rounds, which have the same machine, and the
/// middle one counts: what else the machine does comes and goes within a few of them.
const ROUNDS: usize = 7;
/// Follow-ups of the other group in each half of a round: the last but one is what 95 of 100 are no worse than.
const SAMPLES: usize = 21;
/// How many times slower a flood of words may make the other group's follow-ups.
const SLOWER: f64 = 3.0;
/// The same for their common case beside work on every core: a room has its share of the cores by right, and where an engine
/// keeps all containers in one group of processes, that share is up to half of each core.
const SLOWER_BESIDE_WORK: f64 = 10.0;
/// What a ratio is of at least: below it single wake-ups of the machine are what is measured.
const LEAST: Duration = Duration::from_millis(3);
/// How long memory may take to be given back.
const GIVEN_BACK: Duration = Duration::from_secs(60);
/// KiB that the host may have more afterwards.
const KEPT: u64 = 10 << 10;

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

/// How many times slower follow-ups are in a flood, in the middle of all rounds.
fn slower(stage: &Stage, events: &mut Events, own: &mut Events, flood: &str, percent: usize) -> f64 {
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let quiet = percentile(&mut follow_ups(stage, events, &format!("quiet {round}")), percent);
            floods::begin(&stage.host, (ROOM, "room"), flood);
            let loud = percentile(&mut follow_ups(stage, events, &format!("loud {round}")), percent);
            floods::end(&stage.host, ROOM, own);
            println!("p{percent} {quiet:?} quiet, {loud:?} in the flood");
            loud.as_secs_f64() / quiet.max(LEAST).as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ROUNDS / 2]
}

#[test]
fn a_room_at_full_speed_neither_slows_its_neighbours_down_nor_keeps_memory() {
    let stage = Stage::new();
    stage.host.ask(OTHER, "hello");
    let mut own = Events::of_chat(stage.host.api.socket(), ROOM);
    let mut events = Events::of_chat(stage.host.api.socket(), OTHER);
    follow_ups(&stage, &mut events, "warming up");
    let resting = process::rss_kib(stage.host.pid());
    for (name, flood) in floods::OF_WORDS.into_iter().chain([floods::OF_WORK]) {
        let (percent, most) = if name == floods::OF_WORK.0 { (50, SLOWER_BESIDE_WORK) } else { (95, SLOWER) };
        let slower = slower(&stage, &mut events, &mut own, flood, percent);
        println!("{name}: {slower:.2} times slower");
        assert!(slower <= most, "{name}: p{percent} of the other group is {slower:.2} times the quiet one");
    }
    let grown = || process::rss_kib(stage.host.pid()).saturating_sub(resting);
    println!("the host has {} KiB more", grown());
    eventually("the host's memory is given back", GIVEN_BACK, || (grown() < KEPT).then_some(()));
}
