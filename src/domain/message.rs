//! Incoming messages.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attachment::Attachment;
use super::ids::{ChatJid, RunId};

/// A message as a channel passes it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The chat in which it was written.
    pub jid: ChatJid,
    /// The platform's id of the message; it makes intake idempotent.
    pub platform_id: String,
    /// The platform's id of the sender.
    pub sender: String,
    /// The sender's display name.
    pub sender_name: String,
    /// The sender's text, without the marks of attachments.
    pub text: String,
    /// Files that came with it.
    pub attachments: Vec<Attachment>,
    /// The message that it answers.
    pub quoted: Option<Quoted>,
    /// When the platform says it was sent. Shown to the agent, never used for ordering.
    pub sent_at: DateTime<Utc>,
}

/// The message that another one answers, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quoted {
    /// The platform's id of that message, or the id of a delivery.
    pub id: String,
    /// The display name of its author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// Its text, or the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// True if the assistant wrote it: the answer is then addressed to the assistant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub assistant: bool,
}

/// The role of a stored message in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It starts a turn.
    Trigger,
    /// It is context for the next turn.
    Context,
    /// Its sender may not trigger; it is context, marked as such.
    Denied,
    /// It is `/stop`, `/new` or `/status`.
    Command,
}

/// The state of a stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InboundState {
    /// It waits for a run.
    Pending,
    /// It was given to a run that has not settled it yet.
    InFlight,
    /// A turn that included it ended well.
    Done,
    /// It was withdrawn by `/stop`.
    Cancelled,
    /// It was given up after the last retry.
    Failed,
}

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// The order of arrival, and the only order of messages.
    pub seq: i64,
    /// The chat in which it was written.
    pub jid: ChatJid,
    /// The platform's id of the message.
    pub platform_id: String,
    /// The platform's id of the sender.
    pub sender: String,
    /// The sender's display name.
    pub sender_name: String,
    /// The sender's text, without the marks of attachments.
    pub text: String,
    /// Files that came with it.
    pub attachments: Vec<Attachment>,
    /// The message that it answers.
    pub quoted: Option<Quoted>,
    /// When the platform says it was sent.
    pub sent_at: DateTime<Utc>,
    /// Its role in the group.
    pub role: Role,
    /// Its state.
    pub state: InboundState,
    /// The run that has it, or had it last.
    pub run_id: Option<RunId>,
    /// The name of the input file that carried it; empty for the first prompt.
    pub input_name: Option<String>,
    /// Failed attempts so far.
    pub tries: u32,
}

/// Messages that are given to an agent together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// The messages in order of arrival, without commands.
    pub messages: Vec<Inbound>,
    /// The number of earlier messages that the context window leaves out.
    pub omitted: u64,
}

impl Batch {
    /// The sequence number of the last message; 0 without messages.
    pub fn through(&self) -> i64 {
        self.messages.last().map_or(0, |m| m.seq)
    }
}
