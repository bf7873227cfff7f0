//! Measures every figure that Parlor promises, with the real program, and writes docs/BENCHMARKS.md.
//!
//! `cargo bench --bench figures -- [--quick] [--only SECTION,…] [--out FILE]`. `--quick` takes few samples and fails
//! if a figure is far from its target; it writes no page without `--out`. `cargo test` tries the cheap sections with
//! the unoptimized program, so that the benchmarks themselves keep working.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../harness/mod.rs"]
mod harness;

mod claude;
mod cold;
mod decoder;
mod footprint;
mod intake;
mod latency;
mod model;
mod outputs;
mod report;
mod rooms;
mod runner;
mod scale;
mod start;
mod tasks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use report::Report;

/// Factor by which a figure may miss its target in a quick run on a busy machine.
const SLACK: f64 = 5.0;

/// The same factor for a program that is not optimized.
const TRIAL_SLACK: f64 = 200.0;
/// The sections that `cargo test` tries.
const TRIAL: &str = "latency,runner,rooms,decoder";

/// The number of samples.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    quick: bool,
    trial: bool,
}

impl Effort {
    /// Returns the number of samples: many, or few.
    pub fn samples(self, full: usize, quick: usize) -> usize {
        match self {
            Self { trial: true, .. } => quick.div_ceil(4),
            Self { quick: true, .. } => quick,
            _ => full,
        }
    }
}

type Section = (&'static str, fn(Effort, &mut Report));

const SECTIONS: [Section; 13] = [
    ("cold", cold::measure),
    ("claude", claude::measure),
    ("latency", latency::measure),
    ("model", model::measure),
    ("runner", runner::measure),
    ("tasks", tasks::measure),
    ("start", start::measure),
    ("rooms", rooms::measure),
    ("intake", intake::measure),
    ("outputs", outputs::measure),
    ("decoder", decoder::measure),
    ("footprint", footprint::measure),
    ("scale", scale::measure),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |flag: &str| args.iter().position(|a| a == flag).and_then(|at| args.get(at + 1)).cloned();
    // Only `cargo bench` passes this. With names, `cargo test` runs other tests.
    let trial = !args.iter().any(|a| a == "--bench");
    if trial && args.iter().any(|a| !a.starts_with('-')) {
        return ExitCode::SUCCESS;
    }
    let effort = Effort { quick: trial || args.iter().any(|a| a == "--quick"), trial };
    let only = if trial { Some(TRIAL.to_owned()) } else { value("--only") };
    let mut report = Report::default();
    for (name, measure) in SECTIONS {
        if only.as_deref().is_none_or(|only| only.split(',').any(|o| o == name)) {
            eprintln!("--- {name}");
            measure(effort, &mut report);
        }
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/BENCHMARKS.md");
    let whole = only.is_none() && !effort.quick;
    if let Some(out) = value("--out").map(PathBuf::from).or(whole.then_some(page)) {
        report.write(&out, &chrono::Utc::now().format("%Y-%m-%d").to_string());
        eprintln!("written to {}", out.display());
    }
    let slack = match effort {
        Effort { trial: true, .. } => TRIAL_SLACK,
        Effort { quick: true, .. } => SLACK,
        _ => 1.0,
    };
    let missed: Vec<_> = report.figures.iter().filter(|figure| !figure.met(slack)).collect();
    for figure in &missed {
        eprintln!("missed: {} ({:.2} {})", figure.what, figure.median(), figure.unit);
    }
    // A full run only reports; a quick run is a test.
    if effort.quick && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
