//! The trait every container engine implements. No command-line flag appears here, so that an engine's API or a bare
//! OCI runtime fits as well as a command-line client.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

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
    /// Returns what it means that a run's client ended with a code of the engine's own (125, 126, 127), and what to do
    /// about it. Returns None if the container ran, and the code is its program's.
    fn refusal(&self, code: i32, stderr: &str) -> Option<EngineError>;
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
    /// Returns whether an image is there.
    async fn image_exists(&self, image: &str) -> Result<bool, EngineError>;
    /// Every image that has a name.
    async fn images(&self) -> Result<Vec<NamedImage>, EngineError>;
    /// Gives an image a second name, which may have been another one's.
    async fn tag_image(&self, image: &str, name: &str) -> Result<(), EngineError>;
    /// Removes an image by its name; one that is not there is success. One that a container uses stays, with an error.
    async fn remove_image(&self, image: &str) -> Result<(), EngineError>;
    /// Makes an image of one layer from a tar file, with an entrypoint and a working directory.
    async fn import_image(
        &self,
        tar: &Path,
        image: &str,
        entrypoint: &[&str],
        workdir: &str,
    ) -> Result<(), EngineError>;
    /// Makes an image from a folder with a Dockerfile, and passes on each line that the engine writes meanwhile.
    async fn build_image(&self, build: &Build<'_>, line: Lines<'_>) -> Result<(), EngineError>;
}

/// An image as an engine lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedImage {
    /// Its name with its tag, without the registry that stands for this machine.
    pub name: String,
    /// Its size, for people.
    pub size: String,
}

/// Hears the lines of a build.
pub type Lines<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// An image to be built.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// The folder with the Dockerfile and all that it copies.
    pub folder: &'a Path,
    /// What the image is called.
    pub image: &'a str,
    /// Names and values of the Dockerfile's arguments.
    pub args: &'a [(&'a str, &'a str)],
    /// Names of further arguments, whose values the environment has: proxies, which may hold a login.
    pub inherit: &'a [&'a str],
    /// True if the build uses this machine's own network.
    pub host_network: bool,
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
    /// Lets go of the client; the container may live on and must be ended by name.
    fn abandon(&mut self);
}

/// How the client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With the container's exit code, or an engine error code (125, 126, 127).
    Code(i32),
    /// Killed by a signal.
    Signal(i32),
}

/// Why an engine did not do something.
#[derive(Debug, Clone, Error)]
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
