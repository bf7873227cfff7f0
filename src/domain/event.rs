//! Events of the local API's durable stream.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attachment::Attachment;
use super::delivery::{DeliveryKind, FileInfo};
use super::ids::{ChatJid, DeliveryId, RunId, TaskId};
use super::message::{InboundState, Quoted, Role};
use super::run::RunState;

/// The state of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TurnState {
    /// An agent works on it.
    Started,
    /// It was answered.
    Done,
    /// Given up, or failed after a reply.
    Failed,
    /// Ended by `/stop`.
    Cancelled,
}

/// A message came in. Its text is joined from the inbox when the event is read.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageIn<'a> {
    /// The chat in which it was written.
    pub chat_jid: &'a ChatJid,
    /// Its sequence number: a later message has a greater one.
    pub seq: i64,
    /// The id that the sender's client gave it.
    pub id: &'a str,
    /// The id of the author.
    pub sender: &'a str,
    /// The display name of the author.
    pub sender_name: &'a str,
    /// Its role in the group.
    pub role: Role,
    /// Its state: `pending`.
    pub state: InboundState,
    /// When the sender's program says it was written.
    #[schemars(with = "chrono::DateTime<chrono::Utc>")]
    pub sent_at: String,
    /// The result for each file that came with it.
    #[serde(skip_serializing_if = "<[Attachment]>::is_empty")]
    pub attachments: &'a [Attachment],
    /// The message that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<&'a Quoted>,
}

/// A text arrived in a chat. It is joined from the outbox when the event is read.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message<'a> {
    /// The chat that got it.
    pub chat_jid: &'a ChatJid,
    /// The id of the delivery.
    pub delivery_id: DeliveryId,
    /// Reply, message or notice.
    pub kind: DeliveryKind,
    /// The id of the message that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<&'a str>,
    /// The name to show as the sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<&'a str>,
    /// The file sent with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<&'a FileInfo>,
}

/// An event that is not a message; serialized as `untagged`, because the stream's `event:` line has the name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Event {
    /// The state of a turn changed.
    #[schemars(title = "turn")]
    Turn {
        /// The chat of the turn.
        chat_jid: ChatJid,
        /// The new state.
        state: TurnState,
        /// The sequence number of the last message in the turn.
        through_seq: i64,
        /// Why it failed; `command` if only a command is done, and earlier messages may still be open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The state of a run changed.
    #[schemars(title = "run")]
    Run {
        /// The id of the run.
        run_id: RunId,
        /// The chat of the run.
        chat_jid: ChatJid,
        /// The new state.
        state: RunState,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A task changed.
    #[schemars(title = "task")]
    Task {
        /// The id of the task.
        task_id: TaskId,
        /// The chat of the task.
        chat_jid: ChatJid,
        /// The change: `created`, `updated`, `paused`, `resumed`, `cancelled`, `fired`, `done`, `failed`, …
        change: String,
    },
}

impl Event {
    /// The name in the stream's `event:` line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Turn { .. } => "turn",
            Self::Run { .. } => "run",
            Self::Task { .. } => "task",
        }
    }

    /// The chat whose stream gets it.
    pub fn chat(&self) -> &ChatJid {
        match self {
            Self::Turn { chat_jid, .. } | Self::Run { chat_jid, .. } | Self::Task { chat_jid, .. } => chat_jid,
        }
    }
}
