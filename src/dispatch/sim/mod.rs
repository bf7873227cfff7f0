//! A simulator: machines of groups on the real code of the store, in a world of virtual time. It has people, agents,
//! an engine, and all kinds of trouble: a failing store, rooms that do not open, agents that fail, hang or die, a
//! clock that is set, an actor that panics, a host that is killed. A seed is a history, to the byte.
//!
//! A history ends in calm: nothing fails any more and nobody writes. Then the invariants of [`check`] must hold.
//!
//! `make sim SEED=n` replays a history and prints it.

mod actors;
mod agent;
mod check;
mod people;
mod rng;
mod rooms;
mod trouble;
mod world;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::store::memory::Memory;
use world::{Scale, World};

/// The number of histories in a run of the tests.
const HISTORIES: u64 = 10_000;

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

/// Runs a history. Panics with its seed if an invariant is violated.
fn history(db: &Memory, seed: u64, scale: Scale) -> World<'_> {
    db.clear();
    let mut world = World::new(db, seed, scale);
    world.run();
    check::all(&world).unwrap_or_else(|broken| panic!("seed {seed}: {broken}\nreplay: make sim SEED={seed}"));
    world
}

/// Histories with new seeds, on two threads.
#[test]
fn histories_of_trouble_end_well() {
    let count = from_env("PARLOR_SIM_HISTORIES").unwrap_or(HISTORIES);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let first = from_env("PARLOR_SIM_SEED").unwrap_or(clock.as_millis() as u64 * 1_000_000);
    let began = Instant::now();
    std::thread::scope(|threads| {
        let worker = |offset: u64| {
            threads.spawn(move || {
                let db = Memory::default();
                let mut events = 0;
                for seed in (first + offset..first + count).step_by(2) {
                    events += history(&db, seed, Scale::short()).events;
                }
                events
            })
        };
        let workers = [worker(0), worker(1)];
        let events: u64 = workers.into_iter().map(|worker| worker.join().expect("a history failed: see above")).sum();
        let took = began.elapsed();
        println!(
            "{count} histories from seed {first}, {events} events, in {took:.1?}: {:.0} a second",
            count as f64 / took.as_secs_f64()
        );
    });
}

/// One history of a year.
#[test]
fn a_year_passes() {
    let db = Memory::default();
    let seed = from_env("PARLOR_SIM_SEED").unwrap_or(1);
    let (began, world) = (Instant::now(), history(&db, seed, Scale::year()));
    assert!(world.since_start() >= Duration::from_secs(365 * 86_400));
    println!("a year: {} events, {} messages, in {:.1?}", world.events, world.accepted, began.elapsed());
}

/// The same seed gives the same history; another seed gives another.
#[test]
fn a_seed_is_a_history_to_the_byte() {
    let db = Memory::default();
    let trace = |seed| {
        db.clear();
        let mut world = World::new(&db, seed, Scale::short());
        world.traces(false);
        world.run();
        world.trace.join("\n")
    };
    let first = trace(7);
    assert!(first.lines().count() > 50, "{first}");
    assert_eq!(first, trace(7));
    assert_ne!(first, trace(8));
}

/// Prints the history of `PARLOR_SIM_SEED`.
#[test]
fn replay() {
    let Some(seed) = from_env("PARLOR_SIM_SEED") else { return };
    let db = Memory::default();
    let scale = if from_env("PARLOR_SIM_YEAR").is_some() { Scale::year() } else { Scale::short() };
    let mut world = World::new(&db, seed, scale);
    world.traces(true);
    world.run();
    check::all(&world).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
}
