//! Recovery of what the previous run of the host left: first the part that must precede any new run, then, in the
//! background, the part that takes long on a large installation.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::agent;
use crate::channel::Registry;
use crate::config::provider;
use crate::config::settings::Settings;
use crate::container::engine::ContainerEngine;
use crate::container::run::inputs::Inputs;
use crate::container::run::orphans;
use crate::dispatch::Rooms;
use crate::dispatch::recover::{self, Means, Recovered};
use crate::domain::clock::SharedClock;
use crate::domain::ids::{ChatJid, DeliveryId};
use crate::domain::words;
use crate::ipc::IpcHandle;
use crate::safe_dir::Owner;
use crate::store::{Store, groups, runs};

/// Pauses before each search for containers that engine clients of a killed host still started.
const LATECOMERS: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(8), Duration::from_secs(50)];

/// After a crash, all interrupted work waits again, except task firings: they are reported as interrupted, not
/// repeated. Returns the chats with work.
pub(super) async fn recover(store: &Store, clock: &SharedClock, channels: &Registry) -> anyhow::Result<Vec<ChatJid>> {
    let (clock, channels) = (clock.clone(), channels.clone());
    let recovered = store
        .write(move |tx| {
            let (id, route) = (|| DeliveryId(clock.ulid()), |jid: &ChatJid| channels.route(jid));
            recover::recover(tx, &Means { now: clock.now(), id: &id, route: &route })
        })
        .await?;
    let Recovered { work, runs, messages, fires } = recovered;
    if (runs, messages, fires) != (0, 0, 0) {
        let (messages, tasks) = (words::count(messages as u64, "message"), words::count(fires as u64, "task"));
        tracing::info!("recovered: {messages} to be answered again, {tasks} interrupted");
    }
    Ok(work)
}

/// The parts of the host that [`settle_in`] uses.
pub(super) struct Parts {
    pub(super) settings: Arc<Settings>,
    pub(super) store: Store,
    pub(super) ipc: IpcHandle,
    pub(super) engine: Arc<dyn ContainerEngine>,
    pub(super) rooms: Rooms,
    pub(super) owner: Option<Owner>,
    pub(super) instance: String,
    pub(super) services: CancellationToken,
}

/// Work after the start: the image, owners of groups' files, and files and containers that the previous run left.
pub(super) async fn settle_in(parts: Parts) {
    let Parts { settings, store, ipc, engine, rooms, owner, instance, services } = parts;
    clear_unknown(&store, &*engine, &instance).await;
    clear_inputs(&settings, &store).await;
    rooms.image_in_advance(&engine, provider::GUIDE).await;
    let home = settings.home.clone();
    if let Some(owner) = owner {
        // It has logged every file that it could not repair.
        let _ = tokio::task::spawn_blocking(move || agent::repair_ownership(&home, owner)).await;
    }
    sweep(&store, &ipc).await;
    let full = async {
        if !wants_full_image(&settings) {
            return;
        }
        tokio::select! {
            () = services.cancelled() => {}
            () = rooms.image_in_advance(&engine, provider::CLAUDE) => {}
        }
    };
    tokio::join!(full, latecomers(&settings, &store, &ipc, &*engine, &instance, &services));
}

/// Returns true if runs will need the image with vendors' programs. It is then built before the first message waits
/// for it.
fn wants_full_image(settings: &Settings) -> bool {
    let chosen = match settings.provider.as_str() {
        provider::AUTO => settings.home.full_image().exists(),
        name => provider::needs_full_image(name),
    };
    chosen && settings.image.is_none()
}

/// Removes containers that appear late.
async fn latecomers(
    settings: &Settings,
    store: &Store,
    ipc: &IpcHandle,
    engine: &dyn ContainerEngine,
    instance: &str,
    services: &CancellationToken,
) {
    // An engine client outlives a killed host. Its container may therefore appear after the first removal, and may
    // have written IPC files before it is found.
    for wait in LATECOMERS {
        tokio::select! {
            () = services.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        if clear_unknown(store, engine, instance).await {
            clear_inputs(settings, store).await;
            sweep(store, ipc).await;
        }
    }
}

/// Searches every group's IPC folder for files that no live run owns.
async fn sweep(store: &Store, ipc: &IpcHandle) {
    let all = store.read(groups::all).await.unwrap_or_default();
    ipc.sweep_all(all.into_iter().map(|g| g.folder).collect());
}

/// Removes containers without a live run, and returns true if there were any. Containers are listed before the store
/// is read: a run is stored before it starts.
async fn clear_unknown(store: &Store, engine: &dyn ContainerEngine, instance: &str) -> bool {
    try_clear_unknown(store, engine, instance).await.unwrap_or_else(|error| {
        tracing::warn!("cannot remove containers left by the previous run: {error:#}");
        false
    })
}

async fn try_clear_unknown(store: &Store, engine: &dyn ContainerEngine, instance: &str) -> anyhow::Result<bool> {
    let mut names = engine.list(orphans::INSTANCE_LABEL, instance).await?;
    let live = store.read(runs::live).await?;
    names.retain(|name| !live.iter().any(|run| run.container == *name));
    if names.is_empty() {
        return Ok(false);
    }
    engine.remove(&names).await?;
    tracing::info!("removed {} left by the previous run", words::count(names.len() as u64, "container"));
    Ok(true)
}

/// Removes input folders without a live run. They are listed before the store is read, for the same reason.
async fn clear_inputs(settings: &Settings, store: &Store) {
    let home = settings.home.clone();
    let listed = tokio::task::spawn_blocking(move || {
        if let Err(error) = Inputs::finish_removals(&home) {
            tracing::warn!("cannot remove input folders left by the previous run: {error}");
        }
        (Inputs::all(&home), home)
    })
    .await;
    let Ok((Ok(names), home)) = listed else { return };
    let Ok(live) = store.read(runs::live).await else { return };
    let left: Vec<_> = names.into_iter().filter(|run| !live.iter().any(|r| r.id == *run)).collect();
    let removed =
        tokio::task::spawn_blocking(move || left.iter().try_for_each(|run| Inputs::remove(&home, *run))).await;
    if let Ok(Err(error)) = removed {
        tracing::warn!("cannot remove input folders left by the previous run: {error}");
    }
}
