//! `parlor conformance`.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::output::{colours, harmless, say_json, write};
use super::{Done, Failure, failed};
use crate::config::settings::Settings;
use crate::conformance::checks::{Check, Level, Verdict, holds, judge};
use crate::conformance::{self, Options};
use crate::container::engine::cli_engine::CliOptions;
use crate::container::engine::detect::detect;
use crate::domain::words;

/// Runs an image through the protocol between host and agent, and says what holds.
///
/// Everything that NanoClaw v1's agents do must hold; exit code 1 when it does not. What Parlor adds may be missing.
/// The image runs in a few containers, in an installation of its own that is gone afterwards; no host needs to run. For
/// Parlor's own images --provider says which agent is checked.
#[derive(Debug, Args)]
pub(super) struct Conformance {
    /// The image, as the engine names it
    image: String,
    /// The prompt that it is asked to answer
    #[arg(long, value_name = "TEXT", default_value = "Hello! Please answer with one short sentence.")]
    say: String,
    /// A prompt that makes the agent ask the host for something, such as a message or a task
    #[arg(long, value_name = "TEXT")]
    ipc: Option<String>,
    /// A prompt whose turn takes over a minute, to see signs of life
    #[arg(long, value_name = "TEXT")]
    long: Option<String>,
    /// Pass the keys of .env, and give it the network
    #[arg(long)]
    secrets: bool,
    /// How long each answer may take, such as 90s
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = timeout)]
    timeout: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Parses a time limit of up to an hour; a bare number means seconds.
fn timeout(text: &str) -> Result<u64, &'static str> {
    let time = words::parse_seconds(text).map(|time| time.as_secs());
    time.filter(|seconds| (1..=3600).contains(seconds)).ok_or("use a time from 1s to 1h, such as 90s")
}

impl Conformance {
    pub(super) async fn run(self, settings: &Settings) -> Done {
        // Caught from now on, because no container may outlive an interrupted check.
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let engine = detect(settings.runtime.as_deref(), &CliOptions::default()).await?;
        if !engine.images().exists(&self.image).await? {
            return Err(Failure::Failed(format!(
                "{} has no image {}: pull or build it first",
                engine.name(),
                self.image
            )));
        }
        let options = Options {
            image: self.image,
            say: self.say,
            ipc: self.ipc,
            long: self.long,
            secrets: self.secrets,
            timeout: Duration::from_secs(self.timeout),
        };
        let interrupted = async {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        };
        let seen = conformance::observe(engine, settings, options, interrupted).await.map_err(|e| failed(&e))?;
        let Some(seen) = seen else {
            return Err(Failure::Failed("interrupted: its containers were removed".into()));
        };
        let checks = judge(&seen);
        let v1 = holds(&checks, Level::V1);
        if self.json {
            let all: Vec<_> = checks.iter().map(as_json).collect();
            say_json(&json!({ "v1": v1, "parlor": v1 && holds(&checks, Level::Parlor), "checks": all }))?;
        } else {
            write(report(&checks, colours()).as_bytes())?;
        }
        if v1 { Ok(()) } else { Err(Failure::Said) }
    }
}

fn as_json(check: &Check) -> serde_json::Value {
    json!({
        "check": check.name,
        "level": check.level.as_str(),
        "verdict": check.verdict.as_str(),
        "why": check.why,
        "todo": check.todo,
    })
}

fn report(checks: &[Check], colours: bool) -> String {
    let mut out = String::new();
    for (level, title) in [(Level::V1, "Every agent"), (Level::Parlor, "What Parlor adds")] {
        let _ = writeln!(out, "{title}");
        for check in checks.iter().filter(|check| check.level == level) {
            let colour = match check.verdict {
                Verdict::Ok => "32",
                Verdict::NotSeen => "90",
                Verdict::Missing if level == Level::Parlor => "33",
                Verdict::Missing | Verdict::Wrong => "31",
            };
            let mut verdict = format!("{:<8}", check.verdict.as_str());
            if colours {
                verdict = format!("\u{1b}[{colour}m{verdict}\u{1b}[0m");
            }
            let why = harmless(&check.why).replace('\n', " ");
            let _ = writeln!(out, "  {verdict}  {}: {why}", check.name);
            if !check.todo.is_empty() {
                let _ = writeln!(out, "            → {}", check.todo);
            }
        }
    }
    out.push_str(match (holds(checks, Level::V1), holds(checks, Level::Parlor)) {
        (true, true) => "The image speaks the protocol; none of Parlor's additions is missing.\n",
        (true, false) => "The image speaks the protocol; some of Parlor's additions are missing.\n",
        (false, _) => "The image does not speak the protocol.\n",
    });
    out
}
