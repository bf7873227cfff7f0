//! Events of the local API's durable stream.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attachment::Attachment;
use super::delivery::{DeliveryKind, FileInfo};
use super::ids::{ChatJid, DeliveryId, RunId, TaskId};
use super::message::{InboundState, Quoted, Role};
use super::run::RunState;

/// Where a turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TurnState {
    /// An agent works on it.
    Started,
    /// Answered.
    Done,
    /// Given up, or failed after a reply.
    Failed,
    /// `/stop`.
    Cancelled,
}

/// A message came in. Its text is joined from the inbox when it is read.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageIn<'a> {
    /// The chat.
    pub chat_jid: &'a ChatJid,
    /// Its number: a later message has a greater one.
    pub seq: i64,
    /// The sender's name for it.
    pub id: &'a str,
    /// The id of who wrote it.
    pub sender: &'a str,
    /// The name of who wrote it.
    pub sender_name: &'a str,
    /// What it means to its group.
    pub role: Role,
    /// Where it is on its way: `pending`.
    pub state: InboundState,
    /// When the sender's program says it was written.
    #[schemars(with = "chrono::DateTime<chrono::Utc>")]
    pub sent_at: String,
    /// What became of the files that came with it.
    #[serde(skip_serializing_if = "<[Attachment]>::is_empty")]
    pub attachments: &'a [Attachment],
    /// What it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<&'a Quoted>,
}

/// A text arrived in a chat. The text is joined from the outbox when it is read.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message<'a> {
    /// The chat.
    pub chat_jid: &'a ChatJid,
    /// The delivery's id.
    pub delivery_id: DeliveryId,
    /// Reply, message or notice.
    pub kind: DeliveryKind,
    /// The id of the message it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<&'a str>,
    /// A name to show as the sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<&'a str>,
    /// A file that came with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<&'a FileInfo>,
}

/// An event that is not a message; serialised with `serde(untagged)` because the stream's `event:` line carries the name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Event {
    /// A turn changed.
    #[schemars(title = "turn")]
    Turn {
        /// The chat.
        chat_jid: ChatJid,
        /// Where it is.
        state: TurnState,
        /// The last message it covers.
        through_seq: i64,
        /// Why it failed; `command` where a command alone is done, and messages before it may still be open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A run changed.
    #[schemars(title = "run")]
    Run {
        /// The run.
        run_id: RunId,
        /// Its chat.
        chat_jid: ChatJid,
        /// Where it is.
        state: RunState,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A task changed.
    #[schemars(title = "task")]
    Task {
        /// The task.
        task_id: TaskId,
        /// Its chat.
        chat_jid: ChatJid,
        /// What happened: `created`, `updated`, `paused`, `resumed`, `cancelled`, `fired`, `done`, `failed`, …
        change: String,
    },
}

impl Event {
    /// The `event:` line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Turn { .. } => "turn",
            Self::Run { .. } => "run",
            Self::Task { .. } => "task",
        }
    }

    /// The chat it belongs to.
    pub fn chat(&self) -> &ChatJid {
        match self {
            Self::Turn { chat_jid, .. } | Self::Run { chat_jid, .. } | Self::Task { chat_jid, .. } => chat_jid,
        }
    }
}
