//! Kinds and states of runs.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The lane of a group that a run uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Answers to the chat, and tasks with the group's context.
    Chat,
    /// Isolated tasks.
    Task,
}

/// The state of a run, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// The engine was asked to start it.
    Starting,
    /// Its container was started.
    Running,
    /// It ended by itself, after a close, or idle.
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

/// An agent's special needs for its run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentNeeds {
    /// Whether its provider needs the network.
    pub network: bool,
    /// The group's copy of the sources that its image compiles, mounted at `/app/src`.
    pub runner_src: Option<PathBuf>,
    /// A further folder of the agent's home that its provider's program needs: `.codex`.
    pub home_folder: Option<&'static str>,
}
