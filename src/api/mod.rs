//! The local HTTP API: messages in, the durable event stream out, and everything an operator can see or change.
//!
//! HTTP/1.1 and JSON on a Unix socket; on TCP only with an address and a token. Handlers are thin: they check the
//! input, call the store or a handle, and build the answer. Errors are problem documents (RFC 9457) with a stable
//! `code`.
//!
//! The module uses the store below it, and its peers only through [`Ingest`], [`Work`] and [`ContainerEngine`].

mod body;
mod chats;
mod events;
mod groups;
mod guard;
mod history;
mod linger;
mod listen;
mod long_texts;
mod loose;
mod messages;
mod offline;
mod openapi;
mod outbox;
mod problem;
mod router;
mod runs;
mod server;
mod sessions;
mod status;
mod stream;
mod tasks;
#[cfg(test)]
pub(crate) mod tests;
mod time;
mod upload;
mod usage;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusHandle;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::channel::intake::ingest::Ingest;
use crate::config::settings::Settings;
use crate::container::engine::ContainerEngine;
use crate::dispatch::{DispatchHandle, GroupActivity};
use crate::domain::clock::SharedClock;
use crate::domain::ids::{ChatJid, GroupFolder, RunId};
use crate::domain::typing::Typing;
use crate::safe_dir::Owner;
use crate::store::Store;

pub use listen::{ListenError, Listeners, short_path};
pub use offline::Offline;

/// The parts of the host that the API uses.
#[derive(Clone)]
pub struct ApiDeps {
    /// The database.
    pub store: Store,
    /// The source of time and ids.
    pub clock: SharedClock,
    /// The installation's settings.
    pub settings: Arc<Settings>,
    /// Stores incoming messages.
    pub ingest: Ingest,
    /// The dispatcher.
    pub dispatch: Arc<dyn Work>,
    /// True once the host has recovered and takes work.
    pub ready: watch::Receiver<bool>,
    /// The container engine, for the status; None if no host runs.
    pub engine: Option<Arc<dyn ContainerEngine>>,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// Limits against slow and many clients.
    pub limits: Limits,
    /// The owner of files in groups' folders, if that is not the host's own user.
    pub owner: Option<Owner>,
}

impl fmt::Debug for ApiDeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiDeps").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// The largest number of connections of one listener.
const MAX_CONNECTIONS: usize = 4096;

/// Limits against slow and many clients.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The time limit for a request's head, and for an idle connection between requests.
    pub head: Duration,
    /// The time limit for a request's body.
    pub body: Duration,
    /// How long a client may leave sent bytes unread.
    pub stall: Duration,
    /// The size limit of a request's body, in bytes.
    pub body_bytes: usize,
    /// Connections per listener; further ones get `503` and are closed.
    pub connections: usize,
    /// The interval of comments on quiet event streams.
    pub keep_alive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            body: Duration::from_secs(30),
            stall: Duration::from_secs(300),
            body_bytes: 4 << 20,
            connections: connections(),
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// A limit per listener that leaves half of the descriptors to runs and the store; there are two listeners.
fn connections() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors / 4).unwrap_or(usize::MAX).min(MAX_CONNECTIONS)
}

/// The API's view of the dispatcher.
#[async_trait]
pub trait Work: Send + Sync {
    /// Ends a group's open turn now. Returns false if nothing ran or waited.
    async fn stop(&self, folder: &GroupFolder) -> bool;
    /// Ends one run of a chat now. Returns false if it is not alive.
    async fn stop_run(&self, jid: &ChatJid, run: RunId) -> bool;
    /// Retries a chat's failed work now, without its back-off.
    async fn go_on(&self, jid: &ChatJid);
    /// The group's runs and the reasons for waiting.
    async fn activity(&self, folder: &GroupFolder) -> GroupActivity;
    /// Subscribes to changes of typing.
    fn typing(&self) -> broadcast::Receiver<Typing>;
}

#[async_trait]
impl Work for DispatchHandle {
    async fn stop(&self, folder: &GroupFolder) -> bool {
        Self::stop(self, folder).await
    }
    async fn stop_run(&self, jid: &ChatJid, run: RunId) -> bool {
        Self::stop_run(self, jid, run).await
    }
    async fn go_on(&self, jid: &ChatJid) {
        Self::go_on(self, jid).await;
    }
    async fn activity(&self, folder: &GroupFolder) -> GroupActivity {
        Self::activity(self, folder).await
    }
    fn typing(&self) -> broadcast::Receiver<Typing> {
        Self::typing(self)
    }
}

/// Serves until `shutdown`. Then it ends event streams, waits for answers in progress, and returns.
pub async fn serve(deps: ApiDeps, listeners: Listeners, shutdown: CancellationToken) {
    server::serve(deps, listeners, shutdown).await;
}
