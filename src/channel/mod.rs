//! Channels: the trait, the registry, incoming messages (`ingest`) and outgoing texts (`outbound`).

pub mod delivery;
pub mod intake;
pub mod local;
pub mod receive;
pub mod typing;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use self::intake::ingest::Ingest;
use crate::domain::ids::{ChatJid, DeliveryId};
use crate::store::outbox::Route;

/// One account on a messaging platform.
#[async_trait]
pub trait Channel: Send + Sync + fmt::Debug {
    /// Its name in settings and logs.
    fn name(&self) -> &str;
    /// Returns true if the chat belongs to this channel.
    fn owns(&self, jid: &ChatJid) -> bool;
    /// Returns the channel's abilities.
    fn capabilities(&self) -> Capabilities;
    /// Receives messages until the shutdown and gives each to `intake`. It acknowledges a message to the platform only
    /// after the intake has returned. [`receive`] calls it again, after a pause, when it ends earlier.
    async fn run(&self, intake: Ingest, shutdown: CancellationToken) -> Result<(), ReceiveError> {
        let _ = intake;
        shutdown.cancelled().await;
        Ok(())
    }
    /// Delivers one part of a text. A part that is delivered a second time under its key must not show twice where the
    /// platform takes such keys. `Ok` means that the part has arrived.
    async fn deliver(&self, key: PartKey, target: &Target, part: &Part) -> Result<Receipt, DeliverError>;
    /// Shows or hides that the agent works; channels that cannot do nothing.
    async fn typing(&self, jid: &ChatJid, on: bool) {
        let _ = (jid, on);
    }
}

/// The abilities of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Characters a message may have; None means any number in one piece.
    pub max_length: Option<usize>,
    /// True if it accepts files.
    pub files: bool,
    /// True if it shows typing.
    pub typing: bool,
    /// True if the event stream is the channel, so that the commit delivers.
    pub local: bool,
}

/// Names a part of a text for good: a retry, also after a restart, uses the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PartKey {
    /// The text's id in the outbox.
    pub delivery: DeliveryId,
    /// The part's number in the text, from 0.
    pub part: u32,
}

impl fmt::Display for PartKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.delivery, self.part)
    }
}

/// Where a delivery goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The chat.
    pub chat: ChatJid,
    /// The platform's id of the message it answers.
    pub reply_to: Option<String>,
    /// The sender's name to show.
    pub sender: Option<String>,
}

/// A part of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text within the channel's length.
    Text(String),
    /// A file that an agent sends, or a text too long for messages.
    File {
        /// Its name, for people.
        name: String,
        /// Where it lies on the host, below `data/`. No room can reach it.
        path: PathBuf,
    },
}

/// What a platform answers to a part that has arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The platform's id of the message, where it has one. People quote and agents edit it by this id.
    pub platform_id: Option<String>,
}

/// Why a delivery failed.
#[derive(Debug, Clone, Error)]
pub enum DeliverError {
    /// A retry may work.
    #[error("{reason}")]
    Retryable {
        /// The platform's error.
        reason: String,
        /// The least wait that the platform asks for.
        after: Option<std::time::Duration>,
    },
    /// A retry cannot work.
    #[error("{reason}")]
    Permanent {
        /// The platform's error.
        reason: String,
    },
}

/// Why a channel stopped receiving.
#[derive(Debug, Clone, Error)]
#[error("{0}")]
pub struct ReceiveError(pub String);

/// All channels of a host.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    channels: Vec<Arc<dyn Channel>>,
}

impl Registry {
    /// The channels, asked in this order.
    pub fn new(channels: Vec<Arc<dyn Channel>>) -> Self {
        Self { channels }
    }
    /// Every channel.
    pub fn all(&self) -> &[Arc<dyn Channel>] {
        &self.channels
    }
    /// The channel of a chat.
    pub fn of(&self, jid: &ChatJid) -> Option<&Arc<dyn Channel>> {
        self.channels.iter().find(|c| c.owns(jid))
    }
    /// Returns how a chat's texts are delivered.
    pub fn route(&self, jid: &ChatJid) -> Route {
        match self.of(jid) {
            Some(channel) if channel.capabilities().local => Route::Local,
            _ => Route::Platform,
        }
    }
}
