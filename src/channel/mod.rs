//! Channels: the trait, the registry, what comes in (`ingest`) and what goes out (`outbound`).

pub mod attach;
mod fence;
pub mod ingest;
pub mod local;
pub mod outbound;
pub mod pace;
mod pictures;
mod post;
pub mod retention;
pub mod split;
pub mod typing;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use crate::domain::ids::{ChatJid, DeliveryId};
use crate::store::outbox::Route;

/// A messaging platform.
#[async_trait]
pub trait Channel: Send + Sync + fmt::Debug {
    /// Its name in settings and logs.
    fn name(&self) -> &str;
    /// Returns true if a chat is this channel's.
    fn owns(&self, jid: &ChatJid) -> bool;
    /// Returns what it can do.
    fn capabilities(&self) -> Capabilities;
    /// Delivers parts of one text, in order; `first` is the number, from 0, of the first of them in the whole text.
    /// `id` and a part's number in the whole text are its idempotency key: a part that is delivered a second time must
    /// not show twice where the platform takes such keys.
    async fn deliver(
        &self,
        id: DeliveryId,
        target: &Target,
        parts: &[Part],
        first: u32,
    ) -> Result<Receipt, DeliverError>;
    /// Shows or hides that the agent works; channels that cannot do nothing.
    async fn typing(&self, jid: &ChatJid, on: bool) {
        let _ = (jid, on);
    }
}

/// What a channel can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Characters a message may have; none means any number in one piece.
    pub max_length: Option<usize>,
    /// True if it takes files.
    pub files: bool,
    /// True if messages can be edited.
    pub edits: bool,
    /// True if it shows typing.
    pub typing: bool,
    /// True if it takes idempotency keys.
    pub idempotency_keys: bool,
    /// True if the event stream is the channel, so that the commit delivers.
    pub local: bool,
}

/// Where a delivery goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The chat.
    pub chat: ChatJid,
    /// A thread in it.
    pub thread: Option<String>,
    /// The platform's id of the message it answers.
    pub reply_to: Option<String>,
    /// A name to show as the sender.
    pub sender: Option<String>,
}

/// A piece of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text within the channel's length.
    Text(String),
    /// A file, for texts too long for messages.
    File {
        /// Its name.
        name: String,
        /// Its content.
        content: Vec<u8>,
    },
}

/// What the platform says about a delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The platform's ids of what was delivered.
    pub platform_ids: Vec<String>,
}

/// Why a delivery failed.
#[derive(Debug, Clone, Error)]
pub enum DeliverError {
    /// Try again, at the earliest after the given time.
    #[error("{reason}")]
    Retryable {
        /// What the platform says.
        reason: String,
        /// When the platform wants to be asked again.
        after: Option<std::time::Duration>,
        /// Parts of this call that arrived before it failed.
        parts_done: u32,
    },
    /// Will never work.
    #[error("{reason}")]
    Permanent {
        /// What the platform says.
        reason: String,
    },
}

/// All channels of a host.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    channels: Vec<Arc<dyn Channel>>,
}

impl Registry {
    /// The channels, asked in order.
    pub fn new(channels: Vec<Arc<dyn Channel>>) -> Self {
        Self { channels }
    }
    /// The channel of a chat.
    pub fn of(&self, jid: &ChatJid) -> Option<&Arc<dyn Channel>> {
        self.channels.iter().find(|c| c.owns(jid))
    }
    /// Returns how a chat's texts leave.
    pub fn route(&self, jid: &ChatJid) -> Route {
        match self.of(jid) {
            Some(channel) if channel.capabilities().local => Route::Local,
            _ => Route::Platform,
        }
    }
}
