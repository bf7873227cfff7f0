//! The command line: one file per command. Most commands speak to the running host through its socket, so they see
//! and do exactly what other programs can; commands that only read also work without a host, through the same API
//! over the database. `up` and `chat` can start a host. Commands about the installation, its settings, its image and
//! its service do their work in this process.

mod backup;
mod chat;
mod client;
mod conformance;
mod doctor;
mod events;
mod examples;
mod follow;
mod groups;
mod help;
mod image;
mod import;
mod logs;
mod markdown;
mod messages;
mod outbox;
mod output;
mod pages;
mod refusals;
mod runs;
mod service;
mod sessions;
mod setup;
mod show_config;
mod status;
mod stop;
mod tasks;
#[cfg(test)]
mod tests;
mod times;
mod usable;
mod usage;
mod visible;
mod width;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::api::Offline;
use crate::config::settings::Settings;
use crate::config::{self, Overrides};
use crate::container::image::broken_off;

pub use chat::leave_to_editor;
pub use client::{Client, ClientError, EventStream, ServerEvent};
pub use help::{command, parse};
pub use output::{has_colours, tell};

/// The parts of the program that commands use.
pub trait Program {
    /// A host that runs inside this process.
    type Host: Running;
    /// Starts a host. Returns once its socket answers.
    fn start(&self, settings: Settings) -> impl Future<Output = anyhow::Result<Self::Host>>;
    /// Runs a host in the foreground until a signal ends it.
    fn up(&self, settings: Settings) -> impl Future<Output = anyhow::Result<()>>;
}

/// A host that runs inside this process.
pub trait Running {
    /// Cancelling this ends the host's runs at once.
    fn hard(&self) -> CancellationToken;
    /// Ends the host gracefully.
    fn stop(self) -> impl Future<Output = anyhow::Result<()>>;
}

/// Gives every chat group an AI agent in a room of its own.
#[derive(Debug, Parser)]
#[command(name = "parlor", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The heading of the global options.
const COMMON: &str = "Common options";

#[derive(Debug, Args)]
struct Global {
    /// The installation's folder [default: the current one when it has groups/, else ~/.local/share/parlor]
    #[arg(long, global = true, help_heading = COMMON, value_name = "DIR")]
    home: Option<PathBuf>,
    /// error, warn, info, debug or trace
    #[arg(long, global = true, help_heading = COMMON, value_name = "LEVEL")]
    log_level: Option<String>,
    /// docker, podman, or the path of either
    #[arg(long, global = true, help_heading = COMMON, value_name = "ENGINE")]
    runtime: Option<String>,
    /// The agent's provider, or auto
    #[arg(long, global = true, help_heading = COMMON, value_name = "NAME")]
    provider: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the host in the foreground
    Up {
        /// Chat with the main group in this terminal
        #[arg(long)]
        console: bool,
        /// Serve the API on this address, too; needs a token in the settings
        #[arg(long, value_name = "IP:PORT")]
        listen: Option<String>,
    },
    /// Talk to a group's agent
    Chat(chat::Chat),
    Setup(setup::Setup),
    Stop(stop::Stop),
    /// Show what runs, what waits, and why
    Status(status::Status),
    /// Register, show and change groups
    #[command(subcommand)]
    Groups(groups::Groups),
    /// Schedule, show and change tasks
    #[command(subcommand)]
    Tasks(tasks::Tasks),
    /// Show and end runs, read their logs, retry what failed
    #[command(subcommand)]
    Runs(runs::Runs),
    Messages(messages::Messages),
    /// Show and forget the sessions that agents resume
    #[command(subcommand)]
    Sessions(sessions::Sessions),
    /// Show what waits to go out, and retry what could not
    #[command(subcommand)]
    Outbox(outbox::Outbox),
    /// Show what agents asked for and were refused
    Refusals(refusals::Refusals),
    /// Show what groups used, by day
    Usage(usage::Usage),
    /// Show the settings that are in force
    #[command(subcommand)]
    Config(show_config::Config),
    /// Make the agent's image, or show whether it is there
    #[command(subcommand)]
    Image(image::Image),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Import(import::Import),
    /// Check whether an image speaks the protocol of agents, and say what holds
    Conformance(conformance::Conformance),
    /// Check everything a host needs, and say what to do
    Doctor(doctor::Doctor),
    /// Install the host as a service of this machine, or remove it
    #[command(subcommand)]
    Service(service::Service),
    /// Follow the host's events
    Events(events::Events),
    Logs(logs::Logs),
    Completions(pages::Completions),
    Man(pages::Man),
}

impl Command {
    /// Returns true if the command only reads the database, and so can work without a host.
    fn reads(&self) -> bool {
        match self {
            Self::Status(_) | Self::Refusals(_) | Self::Usage(_) | Self::Messages(_) => true,
            Self::Groups(it) => matches!(it, groups::Groups::List { .. } | groups::Groups::Show { .. }),
            Self::Tasks(it) => it.reads(),
            Self::Runs(it) => it.reads(),
            Self::Sessions(it) => matches!(it, sessions::Sessions::List { .. }),
            Self::Outbox(it) => matches!(it, outbox::Outbox::List { .. } | outbox::Outbox::Show { .. }),
            Self::Logs(it) => it.asks(),
            Self::Image(it) => matches!(it, image::Image::Prune { .. }),
            _ => false,
        }
    }
}

