//! A conversation with the CLI as a state machine without I/O: what was written, what a turn's end settles, what it
//! used.
//!
//! The CLI is greeted, then a thread is opened or resumed, and only then messages are written. One that comes during a
//! turn joins it, or the next one. So the end of a turn is not paired with a message: each carries an id, and the CLI
//! tells when the message with that id is part of the conversation. A turn's end settles what was taken before it.

use chrono::{DateTime, Utc};
use parlor_protocol::{ErrorKind, Output, Status, Turn};
use serde_json::Value;

use super::errors;
use super::events::{Event, Fault, Line};
use super::meter::Meter;
use super::prompt;
use super::requests::{self, Setup};
use crate::live::said;

/// The most words of the CLI that are kept to explain a failure.
const WORDS: usize = 1000;

/// A message for the agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// An id that no other message has.
    pub id: String,
    /// The input's file name; none for the run's first prompt.
    pub name: Option<String>,
    /// Texts and pictures, as the CLI takes them.
    pub input: Vec<Value>,
}

/// A message that has no answer yet.
#[derive(Debug)]
struct Pending {
    message: Message,
    written: bool,
    taken: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Write this line.
    Write(String),
    /// Put out a text of a turn that goes on.
    Say(String),
    /// Put out this output, which ends a turn.
    Put(Box<Output>),
    /// Something still waits for its answer: the next turn is open.
    StillWorking,
    /// The CLI is of no use any more: end it.
    End,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    setup: Setup,
    pending: Vec<Pending>,
    /// The thread that the next CLI resumes.
    resume: Option<String>,
    /// The thread of the live CLI, once it is open.
    thread: Option<String>,
    /// The model of that thread, as the CLI says.
    model: Option<String>,
    /// The number of the next request that writes a message.
    next: u64,
    meter: Meter,
    /// What the agent said last, while it may be its answer.
    answer: Option<String>,
    /// When the subscription's limit, if one is used up, begins anew.
    resets_at: Option<i64>,
    words: String,
    /// A tool said something in the chat in this turn.
    spoke: bool,
    /// The turn's answer was empty once.
    asked: bool,
}

impl Session {
    /// A conversation that resumes a thread, or begins.
    pub fn new(setup: Setup, resume: Option<String>) -> Self {
        Self {
            setup,
            pending: Vec::new(),
            resume,
            thread: None,
            model: None,
            next: requests::FIRST_MESSAGE,
            meter: Meter::default(),
            answer: None,
            resets_at: None,
            words: String::new(),
            spoke: false,
            asked: false,
        }
    }

    /// The model that answers, where the CLI says so.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Returns true if something waits for an answer.
    pub fn is_open(&self) -> bool {
        !self.pending.is_empty()
    }

    /// A CLI was started.
    pub fn started(&mut self) -> Vec<Step> {
        self.thread = None;
        self.next = requests::FIRST_MESSAGE;
        self.meter = Meter::default();
        self.answer = None;
        self.words.clear();
        (self.spoke, self.asked) = (false, false);
        vec![Step::Write(requests::greeting())]
    }

    /// A message for the CLI, which gets it as soon as its thread is open.
    pub fn give(&mut self, message: Message) -> Vec<Step> {
        self.pending.push(Pending { message, written: false, taken: false });
        self.flush()
    }

    fn flush(&mut self) -> Vec<Step> {
        let Some(thread) = &self.thread else { return Vec::new() };
        let mut steps = Vec::new();
        for one in self.pending.iter_mut().filter(|one| !one.written) {
            steps.push(Step::Write(requests::message(self.next, thread, &self.setup, &one.message)));
            self.next += 1;
            one.written = true;
        }
        steps
    }

    /// The CLI told something.
    pub fn event(&mut self, line: Line, now: DateTime<Utc>) -> Vec<Step> {
        // What sub-agents do is theirs; their tokens are counted.
        let foreign = line.thread.is_some() && self.thread.is_some() && line.thread != self.thread;
        match line.event {
            Event::Started { turn } => self.meter.begin(&turn),
            Event::Used { turn, total, last } => self.meter.used(line.thread.as_deref(), &turn, total, last),
            Event::Asked { id, method } => return vec![Step::Write(requests::nobody_there(&id, &method))],
            _ if foreign => {}
            Event::Answered { id, result } => return self.answered(id, result, now),
            Event::Taken { message } => return self.taken(&message),
            Event::Said { text, aside } => {
                self.answer = Some(text).filter(|text| !aside && !text.trim().is_empty());
            }
            Event::Worked => self.answer = None,
            Event::Spoke => (self.answer, self.spoke) = (None, true),
            Event::LimitReached { resets_at } => self.resets_at = Some(resets_at),
            Event::Trouble { fault, again: true } if errors::is_final(&fault) => return self.failed(&fault, now),
            // Without another try the turn's end follows.
            Event::Trouble { fault, .. } => self.note(&fault.message),
            Event::Ended { fault: Some(fault), .. } => return self.failed(&fault, now),
            Event::Ended { fault: None, text } => return self.ended_well(text),
            Event::Text(text) => self.note(&text),
            Event::ServerFailed { .. } | Event::Other => {}
        }
        Vec::new()
    }

