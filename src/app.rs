//! The composition root: every channel and every spawned worker is made here, on one page.
//!
//! `main` and the tests both call [`start`]; [`Host::stop`] ends everything in two stages.

mod greeting;
mod place;
mod recovery;
mod workers;

use std::fs;
use std::sync::Arc;

use anyhow::Context;
use futures_util::FutureExt;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::JoinHandle;

use crate::api::{self, ApiDeps, Listeners};
use crate::channel::delivery::outbound::Outbound;
use crate::channel::intake::attach::Attachments;
use crate::channel::intake::ingest::{Ingest, Policy};
use crate::channel::local::Local;
use crate::channel::{Registry, receive, typing};
use crate::config::allowlists::{self, Watched};
use crate::config::settings::Settings;
use crate::container::engine::cli_engine::CliOptions;
use crate::container::engine::detect::detect;
use crate::container::engine::user;
use crate::container::run::orphans;
use crate::dispatch::{Deps, DispatchHandle, Rooms, Slots};
use crate::domain::clock::{SharedClock, SystemClock};
use crate::domain::words;
use crate::host_log::HostLog;
use crate::ipc::{IpcDeps, IpcHandle, IpcService, Rates};
use crate::lifecycle::Shutdown;
use crate::policy::senders::SenderRules;
use crate::retention;
use crate::safe_dir::Owner;
use crate::scheduler::Scheduler;
use crate::store::{Store, Wake, runs};
use workers::Workers;

/// Typing events that a slow listener may lag behind.
const TYPING_BACKLOG: usize = 256;
/// A running host.
#[derive(Debug)]
pub struct Host {
    /// The stages of its shutdown.
    pub shutdown: Shutdown,
    settings: Arc<Settings>,
    dispatch: DispatchHandle,
    /// Watches the workers; returns the first failure among them.
    watch: JoinHandle<anyhow::Result<()>>,
    services: tokio_util::sync::CancellationToken,
    store: Store,
    _lock: fs::File,
}

