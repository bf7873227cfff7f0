//! Kills a host at random moments of busy conversations, and compares promises and results afterwards.
//!
//! `PARLOR_CRASH_ROUNDS` sets the number of kills (20), `PARLOR_CRASH_SEED` repeats a choice of moments.

mod ledger;
mod people;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::harness::SOON;
use crate::harness::events::{Event, Events};
use crate::harness::host::Host;

/// Chats, folders, and milliseconds between a person's messages: some rooms never rest, others close and open again.
const CHATS: [(&str, &str, u64); 4] =
    [("web:a", "a", 60), ("web:b", "b", 200), ("web:c", "c", 700), ("web:main", "main", 2000)];
/// One in this many rounds ends by SIGTERM.
const GRACEFUL: usize = 5;

/// xorshift64*: the moments are random, and a seed repeats them.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Returns a number below a limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

/// A client that follows the event stream through all restarts of the host.
struct Follower {
    now: Option<Events>,
    seen: Vec<Event>,
    cursor: String,
}

impl Follower {
    fn follow(&mut self, host: &Host) {
        self.now = Some(host.events_since(&self.cursor));
    }

    /// Waits a short time for a kind of event.
    fn until(&mut self, limit: Duration, fits: impl Fn(&Event) -> bool) {
        let deadline = Instant::now() + limit;
        let events = self.now.as_mut().unwrap();
        while let Some(event) = events.next(deadline.saturating_duration_since(Instant::now())) {
            if fits(&event) {
                return;
            }
        }
    }

    /// Reads all remaining events after the host's end.
    fn hang_up(&mut self) {
        let mut events = self.now.take().unwrap();
        while events.next(SOON).is_some() {}
        self.cursor = events.cursor().unwrap_or_else(|| self.cursor.clone());
        self.seen.append(&mut events.seen);
    }
}

/// Waits for the moment of the kill.
fn wait_for_the_moment(follower: &mut Follower, random: &mut Random) {
    let limit = Duration::from_secs(4);
    match random.below(7) {
        0 => follower.until(limit, |e| e.name == "turn" && e.data["state"] == "started"),
        1 => follower.until(limit, |e| e.name == "turn" && e.data["state"] == "done"),
        2 => follower.until(limit, |e| e.name == "message"),
        3 => follower.until(limit, |e| e.name == "message" && e.text().starts_with("ipc ")),
        4 => follower.until(limit, |e| e.name == "task" && e.data["change"] == "fired"),
        5 => follower.until(limit, |e| e.name == "run"),
        _ => std::thread::sleep(Duration::from_millis(random.below(2000))),
    }
    std::thread::sleep(Duration::from_millis(random.below(40)));
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

#[test]
fn a_host_that_is_killed_at_any_moment_keeps_every_promise() {
    let rounds = number("PARLOR_CRASH_ROUNDS").unwrap_or(20) as usize;
    let seed = number("PARLOR_CRASH_SEED")
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into());
    eprintln!("{rounds} crashes; PARLOR_CRASH_SEED={seed} brings these moments back");
    let mut random = Random::new(seed);
    let mut host = Host::builder().env("IDLE_TIMEOUT", "400").env("MAX_CONCURRENT_CONTAINERS", "4").start();
    for (jid, folder, _) in CHATS {
        if folder == "main" {
            host.register_main(jid, folder);
        } else {
            host.register(jid, folder);
        }
        let task = json!({
            "id": format!("every-{folder}"), "folder": folder, "prompt": format!("!ledger every-{folder}"),
            "scheduleType": "interval", "scheduleValue": "10000",
        });
        host.api.post("/v1/tasks", &task).expect(201);
    }
    let cursor = format!("{}-0", ledger::open(&host).meta("store_id"));
    let mut follower = Follower { now: None, seen: Vec::new(), cursor: cursor.clone() };
    follower.follow(&host);

    let socket = host.api.socket().to_owned();
    let over = AtomicBool::new(false);
    let accepted = std::thread::scope(|scope| {
        let (socket, over) = (&socket, &over);
        let people: Vec<_> = (0..)
            .zip(CHATS)
            .map(|(n, (jid, _, pause))| {
                scope.spawn(move || people::talk(socket, jid, pause, Random::new(seed + n), over))
            })
            .collect();
        let hurried = scope.spawn(move || people::run_tasks(socket, &CHATS.map(|c| format!("every-{}", c.1)), over));
        // However the rounds end, the people's threads must end.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..rounds + rounds / (GRACEFUL - 1) {
                wait_for_the_moment(&mut follower, &mut random);
                if round % GRACEFUL == GRACEFUL - 1 {
                    end_gracefully(&mut host);
                } else {
                    die(&mut host, &mut random);
                }
                follower.hang_up();
                host.start();
                follower.follow(&host);
            }
        }));
        over.store(true, Ordering::Relaxed);
        let accepted: Vec<_> = people.into_iter().map(|person| person.join().unwrap()).collect();
        hurried.join().unwrap();
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
        accepted
    });

    for (_, folder, _) in CHATS {
        host.api.delete(&format!("/v1/tasks/every-{folder}"));
    }
    let ledger = ledger::open(&host);
    let stopped = Instant::now();
    while !ledger.owed().is_empty() {
        assert!(stopped.elapsed() < 4 * SOON, "not at rest: {}", ledger.owed());
        std::thread::sleep(Duration::from_millis(50));
    }
    host.wait_no_containers();
    assert!(host.terminate().success());
    follower.hang_up();
    host.start();

    let mut whole = host.events_since(&cursor);
    let last = follower.cursor.clone();
    whole.wait("last event", SOON, |e| e.id.as_deref() == Some(last.as_str()));
    let ids = |events: &[Event]| events.iter().filter_map(|e| e.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&follower.seen), ids(&whole.seen), "a client saw what was not kept, or missed something");
    for ((jid, folder, _), accepted) in CHATS.into_iter().zip(&accepted) {
        ledger::answered_in_order(&whole.seen, jid, accepted);
        ledger::files_acted_on_once(&whole.seen, host.root(), folder);
    }
    ledger::delivered_once(&whole.seen);
    ledger.tasks_fired_once(host.root());
    let messages: usize = accepted.iter().map(Vec::len).sum();
    eprintln!("{messages} messages, {} events, {}", whole.seen.len(), ledger.summary());
}

/// Kills the host with SIGKILL; sometimes its next start is killed before it is ready.
fn die(host: &mut Host, random: &mut Random) {
    host.kill();
    if random.below(4) == 0 {
        host.spawn();
        std::thread::sleep(Duration::from_millis(random.below(400)));
        host.kill();
    }
    std::thread::sleep(Duration::from_millis(random.below(100)));
}

/// Ends the host with SIGTERM, which leaves nothing to repair.
fn end_gracefully(host: &mut Host) {
    assert!(host.terminate().success());
    let ledger = ledger::open(host);
    assert_eq!(ledger.under_way(), "", "after SIGTERM something is under way");
    assert_eq!(host.containers(), [""; 0], "after SIGTERM a container is left");
}
