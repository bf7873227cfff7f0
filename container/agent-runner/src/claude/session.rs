//! A conversation with the CLI as a state machine without I/O: what was written, what a result settles, what it cost.
//!
//! The CLI merges what is written to it: several messages may become one turn, and one that comes during a tool call
//! joins the turn at work. So results are not paired with messages. Instead each message carries an id, and the CLI
//! tells (`--replay-user-messages`) when it has taken the message with that id into the conversation. A result settles
//! what was taken before it, and nothing else.

use chrono::{DateTime, Utc};
use parlor_protocol::{Output, Status, Turn};

use super::errors::{self, Clues};
use super::events::{Event, TurnResult};
use crate::live::said;

/// The most words of the CLI that are kept to explain a failure.
const WORDS: usize = 1000;

/// A message that was written and has no answer yet.
#[derive(Debug)]
struct Pending {
    uuid: String,
    /// The input's file name; none for the run's first prompt.
    name: Option<String>,
    taken: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Put out this output, which ends a turn.
    Put(Box<Output>),
    /// Something that was written still waits for its answer: the next turn is open.
    StillWorking,
    /// Write this to the CLI, as a message of nobody.
    Ask(&'static str),
    /// The CLI is of no use any more: end it.
    End,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    pending: Vec<Pending>,
    /// The session that the next CLI resumes.
    resume: Option<String>,
    /// What the conversation had cost at the last result.
    total: f64,
    /// The conversation that the last result told the cost of.
    counted: Option<String>,
    clues: Clues,
    words: String,
    /// A tool said something in the chat in this turn.
    spoke: bool,
    /// The turn's answer was empty once.
    asked: bool,
    /// True if nothing to say is an answer, too: for a task.
    quiet: bool,
    /// This CLI has its conversation open.
    ready: bool,
}

impl Session {
    /// A conversation that resumes a session, or begins.
    pub fn new(resume: Option<String>) -> Self {
        Self {
            pending: Vec::new(),
            resume,
            total: 0.0,
            counted: None,
            clues: Clues::default(),
            words: String::new(),
            spoke: false,
            asked: false,
            quiet: false,
            ready: false,
        }
    }

    /// The same for a task, which may find nothing to say.
    pub fn quiet(self, quiet: bool) -> Self {
        Self { quiet, ..self }
    }

    /// The session to resume.
    pub fn to_resume(&self) -> Option<&str> {
        self.resume.as_deref()
    }

