//! A room of the virtual world: an agent with moods, and the run around it, which uses the real decisions.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parlor_protocol::{ErrorKind, InputFile, Output, Status, Turn};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::rng::Rng;
use crate::container::engine::{EngineError, Exit, Refusal};
use crate::container::run::pump::Pumped;
use crate::container::run::state::{Effect, End, Event, Phase, State};
use crate::container::run::timers::Limits;
use crate::container::run::{EndReason, Item, Order, Outcome, Redact};
use crate::dispatch::event::AgentOutput;
use crate::domain::ids::{RunId, TaskId};

/// The exit code of a client whose engine did not start the container.
pub(super) const NOT_STARTED: i32 = 125;

/// What an agent is asked.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    Messages(Vec<i64>),
    Task(TaskId, DateTime<Utc>),
}

impl Asked {
    /// Returns the text of the answer.
    fn answer(&self) -> String {
        match self {
            Self::Messages(seqs) => seqs.iter().fold(String::new(), |text, seq| text + "re:" + &seq.to_string() + " "),
            Self::Task(task, due) => format!("task {task} {}", due.timestamp_millis()),
        }
    }
}

#[derive(Debug)]
pub(super) struct Room {
    pub(super) run: RunId,
    pub(super) state: State,
    started: Instant,
    /// The agent does nothing before this time.
    pub(super) acts_at: Instant,
    /// The current work.
    working: Vec<(Option<String>, Asked)>,
    /// Input files that the agent has not taken yet.
    inputs: VecDeque<(String, Asked)>,
    /// Input files that the agent has taken.
    taken: Vec<String>,
    /// The agent was asked to exit.
    leaves: bool,
    /// The agent does nothing any more.
    hangs: bool,
    /// The agent names the inputs of a turn; otherwise missing files count.
    names: bool,
}

/// The agent's next act.
pub(super) enum Act {
    /// It prints this, and goes on if there is more work.
    Prints(Vec<Pumped>),
    /// It exits.
    Exits(i32),
    /// It does nothing.
    Waits,
}

/// The consequences of an event.
#[derive(Default)]
pub(super) struct Came {
    pub(super) items: Vec<AgentOutput>,
    /// The agent is asked to exit.
    pub(super) close: bool,
    /// The container is ended.
    pub(super) end: Option<EndReason>,
}

impl Room {
    pub(super) fn new(run: RunId, asked: Asked, limits: Limits, now: Instant, rng: &mut Rng) -> Self {
        Self {
            run,
            state: State::new(limits, now),
            started: now,
            acts_at: now,
            working: vec![(None, asked)],
            inputs: VecDeque::new(),
            taken: Vec::new(),
            leaves: false,
            hangs: false,
            names: rng.chance(800),
        }
    }

    /// Gives an event to the run.
    pub(super) fn apply(&mut self, event: Event, now: Instant) -> Came {
        let keep: Redact = Arc::new(|_| None);
        let mut came = Came::default();
        for effect in self.state.apply(event, "room", &keep, now) {
            match effect {
                Effect::Write(..) => {}
                Effect::Close => (self.leaves, came.close) = (true, true),
                Effect::End(reason) => came.end = Some(reason),
                Effect::Report(Item::Output { output, settled, open, .. }) => {
                    came.items.push(AgentOutput::Output { output, settled, open });
                }
                Effect::Report(Item::Unreadable { why, settled, open }) => {
                    came.items.push(AgentOutput::Unreadable { why, settled, open });
                }
            }
        }
        came
    }

    /// Gives the agent a follow-up. `written` is false if the disk fails.
    pub(super) fn deliver(&mut self, name: String, asked: Asked, written: bool, now: Instant) -> Came {
        let file = InputFile::Message { text: String::new(), images: Vec::new() };
        let keep: Redact = Arc::new(|_| None);
        let order = Event::Order(Some(Order::Deliver { name: name.clone(), file }));
        if self.state.apply(order, "room", &keep, now).is_empty() {
            return Came::default();
        }
        if written {
            self.inputs.push_back((name.clone(), asked));
        }
        self.apply(Event::Written { name, well: written }, now)
    }

