//! A conversation with the CLI as a state machine without I/O: it tracks written messages, settled messages, and costs.
//!
//! The CLI merges its inputs: several messages may become one turn, and a message that arrives during a tool call joins
//! the current turn. So results are not paired with messages. Instead each message carries an id, and the CLI reports
//! (`--replay-user-messages`) when it has taken the message with that id into the conversation. A result settles the
//! messages taken before it, and nothing else.

use chrono::{DateTime, Utc};
use parlor_protocol::{ErrorKind, Output};
use serde_json::Value;

use super::errors::{self, Clues};
use super::events::{Event, TurnResult};
use super::prompt;
use crate::live::{Message, Pending, Sorted, Step, Words, said};

/// The state of the CLI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There is none, or it is on its way out.
    Off,
    /// It takes messages, and opens its conversation.
    Opening,
    Open,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    pending: Pending,
    stage: Stage,
    /// The session that the next CLI resumes.
    resume: Option<String>,
    /// The conversation's cost at the last result.
    total: f64,
    /// The conversation that the last reported cost belongs to.
    counted: Option<String>,
    clues: Clues,
    words: Words,
    /// A tool said something in the chat in this turn.
    spoke: bool,
    /// True if the turn's answer was empty once.
    asked: bool,
    /// True if an empty answer is allowed: for a task.
    quiet: bool,
}

impl Session {
    /// A conversation that resumes a session, or begins a new one.
    pub fn new(resume: Option<String>) -> Self {
        Self {
            pending: Pending::default(),
            stage: Stage::Off,
            resume,
            total: 0.0,
            counted: None,
            clues: Clues::default(),
            words: Words::default(),
            spoke: false,
            asked: false,
            quiet: false,
        }
    }

    /// Allows an empty answer, for a task.
    pub fn quiet(self, quiet: bool) -> Self {
        Self { quiet, ..self }
    }

    /// The session to resume.
    pub fn to_resume(&self) -> Option<&str> {
        self.resume.as_deref()
    }

    /// Returns true if something waits for an answer.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Returns true if the CLI has its conversation open.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Returns which conversation the last result was of, failed or not, and what it had cost by then, in US dollars.
    pub fn spent(&self) -> Option<(&str, f64)> {
        self.counted.as_deref().map(|id| (id, self.total))
    }

    /// A CLI was started; `total` is what it counts from.
    pub fn started(&mut self, total: f64) -> Vec<Step> {
        self.stage = Stage::Opening;
        (self.total, self.counted) = (total, None);
        self.words.clear();
        (self.spoke, self.asked) = (false, false);
        self.clues = Clues { resumed: self.resume.is_some(), ..Clues::default() };
        self.flush()
    }

    /// No CLI can be started.
    pub fn not_started(&mut self, why: Sorted) -> Vec<Step> {
        vec![Step::Put(Box::new(why.output(self.pending.fail(), None)))]
    }

    /// Messages for the CLI, which gets them at once, whatever it does.
    pub fn give(&mut self, messages: Vec<Message>) -> Vec<Step> {
        self.pending.add(messages);
        self.flush()
    }

    fn flush(&mut self) -> Vec<Step> {
        if self.stage == Stage::Off {
            return Vec::new();
        }
        let line = |(id, content): (String, Vec<Value>)| Step::Write(prompt::line(&id, content));
        self.pending.unwritten().into_iter().map(line).collect()
    }

    /// The CLI told something.
    pub fn event(&mut self, event: Event, now: DateTime<Utc>) -> Vec<Step> {
        match event {
            Event::Taken { uuid } => drop(self.pending.taken(&uuid)),
            Event::Spoke => self.spoke = true,
            Event::Refused { error } => self.clues.refused = Some(error),
            Event::Retrying { after_ms } => self.clues.last_wait_ms = after_ms,
            Event::LimitReached { resets_at } => self.clues.resets_at = Some(resets_at),
            Event::Text(text) => self.words.note(&text),
            Event::Result(result) if result.is_error => return self.failed(&result, now),
            Event::Result(result) => return self.answered(*result),
            Event::Began { .. } if self.stage == Stage::Opening => self.stage = Stage::Open,
            Event::Began { .. } | Event::Other => {}
        }
        Vec::new()
    }

