//! The API inside one process, on a database without a host: commands that read get the answers that a host would
//! give, and nothing can be changed.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::io::DuplexStream;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::{ApiDeps, Limits, Work, router};
use crate::channel::intake::attach::Attachments;
use crate::channel::intake::ingest::{Ingest, Policy};
use crate::config::allowlists::{self, Watched};
use crate::config::settings::Settings;
use crate::dispatch::GroupActivity;
use crate::domain::clock::{SharedClock, SystemClock};
use crate::domain::ids::{ChatJid, GroupFolder, RunId};
use crate::domain::typing::Typing;
use crate::policy::senders::SenderRules;
use crate::store::{Store, StoreError};

/// Bytes of the buffer between the two ends of a connection.
const PIPE: usize = 64 << 10;

/// An installation that is read without a host. Clones share the router.
#[derive(Debug, Clone)]
pub struct Offline {
    router: Router,
}

impl Offline {
    /// Opens the installation's database for reading.
    pub fn open(settings: &Settings) -> Result<Self, StoreError> {
        let store = Store::open_to_read(&settings.home.database())?;
        let clock: SharedClock = Arc::new(SystemClock);
        let senders = Arc::new(Watched::new(settings.config_dir.join(allowlists::SENDERS), SenderRules::from_file));
        let (groups, max) = (settings.home.groups(), settings.max_attachment_bytes as u64);
        let files = Attachments::new(&store, clock.clone(), groups, None, max);
        let (_, ready) = watch::channel(false);
        let deps = ApiDeps {
            ingest: Ingest::new(store.clone(), clock.clone(), Policy::of(settings), senders, files),
            store,
            clock,
            settings: Arc::new(settings.clone()),
            dispatch: Arc::new(Nobody(broadcast::channel(1).0)),
            ready,
            engine: None,
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            limits: Limits::default(),
            owner: None,
        };
        Ok(Self { router: router::router(deps, CancellationToken::new()) })
    }

    /// Opens a connection, which is served until its other end is dropped.
    pub fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let service = TowerToHyperService::new(self.router.clone());
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(ours), service));
        theirs
    }
}

/// Stands in for the dispatcher: nothing runs.
struct Nobody(broadcast::Sender<Typing>);

#[async_trait]
impl Work for Nobody {
    async fn stop(&self, _: &GroupFolder) -> bool {
        false
    }
    async fn stop_run(&self, _: &ChatJid, _: RunId) -> bool {
        false
    }
    async fn go_on(&self, _: &ChatJid) {}
    async fn activity(&self, _: &GroupFolder) -> GroupActivity {
        GroupActivity::default()
    }
    fn typing(&self) -> broadcast::Receiver<Typing> {
        self.0.subscribe()
    }
}