    /// Gives the agent's output to the run.
    pub(super) fn hear(&mut self, printed: Pumped, now: Instant) -> Came {
        let mut gone = self.state.looks_for(&printed);
        gone.retain(|name| self.taken.contains(name));
        self.apply(Event::Found(printed, gone), now)
    }

    pub(super) fn is_ending(&self) -> bool {
        *self.state.phase() != Phase::Running
    }

    /// Does one act. A `calm` agent answers all its work.
    pub(super) fn act(&mut self, calm: bool, rng: &mut Rng) -> Act {
        if self.hangs && !calm {
            return Act::Waits;
        }
        while !self.inputs.is_empty() && (calm || rng.chance(700)) {
            if let Some((name, asked)) = self.inputs.pop_front() {
                self.taken.push(name.clone());
                self.working.push((Some(name), asked));
            }
        }
        if self.working.is_empty() {
            return if self.leaves { Act::Exits(0) } else { Act::Waits };
        }
        match if calm { 999 } else { rng.below(1000) } {
            0..20 => {
                self.hangs = true;
                Act::Waits
            }
            20..50 => Act::Exits(*rng.pick(&[0, 1, 137, 143])),
            50..70 => {
                self.working.clear();
                Act::Prints(vec![Pumped::Unreadable { why: "it is broken".into(), ends: true }])
            }
            70..80 => Act::Prints(vec![Pumped::Unreadable { why: "it is broken".into(), ends: false }]),
            80..150 => {
                let text = format!("thinking {}", rng.next());
                Act::Prints(vec![print(Output { turn: Some(Turn::Open), result: Some(text), ..Output::default() })])
            }
            150..200 => Act::Prints(vec![print(Output { heartbeat: true, ..Output::default() })]),
            200..280 => {
                let output = self.fails(rng);
                self.working.clear();
                Act::Prints(vec![print(output)])
            }
            _ => {
                let consumed: Vec<String> = self.working.iter().filter_map(|(name, _)| name.clone()).collect();
                let text: String = self.working.iter().map(|(_, asked)| asked.answer()).collect();
                self.working.clear();
                Act::Prints(vec![print(Output {
                    result: Some(text),
                    new_session_id: Some(format!("session-{}", rng.below(1_000_000))),
                    turn: self.names.then_some(Turn::Done),
                    consumed: if self.names { consumed } else { Vec::new() },
                    ..Output::default()
                })])
            }
        }
    }

    fn fails(&self, rng: &mut Rng) -> Output {
        use ErrorKind::{Auth, Other, Overloaded, Quota, RateLimit, Refused, SessionMissing, Unreachable};
        let task = self.working.iter().any(|(_, asked)| matches!(asked, Asked::Task(..)));
        let kinds = [Other, Other, Overloaded, RateLimit, Unreachable, Auth, Quota, Refused, SessionMissing];
        // A task whose session is missing runs twice, and rightly so.
        let kind = Some(*rng.pick(&kinds)).filter(|kind| !(task && *kind == SessionMissing));
        Output {
            status: Status::Error,
            error: Some("the vendor has trouble".into()),
            error_kind: kind,
            turn: Some(Turn::Done),
            consumed: self.working.iter().filter_map(|(name, _)| name.clone()).collect(),
            ..Output::default()
        }
    }

    /// Returns the outcome as a real run does. `code` is None if the host ended it.
    pub(super) fn outcome(&mut self, code: Option<i32>, now: Instant) -> Outcome {
        let exit = code.map(|code| {
            if code != NOT_STARTED {
                return Exit::Code(code);
            }
            let error =
                EngineError::Failed { engine: "engine".into(), action: "run".into(), reason: "it has trouble".into() };
            Exit::EngineRefused(Refusal { code: Some(code), no_program: false, error })
        });
        self.apply(Event::Gone(exit.clone()), now);
        let (stderr, image, memory, engine) = ("", "image", "1g", "engine");
        let duration = now - self.started;
        let end = End { stderr, out_of_memory: false, image, memory, engine, exit: exit.as_ref(), duration };
        self.state.outcome(&end, |name| self.taken.iter().any(|taken| taken == name))
    }
}

fn print(output: Output) -> Pumped {
    let share = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a permit");
    Pumped::Output { output: Box::new(output), share }
}
