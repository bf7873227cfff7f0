//! What goes out.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{ChatJid, DeliveryId, RunId};

/// Why a text goes to a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryKind {
    /// An agent's result.
    Reply,
    /// An agent's `send_message`.
    Message,
    /// Parlor itself speaks: failures, limits, answers to commands.
    Notice,
}

/// Where a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Waits for its channel.
    Pending,
    /// Arrived.
    Delivered,
    /// Given up, kept for `parlor outbox retry`.
    Failed,
}

/// A file that goes out, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileInfo {
    /// Its name, without a path.
    pub name: String,
    /// Its bytes.
    pub size: u64,
}

/// A text to put into the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// Its id, and the idempotency key towards the platform.
    pub id: DeliveryId,
    /// The chat.
    pub jid: ChatJid,
    /// The text.
    pub text: String,
    /// A name to show as the sender.
    pub sender: Option<String>,
    /// The platform's id of the message it answers.
    pub reply_to: Option<String>,
    /// A file that goes with it; its bytes are kept before the row is.
    pub file: Option<FileInfo>,
    /// Why.
    pub kind: DeliveryKind,
    /// The run it came from.
    pub run_id: Option<RunId>,
}

/// A row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Order of commitment.
    pub seq: i64,
    /// What was put in.
    pub new: NewDelivery,
    /// Where it is.
    pub state: DeliveryState,
    /// Parts that the channel already took.
    pub parts_done: u32,
    /// Failed tries so far.
    pub tries: u32,
    /// When the next try is due.
    pub next_try: Option<DateTime<Utc>>,
    /// The last error.
    pub last_error: Option<String>,
    /// When it was put in.
    pub created_at: DateTime<Utc>,
}
