//! Measures what the built-in agent adds to its model's time, and its memory while it waits.

use std::time::Instant;

use crate::Effort;
use crate::harness::host::Host;
use crate::harness::models::{Protocol, Reply, Server};
use crate::harness::{SOON, engine, process};
use crate::report::{Figure, Report, Target, ms};

const JID: &str = "web:model";

pub fn measure(effort: Effort, report: &mut Report) {
    let server = Server::start(Protocol::Anthropic, |request| Reply::text(format!("answer {}", request.number)));
    let host = Host::builder()
        .env("CONTAINER_IMAGE", "")
        .env("PARLOR_PROVIDER", "llm")
        .env("PARLOR_MODEL", "claude-stand-in")
        .dot_env(&server.dot_env())
        .start();
    host.register(JID, "model");
    host.ask(JID, "hello");
    let mut events = host.events();
    let turn = |_| {
        let seq = host.send(JID, "again");
        let accepted = Instant::now();
        let reply = events.message(JID, SOON, |text| text.starts_with("answer ")).at;
        events.turn_done(JID, seq, SOON);
        events.forget();
        let request = server.newest();
        let own = request.answered.unwrap() - request.at;
        ms(reply.saturating_duration_since(accepted).saturating_sub(own))
    };
    let samples = (0..effort.samples(200, 20)).map(turn).collect();
    report.add(Figure::new(
        "agent llm in a warm room: accepted → reply, beside the model server's own time",
        "ms",
        Target::AtMost(10.0),
        samples,
    ));
    let mut rooms = host.containers().into_iter();
    let state = engine::lines(&["inspect", "--format", "{{.State.Pid}}", &rooms.next().unwrap()]);
    let init: u32 = state[0].trim().parse().unwrap();
    let memory: f64 = process::children(init).into_iter().map(|pid| process::pss_kib(pid) as f64 / 1024.0).sum();
    report.add(Figure::one("– the agent's memory (PSS) between turns", "MiB", Target::AtMost(10.0), memory));
}
