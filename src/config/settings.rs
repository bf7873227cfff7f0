//! Settings: command line > environment > .env > parlor.toml > default, checked as a whole at start.

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

/// Everything the operator can set, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the installation lies.
    pub home: Home,
    /// Where the installation would be in another folder, when it is here because the current folder is one.
    pub home_otherwise: Option<PathBuf>,
    /// How this machine reaches the rest of the world, as the environment says.
    pub proxies: Proxies,
    /// Where the allowlists lie (`~/.config/parlor`); never mounted.
    pub config_dir: PathBuf,
    /// The home of the user who runs the host, for `~` in the mount allowlist; None if it is not known.
    pub user_home: Option<PathBuf>,
    /// `ASSISTANT_NAME`: the name in default triggers.
    pub assistant_name: String,
    /// `CONTAINER_IMAGE`: instead of Parlor's own image.
    pub image: Option<String>,
    /// `PARLOR_IMAGE_BASE`: what the image `full` is made on.
    pub image_base: String,
    /// `PARLOR_CLAUDE_VERSION`: the version of Claude Code in the image `full`.
    pub claude_version: String,
    /// `PARLOR_IMAGE_WITH`, and what the provider needs: what the image `full` has besides.
    pub image_with: Vec<Extra>,
    /// `PARLOR_CODEX_VERSION`: the version of Codex in the image `full`.
    pub codex_version: String,
    /// `PARLOR_GEMINI_VERSION`: the version of Gemini CLI in the image `full`.
    pub gemini_version: String,
    /// `CONTAINER_TIMEOUT`: hard timeout without outputs.
    pub container_timeout: Duration,
    /// `IDLE_TIMEOUT`: how long a finished room stays open.
    pub idle_timeout: Duration,
    /// `CONTAINER_MAX_OUTPUT_SIZE`: bytes of each stream that run logs keep.
    pub max_log_bytes: usize,
    /// Bytes one output may have.
    pub max_output_bytes: usize,
    /// Bytes a file may have that an agent sends.
    pub max_file_bytes: usize,
    /// `PARLOR_MAX_ATTACHMENT_BYTES`: bytes a file may have that comes with a message.
    pub max_attachment_bytes: usize,
    /// Absolute limit of a turn.
    pub turn_limit: Duration,
    /// `MAX_CONCURRENT_CONTAINERS`.
    pub max_containers: usize,
    /// `TZ`: zone of schedules, and of containers.
    pub timezone: Tz,
    /// `LOG_LEVEL`.
    pub log_level: LogLevel,
    /// `LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `CONTAINER_RUNTIME`: docker, podman or a path; none tries both.
    pub runtime: Option<String>,
    /// `PARLOR_PROVIDER`: `auto` or a provider's name.
    pub provider: String,
    /// `PARLOR_MODEL`: the model of groups that choose none; none lets the provider choose.
    pub model: Option<String>,
    /// `PARLOR_FALLBACK`: who answers while a group's own provider cannot, in order.
    pub fallback: Vec<String>,
    /// `PARLOR_FALLBACK_DEARER`: whether those may be dearer, or of an unknown price.
    pub fallback_dearer: bool,
    /// What models cost.
    pub prices: Prices,
    /// What groups may choose themselves.
    pub bounds: Bounds,
    /// `PARLOR_LISTEN`: TCP address of the local API.
    pub listen: Option<SocketAddr>,
    /// `PARLOR_TOKEN`: bearer token for TCP.
    pub token: Option<SecretString>,
    /// Keys of `.env` that providers may get.
    pub secret_keys: Vec<String>,
    /// `AGENT_RUNNER_SRC`: sources that NanoClaw v1 images compile.
    pub agent_runner_src: Option<PathBuf>,
    /// Folder with skills for every group; none uses those shipped with Parlor.
    pub skills_dir: Option<PathBuf>,
    /// Default limits of containers.
    pub limits: Limits,
    /// Default network for providers that need one.
    pub network: Option<String>,
    /// What each group may use a day, unless it has a budget of its own.
    pub budget: Budget,
    /// `PARLOR_KEEP_DAYS`: how long messages, runs and firings that are over are kept; none keeps them for ever.
    pub keep_days: Option<u32>,
    /// `PARLOR_TRIGGER_ANYWHERE`: the trigger counts anywhere in a message, and not at its start alone.
    pub trigger_anywhere: bool,
    /// `PARLOR_TRIGGER_MAX_AGE`: how old a message may be that starts a turn; none is never too old.
    pub trigger_max_age: Option<Duration>,
    /// How long a graceful shutdown may take.
    pub shutdown_grace: Duration,
    /// How long a chat must be quiet before its messages begin a turn; zero for at once.
    pub settle: Duration,
    /// Settings that are taken and probably not meant, a sentence each; without values.
    pub warnings: Vec<String>,
}

/// Limits of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// For example `2g`.
    pub memory: String,
    /// For example `2`.
    pub cpus: String,
    /// Processes and threads.
    pub pids: u32,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Failures.
    Error,
    /// And what may become one.
    Warn,
    /// And what happens.
    Info,
    /// And prompts in run logs.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// All names.
    pub const ALLOWED: &str = "error, warn, info, debug or trace";

    /// The level of this name, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];
        all.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text.trim()))
    }

    /// Its name in settings.
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

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line, for machines.
    Json,
}

impl LogFormat {
    /// All names.
    pub const ALLOWED: &str = "text or json";

    /// Its name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }

    /// The format of this name, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Text, Self::Json].into_iter().find(|format| format.as_str().eq_ignore_ascii_case(text.trim()))
    }
}
