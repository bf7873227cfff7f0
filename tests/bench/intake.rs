//! Measures durable intake: fifty clients, each of which waits for its 202 before it sends again.

use std::sync::Barrier;
use std::time::Instant;

use serde_json::json;

use crate::Effort;
use crate::harness::faults;
use crate::harness::host::Host;
use crate::harness::http::messages_path;
use crate::latency::{body, connection};
use crate::report::{Figure, Report, Target};

const CLIENTS: usize = 50;

pub fn measure(effort: Effort, report: &mut Report) {
    let n = effort.samples(20_000, 2_000);
    let rounds = effort.samples(5, 1);
    for (what, delay, target) in [
        ("durable intake, 50 clients, this disk", 0, 5000.0),
        ("durable intake, 50 clients, each fsync 5 ms slower", 5, 3000.0),
    ] {
        let shim = if delay > 0 { faults::slow_sync(delay) } else { Vec::new() };
        let host = Host::builder().envs(shim).start();
        register_quiet(&host, "web:quiet", "quiet");
        let before = counters(&host);
        let rates = (0..rounds).map(|round| rate(&host, "web:quiet", n, round)).collect();
        let after = counters(&host);
        report.add(Figure::new(what, "messages/s", Target::AtLeast(target), rates));
        let per_commit = (after.1 - before.1) / (after.0 - before.0);
        report.add(Figure::one("– rows per commit", "", Target::None, per_commit));
    }
}

/// Registers a group that only stores messages, so that no runs disturb the figure.
pub fn register_quiet(host: &Host, jid: &str, folder: &str) {
    let group = json!({ "jid": jid, "name": folder, "folder": folder, "trigger": "@Andy", "requiresTrigger": true });
    host.api.post("/v1/groups", &group).expect(201);
}

/// Returns the number of messages per second.
pub fn rate(host: &Host, jid: &str, n: usize, round: usize) -> f64 {
    let together = Barrier::new(CLIENTS + 1);
    let path = messages_path(jid);
    let started = std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (together, path) = (&together, &path);
            scope.spawn(move || {
                let mut connection = connection(host);
                let body = body(&format!("words of client {client} in round {round}"));
                together.wait();
                for _ in 0..n / CLIENTS {
                    connection.call("POST", path, &body).unwrap().expect(202);
                }
            });
        }
        together.wait();
        Instant::now()
    });
    (n / CLIENTS * CLIENTS) as f64 / started.elapsed().as_secs_f64()
}

/// Returns the store's commits and writes so far.
fn counters(host: &Host) -> (f64, f64) {
    let metrics = host.api.get("/metrics").expect(200).text();
    let counter = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{metrics}"))
    };
    (counter("parlor_store_commits_total"), counter("parlor_store_writes_total"))
}
