//! Scheduled tasks and their firings.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{ChatJid, GroupFolder, RunId, TaskId};
use super::schedule::Schedule;

/// The conversation in which a task runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContextMode {
    /// The group's chat session; the task queues with the chat.
    Group,
    /// A fresh session in the group's task lane.
    #[default]
    Isolated,
}

/// The handling of due times that passed while the host was down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// One late run for all of them.
    #[default]
    Run,
    /// They are skipped.
    Skip,
}

/// The state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// It fires when due.
    Active,
    /// It keeps its schedule but does not fire.
    Paused,
    /// It has no further due time.
    Completed,
    /// Somebody ended it.
    Cancelled,
}

/// A scheduled task.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The key of the task.
    pub id: TaskId,
    /// The group it belongs to.
    pub folder: GroupFolder,
    /// The chat that gets its results.
    pub jid: ChatJid,
    /// The prompt for the agent.
    pub prompt: String,
    /// The times at which it fires.
    pub schedule: Schedule,
    /// The zone of the schedule; None for the host's.
    pub timezone: Option<Tz>,
    /// The conversation in which it runs.
    pub context_mode: ContextMode,
    /// The handling of missed due times.
    pub missed: Missed,
    /// Its state.
    pub status: TaskStatus,
    /// When it fires next.
    pub next_due: Option<DateTime<Utc>>,
    /// The start of the interval's grid, so that intervals do not drift.
    pub anchor: DateTime<Utc>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

impl Task {
    /// The next due time with its zone, as text. The zone is the task's own, else the host's.
    pub fn next_due_local(&self, host: Tz) -> Option<String> {
        let zone = self.timezone.unwrap_or(host);
        let due = self.next_due?.with_timezone(&zone);
        Some(format!("{} {}", due.format("%A %Y-%m-%d %H:%M:%S UTC%:z"), zone.name()))
    }
}

/// The state of one firing of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FireState {
    /// Claimed for its due time; not started.
    Claimed,
    /// Its container was requested; from here on it never starts again.
    Running,
    /// Its run succeeded.
    Done,
    /// Its run failed.
    Failed,
    /// The task was paused or cancelled while it waited, or its run was stopped.
    Cancelled,
    /// The host ended while the firing ran.
    Interrupted,
}

/// One firing: a (task, due time) pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Fire {
    /// The task that fired.
    pub task_id: TaskId,
    /// The due time; together with the task's id, the key.
    pub due: DateTime<Utc>,
    /// The task's group.
    pub folder: GroupFolder,
    /// Its state.
    pub state: FireState,
    /// Its run; None before it starts.
    pub run_id: Option<RunId>,
    /// When the host claimed it.
    pub claimed_at: DateTime<Utc>,
    /// When its run ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The last text it sent, cut for lists.
    pub result: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}
