//! The provider `codex`: `OpenAI`'s Codex, one live process per run (`codex app-server`), driven by JSON-RPC in lines.
//!
//! [`session`] decides, and knows no I/O; [`events`], [`errors`], [`requests`] and [`prompt`] read and write what goes
//! over the streams, [`meter`] counts tokens; [`cli`] knows how it is called, [`chosen`] what the group wants.

mod chosen;
mod cli;
mod errors;
mod events;
mod meter;
mod prompt;
mod requests;
mod session;

use std::path::PathBuf;
use std::process::Command;

use chrono::{DateTime, Utc};
use parlor_protocol::{ErrorKind, Output};
use serde_json::Value;

use self::chosen::Chosen;
use self::events::Event;
use self::session::Session;
use crate::agent_toml::AgentToml;
use crate::live::{self, EXIT_LIMIT, Message, Program, Sorted, Step, Vendor};
use crate::provider::Room;

const TITLE: &str = "Codex";

/// See the module.
pub struct Codex {
    program: PathBuf,
    home: PathBuf,
    chosen: Chosen,
    session: Session,
}

impl Vendor for Codex {
    const PROGRAM: Program = Program {
        title: TITLE,
        name: "codex",
        variable: "PARLOR_CODEX",
        remedy: "Make Parlor's image with `PARLOR_IMAGE_WITH=codex` and `parlor image build full`, or install Codex in the image \
                 that CONTAINER_IMAGE names.",
        exit: Some(EXIT_LIMIT),
    };

    fn new(room: &Room, program: PathBuf) -> Self {
        let home = Program::config_dir("CODEX_HOME", ".codex");
        let chosen = Chosen::read(&room.input);
        let session = Session::new(cli::setup(room, &chosen, &home), room.input.session_id.clone());
        Self { program, home, chosen, session }
    }

    fn text(text: &str) -> Value {
        prompt::text(text)
    }

    fn picture(media_type: &str, data: &str) -> Value {
        prompt::picture(media_type, data)
    }

    fn settings(&self) -> &AgentToml {
        &self.chosen.common
    }

    fn folder(&self) -> PathBuf {
        self.home.clone()
    }

    fn command(&mut self, room: &Room) -> Result<Command, Sorted> {
        cli::check(&room.input.secrets).map_err(|why| Sorted::new(ErrorKind::Auth, why))?;
        cli::command(&self.program, room, &self.chosen, &self.home)
            .map_err(|error| Self::PROGRAM.not_started(&self.program, &error))
    }

    fn started(&mut self) -> Vec<Step> {
        self.session.started()
    }

    fn not_started(&mut self, why: Sorted) -> Vec<Step> {
        self.session.not_started(why)
    }

    fn give(&mut self, messages: Vec<Message>) -> Vec<Step> {
        self.session.give(messages)
    }

    fn line(&mut self, line: &str, now: DateTime<Utc>) -> Vec<Step> {
        let line = events::parse(line);
        if let Event::ServerFailed { name, why } = &line.event {
            self.chosen.without_server(name, why);
        }
        self.session.event(line, now)
    }

    fn stuck(&mut self, now: DateTime<Utc>) -> Vec<Step> {
        self.session.stuck(now)
    }

    fn ended(&mut self, how: &str, said: &str, _: DateTime<Utc>) -> Vec<Step> {
        self.session.ended(how, said)
    }

    fn is_ready(&self) -> bool {
        self.session.is_ready()
    }

    fn has_pending(&self) -> bool {
        self.session.has_pending()
    }

    fn complete(&mut self, room: &Room, output: &mut Output) {
        let chosen = self.chosen.common.chosen_model(&room.input);
        live::name_model(output, self.session.model().or(chosen));
    }
}
