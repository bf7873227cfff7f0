//! Figures, and the page that shows them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::harness::engine;

/// The target of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// No target: the figure explains another one.
    None,
}

/// A figure: samples of one quantity.
#[derive(Debug, Clone)]
pub struct Figure {
    pub what: String,
    pub unit: &'static str,
    pub target: Target,
    samples: Vec<f64>,
}

impl Figure {
    pub fn new(what: impl Into<String>, unit: &'static str, target: Target, mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self { what: what.into(), unit, target, samples }
    }

    /// A figure with a single sample.
    pub fn one(what: impl Into<String>, unit: &'static str, target: Target, value: f64) -> Self {
        Self::new(what, unit, target, vec![value])
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Returns the value that 95 of 100 samples do not exceed, or do not fall below.
    pub fn p95(&self) -> f64 {
        self.quantile(if matches!(self.target, Target::AtLeast(_)) { 0.05 } else { 0.95 })
    }

    fn quantile(&self, part: f64) -> f64 {
        let index = (self.samples.len().saturating_sub(1)) as f64 * part;
        self.samples.get(index.round() as usize).copied().unwrap_or(f64::NAN)
    }

    /// Returns true if the median meets the target, loosened by the factor `slack`.
    pub fn met(&self, slack: f64) -> bool {
        match self.target {
            Target::AtMost(limit) => self.median() <= limit * slack,
            Target::AtLeast(limit) => self.median() >= limit / slack,
            Target::None => true,
        }
    }

    fn row(&self) -> String {
        let (target, met) = match self.target {
            Target::AtMost(limit) => (format!("≤ {} {}", number(limit), self.unit), self.met(1.0)),
            Target::AtLeast(limit) => (format!("≥ {} {}", number(limit), self.unit), self.met(1.0)),
            Target::None => (String::new(), true),
        };
        let met = match (self.target, met) {
            (Target::None, _) => "",
            (_, true) => "yes",
            (_, false) => "**no**",
        };
        let (n, median, p95) = (self.samples.len(), number(self.median()), number(self.p95()));
        format!("| {} | {n} | {median} {} | {p95} | {target} | {met} |", self.what, self.unit)
    }
}

#[derive(Debug, Default)]
pub struct Report {
    pub figures: Vec<Figure>,
}

impl Report {
    /// Adds a figure, and prints it.
    pub fn add(&mut self, figure: Figure) {
        println!("{}", figure.row());
        self.figures.push(figure);
    }

    /// Makes the page.
    pub fn page(&self, date: &str) -> String {
        let mut page = String::from(
            "# Benchmarks\n\nMeasured by `make bench` (`cargo bench --bench figures`): the real program, a real engine, \
             the scripted agent of `tests/agent` in its rooms. Times end when the last byte is at a client of the local \
             API. p95 is the value that 95 of 100 samples are no worse than.\n\n",
        );
        let _ = writeln!(page, "- date: {date}\n- machine: {}\n- engine: {}\n", machine(), engine::version());
        page.push_str("| figure | n | median | p95 | target | met |\n|---|---|---|---|---|---|\n");
        for figure in &self.figures {
            let _ = writeln!(page, "{}", figure.row());
        }
        page
    }

    pub fn write(&self, path: &Path, date: &str) {
        fs::write(path, self.page(date)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model =
        cpu.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("").trim_start_matches(['\t', ' ', ':']);
    let cores = cpu.lines().filter(|l| l.starts_with("processor")).count();
    let memory = read("/proc/meminfo");
    let kib = memory.lines().find_map(|l| l.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse::<u64>().ok());
    let gib = kib.unwrap_or_default() as f64 / f64::from(1 << 20);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} × {model}, {gib:.0} GiB memory, Linux {}", kernel.trim())
}

/// Converts a duration to milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
