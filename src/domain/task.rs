//! Scheduled tasks and their firings.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{ChatJid, GroupFolder, RunId, TaskId};
use super::schedule::Schedule;

/// Which conversation a task's run belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContextMode {
    /// The group's chat session; queues with the chat.
    Group,
    /// A fresh session in the group's task lane.
    #[default]
    Isolated,
}

/// What happens to times that passed while the host was down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// One late run for all of them.
    #[default]
    Run,
    /// Forgotten.
    Skip,
}

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Fires when due.
    Active,
    /// Keeps its schedule but does not fire.
    Paused,
    /// Nothing left to fire.
    Completed,
    /// Ended by someone.
    Cancelled,
}

/// A scheduled task.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The group it belongs to.
    pub folder: GroupFolder,
    /// The chat its results go to.
    pub jid: ChatJid,
    /// What the agent is asked.
    pub prompt: String,
    /// When.
    pub schedule: Schedule,
    /// In which zone the schedule is read; the host's when none.
    pub timezone: Option<Tz>,
    /// In which conversation.
    pub context_mode: ContextMode,
    /// Missed times.
    pub missed: Missed,
    /// Where it is.
    pub status: TaskStatus,
    /// When it fires next.
    pub next_due: Option<DateTime<Utc>>,
    /// What intervals count from, so that they do not drift.
    pub anchor: DateTime<Utc>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl Task {
    /// When it fires next by the clock of its zone, else of the host's, with both written out.
    pub fn next_due_local(&self, host: Tz) -> Option<String> {
        let zone = self.timezone.unwrap_or(host);
        let due = self.next_due?.with_timezone(&zone);
        Some(format!("{} {}", due.format("%A %Y-%m-%d %H:%M:%S UTC%:z"), zone.name()))
    }
}

/// Where one firing of a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FireState {
    /// Claimed for its due time; not started.
    Claimed,
    /// Its container was asked for; from here on it never starts again.
    Running,
    /// Ended well.
    Done,
    /// Ended badly.
    Failed,
    /// The task was paused or cancelled while it waited, or stopped.
    Cancelled,
    /// A host that ended was running it.
    Interrupted,
}

/// One firing: a (task, due time) pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Fire {
    /// The task.
    pub task_id: TaskId,
    /// The time it was due; with the task's id the key.
    pub due: DateTime<Utc>,
    /// Its group.
    pub folder: GroupFolder,
    /// Where it is.
    pub state: FireState,
    /// Its run.
    pub run_id: Option<RunId>,
    /// When it was claimed.
    pub claimed_at: DateTime<Utc>,
    /// When its run ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The last text it sent, cut for lists.
    pub result: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}
