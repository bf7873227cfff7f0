//! The provider `llm`: an agent loop inside the runner, for any vendor's models and for local ones. It needs a key or a
//! server's address, and nothing else in the image.

mod compact;
mod content;
mod ending;
mod fault;
mod hooks;
mod listed;
mod model;
mod ollama;
mod pictures;
mod prompt;
pub mod servers;
mod session;
mod settings;
mod tools;
mod turn;
mod vendor;
mod whole;

use std::path::PathBuf;

use chrono::Utc;
use parlor_protocol::{ErrorKind, Output, Status};

use crate::agent_toml::Notices;
use crate::provider::{Mail, Provider, Room};
use fault::Fault;
use model::Model;
use prompt::Places;
use session::Session;
use settings::Settings;
use tools::Tools;

/// The built-in agent.
#[derive(Debug)]
pub struct Llm {
    room: Room,
    places: Places,
    settings: Settings,
    /// Problems of the settings that the chat has not received; None before the first turn.
    notices: Option<Notices>,
    /// Opened by the first turn, or by the next one if that fails.
    open: Option<Open>,
    /// True before the first prompt, to which pictures and the texts of an earlier try belong.
    first: bool,
}

/// The parts that live as long as the run.
#[derive(Debug)]
struct Open {
    runtime: tokio::runtime::Runtime,
    model: Model,
    tools: Tools,
    session: Session,
}

impl Llm {
    /// An agent for this run.
    pub fn new(room: Room) -> Self {
        // This process alone has the keys: commands of the same user must not read them from its memory.
        if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
            eprintln!("this process cannot be closed to others: {error}");
        }
        let workspace = room.folders.group.parent().map_or_else(|| PathBuf::from("/workspace"), PathBuf::from);
        let places = Places {
            group: room.folders.group.clone(),
            global: workspace.join("global"),
            extra: workspace.join("extra"),
            home: std::env::var_os("HOME").map_or_else(|| "/home/node".into(), PathBuf::from),
        };
        let settings = Settings::read(&room.input);
        Self { room, places, settings, notices: None, open: None, first: true }
    }

    fn open(&mut self) -> Result<&mut Open, Fault> {
        if self.open.is_none() {
            self.open = Some(self.make()?);
        }
        self.open.as_mut().ok_or_else(|| Fault::new(ErrorKind::Other, "the agent is not ready"))
    }

    fn make(&mut self) -> Result<Open, Fault> {
        let other =
            |what: &str, error: &dyn std::fmt::Display| Fault::new(ErrorKind::Other, format!("{what}: {error}"));
        let session = self.session()?;
        // An error means that a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| other("The agent cannot start", &error))?;
        let http = reqwest::Client::builder().pool_max_idle_per_host(2).connect_timeout(model::CONNECT);
        let http = http.build().map_err(|error| other("The agent has no way to the network", &error))?;
        let input = &self.room.input;
        let wanted = self.settings.common.model(input);
        let model = runtime.block_on(Model::open(wanted, &input.secrets, &http, &self.settings))?;
        let mut tools = Tools::new(&self.room, http, &self.settings);
        runtime.block_on(tools.start_servers(&mut self.settings.common));
        self.notices = Some(Notices::new(&self.settings.common, &self.places.home.join(".claude")));
        Ok(Open { runtime, model, tools, session })
    }

    /// Returns the session to resume, or a new one.
    fn session(&self) -> Result<Session, Fault> {
        let home = &self.places.home;
        let Some(id) = &self.room.input.session_id else {
            session::prune_old(home);
            return Ok(Session::new(home, &self.room.session));
        };
        let missing = |why: String| Fault::new(ErrorKind::SessionMissing, why);
        match Session::open(home, id) {
            Ok(Some(session)) => Ok(session),
            Ok(None) => Err(missing(format!("There is no session {id} here."))),
            // The session is reported as missing, so that the group goes on without it.
            Err(error) => Err(missing(format!("The session {id} cannot be read: {error}"))),
        }
    }
}

impl Provider for Llm {
    fn answer(&mut self, prompts: &[String], mail: &mut Mail<'_>) -> Output {
        let first = self.first;
        if let Err(fault) = self.open() {
            return fault.output(Utc::now());
        }
        let system = prompt::system(&self.room.input, &self.settings, &self.places);
        let (room, settings) = (self.room.clone(), self.settings.clone());
        let result = self.open().and_then(|open| {
            let turn = turn::Turn {
                room: &room,
                settings: &settings,
                system,
                model: &mut open.model,
                tools: &mut open.tools,
                session: &mut open.session,
                cut: None,
            };
            open.runtime.block_on(turn.run(prompts, first, mail))
        });
        match result {
            Ok(mut done) => {
                self.first = false;
                // Only with an answer: a failed turn with a text would count as answered.
                if let Some(notices) = &mut self.notices {
                    notices.add_to(&mut done.result);
                }
                let session = Some(self.room.session.clone());
                Output { status: Status::Success, new_session_id: session, ..done }
            }
            Err(fault) => {
                // Tokens used before the failure cost as well.
                let used = self.open.as_ref().map(|open| (Some(open.model.usage()), open.model.cost()));
                let (usage, cost_usd) = used.unwrap_or_default();
                Output { usage, cost_usd, ..fault.output(Utc::now()) }
            }
        }
    }
}
