//! A room with Claude Code itself: no container runs, a message comes, its answer is on an open stream. The vendor is a
//! stand-in that answers at once. For comparison: an idle container of the same image.

use std::time::{Duration, Instant};

use crate::Effort;
use crate::cold::nothing_lives;
use crate::harness::claude::{build, builder};
use crate::harness::engine;
use crate::harness::vendor::{Answer, Vendor};
use crate::report::{Figure, Report, Target, ms};

const JID: &str = "web:claude";

pub fn measure(effort: Effort, report: &mut Report) {
    let vendor = Vendor::start(|_| Answer::Say("here".into()));
    let mut host = builder(&vendor.dot_env()).env("IDLE_TIMEOUT", 1).prepare();
    let image = build(&host);
    host.start();
    host.register(JID, "claude");
    let mut events = host.events();
    let (mut answers, mut bare) = (Vec::new(), Vec::new());
    // The first start reads the program from the disk, and records its version.
    for round in 0..=effort.samples(20, 4) {
        events.forget();
        let seq = host.send(JID, "hi");
        let accepted = Instant::now();
        let reply = events.message(JID, Duration::from_secs(60), |text| text == "here");
        events.turn_done(JID, seq, Duration::from_secs(60));
        nothing_lives(&host);
        let started = Instant::now();
        assert!(engine::run(&["run", "--rm", "--init", "--entrypoint", "/bin/true", &image]).status.success());
        if round > 0 {
            answers.push(ms(reply.at.duration_since(accepted)));
            bare.push(ms(started.elapsed()));
        }
    }
    let more = answers.iter().zip(&bare).map(|(answer, bare)| answer - bare).collect();
    report.add(Figure::new(
        "Claude Code, cold: accepted → answer, minus an empty container of its image",
        "ms",
        Target::AtMost(600.0),
        more,
    ));
    report.add(Figure::new("– Claude Code, cold: accepted → answer", "ms", Target::None, answers));
    report.add(Figure::new("– an empty container of its image, from start to end", "ms", Target::None, bare));
}
