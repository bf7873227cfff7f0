//! The wire protocol between host and agent: stdin, stdout, and the files under `/workspace/ipc`.
//!
//! Fields and markers have the names of `NanoClaw` v1, whose images work unmodified; Parlor's additions are optional
//! on both sides. Both sides use this crate, and other agents can use it, too: it depends on serde alone. The feature
//! `io` watches the folders of inputs and results.

#![forbid(unsafe_code)]

pub mod deep;
pub mod default_model;
pub mod files;
#[cfg(feature = "io")]
pub mod inputs;
pub mod json;
pub mod limits;
pub mod prompt;
pub mod requests;
#[cfg(feature = "io")]
pub mod results;
pub mod session_id;
#[cfg(feature = "io")]
mod watch;

use std::collections::BTreeMap;
use std::fmt;

pub use requests::{MessageFile, TaskFile};
use serde::{Deserialize, Serialize};

/// The line before an output on stdout; it counts only as a whole line.
pub const OUTPUT_START: &str = "---NANOCLAW_OUTPUT_START---";
/// The line after an output on stdout; it counts only as a whole line.
pub const OUTPUT_END: &str = "---NANOCLAW_OUTPUT_END---";
/// The file in the input folder that asks the agent to finish and exit.
pub const CLOSE_SENTINEL: &str = "_close";
/// The group's IPC folder in the container.
pub const IPC_DIR: &str = "/workspace/ipc";
/// The run's input folder in the container.
pub const INPUT_DIR: &str = "/workspace/ipc/input";
/// The group's folder in the container.
pub const GROUP_DIR: &str = "/workspace/group";
/// The folder in the container with the memory that all groups share.
pub const GLOBAL_DIR: &str = "/workspace/global";

/// The one JSON object on stdin, followed by end of file.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunInput {
    /// The first prompt.
    pub prompt: String,
    /// The session to resume; None starts a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The group's folder name.
    pub group_folder: String,
    /// The chat that the run answers.
    pub chat_jid: String,
    /// True for the main group, which belongs to the owner.
    pub is_main: bool,
    /// True for the run of a scheduled task.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_scheduled_task: bool,
    /// The name that the agent answers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assistant_name: Option<String>,
    /// Keys for the provider. They are never written anywhere else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// Pictures of the prompt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_attachments: Vec<ImageAttachment>,
    /// The run's id (Parlor).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The runner's provider (Parlor): `guide`, `exec`, `claude`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model that the operator chose for the group (Parlor).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The installation's model, for groups without one of their own (Parlor).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_model: Option<String>,
    /// The limits of the group's own settings in its `agent.toml` (Parlor).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_may: Option<AgentMay>,
    /// Texts that an earlier try of this batch already sent to the chat (Parlor).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<String>,
}

impl fmt::Debug for RunInput {
    /// Leaves out the secrets: debug output may end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunInput")
            .field("run_id", &self.run_id)
            .field("group_folder", &self.group_folder)
            .field("provider", &self.provider)
            .field("secrets", &self.secrets.keys())
            .finish_non_exhaustive()
    }
}

/// The operator's limits on a group's own settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentMay {
    /// Kinds of settings that the group may set: `model`, `prompt`, `tools`, `mcp`, `hooks`, `env`.
    pub set: Vec<String>,
    /// Models that the group may choose; a `*` at a name's end stands for any rest. None allows all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Settings of the file that the host did not use, for the chat.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A picture in the group's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageAttachment {
    /// The path below the group's folder.
    pub relative_path: String,
    /// The media type, for example `image/png`.
    pub media_type: String,
}

/// The outcome of an output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The turn succeeds so far.
    #[default]
    Success,
    /// The turn failed.
    Error,
}

/// The state of the output's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Turn {
    /// More outputs of this turn follow.
    Open,
    /// The turn ends with this output.
    Done,
}

/// The kind of failure that an error output reports.
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
    /// The same request would be refused again in any session: only the operator or the group can change that.
    Refused,
    /// Any other error, including kinds that this version does not know.
    #[serde(other)]
    Other,
}

/// An output: the JSON between two marker lines.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Success or error.
    pub status: Status,
    /// Text for the chat; None sends nothing.
    #[serde(default)]
    pub result: Option<String>,
    /// The session that the next run resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_session_id: Option<String>,
    /// The reason of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The state of the turn (Parlor; v1 runners leave it out).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
    /// True for a heartbeat (Parlor): it resets the hard timer and has no other effect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heartbeat: bool,
    /// Names of the input files that this turn consumed (Parlor).
    #[serde(default, deserialize_with = "limits::names", skip_serializing_if = "Vec::is_empty")]
    pub consumed: Vec<String>,
    /// The kind of error (Parlor).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_kind: Option<ErrorKind>,
    /// The earliest time of the next try, RFC 3339 (Parlor).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<String>,
    /// Tokens of this turn, as the provider counts them (Parlor).
    #[serde(default, deserialize_with = "limits::counts", skip_serializing_if = "Option::is_none")]
    pub usage: Option<serde_json::Value>,
    /// The cost of this turn in US dollars (Parlor).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

impl Output {
    /// Returns the frame for stdout: the JSON with its marker lines.
    pub fn to_frame(&self) -> String {
        // Output has only strings, numbers and JSON values: serialising it cannot fail.
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("{OUTPUT_START}\n{json}\n{OUTPUT_END}\n")
    }
}

/// A file in the run's input folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InputFile {
    /// A follow-up for the running agent.
    Message {
        /// The follow-up's text.
        text: String,
        /// Pictures of the follow-up (Parlor).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        images: Vec<ImageAttachment>,
    },
}

/// What a refusal says of a task whose id is taken: for an agent that chose the id itself and asks again, this is
/// success.
pub const EXISTS_ALREADY: &str = "exists already";

/// The host's answer in `results/<id>.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandResult {
    /// True if the command succeeded.
    pub ok: bool,
    /// The reason of the refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Further values that the command returns (`taskId`, `nextRun`, …).
    #[serde(flatten)]
    pub details: serde_json::Map<String, serde_json::Value>,
}

/// An entry of `current_tasks.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSnapshot {
    /// The task's id.
    pub id: String,
    /// The folder of the task's group.
    #[serde(rename = "groupFolder")]
    pub group_folder: String,
    /// The task's prompt.
    pub prompt: String,
    /// The type: `cron`, `interval` or `once`.
    pub schedule_type: String,
    /// The schedule's value, as it was given.
    pub schedule_value: String,
    /// The state: `active` or `paused`.
    pub status: String,
    /// The time of the next run, RFC 3339 UTC.
    pub next_run: Option<String>,
}

/// An entry of `available_groups.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupSnapshot {
    /// The chat's id.
    pub jid: String,
    /// The chat's name.
    pub name: String,
    /// The time of the last message, RFC 3339 UTC.
    pub last_activity: String,
    /// True if the chat is a registered group.
    pub is_registered: bool,
}

/// The content of `available_groups.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupsSnapshot {
    /// The known chats; empty except for main.
    pub groups: Vec<GroupSnapshot>,
    /// The time of this list, RFC 3339 UTC.
    pub last_sync: String,
}
