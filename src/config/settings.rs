//! The settings. Their precedence is command line > environment > .env > parlor.toml > default; they are checked as a
//! whole at start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;
use secrecy::SecretString;

use super::bounds::Bounds;
use super::extras::Extra;
use super::home::Home;
use super::proxies::Proxies;
use crate::domain::prices::Prices;
use crate::domain::usage::Budget;

/// All settings of the operator, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The installation's folder.
    pub home: Home,
    /// The default folder, if the home is elsewhere only because the current folder is an installation.
    pub home_otherwise: Option<PathBuf>,
    /// The proxies in the environment.
    pub proxies: Proxies,
    /// The folder of the allowlists (`~/.config/parlor`); never mounted.
    pub config_dir: PathBuf,
    /// The home of the user who runs the host, for `~` in the mount allowlist; None if unknown.
    pub user_home: Option<PathBuf>,
    /// `ASSISTANT_NAME`: the agent's name, also its default trigger.
    pub assistant_name: String,
    /// `CONTAINER_IMAGE`: an image instead of Parlor's own; None uses Parlor's.
    pub image: Option<String>,
    /// `PARLOR_IMAGE_BASE`: the base of the image `full`.
    pub image_base: String,
    /// `PARLOR_CLAUDE_VERSION`: the version of Claude Code in the image `full`.
    pub claude_version: String,
    /// `PARLOR_IMAGE_WITH`, and what the provider needs: further programs in the image `full`.
    pub image_with: Vec<Extra>,
    /// `PARLOR_CODEX_VERSION`: the version of Codex in the image `full`.
    pub codex_version: String,
    /// `PARLOR_GEMINI_VERSION`: the version of Gemini CLI in the image `full`.
    pub gemini_version: String,
    /// `CONTAINER_TIMEOUT`: hard timeout without outputs.
    pub container_timeout: Duration,
    /// `IDLE_TIMEOUT`: how long a finished run stays open for further messages.
    pub idle_timeout: Duration,
    /// `CONTAINER_MAX_OUTPUT_SIZE`: bytes of each stream that a run's log keeps.
    pub max_log_bytes: usize,
    /// The largest output, in bytes.
    pub max_output_bytes: usize,
    /// The largest file that an agent may send, in bytes.
    pub max_file_bytes: usize,
    /// `PARLOR_MAX_ATTACHMENT_BYTES`: the largest file that may come with a message.
    pub max_attachment_bytes: usize,
    /// The absolute time limit of a turn.
    pub turn_limit: Duration,
    /// `MAX_CONCURRENT_CONTAINERS`: the number of slots for runs.
    pub max_containers: usize,
    /// `TZ`: the time zone of schedules and of containers.
    pub timezone: Tz,
    /// `LOG_LEVEL`: the level of the log.
    pub log_level: LogLevel,
    /// `LOG_FORMAT`: the form of the log's lines.
    pub log_format: LogFormat,
    /// `CONTAINER_RUNTIME`: docker, podman or a path; None tries both.
    pub runtime: Option<String>,
    /// `PARLOR_PROVIDER`: `auto` or a provider's name.
    pub provider: String,
    /// `PARLOR_MODEL`: the model of groups that choose none; None lets the provider choose.
    pub model: Option<String>,
    /// `PARLOR_FALLBACK`: the providers that answer while a group's own cannot, in order.
    pub fallback: Vec<String>,
    /// `PARLOR_FALLBACK_DEARER`: whether fallbacks may be dearer, or have no known price.
    pub fallback_dearer: bool,
    /// Prices of models.
    pub prices: Prices,
    /// Limits for the choices that groups' agents make in `agent.toml`.
    pub bounds: Bounds,
    /// `PARLOR_LISTEN`: the TCP address of the local API.
    pub listen: Option<SocketAddr>,
    /// `PARLOR_TOKEN`: the bearer token for TCP.
    pub token: Option<SecretString>,
    /// The keys of `.env` that providers may get.
    pub secret_keys: Vec<String>,
    /// `AGENT_RUNNER_SRC`: the sources that NanoClaw v1 images compile.
    pub agent_runner_src: Option<PathBuf>,
    /// The folder with skills for every group; None uses those shipped with Parlor.
    pub skills_dir: Option<PathBuf>,
    /// The default limits of containers.
    pub limits: Limits,
    /// The default network of providers that need one.
    pub network: Option<String>,
    /// The daily budget of groups without their own.
    pub budget: Budget,
    /// `PARLOR_KEEP_DAYS`: how long finished messages, runs and firings are kept; None keeps them for ever.
    pub keep_days: Option<u32>,
    /// `PARLOR_TRIGGER_ANYWHERE`: the trigger counts anywhere in a message, not only at its start.
    pub trigger_anywhere: bool,
    /// `PARLOR_TRIGGER_MAX_AGE`: the largest age of a message that may start a turn; None sets no limit.
    pub trigger_max_age: Option<Duration>,
    /// The time limit of a graceful shutdown.
    pub shutdown_grace: Duration,
    /// How long a chat must be quiet before its messages start a turn; zero starts at once.
    pub settle: Duration,
    /// Accepted settings that are probably mistakes, a sentence each; without values.
    pub warnings: Vec<String>,
}

/// Limits of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The memory, for example `2g`.
    pub memory: String,
    /// The number of CPUs, for example `2`.
    pub cpus: String,
    /// The number of processes and threads.
    pub pids: u32,
}

/// The level of the log. Each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Failures.
    Error,
    /// Conditions that may become failures.
    Warn,
    /// Ordinary events.
    Info,
    /// Details, and prompts in run logs.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The names of all levels, for error messages.
    pub const ALLOWED: &str = "error, warn, info, debug or trace";

    /// Finds a level by its name, ignoring case.
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];
        all.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text.trim()))
    }

    /// The name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line, for programs.
    Json,
}

impl LogFormat {
    /// The names of all formats, for error messages.
    pub const ALLOWED: &str = "text or json";

    /// The name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }

    /// Finds a format by its name, ignoring case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Text, Self::Json].into_iter().find(|format| format.as_str().eq_ignore_ascii_case(text.trim()))
    }
}