/// Starts all workers. Returns when the host is ready.
pub async fn start(settings: Settings, log: &HostLog) -> anyhow::Result<Host> {
    let settings = Arc::new(settings);
    let clock: SharedClock = Arc::new(SystemClock);
    let shutdown = Shutdown::default();
    // Workers end after the runs, because the last outputs must be stored and delivered.
    let services = tokio_util::sync::CancellationToken::new();
    let mut workers = Workers::default();
    place::prepare_folders(&settings.home)?;
    let lock = place::lock(&settings.home).await?;
    if let Err(error) = log.open(&settings.home.host_log()) {
        // The log still goes to stderr.
        tracing::warn!("cannot write the log to {}: {error}", settings.home.host_log().display());
    }
    let metrics = metrics();

    let options = CliOptions { cache: Some(settings.home.data()), ..CliOptions::default() };
    let (wakes, wake_queue) = mpsc::unbounded_channel();
    let engine = detect(settings.runtime.as_deref(), &options);
    let open = place::open_store(&settings, &clock, wakes);
    let (engine, opened) = tokio::join!(engine, open);
    let (store, instance) = opened?;
    let engine = engine.context("no container engine works here")?;
    let process = rustix::process::getuid();
    if let Some(why) = user::misfit(process.as_raw(), &engine.capabilities()) {
        anyhow::bail!("{why}");
    }

    let channels = Registry::new(vec![
        Arc::new(Local::console(store.clone(), clock.clone())),
        Arc::new(Local::web(store.clone(), clock.clone())),
    ]);
    // The rows stay live until the containers are gone, so that the next start tries again if this host dies here.
    if !store.read(runs::live).await?.is_empty() {
        let cleared = orphans::clear(&*engine, &instance).await.context("clearing containers of an earlier life")?;
        tracing::info!("removed {} left by the previous run", words::count(cleared as u64, "container"));
    }
    let work = recovery::recover(&store, &clock, &channels).await?;

    let user =
        user::user_for(process.as_raw(), rustix::process::getgid().as_raw(), user::sudo_ids(), &engine.capabilities());
    let owner = process.is_root().then_some(Owner { uid: user.uid, gid: user.gid });
    let (ipc, ipc_service) = IpcService::new(IpcDeps {
        home: settings.home.clone(),
        secret_keys: settings.secret_keys.clone(),
        store: store.clone(),
        clock: clock.clone(),
        channels: channels.clone(),
        timezone: settings.timezone,
        max_file: settings.max_file_bytes as u64,
        rates: Rates::default(),
        room_owner: owner,
    })?;
    let (typing_tx, _) = broadcast::channel(TYPING_BACKLOG);
    let rooms = Rooms::new(&settings, engine.name(), user, owner, instance.clone());
    let dispatch = DispatchHandle::new(Deps {
        store: store.clone(),
        clock: clock.clone(),
        engine: engine.clone(),
        registry: channels.clone(),
        settings: settings.clone(),
        slots: Slots::new(settings.max_containers),
        ipc: ipc.clone(),
        rooms: rooms.clone(),
        typing: typing_tx,
        shutdown: shutdown.clone(),
    });
    let listeners = Listeners::bind(&settings).await?;
    workers.spawn("the service for agents' files", ipc_service.run(services.clone()));
    // Before anything wakes a chat: a retry must list the texts already sent, also those sent by IPC file.
    ipc.recovered().await;
    let tcp = listeners.tcp_address();
    let greeting = greeting::run(settings.clone(), store.clone(), engine.clone(), rooms.clone(), tcp);
    workers.spawn_once("the greeting", greeting);
    let (groups, max) = (settings.home.groups(), settings.max_attachment_bytes as u64);
    let files = Attachments::new(&store, clock.clone(), groups, owner, max);
    files.sweep(&store).await.context("files of messages that never came to be")?;
    let senders = Arc::new(Watched::new(settings.config_dir.join(allowlists::SENDERS), SenderRules::from_file));
    let ingest = Ingest::new(store.clone(), clock.clone(), Policy::of(&settings), senders, files);
    let (ready_tx, ready) = watch::channel(false);
    let (outbox_bell, schedule_bell) = (Arc::new(Notify::new()), Arc::new(Notify::new()));

    let scheduler = Scheduler::start(store.clone(), clock.clone(), settings.timezone);
    let scheduler = scheduler.await.context("the due times of tasks")?;
    workers.spawn("the scheduler", scheduler.run(schedule_bell.clone(), shutdown.soft.clone()));
    workers.spawn(
        "the delivery of messages",
        Outbound::new(store.clone(), clock.clone(), channels.clone()).run(outbox_bell.clone(), services.clone()),
    );
    let receiving = receive::run(channels.clone(), ingest.clone(), services.clone());
    workers.spawn("the receiving side of the channels", receiving);
    workers.spawn("typing", typing::run(dispatch.typing(), channels.clone(), services.clone()));
    let keep = retention::Keep {
        history: settings.keep_days.map(|days| chrono::TimeDelta::days(days.into())),
        run_logs: settings.home.all_runs(),
    };
    workers.spawn("the removal of what is over", retention::run(store.clone(), clock.clone(), keep, services.clone()));
    workers.spawn(
        "the API",
        api::serve(
            ApiDeps {
                store: store.clone(),
                clock: clock.clone(),
                settings: settings.clone(),
                ingest,
                dispatch: Arc::new(dispatch.clone()),
                ready,
                engine: Some(engine.clone()),
                metrics,
                limits: api::Limits::default(),
                owner,
            },
            listeners,
            services.clone(),
        ),
    );
    let bells = Bells { outbox: outbox_bell, schedule: schedule_bell, ipc: ipc.clone() };
    let routing = route_wakes(wake_queue, dispatch.clone(), bells);
    workers.spawn("the routing of wake-ups", services.clone().run_until_cancelled_owned(routing).map(drop));
    let stopped = store.clone();
    let stopped = async move { stopped.stopped().await };
    workers.spawn("the store's writer", services.clone().run_until_cancelled_owned(stopped).map(drop));
    // Slow work (a large installation, a missing image) must not delay the start.
    let settling = recovery::settle_in(recovery::Parts {
        settings: settings.clone(),
        store: store.clone(),
        ipc,
        engine,
        rooms,
        owner,
        instance,
        services: services.clone(),
    });
    let settling = services.clone().run_until_cancelled_owned(settling).map(drop);
    workers.spawn_once("what follows the start", settling);
    for jid in work {
        dispatch.wake(&jid);
    }
    // Fails only if the API, which follows it, is gone.
    let _ = ready_tx.send(true);
    workers.spawn("readiness", {
        let services = services.clone();
        async move {
            services.cancelled().await;
            let _ = ready_tx.send(false);
        }
    });
    let watch = tokio::spawn(workers.watch(shutdown.clone(), settings.shutdown_grace));
    Ok(Host { shutdown, settings, dispatch, watch, services, store, _lock: lock })
}

impl Host {
    /// Waits until a signal, a call or a failed worker has begun the shutdown and everything has ended. Returns the
    /// worker's failure as the error.
    pub async fn wait(self) -> anyhow::Result<()> {
        self.shutdown.soft.cancelled().await;
        self.end().await
    }

    /// Begins the shutdown and waits for its end: runs may finish, and are ended after the grace period.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.begin(self.settings.shutdown_grace);
        self.end().await
    }

    /// The host's store, for the command that runs it.
    pub fn store(&self) -> &Store {
        &self.store
    }

    async fn end(self) -> anyhow::Result<()> {
        self.dispatch.finished().await;
        self.shutdown.hard.cancel();
        self.services.cancel();
        let failed = self.watch.await;
        self.store.close().await;
        tracing::info!("Parlor has shut down");
        failed.context("the watch over Parlor's workers")?
    }
}

/// The metrics recorder of this process; only the first host of a process can install one.
fn metrics() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::debug!("an earlier host of this process records the metrics");
    }
    handle
}

struct Bells {
    outbox: Arc<Notify>,
    schedule: Arc<Notify>,
    ipc: IpcHandle,
}

/// Passes on the wake-ups of commits. A worker that is woken looks into the store for its work.
async fn route_wakes(mut queue: mpsc::UnboundedReceiver<Wake>, dispatch: DispatchHandle, bells: Bells) {
    while let Some(wake) = queue.recv().await {
        match wake {
            Wake::Group(jid) => dispatch.wake(&jid),
            Wake::Outbox => bells.outbox.notify_one(),
            Wake::Scheduler => bells.schedule.notify_one(),
            Wake::Snapshots => bells.ipc.snapshots_changed(),
            Wake::Registered(folder) => dispatch.make_ready(folder),
        }
    }
}
