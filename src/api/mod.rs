//! The local HTTP API: messages in, the durable event stream out, and everything an operator can see or change.
//!
//! HTTP/1.1 and JSON on a Unix socket; on TCP only with an address and a token. Handlers stay thin: they check what came
//! in, hand a closure to the store or a verb to a handle, and shape the answer. Errors are problem documents (RFC 9457)
//! with a stable `code`.
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

use crate::channel::ingest::Ingest;
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

/// What the API needs from the rest of the host.
#[derive(Clone)]
pub struct ApiDeps {
    /// The store.
    pub store: Store,
    /// Time and ids.
    pub clock: SharedClock,
    /// Settings of the installation.
    pub settings: Arc<Settings>,
    /// Takes messages in.
    pub ingest: Ingest,
    /// What groups do.
    pub dispatch: Arc<dyn Work>,
    /// Whether the host has recovered and takes work.
    pub ready: watch::Receiver<bool>,
    /// The engine, for status; none where no host runs.
    pub engine: Option<Arc<dyn ContainerEngine>>,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// Limits against slow and many clients.
    pub limits: Limits,
    /// Whom files of groups belong to, where that is not the host's own user.
    pub owner: Option<Owner>,
}

impl fmt::Debug for ApiDeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiDeps").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Connections of one listener at the most.
const MAX_CONNECTIONS: usize = 4096;

/// Limits against slow and many clients.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a request's head may take, and how long a connection may idle between requests.
    pub head: Duration,
    /// How long a request's body may take.
    pub body: Duration,
    /// How long a client may leave what is sent to it unread.
    pub stall: Duration,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Connections per listener; more are told to come back.
    pub connections: usize,
    /// Comments on quiet event streams come this often.
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

/// Connections that leave half of the descriptors to runs and the store; there are two listeners.
fn connections() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors / 4).unwrap_or(usize::MAX).min(MAX_CONNECTIONS)
}

/// What groups do: the API's view of the dispatcher.
#[async_trait]
pub trait Work: Send + Sync {
    /// Ends a group's open turn now; false when nothing ran or waited.
    async fn stop(&self, folder: &GroupFolder) -> bool;
    /// Ends one run of a chat now; false when it does not live.
    async fn stop_run(&self, jid: &ChatJid, run: RunId) -> bool;
    /// Tries again now what failed in a chat and waits for its next try.
    async fn go_on(&self, jid: &ChatJid);
    /// What a group does at the moment.
    async fn activity(&self, folder: &GroupFolder) -> GroupActivity;
    /// Follows typing.
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

/// Serves until `shutdown`, then ends event streams, lets requests that are being answered finish, and returns.
pub async fn serve(deps: ApiDeps, listeners: Listeners, shutdown: CancellationToken) {
    server::serve(deps, listeners, shutdown).await;
}
