//! The provider `claude`: Claude Code, one live process per run, driven by streams of JSON in both directions.
//!
//! [`session`] decides, and knows no I/O; [`events`], [`errors`] and [`prompt`] read and write what goes over the
//! streams; [`cli`] knows how it is called; here everything meets in one loop.

mod chosen;
mod cli;
mod errors;
mod events;
mod memo;
mod prompt;
mod session;
pub mod transcript;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use chrono::Utc;
use parlor_protocol::files::fresh_id;
use parlor_protocol::inputs::{Input, Inputs};
use parlor_protocol::{Output, Status, Turn};
use serde_json::Value;

use self::chosen::Chosen;
use self::events::Event;
use self::memo::Memo;
use self::session::{Session, Step};
use crate::agent_toml::Notices;
use crate::live::{self, Live, Program, Signal, brief};
use crate::provider::{Room, failure, not_started};

/// How long the CLI may take to exit after its stdin was closed.
const EXIT_LIMIT: Duration = Duration::from_secs(10);

const PROGRAM: Program = Program {
    title: "Claude Code",
    name: "claude",
    variable: "PARLOR_CLAUDE",
    remedy: "Make Parlor's image with `parlor image build full`, or install Claude Code in the image that CONTAINER_IMAGE \
             names.",
};

/// Runs the agent from its first prompt to `_close`.
pub(crate) fn main(room: Room, inputs: Inputs) -> ExitCode {
    let (to, signals) = mpsc::channel();
    if let Err(error) = live::watch_inputs(inputs, to.clone()) {
        room.wire.end_turn(&failure(format!("the input folder cannot be watched: {error}")));
        return ExitCode::FAILURE;
    }
    let Some(program) = PROGRAM.find() else {
        return PROGRAM.missing(&room, &signals);
    };
    let mut talk = Talk::new(room, program, to);
    let first = prompt::first(&talk.room.input, &talk.room.folders.group);
    talk.give(vec![(first, None)]);
    talk.attend(&signals);
    ExitCode::SUCCESS
}

/// Content for the CLI, and the input's name that it came under.
type Message = (Value, Option<String>);

struct Talk {
    room: Room,
    program: PathBuf,
    config: PathBuf,
    chosen: Chosen,
    /// What of the group's choice is not used, until it was told; none before the first answer.
    notices: Option<Notices>,
    memo: Memo,
    session: Session,
    cli: Option<Live>,
    /// What came while a CLI was on its way out.
    waiting: Vec<Message>,
    /// The CLI was killed and is not gone yet.
    doomed: bool,
    closing: bool,
    /// By then the CLI must be gone.
    deadline: Option<Instant>,
    /// By then it must have its conversation open.
    opening: Option<Instant>,
    to: Sender<Signal>,
}

impl Talk {
    fn new(room: Room, program: PathBuf, to: Sender<Signal>) -> Self {
        let config = Program::config_dir("CLAUDE_CONFIG_DIR", ".claude");
        let memo = Memo::open(&config);
        let session = Session::new(room.input.session_id.clone()).quiet(room.input.is_scheduled_task);
        let chosen = Chosen::read(&room.input);
        Self {
            room,
            program,
            config,
            chosen,
            notices: None,
            memo,
            session,
            cli: None,
            waiting: Vec::new(),
            doomed: false,
            closing: false,
            deadline: None,
            opening: None,
            to,
        }
    }

