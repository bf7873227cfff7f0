//! A conversation with the CLI as a state machine without I/O: it tracks written messages, settled messages, and
//! tokens.
//!
//! The CLI is greeted, then a thread is opened or resumed, and only then messages are written. A message that arrives
//! during a turn joins it, or the next one. So the end of a turn is not paired with a message: each message carries an
//! id, and the CLI reports when it is part of the conversation. A turn's end settles the messages taken before it.

use chrono::{DateTime, Utc};
use parlor_protocol::{ErrorKind, Output};
use serde_json::Value;

use super::errors;
use super::events::{Event, Fault, Line};
use super::meter::Meter;
use super::requests::{self, Setup};
use crate::live::{Message, Pending, Sorted, Step, Words, said};
use crate::refusal;

/// The state of the CLI.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// There is none, or it is on its way out.
    Off,
    Opening,
    /// It has this thread open.
    Open(String),
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    setup: Setup,
    pending: Pending,
    stage: Stage,
    /// The thread that the next CLI resumes.
    resume: Option<String>,
    /// The model of the thread, as the CLI says.
    model: Option<String>,
    /// The number of the next request that writes a message.
    next: u64,
    meter: Meter,
    /// The agent's last text, while it may be the answer.
    answer: Option<String>,
    /// When a used-up limit of the subscription starts anew.
    resets_at: Option<i64>,
    words: Words,
    /// A tool said something in the chat in this turn.
    spoke: bool,
    /// True if the turn's answer was empty once.
    asked: bool,
}

impl Session {
    /// A conversation that resumes a thread, or begins a new one.
    pub fn new(setup: Setup, resume: Option<String>) -> Self {
        Self {
            setup,
            pending: Pending::default(),
            stage: Stage::Off,
            resume,
            model: None,
            next: requests::FIRST_MESSAGE,
            meter: Meter::default(),
            answer: None,
            resets_at: None,
            words: Words::default(),
            spoke: false,
            asked: false,
        }
    }

    /// Returns the model that answers, if the CLI reported it.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Returns true if something waits for an answer.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Returns true if the CLI has its conversation open.
    pub fn is_ready(&self) -> bool {
        self.thread().is_some()
    }

    fn thread(&self) -> Option<&str> {
        match &self.stage {
            Stage::Open(thread) => Some(thread),
            Stage::Off | Stage::Opening => None,
        }
    }

    /// A CLI was started.
    pub fn started(&mut self) -> Vec<Step> {
        self.stage = Stage::Opening;
        self.next = requests::FIRST_MESSAGE;
        self.meter = Meter::default();
        self.answer = None;
        self.words.clear();
        (self.spoke, self.asked) = (false, false);
        vec![Step::Write(requests::greeting())]
    }

    /// No CLI can be started.
    pub fn not_started(&mut self, why: Sorted) -> Vec<Step> {
        vec![self.failure(why)]
    }

    /// Messages for the CLI, which gets them as soon as its thread is open.
    pub fn give(&mut self, messages: Vec<Message>) -> Vec<Step> {
        self.pending.add(messages);
        self.flush()
    }

    fn flush(&mut self) -> Vec<Step> {
        let Stage::Open(thread) = &self.stage else { return Vec::new() };
        let first = self.next;
        let messages = self.pending.unwritten();
        self.next += messages.len() as u64;
        let line = |(number, (id, content)): (u64, (String, Vec<Value>))| {
            Step::Write(requests::message(number, thread, &self.setup, &id, &content))
        };
        (first..).zip(messages).map(line).collect()
    }

