//! Measures an agent with very much output: many outputs, and one very long one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Effort;
use crate::harness::events::Events;
use crate::harness::host::Host;
use crate::harness::{SOON, process};
use crate::latency::warm;
use crate::report::{Figure, Report, Target};

const OUTPUTS: usize = 20_000;
const BIG: usize = 48 << 20;

pub fn measure(effort: Effort, report: &mut Report) {
    let host = Host::builder().start();
    for room in ["loud", "other"] {
        host.register(&format!("web:{room}"), room);
        host.ask(&format!("web:{room}"), "hello");
    }
    let rounds = effort.samples(7, 2);
    let (mut all, mut meanwhile) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (time, others) = many(&host);
        all.push(time);
        meanwhile.extend(others);
    }
    report.add(Figure::new("20,000 outputs of one run, each with a session id", "s", Target::AtMost(1.5), all));
    report.add(Figure::new("– meanwhile a warm follow-up of another group", "ms", Target::AtMost(50.0), meanwhile));

    process::reset_peak(host.pid());
    let times = (0..rounds).map(|_| big(&host)).collect();
    let peak = process::peak_kib(host.pid()) as f64 / 1024.0;
    report.add(Figure::new("one result of 48 MiB: accepted → reply", "s", Target::AtMost(1.0), times));
    report.add(Figure::one("– the host's peak memory meanwhile", "MiB", Target::AtMost(300.0), peak));
}

fn many(host: &Host) -> (f64, Vec<f64>) {
    let mut events = host.events();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut times = Vec::new();
            // The stream of one chat only: reading the flood would take a core.
            let mut events = Events::of_chat(host.api.socket(), "web:other");
            while !over.load(Ordering::Relaxed) {
                times.extend(warm(host, &mut events, "web:other", 1));
                std::thread::sleep(Duration::from_millis(20));
            }
            times
        });
        // A separate connection: requests on the other one would wait in line.
        let mut connection = crate::latency::connection(host);
        let body = crate::latency::body(&format!("!outputs {OUTPUTS} s"));
        let accepted = connection.call("POST", "/v1/chats/web:loud/messages", &body).unwrap().expect(202);
        let started = Instant::now();
        let seq = accepted.json()["seq"].as_i64().unwrap();
        let done = events.turn_done("web:loud", seq, SOON);
        over.store(true, Ordering::Relaxed);
        let expected: Vec<String> = (1..=OUTPUTS).map(|n| format!("output {n}")).collect();
        assert!(events.texts("web:loud") == expected, "outputs are missing or out of order");
        (done.at.duration_since(started).as_secs_f64(), other.join().unwrap())
    })
}

fn big(host: &Host) -> f64 {
    let mut events = host.events();
    let seq = host.send("web:loud", &format!("!big {BIG}"));
    let accepted = Instant::now();
    let reply = events.message("web:loud", SOON, |text| text.len() == BIG);
    events.turn_done("web:loud", seq, SOON);
    reply.at.duration_since(accepted).as_secs_f64()
}