    /// Until the host has closed the run and the CLI is gone.
    fn attend(&mut self, signals: &Receiver<Signal>) {
        while !(self.closing && self.cli.is_none() && self.waiting.is_empty()) {
            if self.doomed || self.session.is_ready() {
                self.opening = None;
            }
            let next = [self.deadline, self.opening].into_iter().flatten().min();
            let left = next.map(|end| end.saturating_duration_since(Instant::now()));
            let signal = match left {
                None => signals.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(left) => signals.recv_timeout(left),
            };
            match signal {
                Ok(signal) => self.signal(signal),
                Err(RecvTimeoutError::Timeout) if self.opening.is_some_and(|end| end <= Instant::now()) => {
                    self.opening = None;
                    let steps = self.session.stuck(Utc::now());
                    self.perform(steps);
                }
                Err(RecvTimeoutError::Timeout) => {
                    eprintln!("Claude Code does not exit: it is ended");
                    self.deadline = None;
                    self.kill();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.finish();
        }
    }

    fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Line(_) if self.doomed => {}
            Signal::Line(line) => {
                let event = events::parse(&line);
                if let Event::Began { failed } = &event {
                    self.chosen.without_servers(failed);
                }
                let steps = self.session.event(event, Utc::now());
                self.perform(steps);
            }
            Signal::Ended { how, said } => {
                (self.cli, self.doomed, self.opening) = (None, false, None);
                let steps = self.session.ended(&how, &said, Utc::now());
                self.perform(steps);
                let waiting = std::mem::take(&mut self.waiting);
                self.give(waiting);
            }
            Signal::Inputs(list) => {
                let group = &self.room.folders.group;
                let shown = |input: Input| {
                    (prompt::with_pictures(brief::dated(&input.text), &input.images, group), Some(input.name))
                };
                let messages = list.into_iter().map(shown).collect();
                self.give(messages);
            }
            Signal::Close => self.closing = true,
        }
    }

    /// Writes messages to the CLI, at once and whatever it does.
    fn give(&mut self, messages: Vec<Message>) {
        if messages.is_empty() {
            return;
        }
        if !self.session.is_open() {
            self.room.wire.begin_turn();
        }
        if self.doomed {
            self.waiting.extend(messages);
            return;
        }
        if self.cli.is_none()
            && let Err(error) = self.start()
        {
            let consumed = messages.into_iter().filter_map(|(_, name)| name).collect();
            let reason = format!("Claude Code ({}) cannot be started: {error}", self.program.display());
            let failed = Output { consumed, turn: Some(Turn::Done), ..not_started(&error, reason) };
            self.room.wire.end_turn(&failed);
            return;
        }
        for (content, name) in messages {
            let uuid = uuid();
            if let Some(cli) = &self.cli {
                cli.write(prompt::line(&uuid, &content));
            }
            self.session.written(uuid, name);
        }
    }

    fn start(&mut self) -> std::io::Result<()> {
        let version = self.memo.version(&self.program, &self.room.working);
        let mut command = Command::new(&self.program);
        command.args(cli::arguments(&self.room, &self.chosen, self.session.to_resume(), version));
        command.envs(&self.chosen.common.env).env("CLAUDE_CONFIG_DIR", &self.config);
        self.cli = Some(cli::start(command, &self.room, &self.chosen, &self.to)?);
        self.opening = Some(Instant::now() + live::open_limit(&self.chosen.common));
        self.session.started(self.memo.total(self.session.to_resume(), version));
        Ok(())
    }

    fn perform(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Put(mut output) => {
                    if output.status == Status::Success {
                        let fresh = || Notices::new(&self.chosen.common, &self.config);
                        self.notices.get_or_insert_with(fresh).add_to(&mut output.result);
                    }
                    // Before the host hears of it: a cost that it has is never counted again. Of a turn that failed too.
                    if let (Some((id, total)), Some(_)) = (self.session.spent(), output.cost_usd) {
                        self.memo.keep_total(id, total);
                    }
                    self.room.wire.end_turn(&output);
                }
                Step::StillWorking => self.room.wire.begin_turn(),
                Step::Ask(text) => {
                    let uuid = uuid();
                    if let Some(cli) = &self.cli {
                        cli.write(prompt::line(&uuid, &Value::String(text.to_owned())));
                    }
                    self.session.written(uuid, None);
                }
                Step::End => self.kill(),
            }
        }
    }

    fn kill(&mut self) {
        if let Some(cli) = &self.cli {
            self.doomed = true;
            cli.end();
        }
    }

    /// When the host wants the end and nothing waits for an answer, the CLI is let go.
    fn finish(&mut self) {
        if self.closing
            && !self.session.is_open()
            && self.deadline.is_none()
            && !self.doomed
            && let Some(cli) = &mut self.cli
        {
            cli.close();
            self.deadline = Some(Instant::now() + EXIT_LIMIT);
        }
    }
}

/// A fresh id in the form that the CLI wants.
fn uuid() -> String {
    let id = fresh_id();
    // The digits at 12 and 16 say that it is a random one (RFC 9562).
    format!("{}-{}-4{}-8{}-{}", &id[..8], &id[8..12], &id[13..16], &id[17..20], &id[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_of_uuids() {
        let id = uuid();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert_ne!(id, uuid());
    }
}
