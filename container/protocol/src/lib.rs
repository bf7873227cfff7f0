//! The wire protocol between host and agent: stdin, stdout, and the files under `/workspace/ipc`.
//!
//! Names of fields and markers are those of `NanoClaw` v1, whose images work unmodified; what Parlor adds is optional on
//! both sides. Both sides use this crate, and an agent of your own can: it depends on serde alone. The feature `io`
//! watches the folders in which inputs and results come.

#![forbid(unsafe_code)]

pub mod deep;
pub mod default_model;
pub mod files;
#[cfg(feature = "io")]
pub mod inputs;
pub mod json;
pub mod limits;
pub mod prompt;
#[cfg(feature = "io")]
pub mod results;
pub mod session_id;
#[cfg(feature = "io")]
mod watch;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Begins an output on stdout; counts only as a whole line.
pub const OUTPUT_START: &str = "---NANOCLAW_OUTPUT_START---";
/// Ends an output on stdout; counts only as a whole line.
pub const OUTPUT_END: &str = "---NANOCLAW_OUTPUT_END---";
/// The name of the file in the input folder that asks the agent to finish and exit.
pub const CLOSE_SENTINEL: &str = "_close";
/// Where the group's IPC folder lies in the container.
pub const IPC_DIR: &str = "/workspace/ipc";
/// Where the run's input folder lies in the container.
pub const INPUT_DIR: &str = "/workspace/ipc/input";
/// Where the group's workspace lies in the container.
pub const GROUP_DIR: &str = "/workspace/group";
/// Where the memory shared with every group lies in the container.
pub const GLOBAL_DIR: &str = "/workspace/global";

/// The one JSON object on stdin, followed by end of file.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunInput {
    /// The first prompt.
    pub prompt: String,
    /// The session to resume; none starts a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The group's folder name.
    pub group_folder: String,
    /// The chat that the run answers.
    pub chat_jid: String,
    /// True if the group is the owner's.
    pub is_main: bool,
    /// Set for a scheduled task's run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_scheduled_task: bool,
    /// The name the agent answers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assistant_name: Option<String>,
    /// Keys the provider needs; never written anywhere else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// Pictures that came with the prompt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_attachments: Vec<ImageAttachment>,
    /// The run's id (Parlor).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Which provider of the runner answers (Parlor): `guide`, `exec`, `claude`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model that the operator chose for the group (Parlor).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The installation's model, for groups that choose none themselves (Parlor).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_model: Option<String>,
    /// What the group may choose itself in its `agent.toml` (Parlor).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_may: Option<AgentMay>,
    /// What an earlier try of this batch already sent to the chat (Parlor).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<String>,
}

impl fmt::Debug for RunInput {
    /// Without the secrets: what is printed may end in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunInput")
            .field("run_id", &self.run_id)
            .field("group_folder", &self.group_folder)
            .field("provider", &self.provider)
            .field("secrets", &self.secrets.keys())
            .finish_non_exhaustive()
    }
}

/// The operator's bounds for what a group chooses itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentMay {
    /// Kinds of settings that count: `model`, `prompt`, `tools`, `mcp`, `hooks`, `env`.
    pub set: Vec<String>,
    /// Models that may be chosen, with a `*` at a name's end for any rest; none allows all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// What the host did not follow of the file, for the chat.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A picture in the group's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageAttachment {
    /// Path below the group's folder.
    pub relative_path: String,
    /// For example `image/png`.
    pub media_type: String,
}

/// Whether a turn went well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The turn goes well.
    #[default]
    Success,
    /// The turn failed.
    Error,
}

/// Whether the turn that an output belongs to goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Turn {
    /// More outputs of this turn follow.
    Open,
    /// The turn ends with this output.
    Done,
}

/// What kind of failure an error output reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The credentials are missing or refused.
    Auth,
    /// Too many requests; `retryAt` may say until when.
    RateLimit,
    /// The account's quota is used up.
    Quota,
    /// The vendor is overloaded.
    Overloaded,
    /// The vendor's server cannot be reached.
    Unreachable,
    /// The session to resume does not exist.
    SessionMissing,
    /// The model's server refuses the conversation as it is; a new one may work.
    SessionRefused,
    /// The same request would be refused again, whatever the session: nobody but the operator or the group can help.
    Refused,
    /// Anything else, also kinds that this version does not know.
    #[serde(other)]
    Other,
}

/// One output: the JSON between two marker lines.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Success or error.
    pub status: Status,
    /// Text for the chat; none is never sent.
    #[serde(default)]
    pub result: Option<String>,
    /// The session that the next run resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_session_id: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether the turn goes on (Parlor; v1 runners leave it out).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
    /// Only a sign of life (Parlor): resets the hard timer and nothing else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heartbeat: bool,
    /// Names of the input files this turn took in (Parlor).
    #[serde(default, deserialize_with = "limits::names", skip_serializing_if = "Vec::is_empty")]
    pub consumed: Vec<String>,
    /// The kind of error (Parlor).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_kind: Option<ErrorKind>,
    /// When to try again, RFC 3339 (Parlor).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<String>,
    /// Tokens of this turn, as the provider reports them (Parlor).
    #[serde(default, deserialize_with = "limits::counts", skip_serializing_if = "Option::is_none")]
    pub usage: Option<serde_json::Value>,
    /// Cost of this turn in US dollars (Parlor).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

