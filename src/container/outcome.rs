//! How a run ended.

use std::time::Duration;

use super::engine::Exit;
use super::turn::Settled;
use crate::domain::run::RunState;

/// Characters of stderr that an error names.
const STDERR_TAIL: usize = 200;

/// Why a run is being ended by the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// No sign of life within the hard timeout.
    HardTimeout,
    /// The turn took longer than any may.
    TurnLimit,
    /// It was asked to exit and did not.
    CloseGrace,
    /// `/stop`, or the operator.
    Stopped,
    /// The host shuts down.
    Shutdown,
}

/// How a run ended, and what it left unanswered.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The state for the run's row.
    pub state: RunState,
    /// For people; none on success.
    pub error: Option<String>,
    /// The container's exit code, where there was one.
    pub exit_code: Option<i32>,
    /// What no turn answered.
    pub unsettled: Settled,
    /// Of the inputs among it, those that the agent took.
    pub taken: Vec<String>,
    /// The open turn had already replied.
    pub replied: bool,
    /// Outputs parsed, heartbeats aside.
    pub outputs: u64,
    /// How long it took.
    pub duration: Duration,
}

impl Outcome {
    /// Of a run that is gone without a word.
    pub fn unknown() -> Self {
        Self {
            state: RunState::Failed,
            error: Some("the run ended without a word: see the log of the host".into()),
            exit_code: None,
            unsettled: Settled::default(),
            taken: Vec::new(),
            replied: false,
            outputs: 0,
            duration: Duration::ZERO,
        }
    }
}

/// What is known when a run has ended.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// How the engine's client ended; none when it was abandoned.
    pub exit: Option<Exit>,
    /// Why the host ended it, if it did.
    pub ended_for: Option<EndReason>,
    /// A turn was open.
    pub open: bool,
    /// The open turn had replied.
    pub replied: bool,
    /// The timeout as it was configured.
    pub timeout: Duration,
    /// The end of stderr.
    pub stderr: &'a str,
    /// The engine's name, for its own failures.
    pub engine: &'a str,
    /// What an exit code of the engine's own means, and what to do.
    pub refusal: Option<&'a str>,
}

/// Classifies the end of a run: its state, and the error for people.
pub fn classify(facts: &Facts<'_>) -> (RunState, Option<String>) {
    let idle = facts.replied || !facts.open;
    match facts.ended_for {
        Some(EndReason::Stopped) => (RunState::Stopped, None),
        Some(EndReason::Shutdown) => (RunState::Interrupted, Some("Parlor was shut down while it ran".into())),
        Some(EndReason::CloseGrace) => (RunState::Succeeded, None),
        Some(EndReason::HardTimeout) if idle => (RunState::Succeeded, None),
        Some(EndReason::HardTimeout) => {
            (RunState::TimedOut, Some(format!("Container timed out after {} ms", facts.timeout.as_millis())))
        }
        // It ended while the host was about to end it.
        Some(EndReason::TurnLimit) if !facts.open => (RunState::Succeeded, None),
        Some(EndReason::TurnLimit) => (RunState::TimedOut, Some("The turn took longer than any turn may".into())),
        None => classify_exit(facts),
    }
}

fn classify_exit(facts: &Facts<'_>) -> (RunState, Option<String>) {
    let tail = tail(facts.stderr, STDERR_TAIL);
    match facts.exit {
        Some(Exit::Code(0)) => (RunState::Succeeded, None),
        Some(Exit::Code(code @ (125..=127))) if facts.open && !facts.replied => {
            let why = facts.refusal.unwrap_or(tail);
            let error = format!("{} could not start the container (code {code}): {why}", facts.engine);
            (RunState::EngineFailed, Some(error))
        }
        Some(Exit::Code(code)) => (RunState::Failed, Some(format!("Container exited with code {code}: {tail}"))),
        Some(Exit::Signal(signal)) => {
            (RunState::EngineFailed, Some(format!("the client of {} was killed by signal {signal}", facts.engine)))
        }
        None => (RunState::EngineFailed, Some(format!("{} did not say how the container ended", facts.engine))),
    }
}

/// The last `max` characters.
fn tail(text: &str, max: usize) -> &str {
    let text = text.trim();
    let skip = text.chars().count().saturating_sub(max);
    text.char_indices().nth(skip).map_or("", |(at, _)| &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(
        exit: Option<Exit>,
        ended_for: Option<EndReason>,
        open: bool,
        replied: bool,
    ) -> (RunState, Option<String>) {
        let timeout = Duration::from_secs(1800);
        let (stderr, engine, refusal) = ("boom", "docker", None);
        classify(&Facts { exit, ended_for, open, replied, timeout, stderr, engine, refusal })
    }

    #[test]
    fn a_timeout_is_a_success_only_when_nothing_was_owed() {
        use EndReason::HardTimeout as T;
        assert_eq!(facts(None, Some(T), false, false).0, RunState::Succeeded);
        assert_eq!(facts(None, Some(T), true, true).0, RunState::Succeeded);
        let (state, error) = facts(None, Some(T), true, false);
        assert_eq!((state, error.unwrap().as_str()), (RunState::TimedOut, "Container timed out after 1800000 ms"));
    }

    #[test]
    fn exits_are_told_apart() {
        assert_eq!(facts(Some(Exit::Code(0)), None, false, false), (RunState::Succeeded, None));
        let (state, error) = facts(Some(Exit::Code(3)), None, true, false);
        assert_eq!((state, error.unwrap().as_str()), (RunState::Failed, "Container exited with code 3: boom"));
        assert_eq!(facts(Some(Exit::Code(125)), None, true, false).0, RunState::EngineFailed);
        assert_eq!(facts(Some(Exit::Signal(9)), None, true, false).0, RunState::EngineFailed);
    }

    #[test]
    fn the_tail_counts_characters() {
        assert_eq!(tail("aé😀b", 2), "😀b");
        assert_eq!(tail("ab", 200), "ab");
    }
}