    fn answered(&mut self, id: u64, result: Result<Value, String>, now: DateTime<Utc>) -> Vec<Step> {
        match (id, result) {
            (requests::GREETING, Ok(_)) => {
                requests::opening(&self.setup, self.resume.as_deref()).into_iter().map(Step::Write).collect()
            }
            (requests::SKILLS, Err(why)) => {
                eprintln!("skills are not offered: {why}");
                Vec::new()
            }
            (requests::THREAD, Ok(result)) => {
                let Some(id) = result["thread"]["id"].as_str() else {
                    return self.broken("it opened no conversation", now);
                };
                self.thread = Some(id.to_owned());
                self.model = result["model"].as_str().map(str::to_owned);
                self.flush()
            }
            (requests::THREAD, Err(why)) if self.resume.is_some() && errors::is_missing(&why) => {
                self.resume = None;
                let output = Output { error_kind: Some(ErrorKind::SessionMissing), ..self.failure(why) };
                vec![Step::Put(Box::new(output)), Step::End]
            }
            (_, Err(why)) => self.broken(&why, now),
            (_, Ok(_)) => Vec::new(),
        }
    }

    fn taken(&mut self, id: &str) -> Vec<Step> {
        let Some(one) = self.pending.iter_mut().find(|one| one.message.id == id) else { return Vec::new() };
        one.taken = true;
        // What was said before this message answers an earlier one, and would otherwise be heard by nobody.
        self.answer.take().map(Step::Say).into_iter().collect()
    }

    fn ended_well(&mut self, text: Option<String>) -> Vec<Step> {
        self.resume.clone_from(&self.thread);
        let mut text = said::answer(self.answer.take().or(text).as_deref(), None);
        let silent = text.is_none() && !self.spoke && self.pending.iter().any(|one| one.taken);
        if silent && !std::mem::replace(&mut self.asked, true) {
            let id = format!("again-{}", self.next);
            return self.give(Message { id, name: None, input: prompt::message(said::SILENT) });
        }
        if silent && !self.setup.quiet {
            text = Some(said::NO_ANSWER.to_owned());
        }
        (self.spoke, self.asked) = (false, false);
        // Only messages that were taken are settled: this may be the end of a turn that no message began.
        let (settled, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|one| one.taken);
        self.pending = waiting;
        // An answer of its own accord must not settle the first prompt, which the host takes every end of a turn for.
        let open = self.pending.iter().any(|one| one.message.name.is_none());
        let (usage, cost_usd) = self.meter.take(self.setup.price);
        let output = Output {
            result: text,
            new_session_id: self.resume.clone(),
            turn: Some(if open { Turn::Open } else { Turn::Done }),
            consumed: settled.into_iter().filter_map(|one| one.message.name).collect(),
            usage,
            cost_usd,
            ..Output::default()
        };
        self.resets_at = None;
        self.words.clear();
        let mut steps = vec![Step::Put(Box::new(output))];
        if self.is_open() {
            steps.push(Step::StillWorking);
        }
        steps
    }

    /// A turn failed. All that was written fails with it, and the CLI goes: what it still has in its queue comes back
    /// from the host, and must not be answered twice.
    fn failed(&mut self, fault: &Fault, now: DateTime<Utc>) -> Vec<Step> {
        self.answer = None;
        if !self.is_open() {
            // Nobody asked: the next message will meet it again if it lasts.
            return Vec::new();
        }
        let sorted = errors::sort(fault, self.resets_at.take(), now);
        let reason = errors::told(fault);
        let output = Output { error_kind: Some(sorted.kind), retry_at: sorted.retry_at, ..self.failure(reason) };
        vec![Step::Put(Box::new(output)), Step::End]
    }

    fn broken(&mut self, why: &str, now: DateTime<Utc>) -> Vec<Step> {
        let mut steps = self.failed(&Fault { message: format!("Codex refused: {why}"), ..Fault::default() }, now);
        if steps.is_empty() {
            steps.push(Step::End);
        }
        steps
    }

    /// Returns true if the CLI has its conversation open.
    pub fn is_ready(&self) -> bool {
        self.thread.is_some()
    }

    /// The CLI did not open a conversation in time.
    pub fn stuck(&mut self, now: DateTime<Utc>) -> Vec<Step> {
        let words = self.words.trim();
        let words = if words.is_empty() { "it said nothing" } else { words };
        let message = format!("Codex did not open a conversation in time and was ended: {words}");
        let mut steps = self.failed(&Fault { message, ..Fault::default() }, now);
        if steps.is_empty() {
            steps.push(Step::End);
        }
        steps
    }

    /// The CLI is gone; `how` says in words how it ended, `said` is the end of its stderr.
    pub fn ended(&mut self, how: &str, said: &str) -> Vec<Step> {
        self.thread = None;
        if self.pending.is_empty() {
            return Vec::new();
        }
        self.note(said);
        let words = self.words.trim();
        let words = if words.is_empty() { "it gave no reason" } else { words };
        let reason = format!("Codex ended with {how}: {words}");
        vec![Step::Put(Box::new(self.failure(reason)))]
    }

    /// Text that may explain a failure; the last of it is kept.
    fn note(&mut self, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        self.words.push_str(text.trim());
        self.words.push('\n');
        if let Some((at, _)) = self.words.char_indices().rev().nth(WORDS) {
            self.words.drain(..at);
        }
    }

    fn failure(&mut self, reason: String) -> Output {
        let (usage, cost_usd) = self.meter.take(self.setup.price);
        Output {
            status: Status::Error,
            error: Some(reason),
            error_kind: Some(ErrorKind::Other),
            turn: Some(Turn::Done),
            consumed: std::mem::take(&mut self.pending).into_iter().filter_map(|one| one.message.name).collect(),
            usage,
            cost_usd,
            ..Output::default()
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
