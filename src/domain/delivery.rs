//! Outgoing texts and files.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{ChatJid, DeliveryId, RunId};

/// The origin of an outgoing text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryKind {
    /// An agent's result.
    Reply,
    /// An agent's `send_message`.
    Message,
    /// A notice of Parlor itself: failures, limits, answers to commands.
    Notice,
}

/// The state of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It waits for its channel.
    Pending,
    /// The channel has taken it.
    Delivered,
    /// Given up, kept for `parlor outbox retry`.
    Failed,
}

/// A file that is sent to a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileInfo {
    /// Its name, without a path.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A text for the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// Its id, and the idempotency key towards the platform.
    pub id: DeliveryId,
    /// The chat that gets it.
    pub jid: ChatJid,
    /// The whole text, before it is split for the platform.
    pub text: String,
    /// The name to show as the sender; None for the assistant's.
    pub sender: Option<String>,
    /// The platform's id of the message that it answers.
    pub reply_to: Option<String>,
    /// The file sent with it; its content is stored before this row.
    pub file: Option<FileInfo>,
    /// The origin of the text.
    pub kind: DeliveryKind,
    /// The run that made it; None for texts of Parlor itself.
    pub run_id: Option<RunId>,
}

/// A row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The order of the commits.
    pub seq: i64,
    /// The content.
    pub new: NewDelivery,
    /// The state of the delivery.
    pub state: DeliveryState,
    /// Parts that the channel has taken.
    pub parts_done: u32,
    /// Failed attempts so far.
    pub tries: u32,
    /// When the next attempt is due.
    pub next_try: Option<DateTime<Utc>>,
    /// The error of the last failed attempt.
    pub last_error: Option<String>,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}
