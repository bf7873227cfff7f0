//! A conversation with the CLI as a state machine without I/O.
//!
//! Each CLI is greeted, given the key, and opens one session. Then one prompt runs at a time, because a second prompt
//! would cancel the first. Messages that arrive meanwhile wait, and together become the next prompt.

use chrono::{DateTime, Utc};
use parlor_protocol::{ErrorKind, Output};
use serde_json::{Value, json};

use super::errors;
use super::events::{Event, Fault};
use super::prompt;
use crate::live::{Message, Pending, Sorted, Step, Words, said};

/// What a session is opened with.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The working directory. The place of the CLI's session files depends on it.
    pub cwd: String,
    /// The MCP servers.
    pub servers: Value,
    /// The vendor's key. It goes over stdin: from the environment, every command of the agent could read it.
    pub key: String,
    /// True if an empty answer is allowed: for a task.
    pub quiet: bool,
    /// True if the server always counts tokens, so that an answer without a count was cut off.
    pub counts: bool,
}

/// What the CLI is at; with the number of the request that it has not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No CLI runs, or it is on its way out.
    Off,
    Greeting(u64),
    Admitting(u64),
    Opening {
        id: u64,
        resuming: bool,
    },
    Idle,
    Prompting(u64),
}

/// The output of a turn so far.
#[derive(Debug, Default)]
struct Heard {
    /// The model's text since its last tool call; the field after it has the text before.
    last: String,
    before: String,
    tool: bool,
    /// True if a tool sent something to the chat.
    spoke: bool,
}

/// A conversation with the Gemini CLI.
#[derive(Debug)]
pub struct Session {
    setup: Setup,
    stage: Stage,
    requests: u64,
    /// The session to resume: that of the last successful turn.
    resume: Option<String>,
    /// The session that this CLI has open.
    open: String,
    /// What the prompt at work holds is taken.
    pending: Pending,
    heard: Heard,
    words: Words,
    /// The turn's answer was empty once.
    asked: bool,
}

impl Session {
    /// A conversation that resumes a session, or begins a new one.
    pub fn new(setup: Setup, resume: Option<String>) -> Self {
        Self {
            setup,
            stage: Stage::Off,
            requests: 0,
            resume,
            open: String::new(),
            pending: Pending::default(),
            heard: Heard::default(),
            words: Words::default(),
            asked: false,
        }
    }

    /// The session that the next CLI resumes.
    pub fn to_resume(&self) -> Option<&str> {
        self.resume.as_deref()
    }

