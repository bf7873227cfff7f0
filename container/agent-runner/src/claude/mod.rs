//! The provider `claude`: Claude Code, one live process per run, which speaks lines of JSON in both directions.
//!
//! [`session`] decides, and knows no I/O; [`events`], [`errors`] and [`prompt`] read and write what goes over the
//! streams; [`cli`] knows how it is called, [`chosen`] what the group wants, [`memo`] what was learned in earlier runs.

mod chosen;
mod cli;
mod errors;
mod events;
mod memo;
mod prompt;
mod session;
pub mod transcript;

use std::path::PathBuf;
use std::process::Command;

use chrono::{DateTime, Utc};
use parlor_protocol::Output;
use serde_json::Value;

use self::chosen::Chosen;
use self::events::Event;
use self::memo::Memo;
use self::session::Session;
use crate::agent_toml::AgentToml;
use crate::live::{EXIT_LIMIT, Message, Program, Sorted, Step, Vendor};
use crate::provider::Room;

const TITLE: &str = "Claude Code";

/// See the module.
pub struct Claude {
    program: PathBuf,
    config: PathBuf,
    chosen: Chosen,
    memo: Memo,
    /// The cost of the conversation before the process was started.
    total: f64,
    session: Session,
}

impl Vendor for Claude {
    const PROGRAM: Program = Program {
        title: TITLE,
        name: "claude",
        variable: "PARLOR_CLAUDE",
        remedy: "Make Parlor's image with `parlor image build full`, or install Claude Code in the image that CONTAINER_IMAGE \
                 names.",
        exit: Some(EXIT_LIMIT),
    };

    fn new(room: &Room, program: PathBuf) -> Self {
        let config = Program::config_dir("CLAUDE_CONFIG_DIR", ".claude");
        Self {
            program,
            chosen: Chosen::read(&room.input),
            memo: Memo::open(&config),
            config,
            total: 0.0,
            session: Session::new(room.input.session_id.clone()).quiet(room.input.is_scheduled_task),
        }
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
        self.config.clone()
    }

    fn command(&mut self, room: &Room) -> Result<Command, Sorted> {
        let version = self.memo.version(&self.program, &room.working);
        self.total = self.memo.total(self.session.to_resume(), version);
        let mut command = Command::new(&self.program);
        command.args(cli::arguments(room, &self.chosen, self.session.to_resume(), version));
        cli::prepare(&mut command, room, &self.chosen, &self.config);
        Ok(command)
    }

    fn started(&mut self) -> Vec<Step> {
        self.session.started(self.total)
    }

    fn not_started(&mut self, why: Sorted) -> Vec<Step> {
        self.session.not_started(why)
    }

    fn give(&mut self, messages: Vec<Message>) -> Vec<Step> {
        self.session.give(messages)
    }

    fn line(&mut self, line: &str, now: DateTime<Utc>) -> Vec<Step> {
        let event = events::parse(line);
        if let Event::Began { failed } = &event {
            self.chosen.without_servers(failed);
        }
        self.session.event(event, now)
    }

    fn stuck(&mut self, now: DateTime<Utc>) -> Vec<Step> {
        self.session.stuck(now)
    }

    fn ended(&mut self, how: &str, said: &str, now: DateTime<Utc>) -> Vec<Step> {
        self.session.ended(how, said, now)
    }

    fn is_ready(&self) -> bool {
        self.session.is_ready()
    }

    fn has_pending(&self) -> bool {
        self.session.has_pending()
    }

    /// Keeps the conversation's total before the host has the cost, so that no cost is counted twice. A failed turn costs,
    /// too.
    fn complete(&mut self, _: &Room, output: &mut Output) {
        if let (Some((id, total)), Some(_)) = (self.session.spent(), output.cost_usd) {
            self.memo.keep_total(id, total);
        }
    }
}
