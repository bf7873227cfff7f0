//! Events of the local API's durable stream.

use serde::{Deserialize, Serialize};

use super::ids::{ChatJid, DeliveryId, RunId, TaskId};
use super::run::RunState;

/// Where a turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

/// One event; serialised with `serde(untagged)` because the stream's `event:` line carries the name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Event {
    /// A text arrived in a chat. Its text is joined from the outbox when it is read.
    Message {
        /// The chat.
        chat_jid: ChatJid,
        /// The text.
        text: String,
        /// The outbox id.
        delivery_id: DeliveryId,
        /// The platform's id of the message it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<String>,
        /// A name to show as the sender.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sender: Option<String>,
        /// A file that came with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<super::delivery::FileInfo>,
        /// Reply, message or notice.
        kind: super::delivery::DeliveryKind,
    },
    /// A turn changed.
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
            Self::Message { .. } => "message",
            Self::Turn { .. } => "turn",
            Self::Run { .. } => "run",
            Self::Task { .. } => "task",
        }
    }

    /// The chat it belongs to.
    pub fn chat(&self) -> &ChatJid {
        match self {
            Self::Message { chat_jid, .. }
            | Self::Turn { chat_jid, .. }
            | Self::Run { chat_jid, .. }
            | Self::Task { chat_jid, .. } => chat_jid,
        }
    }
}