    /// Returns true if something waits for an answer.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Returns true if the CLI has its session open.
    pub fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Idle | Stage::Prompting(_))
    }

    /// The CLI did not open a session in time. If `servers` is given, the next CLI gets these, and the messages are
    /// kept.
    pub fn stuck(&mut self, servers: Option<Value>) -> Vec<Step> {
        self.stage = Stage::Off;
        if let Some(servers) = servers {
            self.setup.servers = servers;
            return Vec::new();
        }
        let reason = self.words.stuck(super::TITLE);
        vec![self.failure(Sorted::new(ErrorKind::Other, reason), None)]
    }

    /// Adds messages.
    pub fn give(&mut self, messages: Vec<Message>) -> Vec<Step> {
        self.pending.add(messages);
        if self.stage == Stage::Idle { self.prompt() } else { Vec::new() }
    }

    /// A CLI was started.
    pub fn started(&mut self) -> Vec<Step> {
        self.words.clear();
        let params = json!({ "protocolVersion": 1, "clientCapabilities": {} });
        let (id, step) = self.request("initialize", &params);
        self.stage = Stage::Greeting(id);
        vec![step]
    }

    /// Handles an event of the CLI.
    pub fn event(&mut self, event: Event, now: DateTime<Utc>) -> Vec<Step> {
        match event {
            Event::Answer { id, result } => return self.answered(id, &result),
            Event::Refused { id, fault } => return self.refused(id, &fault, now),
            Event::Said(text) => self.heard.last.push_str(&text),
            Event::Tool { speaks } => {
                self.heard.tool = true;
                self.heard.spoke |= speaks;
                let said = std::mem::take(&mut self.heard.last);
                if !said.trim().is_empty() {
                    self.heard.before = said;
                }
            }
            Event::Past => self.heard = Heard::default(),
            Event::Asked { id, method, params } => return vec![Step::Write(prompt::reply(&id, &method, &params))],
            Event::Text(text) => self.words.note(&text),
            Event::Other => {}
        }
        Vec::new()
    }

    /// The CLI has exited; `how` describes its end in words, `said` is the end of its stderr.
    pub fn ended(&mut self, how: &str, said: &str) -> Vec<Step> {
        let expected = std::mem::replace(&mut self.stage, Stage::Off) == Stage::Off;
        if expected || !self.has_pending() {
            return Vec::new();
        }
        let reason = self.words.ended(super::TITLE, how, said);
        vec![self.failure(Sorted::new(ErrorKind::Other, reason), None)]
    }

    /// No CLI can be started.
    pub fn not_started(&mut self, why: Sorted) -> Vec<Step> {
        vec![self.failure(why, None)]
    }

    fn request(&mut self, method: &str, params: &Value) -> (u64, Step) {
        self.requests += 1;
        (self.requests, Step::Write(prompt::request(self.requests, method, params)))
    }

    fn answered(&mut self, id: u64, result: &Value) -> Vec<Step> {
        match self.stage {
            Stage::Greeting(of) if of == id => {
                let params = json!({ "methodId": "gemini-api-key", "_meta": { "api-key": self.setup.key } });
                let (id, step) = self.request("authenticate", &params);
                self.stage = Stage::Admitting(id);
                vec![step]
            }
            Stage::Admitting(of) if of == id => self.open(),
            Stage::Opening { id: of, .. } if of == id => {
                let fresh = result["sessionId"].as_str().map(str::to_owned);
                self.open = fresh.or_else(|| self.resume.clone()).unwrap_or_default();
                self.stage = Stage::Idle;
                self.prompt()
            }
            Stage::Prompting(of) if of == id => {
                self.stage = Stage::Idle;
                self.settled(result)
            }
            _ => Vec::new(),
        }
    }

    fn open(&mut self) -> Vec<Step> {
        let mut params = json!({ "cwd": self.setup.cwd, "mcpServers": self.setup.servers });
        let resuming = self.resume.is_some();
        if let Some(id) = &self.resume {
            params["sessionId"] = json!(id);
        }
        let (id, step) = self.request(if resuming { "session/load" } else { "session/new" }, &params);
        self.stage = Stage::Opening { id, resuming };
        vec![step]
    }

    /// Makes the next prompt from all waiting messages.
    fn prompt(&mut self) -> Vec<Step> {
        let waiting = self.pending.unwritten();
        if waiting.is_empty() {
            return Vec::new();
        }
        let mut blocks = Vec::new();
        for (id, content) in waiting {
            blocks.extend(content);
            self.pending.taken(&id);
        }
        self.asked = false;
        vec![self.write(&blocks)]
    }

    fn write(&mut self, blocks: &[Value]) -> Step {
        self.heard = Heard::default();
        let params = json!({ "sessionId": self.open, "prompt": blocks });
        let (id, step) = self.request("session/prompt", &params);
        self.stage = Stage::Prompting(id);
        step
    }

    fn settled(&mut self, result: &Value) -> Vec<Step> {
        let heard = std::mem::take(&mut self.heard);
        let usage = usage(result);
        let stop = result["stopReason"].as_str().unwrap_or_default();
        let ending = ending(stop);
        let mut text = said::answer(heard.text().as_deref(), None);
        let uncounted = self.setup.counts && usage.is_none() && !heard.tool;
        let why = if stop == "cancelled" {
            Some("Gemini CLI broke the turn off")
        } else if ending.is_none() && uncounted {
            Some("Gemini CLI got no answer from the model: it was empty, broken off, or held back by the vendor")
        } else {
            None
        };
        if let Some(why) = why {
            return vec![self.failure(Sorted::new(ErrorKind::Other, why), usage)];
        }
        let silent = ending.is_none() && text.is_none() && !heard.spoke;
        if silent && !std::mem::replace(&mut self.asked, true) {
            return vec![self.write(&[prompt::text(said::SILENT)])];
        }
        if silent && !self.setup.quiet {
            text = Some(said::NO_ANSWER.to_owned());
        }
        self.resume = Some(self.open.clone());
        let consumed = self.pending.settle();
        let output = Output {
            result: with_ending(text, ending),
            new_session_id: self.resume.clone(),
            turn: Some(self.pending.turn()),
            consumed,
            usage,
            ..Output::default()
        };
        let mut steps = vec![Step::Put(Box::new(output))];
        if self.has_pending() {
            steps.push(Step::StillWorking);
            steps.extend(self.prompt());
        }
        steps
    }

    fn refused(&mut self, id: u64, fault: &Fault, now: DateTime<Utc>) -> Vec<Step> {
        match self.stage {
            // The CLI drops the failed prompt, and is ready for the next.
            Stage::Prompting(of) if of == id => {
                self.stage = Stage::Idle;
                vec![self.failure(errors::sort(fault, false, now), None)]
            }
            Stage::Greeting(of) | Stage::Admitting(of) | Stage::Opening { id: of, .. } if of == id => {
                let resuming = matches!(self.stage, Stage::Opening { resuming: true, .. });
                let sorted = errors::sort(fault, resuming, now);
                if sorted.kind == ErrorKind::SessionMissing {
                    self.resume = None;
                }
                self.stage = Stage::Off;
                let failed = self.failure(sorted, None);
                vec![failed, Step::End]
            }
            _ => Vec::new(),
        }
    }

    /// Fails all messages: the host closes the room of a failed turn, and sends the waiting messages again.
    fn failure(&mut self, sorted: Sorted, usage: Option<Value>) -> Step {
        Step::Put(Box::new(sorted.output(self.pending.fail(), usage)))
    }
}

