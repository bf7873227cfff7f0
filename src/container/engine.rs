//! The trait that every container engine implements. It has no command-line flag and no exit code of a client, so an
//! engine's API or a bare OCI runtime fits as well as a command line. Images are apart: [`ImageStore`].

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use super::image_store::ImageStore;
use super::spec::RunSpec;

/// A container engine.
#[async_trait]
pub trait ContainerEngine: Send + Sync + fmt::Debug {
    /// `docker` or `podman`, for people.
    fn name(&self) -> &str;
    /// Returns what the engine can and cannot enforce here, as found by the last [`probe`](Self::probe).
    fn capabilities(&self) -> Capabilities;
    /// Asks the engine whether it works; fast enough for every start.
    async fn probe(&self) -> Result<Capabilities, EngineError>;
    /// Starts a run with its streams attached. Returns as soon as the client is started.
    async fn start(&self, spec: &RunSpec) -> Result<Attached, EngineError>;
    /// Returns how a run of this spec looks on the command line, for run logs; empty where there is none.
    fn describe(&self, spec: &RunSpec) -> Vec<String>;
    /// Returns true if the kernel ended something in a container for its memory limit since then; false where nobody
    /// knows. Asked when the container is gone.
    async fn ran_out_of_memory(&self, _name: &str, _since: DateTime<Utc>) -> bool {
        false
    }
    /// Asks a container to end, and ends it after the grace. A container that is not there is success.
    async fn stop(&self, name: &str, grace: Duration) -> Result<(), EngineError>;
    /// Ends a container at once. A container that is not there is success; one that is just being made may show up
    /// after it, so end its client first and ask [`exists`](Self::exists) afterwards.
    async fn kill(&self, name: &str) -> Result<(), EngineError>;
    /// Returns whether the container still exists in any state: the proof after a stop or kill.
    async fn exists(&self, name: &str) -> Result<bool, EngineError>;
    /// Names of all containers, in any state, that carry the label; one call to the engine.
    async fn list(&self, label: &str, value: &str) -> Result<Vec<String>, EngineError>;
    /// Kills and removes containers by name, all at once; missing ones are success.
    async fn remove(&self, names: &[String]) -> Result<(), EngineError>;
    /// The images that its runs are made of.
    fn images(&self) -> &dyn ImageStore;
}

/// What an engine can do here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The engine's version.
    pub version: String,
    /// True if it runs without root.
    pub rootless: bool,
    /// True if containers get the host user's ids by keep-id.
    pub keep_id: bool,
    /// What it cannot enforce or give here, each with the reason; shown at start and by `doctor`.
    pub unsupported: Vec<Unsupported>,
}

/// Something that the engine cannot enforce or give here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// Which: `memory`, `cpus`, `pids`; or `network`, where no run with a network can start.
    pub what: &'static str,
    /// Why.
    pub why: String,
}

/// A started run.
pub struct Attached {
    /// The agent's stdin.
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    /// The agent's stdout.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// The agent's stderr, and the engine's own complaints.
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
    /// The client program is not there.
    #[error("{engine} is not installed ({program}): {hint}")]
    Missing {
        /// The engine.
        engine: String,
        /// What was tried.
        program: String,
        /// What to do.
        hint: String,
    },
    /// The engine does not answer.
    #[error("{engine} cannot be reached: {reason}; {hint}")]
    Unreachable {
        /// The engine.
        engine: String,
        /// What it says.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// The engine took too long.
    #[error("{engine} did not answer to {action} within {after:?}")]
    Timeout {
        /// The engine.
        engine: String,
        /// What was asked.
        action: String,
        /// How long it had.
        after: Duration,
    },
    /// The engine refused.
    #[error("{engine} {action}: {reason}")]
    Failed {
        /// The engine.
        engine: String,
        /// What was asked.
        action: String,
        /// What it says.
        reason: String,
    },
}