    /// Handles a line of the CLI.
    pub fn event(&mut self, line: Line, now: DateTime<Utc>) -> Vec<Step> {
        // What sub-agents do is theirs; their tokens are counted.
        let foreign = line.thread.is_some() && self.is_ready() && line.thread.as_deref() != self.thread();
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
            Event::Trouble { fault, .. } => self.words.note(&fault.message),
            Event::Ended { fault: Some(fault), .. } => return self.failed(&fault, now),
            Event::Ended { fault: None, text } => return self.ended_well(text),
            Event::Text(text) => self.words.note(&text),
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
                self.stage = Stage::Open(id.to_owned());
                self.model = result["model"].as_str().map(str::to_owned);
                self.flush()
            }
            (requests::THREAD, Err(why)) if self.resume.is_some() && refusal::is_lost(&why) => {
                self.resume = None;
                self.stage = Stage::Off;
                vec![self.failure(Sorted::new(ErrorKind::SessionMissing, why)), Step::End]
            }
            (_, Err(why)) => self.broken(&why, now),
            (_, Ok(_)) => Vec::new(),
        }
    }

    fn taken(&mut self, id: &str) -> Vec<Step> {
        if !self.pending.taken(id) {
            return Vec::new();
        }
        // What was said before this message answers an earlier one, and would otherwise be heard by nobody.
        self.answer.take().map(Step::Say).into_iter().collect()
    }

    fn ended_well(&mut self, text: Option<String>) -> Vec<Step> {
        self.resume = self.thread().map(str::to_owned);
        let mut text = said::answer(self.answer.take().or(text).as_deref(), None);
        let silent = text.is_none() && !self.spoke && self.pending.has_taken();
        if silent && !std::mem::replace(&mut self.asked, true) {
            return vec![Step::Ask(said::SILENT)];
        }
        if silent && !self.setup.quiet {
            text = Some(said::NO_ANSWER.to_owned());
        }
        (self.spoke, self.asked) = (false, false);
        // This may be the end of a turn that no message began.
        let consumed = self.pending.settle();
        let (usage, cost_usd) = self.meter.take(self.setup.price);
        let output = Output {
            result: text,
            new_session_id: self.resume.clone(),
            turn: Some(self.pending.turn()),
            consumed,
            usage,
            cost_usd,
            ..Output::default()
        };
        self.resets_at = None;
        self.words.clear();
        let mut steps = vec![Step::Put(Box::new(output))];
        if self.has_pending() {
            steps.push(Step::StillWorking);
        }
        steps
    }

    /// A turn failed. All written messages fail with it, and the CLI is ended: the host sends the messages in its queue
    /// again, and they must not be answered twice.
    fn failed(&mut self, fault: &Fault, now: DateTime<Utc>) -> Vec<Step> {
        self.answer = None;
        if !self.has_pending() {
            // Nobody asked: the next message will meet it again if it lasts.
            return Vec::new();
        }
        self.stage = Stage::Off;
        let sorted = errors::sort(fault, self.resets_at.take(), now);
        vec![self.failure(sorted), Step::End]
    }

    /// The CLI refuses what every conversation needs.
    fn broken(&mut self, why: &str, now: DateTime<Utc>) -> Vec<Step> {
        let steps = self.failed(&Fault { message: format!("Codex refused: {why}"), ..Fault::default() }, now);
        self.stage = Stage::Off;
        if steps.is_empty() { vec![Step::End] } else { steps }
    }

    /// The CLI did not open a conversation in time.
    pub fn stuck(&mut self, now: DateTime<Utc>) -> Vec<Step> {
        self.stage = Stage::Off;
        let fault = Fault { message: self.words.stuck(super::TITLE), ..Fault::default() };
        let sorted = errors::sort(&fault, self.resets_at.take(), now);
        self.has_pending().then(|| self.failure(sorted)).into_iter().collect()
    }

    /// The CLI has exited; `how` describes its end in words, `said` is the end of its stderr.
    pub fn ended(&mut self, how: &str, said: &str) -> Vec<Step> {
        let expected = std::mem::replace(&mut self.stage, Stage::Off) == Stage::Off;
        if expected || !self.has_pending() {
            return Vec::new();
        }
        let reason = self.words.ended(super::TITLE, how, said);
        vec![self.failure(Sorted::new(ErrorKind::Other, reason))]
    }

    fn failure(&mut self, why: Sorted) -> Step {
        let (usage, cost_usd) = self.meter.take(self.setup.price);
        Step::Put(Box::new(Output { cost_usd, ..why.output(self.pending.fail(), usage) }))
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
