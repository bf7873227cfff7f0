//! The provider `gemini`: Google's Gemini CLI, one live process per run, driven over the Agent Client Protocol.
//!
//! [`session`] decides, and knows no I/O; [`events`], [`errors`] and [`prompt`] read and write what goes over the
//! streams; [`cli`] knows how it is called, [`chosen`] what the group wants, [`keep`] where it keeps
//! its sessions; here everything meets in one loop.

mod chosen;
mod cli;
mod errors;
mod events;
mod keep;
mod prompt;
mod session;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Instant;

use chrono::Utc;
use parlor_protocol::inputs::{Input, Inputs};
use parlor_protocol::{ErrorKind, Status};

use self::session::{Message, Session, Setup, Step};
use crate::agent_toml::{AgentToml, Notices};
use crate::live::{self, Live, Program, Signal, brief};
use crate::llm::servers;
use crate::provider::{Room, failure, not_started};

const PROGRAM: Program = Program {
    title: "Gemini CLI",
    name: "gemini",
    variable: "PARLOR_GEMINI",
    remedy: "Make Parlor's image with `PARLOR_IMAGE_WITH=gemini` in .env and `parlor image build full`, or install Gemini CLI \
             in the image that CONTAINER_IMAGE names.",
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
    let blocks = prompt::first(&talk.room.input, &talk.room.folders.group);
    talk.give(vec![Message { blocks, name: None }]);
    talk.attend(&signals);
    ExitCode::SUCCESS
}

struct Talk {
    room: Room,
    program: PathBuf,
    /// Where the CLI's folder `.gemini` is, which is the group's own and a later room's, too.
    home: PathBuf,
    chosen: AgentToml,
    /// What of the group's choice is not used, until it was told; none before the first answer, which may know of more.
    notices: Option<Notices>,
    session: Session,
    cli: Option<Live>,
    /// The CLI was ended and is not gone yet.
    doomed: bool,
    closing: bool,
    /// By then the CLI must have its session open.
    opening: Option<Instant>,
    to: Sender<Signal>,
}

impl Talk {
    fn new(room: Room, program: PathBuf, to: Sender<Signal>) -> Self {
        let mut chosen = chosen::read(&room.input);
        // One that is dead would keep the CLI waiting for ten minutes.
        servers::keep_live(&mut chosen, &room);
        let setup = Setup {
            cwd: room.folders.group.display().to_string(),
            servers: chosen::servers(&chosen, &brief::own_program()),
            key: cli::key(&room).unwrap_or_default(),
            quiet: room.input.is_scheduled_task,
            counts: !cli::has_address(&room),
        };
        let session = Session::new(setup, room.input.session_id.clone());
        let home = Program::config_dir("GEMINI_CLI_HOME", "");
        Self {
            room,
            program,
            home,
            chosen,
            notices: None,
            session,
            cli: None,
            doomed: false,
            closing: false,
            opening: None,
            to,
        }
    }

    /// Until the host has closed the run and the CLI is gone.
    fn attend(&mut self, signals: &Receiver<Signal>) {
        while !(self.closing && self.cli.is_none() && !self.session.is_open()) {
            if self.doomed || self.session.is_ready() {
                self.opening = None;
            }
            let left = self.opening.map(|end| end.saturating_duration_since(Instant::now()));
            let signal = match left {
                None => signals.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(left) => signals.recv_timeout(left),
            };
            match signal {
                Ok(signal) => self.signal(signal),
                Err(RecvTimeoutError::Timeout) => self.stuck(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // It has written down what was said before it answered.
            if self.closing && !self.session.is_open() && !self.doomed {
                self.end();
            }
        }
    }

    /// One dead server of the group's is enough for the CLI to wait for ten minutes: the next one does without.
    fn stuck(&mut self) {
        self.opening = None;
        let servers = chosen::without_servers(&mut self.chosen).then(|| {
            self.notices = None;
            chosen::servers(&self.chosen, &brief::own_program())
        });
        let steps = self.session.stuck(servers);
        self.perform(steps);
    }

    fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Line(_) if self.doomed => {}
            Signal::Line(line) => {
                let steps = self.session.event(events::parse(&line), Utc::now());
                self.perform(steps);
            }
            Signal::Ended { how, said } => {
                (self.cli, self.doomed, self.opening) = (None, false, None);
                let steps = self.session.ended(&how, &said);
                self.perform(steps);
                self.start();
            }
            Signal::Inputs(list) => {
                let group = &self.room.folders.group;
                let shown = |input: Input| Message {
                    blocks: prompt::with_pictures(brief::dated(&input.text), &input.images, group),
                    name: Some(input.name),
                };
                let messages = list.into_iter().map(shown).collect();
                self.give(messages);
            }
            Signal::Close => self.closing = true,
        }
    }

    fn give(&mut self, messages: Vec<Message>) {
        if !self.session.is_open() {
            self.room.wire.begin_turn();
        }
        let steps = self.session.give(messages);
        self.perform(steps);
        self.start();
    }

    /// Starts a CLI where something waits for one.
    fn start(&mut self) {
        if self.cli.is_some() || !self.session.is_open() {
            return;
        }
        let started = if cli::key(&self.room).is_none() {
            Err(errors::own(ErrorKind::Auth, "Gemini CLI needs the key GEMINI_API_KEY: put it into .env"))
        } else {
            if let Some(id) = self.session.to_resume() {
                keep::ready(&self.home, id);
            }
            cli::start(&self.program, &self.room, &self.chosen, &self.home, &self.to).map_err(|error| {
                let reason = format!("Gemini CLI ({}) cannot be started: {error}", self.program.display());
                let kind = not_started(&error, String::new()).error_kind;
                errors::own(kind.unwrap_or(ErrorKind::Other), reason)
            })
        };
        let steps = match started {
            Ok(cli) => {
                self.cli = Some(cli);
                self.opening = Some(Instant::now() + live::open_limit(&self.chosen));
                self.session.started()
            }
            Err(why) => vec![self.session.give_up(why)],
        };
        self.perform(steps);
    }

    fn perform(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Write(line) => {
                    if let Some(cli) = &self.cli {
                        cli.write(line);
                    }
                }
                Step::Put(mut output) => {
                    live::name_model(&mut output, self.chosen.chosen_model(&self.room.input));
                    if output.status == Status::Success {
                        let fresh = || Notices::new(&self.chosen, &self.home.join(".gemini"));
                        self.notices.get_or_insert_with(fresh).add_to(&mut output.result);
                    }
                    self.room.wire.end_turn(&output);
                }
                Step::StillWorking => self.room.wire.begin_turn(),
                Step::End => self.end(),
            }
        }
    }

    fn end(&mut self) {
        if let Some(cli) = &self.cli {
            self.doomed = true;
            cli.end();
        }
    }
}
