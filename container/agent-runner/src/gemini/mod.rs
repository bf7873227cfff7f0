//! The provider `gemini`: Google's Gemini CLI, one live process per run, driven over the Agent Client Protocol.
//!
//! [`session`] decides, and knows no I/O; [`events`], [`errors`] and [`prompt`] read and write what goes over the
//! streams; [`cli`] knows how it is called, [`chosen`] what the group wants, [`keep`] where it keeps its sessions.

mod chosen;
mod cli;
mod errors;
mod events;
mod keep;
mod prompt;
mod session;

use std::path::PathBuf;
use std::process::Command;

use chrono::{DateTime, Utc};
use parlor_protocol::{ErrorKind, Output};
use serde_json::Value;

use self::session::{Session, Setup};
use crate::agent_toml::AgentToml;
use crate::live::{self, Message, Program, Sorted, Step, Vendor, brief};
use crate::llm::servers;
use crate::provider::Room;

const TITLE: &str = "Gemini CLI";

/// See the module.
pub struct Gemini {
    program: PathBuf,
    /// The folder that contains the CLI's `.gemini`; it belongs to the group and outlives the room.
    home: PathBuf,
    chosen: AgentToml,
    session: Session,
}

impl Vendor for Gemini {
    const PROGRAM: Program = Program {
        title: TITLE,
        name: "gemini",
        variable: "PARLOR_GEMINI",
        remedy: "Make Parlor's image with `PARLOR_IMAGE_WITH=gemini` in .env and `parlor image build full`, or install Gemini CLI \
                 in the image that CONTAINER_IMAGE names.",
        // The end of its stdin does not end it while an MCP server runs, and ours always does. What was said it has written
        // down before it answered.
        exit: None,
    };

    fn new(room: &Room, program: PathBuf) -> Self {
        let mut chosen = chosen::read(&room.input);
        // One that is dead would keep the CLI waiting for ten minutes.
        servers::keep_live(&mut chosen, room);
        let setup = Setup {
            cwd: room.folders.group.display().to_string(),
            servers: chosen::servers(&chosen, &brief::own_program()),
            key: cli::key(room).unwrap_or_default(),
            quiet: room.input.is_scheduled_task,
            counts: !cli::has_address(room),
        };
        let session = Session::new(setup, room.input.session_id.clone());
        Self { program, home: Program::config_dir("GEMINI_CLI_HOME", ""), chosen, session }
    }

    fn text(text: &str) -> Value {
        prompt::text(text)
    }

    fn picture(media_type: &str, data: &str) -> Value {
        prompt::picture(media_type, data)
    }

    fn settings(&self) -> &AgentToml {
        &self.chosen
    }

    fn folder(&self) -> PathBuf {
        self.home.join(".gemini")
    }

    fn command(&mut self, room: &Room) -> Result<Command, Sorted> {
        if cli::key(room).is_none() {
            let reason = "Gemini CLI needs the key GEMINI_API_KEY: put it into .env";
            return Err(Sorted::new(ErrorKind::Auth, reason));
        }
        if let Some(id) = self.session.to_resume() {
            keep::ready(&self.home, id);
        }
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
        self.session.event(events::parse(line), now)
    }

    /// One dead server of the group's is enough for the CLI to wait for ten minutes: the next one does without.
    fn stuck(&mut self, _: DateTime<Utc>) -> Vec<Step> {
        let others = chosen::without_servers(&mut self.chosen);
        self.session.stuck(others.then(|| chosen::servers(&self.chosen, &brief::own_program())))
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
        live::name_model(output, self.chosen.chosen_model(&room.input));
    }
}
