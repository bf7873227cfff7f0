//! The provider `codex`: `OpenAI`'s Codex, one live process per run (`codex app-server`), driven by JSON-RPC in lines.
//!
//! [`session`] decides, and knows no I/O; [`events`], [`errors`], [`requests`] and [`prompt`] read and write what goes
//! over the streams, [`meter`] counts tokens; [`cli`] knows how it is called; here everything meets in one loop.

mod chosen;
mod cli;
mod errors;
mod events;
mod meter;
mod prompt;
mod requests;
mod session;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use chrono::Utc;
use parlor_protocol::files::fresh_id;
use parlor_protocol::inputs::{Input, Inputs};
use parlor_protocol::{ErrorKind, Output, Status, Turn};
use serde_json::Value;

use self::chosen::Chosen;
use self::events::Event;
use self::session::{Message, Session, Step};
use crate::agent_toml::Notices;
use crate::live::{self, Live, Program, Signal, brief};
use crate::provider::{Room, failure, not_started};

const PROGRAM: Program = Program {
    title: "Codex",
    name: "codex",
    variable: "PARLOR_CODEX",
    remedy: "Make Parlor's image with `PARLOR_IMAGE_WITH=codex` and `parlor image build full`, or install Codex in the image \
             that CONTAINER_IMAGE names.",
};

/// How long the CLI may take to exit after its stdin was closed.
const EXIT_LIMIT: Duration = Duration::from_secs(10);

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

/// A message's parts, and the input's name that it came under.
type Part = (Vec<Value>, Option<String>);

struct Talk {
    room: Room,
    program: PathBuf,
    home: PathBuf,
    chosen: Chosen,
    /// What of the group's choice is not used, until it was told; none before the first answer.
    notices: Option<Notices>,
    session: Session,
    cli: Option<Live>,
    /// What came while a CLI was on its way out.
    waiting: Vec<Part>,
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
        let home = Program::config_dir("CODEX_HOME", ".codex");
        let chosen = Chosen::read(&room.input);
        let session = Session::new(cli::setup(&room, &chosen, &home), room.input.session_id.clone());
        Self {
            room,
            program,
            home,
            chosen,
            notices: None,
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
                    eprintln!("Codex does not exit: it is ended");
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
                let line = events::parse(&line);
                if let Event::ServerFailed { name, why } = &line.event {
                    self.chosen.without_server(name, why);
                }
                let steps = self.session.event(line, Utc::now());
                self.perform(steps);
            }
            Signal::Ended { how, said } => {
                (self.cli, self.doomed, self.opening) = (None, false, None);
                let steps = self.session.ended(&how, &said);
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
    fn give(&mut self, parts: Vec<Part>) {
        if parts.is_empty() {
            return;
        }
        if !self.session.is_open() {
            self.room.wire.begin_turn();
        }
        if self.doomed {
            self.waiting.extend(parts);
            return;
        }
        if self.cli.is_none()
            && let Err(failed) = self.start()
        {
            let consumed = parts.into_iter().filter_map(|(_, name)| name).collect();
            let output = Output { consumed, turn: Some(Turn::Done), ..*failed };
            self.room.wire.end_turn(&output);
            return;
        }
        for (input, name) in parts {
            let steps = self.session.give(Message { id: fresh_id(), name, input });
            self.perform(steps);
        }
    }

    fn start(&mut self) -> Result<(), Box<Output>> {
        cli::check(&self.room.input.secrets)
            .map_err(|why| Box::new(Output { error_kind: Some(ErrorKind::Auth), ..failure(why) }))?;
        let started = cli::start(&self.program, &self.room, &self.chosen, &self.home, &self.to);
        let cli = started.map_err(|error| {
            let reason = format!("Codex ({}) cannot be started: {error}", self.program.display());
            Box::new(not_started(&error, reason))
        })?;
        self.cli = Some(cli);
        self.opening = Some(Instant::now() + live::open_limit(&self.chosen.common));
        let steps = self.session.started();
        self.perform(steps);
        Ok(())
    }

    fn perform(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Write(line) => {
                    if let Some(cli) = &self.cli {
                        cli.write(line);
                    }
                }
                Step::Say(text) => self.room.wire.say(&text),
                Step::Put(mut output) => {
                    let chosen = self.chosen.common.chosen_model(&self.room.input);
                    live::name_model(&mut output, self.session.model().or(chosen));
                    if output.status == Status::Success {
                        let fresh = || Notices::new(&self.chosen.common, &self.home);
                        self.notices.get_or_insert_with(fresh).add_to(&mut output.result);
                    }
                    self.room.wire.end_turn(&output);
                }
                Step::StillWorking => self.room.wire.begin_turn(),
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