    /// Returns true if something waits for an answer.
    pub fn is_open(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Returns which conversation the last result was of, failed or not, and what it had cost by then, in US dollars.
    pub fn spent(&self) -> Option<(&str, f64)> {
        self.counted.as_deref().map(|id| (id, self.total))
    }

    /// A CLI was started; `total` is what it counts from.
    pub fn started(&mut self, total: f64) {
        self.ready = false;
        (self.total, self.counted) = (total, None);
        self.words.clear();
        (self.spoke, self.asked) = (false, false);
        self.clues = Clues { resumed: self.resume.is_some(), ..Clues::default() };
    }

    /// A message is written.
    pub fn written(&mut self, uuid: String, name: Option<String>) {
        self.pending.push(Pending { uuid, name, taken: false });
    }

    /// The CLI told something.
    pub fn event(&mut self, event: Event, now: DateTime<Utc>) -> Vec<Step> {
        match event {
            Event::Taken { uuid } => {
                if let Some(found) = self.pending.iter_mut().find(|one| one.uuid == uuid) {
                    found.taken = true;
                }
            }
            Event::Spoke => self.spoke = true,
            Event::Refused { error } => self.clues.refused = Some(error),
            Event::Retrying { after_ms } => self.clues.last_wait_ms = after_ms,
            Event::LimitReached { resets_at } => self.clues.resets_at = Some(resets_at),
            Event::Text(text) => self.note(&text),
            Event::Result(result) if result.is_error => return self.failed(&result, now),
            Event::Result(result) => return self.answered(*result),
            Event::Began { .. } => self.ready = true,
            Event::Other => {}
        }
        Vec::new()
    }

    /// Returns true if the CLI has its conversation open.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// The CLI did not open a conversation in time.
    pub fn stuck(&mut self, now: DateTime<Utc>) -> Vec<Step> {
        let words = self.words.trim();
        let words = if words.is_empty() { "it said nothing" } else { words };
        let reason = format!("Claude Code did not open a conversation in time and was ended: {words}");
        let failed = self.is_open().then(|| self.failure(&reason, None, None, now));
        failed.into_iter().chain([Step::End]).collect()
    }

    /// The CLI is gone; `how` says in words how it ended, `said` is the end of its stderr.
    pub fn ended(&mut self, how: &str, said: &str, now: DateTime<Utc>) -> Vec<Step> {
        if self.pending.is_empty() {
            return Vec::new();
        }
        self.note(said);
        let words = self.words.trim();
        let words = if words.is_empty() { "it gave no reason" } else { words };
        let reason = format!("Claude Code ended with {how}: {words}");
        vec![self.failure(&reason, None, None, now)]
    }

    /// Text that may explain a failure; the last of it is kept.
    pub fn note(&mut self, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        self.words.push_str(text.trim());
        self.words.push('\n');
        if let Some((at, _)) = self.words.char_indices().rev().nth(WORDS) {
            self.words.drain(..at);
        }
    }

    fn answered(&mut self, result: TurnResult) -> Vec<Step> {
        if let Some(id) = &result.session_id {
            self.resume = Some(id.clone());
        }
        let mut text = said::answer(result.result.as_deref(), result.stop_reason.as_deref());
        let silent = text.is_none() && !self.spoke && self.pending.iter().any(|one| one.taken);
        if silent && !std::mem::replace(&mut self.asked, true) {
            // Its cost is counted with the next result.
            return vec![Step::Ask(said::SILENT)];
        }
        if silent && !self.quiet {
            text = Some(said::NO_ANSWER.to_owned());
        }
        (self.spoke, self.asked) = (false, false);
        let cost = self.cost(&result);
        // Only messages that were taken are settled, also before the first of them: Claude Code resumes a conversation that
        // was broken off with a turn of its own, whose result does not answer a message that still waits.
        let (settled, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|one| one.taken);
        self.pending = waiting;
        // An answer of its own accord must not settle the first prompt, which the host takes every end of a turn for.
        let open = self.pending.iter().any(|one| one.name.is_none());
        let output = Output {
            result: text,
            new_session_id: self.resume.clone(),
            turn: Some(if open { Turn::Open } else { Turn::Done }),
            consumed: settled.into_iter().filter_map(|one| one.name).collect(),
            usage: result.usage,
            cost_usd: cost,
            ..Output::default()
        };
        self.clues = Clues::default();
        self.words.clear();
        let mut steps = vec![Step::Put(Box::new(output))];
        if self.is_open() {
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
        if !self.is_open() {
            // Nobody asked: something of its own accord went wrong, and the next message will meet it again if it lasts.
            // What it cost is counted with the next result.
            self.clues = Clues::default();
            return Vec::new();
        }
        let cost = self.cost(result);
        // All that was written fails with it, and the CLI goes: what it still has in its queue comes back from the host,
        // and must not be answered twice.
        vec![self.failure(&reason, cost, result.usage.clone(), now), Step::End]
    }

    fn failure(
        &mut self,
        reason: &str,
        cost_usd: Option<f64>,
        usage: Option<serde_json::Value>,
        now: DateTime<Utc>,
    ) -> Step {
        let clues = std::mem::take(&mut self.clues);
        let sorted = errors::sort(&clues, reason, now);
        if sorted.kind == parlor_protocol::ErrorKind::SessionMissing {
            self.resume = None;
        }
        Step::Put(Box::new(Output {
            status: Status::Error,
            error: Some(sorted.text),
            error_kind: Some(sorted.kind),
            retry_at: sorted.retry_at,
            turn: Some(Turn::Done),
            consumed: std::mem::take(&mut self.pending).into_iter().filter_map(|one| one.name).collect(),
            usage,
            cost_usd,
            ..Output::default()
        }))
    }

    /// Returns what this turn cost: the CLI counts the whole conversation.
    fn cost(&mut self, result: &TurnResult) -> Option<f64> {
        let total = result.total_cost_usd.filter(|total| total.is_finite() && *total >= 0.0)?;
        // Less than before: it began to count anew.
        let cost = if total < self.total { total } else { total - self.total };
        self.total = total;
        self.counted.clone_from(&result.session_id);
        Some(cost)
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
