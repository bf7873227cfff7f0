//! Compares ten thousand groups with ten: no time may depend on their number.

use crate::footprint::register_many;
use crate::harness::host::Host;
use crate::intake::rate;
use crate::report::{Figure, Report, Target, ms};
use crate::{Effort, cold};

pub fn measure(effort: Effort, report: &mut Report) {
    let mut few = cold::host();
    let mut many = cold::host();
    register_many(&few, 10);
    let groups = effort.samples(10_000, 1_000);
    register_many(&many, groups);

    let starts = pairs(effort.samples(15, 3), || (start(&mut few), start(&mut many)));
    compare(report, groups, "start", starts, false);
    let intake = pairs(effort.samples(5, 1), || (quiet_rate(&few, effort), quiet_rate(&many, effort)));
    compare(report, groups, "intake", intake, true);
    let (mut few_events, mut many_events) = (few.events(), many.events());
    let colds = pairs(effort.samples(15, 3), || {
        (cold::one(&few, &mut few_events, "web:cold"), cold::one(&many, &mut many_events, "web:cold"))
    });
    compare(report, groups, "cold", colds, false);
}

/// Measures pairs one after the other, so that both see the same machine.
fn pairs(n: usize, one: impl FnMut() -> (f64, f64)) -> Vec<(f64, f64)> {
    std::iter::repeat_with(one).take(n).collect()
}

fn compare(report: &mut Report, groups: usize, what: &str, pairs: Vec<(f64, f64)>, more_is_better: bool) {
    let median = |values: Vec<f64>| Figure::new("", "", Target::None, values).median();
    let (few, many) = pairs.into_iter().unzip();
    let (few, many) = (median(few), median(many));
    let ratio = if more_is_better { few / many } else { many / few };
    report.add(Figure::one(
        format!("{groups} groups against 10: {what} ({many:.1} against {few:.1}), times slower"),
        "×",
        Target::AtMost(1.2),
        ratio,
    ));
}

fn start(host: &mut Host) -> f64 {
    assert!(host.terminate().success());
    host.start();
    ms(host.ready_after)
}

fn quiet_rate(host: &Host, effort: Effort) -> f64 {
    rate(host, "web:manyquiet", effort.samples(10_000, 1_000), 0)
}
