//! `parlor doctor`: checks everything that a host needs, and names a remedy for each fault.

mod checks;
mod engine;
mod rooms;
mod spend;

use clap::Args;
use serde_json::json;

use super::output::{colours, harmless, say_json, write};
use super::{Done, Failure};
use crate::config::{self, Overrides};

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Good,
    /// It works, but there is a problem.
    Warn,
    Bad,
}

/// The finding of a check: its subject, the result, the remedy.
#[derive(Debug, Clone)]
struct Finding {
    mark: Mark,
    what: &'static str,
    found: String,
    todo: String,
}

impl Finding {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { mark: Mark::Good, what, found: found.into(), todo: String::new() }
    }
    fn warn(what: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { mark: Mark::Warn, what, found: found.into(), todo: todo.into() }
    }
    fn bad(what: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { mark: Mark::Bad, what, found: found.into(), todo: todo.into() }
    }
}

impl Doctor {
    pub(super) async fn run(self, overrides: &Overrides) -> Done {
        let mut findings = Vec::new();
        match config::load(overrides) {
            Ok(settings) => {
                findings.push(Finding::good("settings", format!("in order, for {}", settings.home.root().display())));
                for warning in &settings.warnings {
                    findings.push(Finding::warn("settings", warning.clone(), "see `parlor config show --origin`"));
                }
                findings.extend(checks::all(&settings).await);
                findings.extend(spend::all(&settings));
                findings.extend(engine::all(&settings).await);
            }
            Err(error) => {
                for problem in error.problems {
                    let value = problem.value.map(|value| format!(" = {value:?}")).unwrap_or_default();
                    let found = format!("{}{value} ({})", problem.key, problem.source);
                    findings.push(Finding::bad("settings", found, problem.allowed));
                }
            }
        }
        if self.json {
            say_json(&findings.iter().map(as_json).collect())?;
        } else {
            let colours = colours();
            write(findings.iter().map(|finding| line(finding, colours)).collect::<String>().as_bytes())?;
        }
        if findings.iter().any(|finding| finding.mark == Mark::Bad) { Err(Failure::Said) } else { Ok(()) }
    }
}

fn as_json(finding: &Finding) -> serde_json::Value {
    let state = match finding.mark {
        Mark::Good => "ok",
        Mark::Warn => "warning",
        Mark::Bad => "failed",
    };
    json!({ "check": finding.what, "state": state, "found": finding.found, "todo": finding.todo })
}

fn line(finding: &Finding, colours: bool) -> String {
    let (sign, colour) = match finding.mark {
        Mark::Good => ("✓", "32"),
        Mark::Warn => ("!", "33"),
        Mark::Bad => ("✗", "31"),
    };
    let sign = if colours { format!("\u{1b}[{colour}m{sign}\u{1b}[0m") } else { sign.to_owned() };
    let found = harmless(&finding.found).replace('\n', "\n    ");
    let mut line = format!("{sign} {}: {found}\n", finding.what);
    if !finding.todo.is_empty() {
        line.extend(["    → ", &harmless(&finding.todo).replace('\n', "\n      "), "\n"]);
    }
    line
}
