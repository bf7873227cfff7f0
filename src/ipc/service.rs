//! The service's life, and the verbs for others.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::claim::Claimed;
use super::files::{Files, is_waiting};
use super::pace::Gate;
use super::process::{self, Batch};
use super::room::{Order, Worker};
use super::{IpcDeps, Room, Shared, snapshot};
use crate::config::secrets::Redactor;
use crate::domain::group::Group;
use crate::domain::ids::{GroupFolder, RunId};
use crate::domain::run::Lane;
use crate::store::runs;

/// How long the end of a run waits for its last files; the rest of a flood is handled in the background.
const FLUSH: Duration = Duration::from_secs(2);
/// How long the host's start waits for files that were claimed before a crash.
const RECOVERY: Duration = Duration::from_secs(5);
/// The most groups that are swept at the same time at the start.
const SWEEPS: usize = 8;
/// Changes within this time share one writing of snapshots.
const TOGETHER: Duration = Duration::from_millis(10);
/// The most claimed files that are handled together at the start.
const RECOVER: usize = 64;

/// Handle to the IPC service. Clones share it.
#[derive(Debug, Clone)]
pub struct IpcHandle {
    pub(super) shared: Arc<Shared>,
}

/// The service itself.
#[derive(Debug)]
pub struct IpcService {
    shared: Arc<Shared>,
    /// Files that the last host had claimed and not finished.
    left: Vec<Claimed>,
}

impl IpcService {
    /// Takes charge of `data/`. Returns an error if its folders cannot be made.
    pub fn new(deps: IpcDeps) -> io::Result<(IpcHandle, Self)> {
        let shared = Arc::new(Shared::new(deps)?);
        let mut left = Vec::new();
        for name in shared.claims.names(usize::MAX)? {
            if let Some(claimed) = Claimed::from_file(&name) {
                left.push(claimed);
            } else {
                tracing::warn!("data/claimed/{name:?} is not Parlor's: it is left alone");
            }
        }
        left.sort_by_key(|claimed| claimed.id);
        Ok((IpcHandle { shared: Arc::clone(&shared) }, Self { shared, left }))
    }

    /// Finishes the claims of the last host, then serves rooms until shutdown. Returns when every worker has ended.
    /// Claims that are open then are handled at the next start.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { shared, left } = self;
        let recovery = recover(Arc::clone(&shared), left);
        shared.tasks.spawn(recovery);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = shared.snapshots_due.notified() => {}
            }
            tokio::time::sleep(TOGETHER).await;
            let live: Vec<GroupFolder> = shared.live_rooms();
            for folder in live {
                snapshot::rewrite(&shared, &folder, false).await;
            }
        }
        shared.shutdown.cancel();
        shared.tasks.close();
        shared.tasks.wait().await;
    }
}

/// Handles files that the last host had claimed, in order within each group.
async fn recover(shared: Arc<Shared>, left: Vec<Claimed>) {
    let mut by_group: BTreeMap<GroupFolder, Vec<Claimed>> = BTreeMap::new();
    for claimed in left {
        by_group.entry(claimed.folder.clone()).or_default().push(claimed);
    }
    for (folder, claimed) in by_group {
        let count = claimed.len();
        match recover_group(&shared, &folder, claimed).await {
            Ok(()) => tracing::info!("handled {count} IPC files of group {folder} that the previous host had claimed"),
            Err(error) => tracing::error!("claimed files of group {folder} wait for the next start: {error}"),
        }
    }
    shared.recovered.cancel();
}

async fn recover_group(shared: &Arc<Shared>, folder: &GroupFolder, claimed: Vec<Claimed>) -> io::Result<()> {
    let mut files = Box::new(open_files(shared, folder).await?);
    let redactor = Arc::new(env_redactor(shared).await?);
    // The messages of their run wait again, so its retry must know the texts already sent.
    let whose = folder.clone();
    let run =
        shared.store.read(move |db| runs::interrupted_with_messages(db, &whose)).await.map_err(io::Error::other)?;
    let (mut gone, mut gate) = (Vec::new(), Gate::new(Instant::now()));
    for part in claimed.chunks(RECOVER) {
        let (thread_shared, part) = (Arc::clone(shared), part.to_vec());
        let whose = Arc::clone(&redactor);
        let read = tokio::task::spawn_blocking(move || process::read(&thread_shared.claims, part, &whose));
        let jobs = read.await.map_err(io::Error::other)?;
        let mut batch = Batch { run, gone: &mut gone, gate: &mut gate };
        files = process::settle(shared, files, jobs, &mut batch).await?.0;
    }
    Ok(())
}

async fn env_redactor(shared: &Arc<Shared>) -> io::Result<Redactor> {
    let shared = Arc::clone(shared);
    tokio::task::spawn_blocking(move || shared.redactor_of_env()).await.map_err(io::Error::other)
}

