//! Messages that come in.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attachment::Attachment;
use super::ids::{ChatJid, RunId};

/// A message as a channel hands it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The chat it was written in.
    pub jid: ChatJid,
    /// The platform's id of the message; makes intake idempotent.
    pub platform_id: String,
    /// The platform's id of the sender.
    pub sender: String,
    /// The sender's name as people see it.
    pub sender_name: String,
    /// The text.
    pub text: String,
    /// Files that came with it.
    pub attachments: Vec<Attachment>,
    /// What it answers.
    pub quoted: Option<Quoted>,
    /// When the platform says it was sent. Shown to the agent, never used for ordering.
    pub sent_at: DateTime<Utc>,
}

/// What a message answers, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quoted {
    /// The platform's id of that message, or the id of a delivery.
    pub id: String,
    /// The name of who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// Its text, or the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Whether the assistant wrote it: then the answer is meant for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub assistant: bool,
}

/// What a stored message means to its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Starts a turn.
    Trigger,
    /// Kept as context for the next turn.
    Context,
    /// From a sender who may not trigger; kept as marked context.
    Denied,
    /// `/stop`, `/new` or `/status`.
    Command,
}

/// Where a stored message is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InboundState {
    /// Waits for a run.
    Pending,
    /// Given to a run that has not settled it yet.
    InFlight,
    /// A turn that had it ended well.
    Done,
    /// Taken back by `/stop`.
    Cancelled,
    /// Given up after the last retry.
    Failed,
}

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// Order of arrival; the only order there is.
    pub seq: i64,
    /// The chat.
    pub jid: ChatJid,
    /// The platform's id.
    pub platform_id: String,
    /// The platform's id of the sender.
    pub sender: String,
    /// The sender's name.
    pub sender_name: String,
    /// The text.
    pub text: String,
    /// Files that came with it.
    pub attachments: Vec<Attachment>,
    /// What it answers.
    pub quoted: Option<Quoted>,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
    /// What it means.
    pub role: Role,
    /// Where it is.
    pub state: InboundState,
    /// The run that has or last had it.
    pub run_id: Option<RunId>,
    /// The input file that carried it; empty for the first prompt.
    pub input_name: Option<String>,
    /// Failed tries so far.
    pub tries: u32,
}

/// Messages that an agent is given together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order of arrival, commands aside.
    pub messages: Vec<Inbound>,
    /// Earlier messages that the context window leaves out.
    pub omitted: u64,
}

impl Batch {
    /// The last message's sequence number.
    pub fn through(&self) -> i64 {
        self.messages.last().map_or(0, |m| m.seq)
    }
}
