//! The outcome of a run.

use std::time::Duration;

use super::turn::Settled;
use crate::container::engine::Exit;
use crate::domain::run::RunState;

/// The exit code of a program that was killed (128 + SIGKILL).
pub const KILLED: i32 = 137;
/// Characters of stderr that an error names.
const STDERR_TAIL: usize = 200;

/// Why the host ends a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// No sign of life within the hard timeout.
    HardTimeout,
    /// The turn took longer than the limit.
    TurnLimit,
    /// The agent was asked to exit and did not.
    CloseGrace,
    /// By `/stop` or the operator.
    Stopped,
    /// The host shuts down.
    Shutdown,
}

/// Why a run failed, as far as it matters for another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The memory limit was reached.
    Memory,
    /// The image has no agent.
    NoAgent,
    /// The engine did not start its container, which may heal.
    NotStarted,
    /// Anything else, which may heal.
    Other,
}

/// How a run ended, and the inputs that it left unanswered.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The state for the run's row.
    pub state: RunState,
    /// The error for people; None on success.
    pub error: Option<String>,
    /// Shows whether another try may help.
    pub cause: Cause,
    /// The container's exit code, if there was one.
    pub exit_code: Option<i32>,
    /// The inputs that no turn answered.
    pub unsettled: Settled,
    /// The input files among them that the agent took.
    pub taken: Vec<String>,
    /// The number of parsed outputs, without heartbeats.
    pub outputs: u64,
    /// The time from start to end.
    pub duration: Duration,
}

impl Outcome {
    /// The outcome of a run whose own task ended without one.
    pub fn unknown() -> Self {
        Self {
            state: RunState::Failed,
            error: Some("the run ended without a word: see the log of the host".into()),
            cause: Cause::Other,
            exit_code: None,
            unsettled: Settled::default(),
            taken: Vec::new(),
            outputs: 0,
            duration: Duration::ZERO,
        }
    }
}

/// The facts at the end of a run.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// How the run ended; None if its client was abandoned.
    pub exit: Option<&'a Exit>,
    /// Why the host ended it, if it did.
    pub ended_for: Option<EndReason>,
    /// True if a turn was open.
    pub open: bool,
    /// True if the open turn had replied.
    pub replied: bool,
    /// The timeout as configured.
    pub timeout: Duration,
    /// The end of stderr.
    pub stderr: &'a str,
    /// True if the kernel ended a process in it for its memory limit.
    pub out_of_memory: bool,
    /// The image, for people.
    pub image: &'a str,
    /// The memory limit, for people.
    pub memory: &'a str,
    /// The number of parsed outputs.
    pub outputs: u64,
    /// The engine's name, for its own failures.
    pub engine: &'a str,
}

/// Classifies the end of a run: its state, the error for people, and the cause.
pub fn classify(facts: &Facts<'_>) -> (RunState, Option<String>, Cause) {
    let (state, error) = state(facts);
    let Some(exit) = facts.exit.filter(|_| facts.ended_for.is_none()) else { return (state, error, Cause::Other) };
    let silent = facts.open && facts.outputs == 0;
    let (no_agent, cause) = match exit {
        Exit::Code(KILLED) if facts.out_of_memory => {
            let error = format!("The container was ended because it reached its memory limit of {}", facts.memory);
            return (RunState::Failed, Some(error), Cause::Memory);
        }
        // A shell that has no such program says so with these codes.
        Exit::Code(code @ (126 | 127)) => {
            (Some((Some(*code), tail(facts.stderr, STDERR_TAIL).to_owned())), Cause::Other)
        }
        Exit::EngineRefused(refusal) => {
            let no_agent = refusal.no_program.then(|| (refusal.code, refusal.error.to_string()));
            (no_agent, if state == RunState::EngineFailed { Cause::NotStarted } else { Cause::Other })
        }
        Exit::Code(_) | Exit::Signal(_) => (None, Cause::Other),
    };
    if let Some((code, said)) = no_agent.filter(|_| silent) {
        let error = format!(
            "The image {} has no agent that speaks Parlor's protocol, such as /app/agent-runner{}{}. Choose another image; `parlor conformance {}` \
             checks one",
            facts.image,
            after_colon(&said),
            in_brackets(code),
            facts.image
        );
        return (RunState::Failed, Some(error), Cause::NoAgent);
    }
    (state, error, cause)
}

