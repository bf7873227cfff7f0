//! Measures the idle host's memory and CPU time, and its size on disk.

use std::time::{Duration, Instant};

use crate::Effort;
use crate::harness::events::Events;
use crate::harness::host::Host;
use crate::harness::{SOON, floods, process};
use crate::intake::register_quiet;
use crate::report::{Figure, Report, Target};

/// Time limit for memory to be released.
const GIVEN_BACK: Duration = Duration::from_secs(60);

pub fn measure(effort: Effort, report: &mut Report) {
    let bytes = std::fs::metadata(env!("CARGO_BIN_EXE_parlor")).unwrap().len();
    report.add(Figure::one("installation, one file", "MiB", Target::AtMost(20.0), bytes as f64 / f64::from(1 << 20)));

    let mut host = Host::builder().start();
    settle();
    // The very first start builds the image, and keeps some memory of that.
    let first = mib(host.pid());
    assert!(host.terminate().success());
    host.start();
    settle();
    report.add(Figure::one("host's memory (PSS), idle", "MiB", Target::AtMost(15.0), mib(host.pid())));
    report.add(Figure::one("– after the first start of all, which made the image", "MiB", Target::None, first));

    register_many(&host, 1000);
    assert!(host.terminate().success());
    host.start();
    settle();
    report.add(Figure::one("host's memory (PSS), 1,000 groups", "MiB", Target::AtMost(20.0), mib(host.pid())));

    let time = Duration::from_secs(effort.samples(60, 10) as u64);
    let (before, started) = (process::cpu(host.pid()), Instant::now());
    std::thread::sleep(time);
    let used = process::cpu(host.pid()).saturating_sub(before).as_secs_f64() / started.elapsed().as_secs_f64();
    report.add(Figure::one("host's CPU, idle with 1,000 groups", "%", Target::AtMost(0.1), used * 100.0));

    let mut events = host.events();
    for room in 0..5 {
        host.register(&format!("web:live{room}"), &format!("live{room}"));
        let seq = host.send(&format!("web:live{room}"), "hi");
        events.turn_done(&format!("web:live{room}"), seq, SOON);
    }
    settle();
    let clients: f64 = process::children(host.pid()).into_iter().map(mib).sum();
    report.add(Figure::one("host's memory (PSS), 5 live runs", "MiB", Target::AtMost(25.0), mib(host.pid())));
    report.add(Figure::one("– the engine's five clients", "MiB", Target::None, clients));
    floods(effort, &host, report);
}

/// Measures the host's memory after rooms that wrote without end.
fn floods(effort: Effort, host: &Host, report: &mut Report) {
    host.register("web:loud", "loud");
    let mut events = Events::of_chat(host.api.socket(), "web:loud");
    process::reset_peak(host.pid());
    for (_, script) in floods::OF_WORDS {
        floods::begin(host, ("web:loud", "loud"), script);
        std::thread::sleep(Duration::from_secs(effort.samples(10, 2) as u64));
        floods::end(host, "web:loud", &mut events);
    }
    let peak = process::peak_kib(host.pid()) as f64 / 1024.0;
    std::thread::sleep(GIVEN_BACK);
    let kept = mib(host.pid());
    report.add(Figure::one(
        "host's memory (PSS), a minute after rooms that wrote without end",
        "MiB",
        Target::AtMost(30.0),
        kept,
    ));
    report.add(Figure::one("– its peak (RSS) meanwhile", "MiB", Target::None, peak));
}

/// Registers many groups that only store messages.
pub fn register_many(host: &Host, groups: usize) {
    std::thread::scope(|scope| {
        for worker in 0..50 {
            scope.spawn(move || {
                let mut connection = crate::latency::connection(host);
                for number in (worker..groups).step_by(50) {
                    let group = serde_json::json!({
                        "jid": format!("web:many{number}"), "name": format!("Many {number}"),
                        "folder": format!("many{number}"), "trigger": "@Andy", "requiresTrigger": true,
                    });
                    connection.call("POST", "/v1/groups", group.to_string().as_bytes()).unwrap().expect(201);
                }
            });
        }
    });
    register_quiet(host, "web:manyquiet", "manyquiet");
}

fn mib(pid: u32) -> f64 {
    process::pss_kib(pid) as f64 / 1024.0
}

/// Waits until the background work of a start is done.
fn settle() {
    std::thread::sleep(Duration::from_secs(2));
}
