//! The loop around a vendor's program: it starts, feeds, and ends the process, and passes on what the [`Vendor`]
//! decides.
//!
//! ```text
//! None ──start──▶ Opening ──is ready──▶ Running ──_close, nothing waits──▶ Leaving
//!   ▲               │ not in time          │ failed                         │ not in time
//!   │               ▼                      ▼                                ▼
//!   └───── gone ─── Dying ◀────────────────┴────────────────────────────────┘
//! ```
//! A process that ends by itself leads from each state to None. One in Dying is not heard any more.

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use chrono::Utc;
use parlor_protocol::inputs::{Input, Inputs};
use parlor_protocol::{ImageAttachment, Output, Status};
use serde_json::Value;

use super::{Live, Message, Signal, Sorted, Step, Vendor, brief, watch_inputs};
use crate::agent_toml::{AgentToml, Notices};
use crate::provider::{Room, failure};

/// How long a process may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// To open its conversation.
    open: Duration,
    /// To exit after its stdin was closed; see [`Program::exit`](super::Program::exit).
    exit: Option<Duration>,
}

const OPEN_LIMIT: Duration = Duration::from_secs(120);
/// The time to open a conversation that is left when the group's servers took as long as they may.
const OPEN_REST: Duration = Duration::from_secs(60);

/// Runs a vendor's program from the first prompt to `_close`.
pub fn run<V: Vendor>(room: Room, inputs: Inputs) -> ExitCode {
    let (to, signals) = mpsc::channel();
    if let Err(error) = watch_inputs(inputs, to.clone()) {
        room.wire.end_turn(&failure(format!("the input folder cannot be watched: {error}")));
        return ExitCode::FAILURE;
    }
    let Some(program) = V::PROGRAM.find() else {
        return V::PROGRAM.missing(&room, &signals);
    };
    let limits = Limits { open: OPEN_LIMIT, exit: V::PROGRAM.exit };
    let mut driver = Driver::new(V::new(&room, program), room, to, limits);
    driver.begin();
    driver.attend(&signals);
    ExitCode::SUCCESS
}

/// The process.
#[derive(Debug, Default)]
enum Child {
    #[default]
    None,
    /// It is to have its conversation open by then.
    Opening {
        live: Live,
        until: Instant,
    },
    Running(Live),
    /// Its stdin is closed; by then it is to be gone.
    Leaving {
        live: Live,
        until: Instant,
    },
    /// It was killed.
    Dying,
}

impl Child {
    fn live(&self) -> Option<&Live> {
        match self {
            Self::Opening { live, .. } | Self::Running(live) | Self::Leaving { live, .. } => Some(live),
            Self::None | Self::Dying => None,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Opening { until, .. } | Self::Leaving { until, .. } => Some(*until),
            Self::None | Self::Running(_) | Self::Dying => None,
        }
    }

    /// Ends the process.
    fn kill(&mut self) {
        if let Some(live) = self.live() {
            live.end();
            *self = Self::Dying;
        }
    }
}

struct Driver<V> {
    vendor: V,
    room: Room,
    child: Child,
    /// The host wants the run to end.
    closing: bool,
    /// How many problems of the settings the chat has heard of; None before the first answer.
    told: Option<usize>,
    limits: Limits,
    to: Sender<Signal>,
}

impl<V: Vendor> Driver<V> {
    fn new(vendor: V, room: Room, to: Sender<Signal>, limits: Limits) -> Self {
        Self { vendor, room, child: Child::None, closing: false, told: None, limits, to }
    }

    /// Gives the run's first prompt.
    fn begin(&mut self) {
        let input = &self.room.input;
        let content = content::<V>(brief::prompt(input), &input.image_attachments, &self.room.folders.group);
        self.give(vec![Message::new(None, content)]);
    }