async fn open_files(shared: &Arc<Shared>, folder: &GroupFolder) -> io::Result<Files> {
    let (shared, folder) = (Arc::clone(shared), folder.clone());
    let open = move || Files::open(&shared.data, &folder, shared.owner, shared.clock.now().timestamp());
    tokio::task::spawn_blocking(open).await.map_err(io::Error::other)?
}

impl IpcHandle {
    /// Returns when the claims of the last host are handled, but after five seconds in any case.
    pub async fn recovered(&self) {
        let _ = tokio::time::timeout(RECOVERY, self.shared.recovered.cancelled()).await;
    }

    /// Makes a group's missing IPC folders.
    pub async fn make_folders(&self, folder: &GroupFolder) -> io::Result<()> {
        open_files(&self.shared, folder).await.map(drop)
    }

    /// Before a run starts: makes the group's IPC folders, writes its snapshots, and watches it. From now on, the
    /// run's secrets are removed from the room's files.
    pub async fn open_room(&self, group: &Group, run: RunId, lane: Lane, redactor: &Redactor) -> io::Result<()> {
        if self.shared.shutdown.is_cancelled() {
            return Err(io::Error::other("Parlor is shutting down"));
        }
        // First, because the run's container mounts it.
        let files = open_files(&self.shared, &group.folder).await?;
        let last = self.enter(&group.folder, Some((run, lane)), redactor, files);
        let written = snapshot::write(&self.shared, &group.folder, &last, true).await;
        if written.is_err() {
            self.close_room(&group.folder, run).await;
        }
        written
    }

    /// After a run's container is gone: handles its last files, then stops watching if no other run is live. For a
    /// flood, waits two seconds and handles the rest in the background.
    pub async fn close_room(&self, folder: &GroupFolder, run: RunId) {
        let flushed = match self.shared.rooms().get_mut(folder) {
            Some(room) => flush(room),
            None => return,
        };
        // An error means that the worker ended with the host.
        let _ = tokio::time::timeout(FLUSH, flushed).await;
        if let Some(room) = self.shared.rooms().get_mut(folder) {
            // Only now, because the last files still belonged to the run.
            room.runs.remove(&run);
            let _ = room.orders.send(Order::Idle);
        }
    }

    /// Groups or tasks have changed: writes the snapshots of live rooms that differ.
    pub fn snapshots_changed(&self) {
        self.shared.snapshots_due.notify_one();
    }

    /// At the start: handles the files of groups without a live run, in the background.
    pub fn sweep_all(&self, folders: Vec<GroupFolder>) {
        let this = self.clone();
        self.shared.tasks.spawn(async move {
            let stopped = this.shared.shutdown.clone();
            let sweeps = futures_util::stream::iter(folders).for_each_concurrent(SWEEPS, |folder| {
                let this = this.clone();
                async move {
                    if let Err(error) = this.sweep(&folder).await {
                        tracing::warn!("cannot look into the IPC folder of group {folder}: {error}");
                    }
                }
            });
            tokio::select! {
                () = sweeps => {}
                () = stopped.cancelled() => {}
            }
        });
    }

    async fn sweep(&self, folder: &GroupFolder) -> io::Result<()> {
        let (shared, whose) = (Arc::clone(&self.shared), folder.clone());
        let waiting = tokio::task::spawn_blocking(move || is_waiting(&shared.data, &whose));
        if !waiting.await.map_err(io::Error::other)?? {
            return Ok(());
        }
        let files = open_files(&self.shared, folder).await?;
        self.enter(folder, None, &env_redactor(&self.shared).await?, files);
        let flushed = self.shared.rooms().get_mut(folder).map(flush);
        if let Some(flushed) = flushed {
            // The number at a time is limited, to save file descriptors. An error means that the worker ended.
            let _ = flushed.await;
        }
        Ok(())
    }

    /// Adds a run to a room, and starts a worker if it has none.
    fn enter(
        &self,
        folder: &GroupFolder,
        run: Option<(RunId, Lane)>,
        redactor: &Redactor,
        files: Files,
    ) -> snapshot::Last {
        let mut rooms = self.shared.rooms();
        if let Some(room) = rooms.get_mut(folder) {
            room.runs.extend(run);
            Arc::make_mut(&mut room.redactor).add(redactor);
            // A worker that has just ended has removed its room under the same lock.
            let _ = room.orders.send(Order::Reopen);
            return Arc::clone(&room.snapshot);
        }
        let (orders, inbox) = mpsc::unbounded_channel();
        let room = Room {
            runs: run.into_iter().collect(),
            redactor: Arc::new(redactor.clone()),
            orders,
            snapshot: snapshot::Last::default(),
        };
        let last = Arc::clone(&room.snapshot);
        rooms.insert(folder.clone(), room);
        let worker = Worker::new(Arc::clone(&self.shared), folder.clone(), inbox);
        self.shared.tasks.spawn(worker.run(Box::new(files)));
        last
    }
}

/// Asks a room's worker to answer when no file is left.
fn flush(room: &mut Room) -> oneshot::Receiver<()> {
    let (done, flushed) = oneshot::channel();
    let _ = room.orders.send(Order::Flush(done));
    flushed
}