    /// The CLI did not open a conversation in time.
    pub fn stuck(&mut self, now: DateTime<Utc>) -> Vec<Step> {
        self.stage = Stage::Off;
        let reason = self.words.stuck(super::TITLE);
        self.has_pending().then(|| self.failure(&reason, now)).into_iter().collect()
    }

    /// The CLI has exited; `how` describes its end in words, `said` is the end of its stderr.
    pub fn ended(&mut self, how: &str, said: &str, now: DateTime<Utc>) -> Vec<Step> {
        let expected = std::mem::replace(&mut self.stage, Stage::Off) == Stage::Off;
        if expected || !self.has_pending() {
            return Vec::new();
        }
        let reason = self.words.ended(super::TITLE, how, said);
        vec![self.failure(&reason, now)]
    }

    fn answered(&mut self, result: TurnResult) -> Vec<Step> {
        if let Some(id) = &result.session_id {
            self.resume = Some(id.clone());
        }
        let mut text = said::answer(result.result.as_deref(), result.stop_reason.as_deref());
        let silent = text.is_none() && !self.spoke && self.pending.has_taken();
        if silent && !std::mem::replace(&mut self.asked, true) {
            // Its cost is counted with the next result.
            return vec![Step::Ask(said::SILENT)];
        }
        if silent && !self.quiet {
            text = Some(said::NO_ANSWER.to_owned());
        }
        (self.spoke, self.asked) = (false, false);
        let cost = self.cost(&result);
        // Claude Code resumes a conversation that was broken off with a turn of its own: its result does not answer a
        // message that still waits, be it the first.
        let consumed = self.pending.settle();
        let output = Output {
            result: text,
            new_session_id: self.resume.clone(),
            turn: Some(self.pending.turn()),
            consumed,
            usage: result.usage,
            cost_usd: cost,
            ..Output::default()
        };
        self.clues = Clues::default();
        self.words.clear();
        let mut steps = vec![Step::Put(Box::new(output))];
        if self.has_pending() {
            steps.push(Step::StillWorking);
        }
        steps
    }

    fn failed(&mut self, result: &TurnResult, now: DateTime<Utc>) -> Vec<Step> {
        self.clues.status = result.api_error_status;
        let mut reason = result.reason();
        if reason.is_empty() {
            reason.push_str("Claude Code failed without a reason");
        }
        if !self.has_pending() {
            // Nobody asked: something of its own accord went wrong, and the next message will meet it again if it lasts.
            // What it cost is counted with the next result.
            self.clues = Clues::default();
            return Vec::new();
        }
        let cost_usd = self.cost(result);
        // All that was written fails with it, and the CLI goes: what it still has in its queue comes back from the host,
        // and must not be answered twice.
        self.stage = Stage::Off;
        let failed = self.sorted(&reason, now).output(self.pending.fail(), result.usage.clone());
        vec![Step::Put(Box::new(Output { cost_usd, ..failed })), Step::End]
    }

    fn failure(&mut self, reason: &str, now: DateTime<Utc>) -> Step {
        let sorted = self.sorted(reason, now);
        Step::Put(Box::new(sorted.output(self.pending.fail(), None)))
    }

    fn sorted(&mut self, reason: &str, now: DateTime<Utc>) -> Sorted {
        let sorted = errors::sort(&std::mem::take(&mut self.clues), reason, now);
        if sorted.kind == ErrorKind::SessionMissing {
            self.resume = None;
        }
        sorted
    }

    /// Returns the cost of this turn: the CLI reports that of the whole conversation.
    fn cost(&mut self, result: &TurnResult) -> Option<f64> {
        let total = result.total_cost_usd.filter(|total| total.is_finite() && *total >= 0.0)?;
        // The total is lower than before: the CLI began to count anew.
        let cost = if total < self.total { total } else { total - self.total };
        self.total = total;
        self.counted.clone_from(&result.session_id);
        Some(cost)
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