fn in_brackets(code: Option<i32>) -> String {
    code.map(|code| format!(" (code {code})")).unwrap_or_default()
}

/// Returns `: reason`, or nothing if there is no reason.
fn after_colon(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn state(facts: &Facts<'_>) -> (RunState, Option<String>) {
    let idle = facts.replied || !facts.open;
    match facts.ended_for {
        Some(EndReason::Stopped) => (RunState::Stopped, None),
        Some(EndReason::Shutdown) => (RunState::Interrupted, Some("Parlor was shut down while it ran".into())),
        Some(EndReason::CloseGrace) => (RunState::Succeeded, None),
        Some(EndReason::HardTimeout) if idle => (RunState::Succeeded, None),
        Some(EndReason::HardTimeout) => {
            (RunState::TimedOut, Some(format!("Container timed out after {} ms", facts.timeout.as_millis())))
        }
        // The turn ended while the host was about to end the run.
        Some(EndReason::TurnLimit) if !facts.open => (RunState::Succeeded, None),
        Some(EndReason::TurnLimit) => (RunState::TimedOut, Some("The turn took longer than any turn may".into())),
        None => classify_exit(facts),
    }
}

fn classify_exit(facts: &Facts<'_>) -> (RunState, Option<String>) {
    let tail = tail(facts.stderr, STDERR_TAIL);
    match facts.exit {
        Some(Exit::Code(0)) => (RunState::Succeeded, None),
        Some(Exit::EngineRefused(refusal)) if facts.open && !facts.replied => {
            let (code, why) = (in_brackets(refusal.code), &refusal.error);
            let error = format!("{} could not start the container{code}: {why}", facts.engine);
            (RunState::EngineFailed, Some(error))
        }
        Some(Exit::EngineRefused(refusal)) => {
            let error = format!("Container exited{}{}", in_brackets(refusal.code), after_colon(tail));
            (RunState::Failed, Some(error))
        }
        Some(Exit::Code(code)) => {
            let killed = if *code == KILLED { " (killed from outside, or for its memory limit)" } else { "" };
            let error = format!("Container exited with code {code}{killed}{}", after_colon(tail));
            (RunState::Failed, Some(error))
        }
        Some(Exit::Signal(signal)) => {
            (RunState::EngineFailed, Some(format!("the client of {} was killed by signal {signal}", facts.engine)))
        }
        None => (RunState::EngineFailed, Some(format!("{} did not say how the container ended", facts.engine))),
    }
}

/// Returns the last `max` characters.
fn tail(text: &str, max: usize) -> &str {
    let text = text.trim();
    let skip = text.chars().count().saturating_sub(max);
    text.char_indices().nth(skip).map_or("", |(at, _)| &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::engine::{EngineError, Refusal};

    fn facts(
        exit: Option<&Exit>,
        ended_for: Option<EndReason>,
        open: bool,
        replied: bool,
    ) -> (RunState, Option<String>) {
        let (state, error, cause) = classify(&Facts { exit, ended_for, open, replied, ..FACTS });
        assert_eq!(cause, Cause::Other);
        (state, error)
    }

    const FACTS: Facts<'_> = Facts {
        exit: None,
        ended_for: None,
        open: true,
        replied: false,
        timeout: Duration::from_secs(1800),
        stderr: "boom",
        out_of_memory: false,
        image: "an-image",
        memory: "2g",
        outputs: 0,
        engine: "docker",
    };

    fn refused(code: i32, no_program: bool, reason: &str) -> Exit {
        let error = EngineError::Failed { engine: "docker".into(), action: "run".into(), reason: reason.into() };
        Exit::EngineRefused(Refusal { code: Some(code), no_program, error })
    }

    #[test]
    fn what_no_other_try_heals_is_named() {
        let of = |code, facts: Facts<'_>| classify(&Facts { exit: Some(&Exit::Code(code)), ..facts });
        let (state, error, cause) = of(137, Facts { out_of_memory: true, ..FACTS });
        assert_eq!((state, cause), (RunState::Failed, Cause::Memory));
        assert!(error.unwrap().ends_with("its memory limit of 2g"));
        // Killed by a person: that may not happen again.
        assert_eq!(of(137, FACTS).2, Cause::Other);
        // A shell got the prompt, or the engine did not find the program.
        for exit in [Exit::Code(127), refused(127, true, "exec: \"/x\": no such file")] {
            let (state, error, cause) = classify(&Facts { exit: Some(&exit), ..FACTS });
            let error = error.unwrap();
            assert_eq!((state, cause), (RunState::Failed, Cause::NoAgent), "{error}");
            assert!(error.contains("an-image") && error.contains("`parlor conformance an-image`"), "{error}");
            assert!(!error.contains("could not start the container"), "{error}");
        }
        // A folder that is to be mounted may come back; an agent that has spoken is one.
        let exit = refused(127, false, "error mounting \"/x\": no such file");
        let (state, error, cause) = classify(&Facts { exit: Some(&exit), ..FACTS });
        assert_eq!((state, cause), (RunState::EngineFailed, Cause::NotStarted));
        let error = error.unwrap();
        assert!(
            error.starts_with("docker could not start the container (code 127): docker run: error mounting"),
            "{error}"
        );
        let (state, error, cause) = of(127, Facts { outputs: 1, ..FACTS });
        assert_eq!(
            (state, error.as_deref(), cause),
            (RunState::Failed, Some("Container exited with code 127: boom"), Cause::Other)
        );
    }

    #[test]
    fn an_error_without_words_has_no_colon() {
        let (_, error, _) = classify(&Facts { exit: Some(&Exit::Code(3)), stderr: " \n", ..FACTS });
        assert_eq!(error.unwrap(), "Container exited with code 3");
    }

    #[test]
    fn timeout_is_a_success_if_no_answer_was_owed() {
        use EndReason::HardTimeout as T;
        assert_eq!(facts(None, Some(T), false, false).0, RunState::Succeeded);
        assert_eq!(facts(None, Some(T), true, true).0, RunState::Succeeded);
        let (state, error) = facts(None, Some(T), true, false);
        assert_eq!((state, error.unwrap().as_str()), (RunState::TimedOut, "Container timed out after 1800000 ms"));
    }

    #[test]
    fn exits_are_told_apart() {
        assert_eq!(facts(Some(&Exit::Code(0)), None, false, false), (RunState::Succeeded, None));
        let (state, error) = facts(Some(&Exit::Code(3)), None, true, false);
        assert_eq!((state, error.unwrap().as_str()), (RunState::Failed, "Container exited with code 3: boom"));
        let exit = refused(125, false, "no daemon");
        assert_eq!(classify(&Facts { exit: Some(&exit), ..FACTS }).0, RunState::EngineFailed);
        // One that had answered was started, whatever its engine says later.
        let answered = Facts { exit: Some(&exit), replied: true, ..FACTS };
        assert_eq!(classify(&answered).0, RunState::Failed);
        assert_eq!(facts(Some(&Exit::Signal(9)), None, true, false).0, RunState::EngineFailed);
    }

    #[test]
    fn tail_counts_characters() {
        assert_eq!(tail("aé😀b", 2), "😀b");
        assert_eq!(tail("ab", 200), "ab");
    }
}
