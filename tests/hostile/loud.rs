//! A room that writes, or works, as fast as the machine allows.

use std::time::{Duration, Instant};

use super::{OTHER, ROOM, Stage};
use crate::harness::events::Events;
use crate::harness::{SOON, eventually, floods, process};

/// Number of rounds; each measures a quiet and a loud half. A ratio compares the halves of one round, which see the
/// same machine, and the median ratio counts: other load on the machine comes and goes within a few rounds.
const ROUNDS: usize = 7;
/// Follow-ups of the other group in each half of a round: of 21, the last but one is the 95th percentile.
const SAMPLES: usize = 21;
/// Factor by which a flood of output may slow the other group's follow-ups.
const SLOWER: f64 = 3.0;
/// The same factor for their median beside work on every core: a room is entitled to its share of the cores, and on
/// engines that keep all containers in one cgroup, that share is up to half of each core.
const SLOWER_BESIDE_WORK: f64 = 10.0;
/// The smallest time in a ratio: below it, single wake-ups of the machine would decide.
const LEAST: Duration = Duration::from_millis(3);
/// Time limit for memory to be released.
const GIVEN_BACK: Duration = Duration::from_secs(60);
/// KiB that the host may use more afterwards.
const KEPT: u64 = 10 << 10;

/// Returns the times of the other group's follow-ups, in order of asking.
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

/// Returns the factor by which a flood slows follow-ups: the median of all rounds.
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
fn flooding_room_neither_slows_others_nor_keeps_memory() {
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
