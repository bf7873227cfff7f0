//! Measures the time from the start of the program to `/readyz`.

use crate::Effort;
use crate::harness::host::Host;
use crate::harness::{SOON, eventually};
use crate::report::{Figure, Report, Target, ms};

pub fn measure(effort: Effort, report: &mut Report) {
    let mut host = Host::builder().start();
    let starts = (0..effort.samples(20, 4)).map(|_| restart(&mut host)).collect();
    report.add(Figure::new("start to ready", "ms", Target::AtMost(100.0), starts));

    for room in 0..5 {
        host.register(&format!("web:{room}"), &format!("room{room}"));
    }
    let orphans = (0..effort.samples(5, 1)).map(|_| with_orphans(&mut host)).collect();
    report.add(Figure::new("start to ready with five orphans of a killed host", "ms", Target::AtMost(2000.0), orphans));
}

fn restart(host: &mut Host) -> f64 {
    assert!(host.terminate().success());
    host.start();
    ms(host.ready_after)
}

fn with_orphans(host: &mut Host) -> f64 {
    let mut events = host.events();
    let seqs: Vec<i64> = (0..5).map(|room| host.send(&format!("web:{room}"), "hi")).collect();
    for (room, seq) in seqs.into_iter().enumerate() {
        events.turn_done(&format!("web:{room}"), seq, SOON);
    }
    let before = host.containers();
    assert_eq!(before.len(), 5);
    host.crash_and_restart();
    eventually("the orphans are gone", SOON, || {
        let now = host.containers();
        before.iter().all(|name| !now.contains(name)).then_some(())
    });
    ms(host.ready_after)
}
