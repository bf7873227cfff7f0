//! Runs: what kind there are and how they end.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which lane of its group a run uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Answers the chat, and tasks with the group's context.
    Chat,
    /// Isolated tasks.
    Task,
}

/// Where a run is, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// The engine was asked to start it.
    Starting,
    /// Its container answers.
    Running,
    /// Ended by itself, by a close, or idle.
    Succeeded,
    /// The agent failed.
    Failed,
    /// The hard timeout ended an open turn.
    TimedOut,
    /// `/stop` ended it.
    Stopped,
    /// The engine could not be started or reached.
    EngineFailed,
    /// A host that ended was running it.
    Interrupted,
}

/// What an agent needs of its room beyond what every room has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentNeeds {
    /// Whether its provider talks to the network.
    pub network: bool,
    /// The group's copy of the sources that its image compiles, for `/app/src`.
    pub runner_src: Option<PathBuf>,
    /// A folder of the agent's home that its provider's program needs besides: `.codex`.
    pub home_folder: Option<&'static str>,
}