    /// Handles signals until the host has closed the run, every message is settled, and the process is gone.
    fn attend(&mut self, signals: &Receiver<Signal>) {
        while !(self.closing && matches!(self.child, Child::None) && !self.vendor.has_pending()) {
            let signal = match self.child.deadline() {
                None => signals.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(end) => signals.recv_timeout(end.saturating_duration_since(Instant::now())),
            };
            match signal {
                Ok(signal) => self.signal(signal),
                Err(RecvTimeoutError::Timeout) => self.late(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.advance();
        }
    }

    fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Line(_) if matches!(self.child, Child::Dying) => {}
            Signal::Line(line) => {
                let steps = self.vendor.line(&line, Utc::now());
                self.perform(steps);
            }
            Signal::Ended { how, said } => {
                self.child = Child::None;
                let steps = self.vendor.ended(&how, &said, Utc::now());
                self.perform(steps);
                self.start();
            }
            Signal::Inputs(list) => {
                let group = &self.room.folders.group;
                let message = |Input { name, text, images }: Input| {
                    Message::new(Some(name), content::<V>(brief::dated(&text), &images, group))
                };
                let messages = list.into_iter().map(message).collect();
                self.give(messages);
            }
            Signal::Close => self.closing = true,
        }
    }

    fn give(&mut self, messages: Vec<Message>) {
        if !self.vendor.has_pending() {
            self.room.wire.begin_turn();
        }
        let steps = self.vendor.give(messages);
        self.perform(steps);
        self.start();
    }

    /// Starts a process if there is none and something waits for one.
    fn start(&mut self) {
        if !matches!(self.child, Child::None) || !self.vendor.has_pending() {
            return;
        }
        let steps = match self.spawn() {
            Ok(live) => {
                let until = Instant::now() + open_limit(self.vendor.settings(), self.limits.open);
                self.child = Child::Opening { live, until };
                self.vendor.started()
            }
            Err(why) => self.vendor.not_started(why),
        };
        self.perform(steps);
    }

    fn spawn(&mut self) -> Result<Live, Sorted> {
        let mut command = self.vendor.command(&self.room)?;
        Live::start(&mut command, &self.room.working, &self.to)
            .map_err(|error| V::PROGRAM.not_started(Path::new(command.get_program()), &error))
    }

    /// The process missed its deadline.
    fn late(&mut self) {
        if let Child::Opening { .. } = self.child {
            let steps = self.vendor.stuck(Utc::now());
            self.perform(steps);
        } else {
            eprintln!("{} does not exit: it is ended", V::PROGRAM.title);
        }
        self.child.kill();
    }

    /// Updates the state of a process that has its conversation open now, or that nobody needs any more.
    fn advance(&mut self) {
        let leaves = self.closing && !self.vendor.has_pending();
        self.child = match (std::mem::take(&mut self.child), self.limits.exit) {
            (Child::Opening { live, .. } | Child::Running(live), None) if leaves => {
                live.end();
                Child::Dying
            }
            (Child::Opening { mut live, .. } | Child::Running(mut live), Some(limit)) if leaves => {
                live.close();
                Child::Leaving { live, until: Instant::now() + limit }
            }
            (Child::Opening { live, .. }, _) if self.vendor.is_ready() => Child::Running(live),
            (child, _) => child,
        };
    }

    fn perform(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Write(line) => {
                    if let Some(live) = self.child.live() {
                        live.write(line);
                    }
                }
                Step::Ask(question) => {
                    self.give(vec![Message::new(None, vec![V::text(question)])]);
                }
                Step::Say(text) => self.room.wire.say(&text),
                Step::Put(output) => self.put(*output),
                Step::StillWorking => self.room.wire.begin_turn(),
                Step::End => self.child.kill(),
            }
        }
    }

    fn put(&mut self, mut output: Output) {
        let problems = self.vendor.settings().problems();
        if output.status == Status::Success && self.told.replace(problems.len()) != Some(problems.len()) {
            Notices::of(problems, &self.vendor.folder()).add_to(&mut output.result);
        }
        self.vendor.complete(&self.room, &mut output);
        self.room.wire.end_turn(&output);
    }
}

/// The content of a message. The pictures lie in the group's folder; the text names those that cannot be shown.
fn content<V: Vendor>(mut text: String, images: &[ImageAttachment], group: &Path) -> Vec<Value> {
    let mut pictures = Vec::new();
    for image in images {
        match brief::picture(image, group) {
            Ok(data) => pictures.push(V::picture(&image.media_type, &data)),
            Err(why) => text.push_str(&brief::no_picture(image, &why)),
        }
    }
    std::iter::once(V::text(&text)).chain(pictures).collect()
}

fn open_limit(settings: &AgentToml, least: Duration) -> Duration {
    let servers = settings.servers.values().map(|server| server.start + OPEN_REST).max();
    servers.unwrap_or_default().max(least)
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