impl Heard {
    /// Returns the model's last text, or, if it is empty, the text before the last tool call.
    fn text(&self) -> Option<String> {
        [&self.last, &self.before].into_iter().map(|text| text.trim()).find(|text| !text.is_empty()).map(str::to_owned)
    }
}

/// Returns why the model stopped early. Another try would only repeat the same work.
fn ending(stop: &str) -> Option<&'static str> {
    match stop {
        "max_tokens" => Some("What was said does not fit the model any more: /new begins a new conversation."),
        "max_turn_requests" => {
            Some("Gemini CLI ended the turn here: the model went in circles, or took too many steps.")
        }
        "refusal" => Some("The model refused to answer."),
        _ => None,
    }
}

fn with_ending(text: Option<String>, ending: Option<&str>) -> Option<String> {
    match (text, ending) {
        (Some(text), Some(ending)) => Some(format!("{text}\n\n({ending})")),
        (None, Some(ending)) => Some(format!("({ending})")),
        (text, None) => text,
    }
}

/// Returns the turn's tokens; None if the CLI counted none.
fn usage(result: &Value) -> Option<Value> {
    let count = |key: &str| result["_meta"]["quota"]["token_count"][key].as_u64();
    let (input, output) = (count("input_tokens")?, count("output_tokens")?);
    let mut usage = json!({ "input_tokens": input, "output_tokens": output });
    if let Some(model) = result["_meta"]["quota"]["model_usage"][0]["model"].as_str() {
        usage["model"] = json!(model);
    }
    (input + output > 0).then_some(usage)
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
