//! The trait that every container engine implements. It has no command-line flag and no exit code of a client, so an
//! engine's API or a bare OCI runtime fits as well as a command line. Images are apart: [`ImageStore`].

pub mod argv;
pub(in crate::container) mod cli;
pub mod cli_engine;
pub(in crate::container) mod cli_images;
pub mod detect;
pub mod docker;
pub(in crate::container) mod host;
pub mod image_store;
pub mod podman;
pub mod spec;
pub mod user;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use self::image_store::ImageStore;
use self::spec::RunSpec;

/// A container engine.
#[async_trait]
pub trait ContainerEngine: Send + Sync + fmt::Debug {
    /// `docker` or `podman`, for people.
    fn name(&self) -> &str;
    /// Returns the limits of the engine here, as found by the last [`probe`](Self::probe).
    fn capabilities(&self) -> Capabilities;
    /// Checks that the engine works; fast enough for every start.
    async fn probe(&self) -> Result<Capabilities, EngineError>;
    /// Starts a run with its streams attached. Returns as soon as the client has started.
    async fn start(&self, spec: &RunSpec) -> Result<Attached, EngineError>;
    /// Returns the command line of a run, for run logs; empty if there is none.
    fn describe(&self, spec: &RunSpec) -> Vec<String>;
    /// Returns true if the kernel ended something in a container for its memory limit since then; false where nobody
    /// knows. Asked when the container is gone.
    async fn ran_out_of_memory(&self, _name: &str, _since: DateTime<Utc>) -> bool {
        false
    }
    /// Asks a container to end, and kills it after the grace. A missing container is success.
    async fn stop(&self, name: &str, grace: Duration) -> Result<(), EngineError>;
    /// Ends a container at once. A missing container is success; but one that is just being made may appear later, so
    /// end its client first and check [`exists`](Self::exists) afterwards.
    async fn kill(&self, name: &str) -> Result<(), EngineError>;
    /// Returns true if the container still exists in any state: the proof after a stop or kill.
    async fn exists(&self, name: &str) -> Result<bool, EngineError>;
    /// Returns the names of all containers with the label, in any state; one call to the engine.
    async fn list(&self, label: &str, value: &str) -> Result<Vec<String>, EngineError>;
    /// Kills and removes containers by name, all at once; missing ones are success.
    async fn remove(&self, names: &[String]) -> Result<(), EngineError>;
    /// The images that its runs are made of.
    fn images(&self) -> &dyn ImageStore;
}

/// The abilities of an engine on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The engine's version.
    pub version: String,
    /// True if the engine runs without root.
    pub rootless: bool,
    /// True if keep-id gives containers the host user's ids.
    pub keep_id: bool,
    /// The limits of the engine here, each with the reason; shown at start and by `doctor`.
    pub unsupported: Vec<Unsupported>,
}

/// Something that the engine cannot enforce or provide here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// `memory`, `cpus` or `pids`; or `network` if no run with a network can start.
    pub what: &'static str,
    /// The reason.
    pub why: String,
}

/// A started run.
pub struct Attached {
    /// The agent's stdin.
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    /// The agent's stdout.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// The agent's stderr, with the engine's own complaints.
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// The client that holds the run.
    pub client: Box<dyn Client>,
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").finish_non_exhaustive()
    }
}

/// The engine's client process or connection of one run.
#[async_trait]
pub trait Client: Send {
    /// Waits for the end of the run. Safe to cancel and call again.
    async fn wait(&mut self) -> std::io::Result<Exit>;
    /// Returns how the run ended, given all that the client wrote to stderr. A command line tells its engine's failures
    /// from the program's only here; other clients know with [`wait`](Self::wait).
    fn judge(&self, exit: Exit, stderr: &str) -> Exit {
        let _ = stderr;
        exit
    }
    /// Lets go of the client; the container may live on and must be ended by name.
    fn abandon(&mut self);
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// The container's program ended with this code.
    Code(i32),
    /// A signal killed the client.
    Signal(i32),
    /// The engine did not start the container's program.
    EngineRefused(Refusal),
}

/// Why an engine did not start a container's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The client's exit code, where there is one.
    pub code: Option<i32>,
    /// True if the image does not have the program, or it cannot be executed; false if something around it is wrong.
    pub no_program: bool,
    /// What the engine says, and what to do about it.
    pub error: EngineError,
}

/// Why an engine did not do something.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EngineError {
    /// The client program is missing.
    #[error("{engine} is not installed ({program}): {hint}")]
    Missing {
        /// The engine's name.
        engine: String,
        /// The program that was tried.
        program: String,
        /// The remedy.
        hint: String,
    },
    /// The engine does not answer.
    #[error("{engine} cannot be reached: {reason}; {hint}")]
    Unreachable {
        /// The engine's name.
        engine: String,
        /// The engine's message.
        reason: String,
        /// The remedy.
        hint: String,
    },
    /// The engine took too long.
    #[error("{engine} did not answer to {action} within {after:?}")]
    Timeout {
        /// The engine's name.
        engine: String,
        /// The call.
        action: String,
        /// The time limit.
        after: Duration,
    },
    /// The engine refused the call.
    #[error("{engine} {action}: {reason}")]
    Failed {
        /// The engine's name.
        engine: String,
        /// The call.
        action: String,
        /// The engine's message.
        reason: String,
    },
}