/// The reason why a command failed.
#[derive(Debug)]
enum Failure {
    /// Wrong usage: exit code 2.
    Usage(String),
    /// Any other failure: exit code 1.
    Failed(String),
    /// A failure that was reported already.
    Said,
    /// A result with an exit code of its own, for scripts.
    Code(u8, String),
    /// The output was closed: ends silently, as if SIGPIPE had ended the program.
    Closed,
}

/// The exit code for a message that starts no turn.
const NOT_ADDRESSED: u8 = 3;
/// The exit code if an answer did not come in time; `timeout` uses the same.
const TIMED_OUT: u8 = 124;
/// Shells add this to a signal's number.
const SIGNALLED: u8 = 128;
/// The number of SIGPIPE.
const SIGPIPE: u8 = 13;

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Converts an error of the rest of the program, with all its causes.
fn failed(error: &anyhow::Error) -> Failure {
    Failure::Failed(format!("{error:#}"))
}

type Done = Result<(), Failure>;

/// Runs the command. Failures are reported on stderr.
pub async fn run<P: Program>(cli: Cli, program: &P) -> ExitCode {
    let done = dispatch(cli, program).await;
    // Interrupted work may have to undo its beginnings.
    broken_off::all_ended().await;
    let (code, text) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => (2, text),
        Err(Failure::Failed(text)) => (1, text),
        Err(Failure::Code(code, text)) => (code, text),
        Err(Failure::Said) => return ExitCode::FAILURE,
        Err(Failure::Closed) => return ExitCode::from(SIGNALLED + SIGPIPE),
    };
    tell(&format!("parlor: {text}"));
    ExitCode::from(code)
}

impl Cli {
    /// The settings given on the command line; also used to set up logging before [`run`].
    pub fn overrides(&self) -> Overrides {
        let listen = match &self.command {
            Command::Up { listen, .. } => listen.clone(),
            _ => None,
        };
        Overrides {
            home: self.global.home.clone(),
            log_level: self.global.log_level.clone(),
            provider: self.global.provider.clone(),
            runtime: self.global.runtime.clone(),
            listen,
        }
    }

    /// Returns true if this process is a host whose log belongs on the terminal. Other commands log at most warnings.
    pub fn is_host(&self) -> bool {
        matches!(self.command, Command::Up { console: false, .. })
    }
}

/// A client for the host. If no host runs, a command that only reads gets one for the database.
async fn client(command: &Command, settings: &Settings) -> Result<Client, Failure> {
    let client = Client::of(settings);
    if !command.reads() || !settings.home.database().exists() {
        return Ok(client);
    }
    match client.host().await {
        Err(ClientError::NoHost(_)) => {
            let offline = Offline::open(settings)?;
            tell("(no host is running)");
            Ok(client.offline(offline))
        }
        _ => Ok(client),
    }
}

async fn dispatch<P: Program>(cli: Cli, program: &P) -> Done {
    let overrides = cli.overrides();
    if let Command::Doctor(doctor) = cli.command {
        // The doctor must be able to report wrong settings.
        return doctor.run(&overrides).await;
    }
    if let Command::Config(config) = cli.command {
        return config.run(&overrides);
    }
    match &cli.command {
        Command::Completions(it) => return it.run(),
        Command::Man(it) => return it.run(),
        _ => {}
    }
    let settings = usable::settings(&cli.command, config::examine(&overrides)).await?;
    times::set_zone(settings.timezone);
    let client = client(&cli.command, &settings).await?;
    let starts = match &cli.command {
        Command::Up { .. } => true,
        Command::Chat(chat) => chat.is_conversation(),
        _ => false,
    };
    let settings = if starts { setup::at_first_start(&overrides, settings, &client).await? } else { settings };
    match cli.command {
        Command::Up { console: false, .. } => program.up(settings).await.map_err(|e| failed(&e)),
        Command::Up { console: true, .. } => chat::console(settings, program).await,
        Command::Chat(chat) => chat.run(settings, program).await,
        Command::Setup(setup) => setup.run(settings, &client).await,
        Command::Stop(stop) => stop.run(&settings, &client).await,
        Command::Status(status) => status.run(&client).await,
        Command::Groups(groups) => groups.run(&client).await,
        Command::Tasks(tasks) => tasks.run(&client).await,
        Command::Runs(runs) => runs.run(&client, &settings.home).await,
        Command::Messages(messages) => messages.run(&client).await,
        Command::Sessions(sessions) => sessions.run(&client).await,
        Command::Outbox(outbox) => outbox.run(&client).await,
        Command::Refusals(refusals) => refusals.run(&client).await,
        Command::Usage(usage) => usage.run(&client).await,
        Command::Image(image) => image.run(&settings, &client).await,
        Command::Conformance(conformance) => conformance.run(&settings).await,
        Command::Service(service) => service.run(&settings, &client).await,
        Command::Backup(backup) => backup.run(&settings).await,
        Command::Restore(restore) => restore.run(&settings).await,
        Command::Import(import) => import.run(&settings).await,
        Command::Events(events) => events.run(&client).await,
        Command::Logs(logs) => logs.run(&settings.home, &client).await,
        Command::Doctor(_) | Command::Config(_) | Command::Completions(_) | Command::Man(_) => Ok(()),
    }
}