impl Output {
    /// The output as it goes to stdout, markers and all.
    pub fn to_frame(&self) -> String {
        // Output holds only strings, numbers and JSON values: serialising it cannot fail.
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("{OUTPUT_START}\n{json}\n{OUTPUT_END}\n")
    }
}

/// A file in the run's input folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InputFile {
    /// A follow-up for the live agent.
    Message {
        /// The follow-up's text.
        text: String,
        /// Pictures that came with it (Parlor).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        images: Vec<ImageAttachment>,
    },
}

/// A file an agent drops into `messages/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MessageFile {
    /// Sends a text to a chat.
    #[serde(rename_all = "camelCase")]
    Message {
        /// The chat to write to.
        chat_jid: String,
        /// The text.
        text: String,
        /// A name to show as the sender, where the channel can.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sender: Option<String>,
        /// The platform's id of the message it answers (Parlor).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<String>,
    },
    /// Sends a file of the group's folder to a chat (Parlor).
    #[serde(rename_all = "camelCase")]
    File {
        /// The chat to send it to.
        chat_jid: String,
        /// Its path below the group's folder.
        path: String,
        /// A text that goes with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
        /// The platform's id of the message it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<String>,
    },
}

/// A file an agent drops into `tasks/`. Field names mix two styles because `NanoClaw` v1's do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TaskFile {
    /// Creates a scheduled task.
    ScheduleTask {
        /// The task's id; the host makes one when absent.
        #[serde(default, rename = "taskId", skip_serializing_if = "Option::is_none")]
        task_id: Option<String>,
        /// What the agent is asked when the task is due.
        prompt: String,
        /// `cron`, `interval` or `once`.
        schedule_type: String,
        /// Five cron fields, milliseconds, or a local time.
        schedule_value: String,
        /// `group` or `isolated` (default).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        context_mode: Option<String>,
        /// The chat whose group the task is for.
        #[serde(rename = "targetJid")]
        target_jid: String,
        /// An IANA zone; the host's when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timezone: Option<String>,
        /// `run` (default) or `skip`: what happens to missed times.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        missed: Option<String>,
    },
    /// Pauses a task.
    PauseTask {
        /// Which.
        #[serde(rename = "taskId")]
        task_id: String,
    },
    /// Resumes a paused task.
    ResumeTask {
        /// Which.
        #[serde(rename = "taskId")]
        task_id: String,
    },
    /// Ends a task for good.
    CancelTask {
        /// Which.
        #[serde(rename = "taskId")]
        task_id: String,
    },
    /// Runs a task once, now, beside its schedule.
    RunTaskNow {
        /// Which.
        #[serde(rename = "taskId")]
        task_id: String,
    },
    /// Changes a task; absent fields stay.
    UpdateTask {
        /// Which.
        #[serde(rename = "taskId")]
        task_id: String,
        /// New prompt.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prompt: Option<String>,
        /// New type; needs a new value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schedule_type: Option<String>,
        /// New value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schedule_value: Option<String>,
        /// New zone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timezone: Option<String>,
    },
    /// Asks for fresh snapshots (main only).
    RefreshGroups {},
    /// Registers a group (main only).
    RegisterGroup {
        /// The chat.
        jid: String,
        /// Its name.
        name: String,
        /// Its folder.
        folder: String,
        /// Its trigger.
        trigger: String,
        /// Whether it answers only when triggered; yes when absent.
        #[serde(default, rename = "requiresTrigger", skip_serializing_if = "Option::is_none")]
        requires_trigger: Option<bool>,
        /// Of this only `additionalMounts` and `timeout` count.
        #[serde(default, rename = "containerConfig", skip_serializing_if = "Option::is_none")]
        container_config: Option<serde_json::Value>,
    },
}

/// What a refusal says of a task whose id is taken: for an agent that chose the id itself and asks again, this is
/// success.
pub const EXISTS_ALREADY: &str = "exists already";

/// What the host writes to `results/<id>.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandResult {
    /// True if the host did what was asked.
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What else the command returns (`taskId`, `nextRun`, …).
    #[serde(flatten)]
    pub details: serde_json::Map<String, serde_json::Value>,
}

/// One entry of `current_tasks.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSnapshot {
    /// The task's id.
    pub id: String,
    /// Whose task it is.
    #[serde(rename = "groupFolder")]
    pub group_folder: String,
    /// What it asks.
    pub prompt: String,
    /// `cron`, `interval` or `once`.
    pub schedule_type: String,
    /// The schedule as it was given.
    pub schedule_value: String,
    /// `active` or `paused`.
    pub status: String,
    /// When it is due next, RFC 3339 UTC.
    pub next_run: Option<String>,
}

/// One entry of `available_groups.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupSnapshot {
    /// The chat.
    pub jid: String,
    /// Its name.
    pub name: String,
    /// When someone wrote last, RFC 3339 UTC.
    pub last_activity: String,
    /// True if it is a registered group.
    pub is_registered: bool,
}

/// `available_groups.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupsSnapshot {
    /// Known chats; empty for every group but main.
    pub groups: Vec<GroupSnapshot>,
    /// When the list was made, RFC 3339 UTC.
    pub last_sync: String,
}
