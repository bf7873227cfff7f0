//! Requests that agents drop as files; the folder of a file is the identity of its author.
//!
//! A file's way: `watch` or a sweep wakes the group's worker (`room`) → `files` finds it and renames it into
//! `data/claimed` → `command` makes a typed command of its bytes → `authorize` decides by the group of the folder → one
//! of `handlers` acts in a transaction that also records the claim → the answer goes to `results/`, the file is
//! removed. Whatever happens in between, a claim's effect happens once: after a crash claimed files are handled again,
//! and one that was recorded only gives its answer.
//!
//! To add a verb: a variant in the runner's protocol, an arm in `authorize`, a file in `handlers`, a line in its
//! `handle`.
//!
//! Uses store, ops, channel (for routes) and `safe_dir`; everything below a group's IPC folder is hostile.

mod attach;
mod authorize;
mod claim;
mod command;
mod files;
mod handlers;
mod pace;
mod precheck;
mod process;
mod quarantine;
mod results;
mod room;
mod service;
mod snapshot;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chrono_tz::Tz;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::channel::Registry;
use crate::config::home::Home;
use crate::config::secrets::{self, Redactor};
use crate::domain::clock::SharedClock;
use crate::domain::ids::{GroupFolder, RunId};
use crate::domain::run::Lane;
use crate::safe_dir::{Owner, SafeDir};
use crate::store::Store;

pub use command::MAX_FILE;
pub use pace::Rates;
pub use service::{IpcHandle, IpcService};

/// Returns what a file from an agent says, without acting on it: the name of the result it asks for, and what it asks
/// for or why it is not understood.
pub fn understand(task: bool, bytes: &[u8]) -> (Option<String>, Result<String, String>) {
    let kind = if task { command::Kind::Task } else { command::Kind::Message };
    match command::parse(kind, bytes, &Redactor::new([])) {
        Ok(parsed) => (parsed.id, Ok(parsed.command.describe())),
        Err(unreadable) => (unreadable.id, Err(unreadable.why)),
    }
}

/// Turns at the same time, over all groups.
const TURNS: usize = 4;

/// What the service needs.
#[derive(Debug, Clone)]
pub struct IpcDeps {
    /// Where effects go.
    pub store: Store,
    /// Time, and ids of claims.
    pub clock: SharedClock,
    /// The installation's folders.
    pub home: Home,
    /// Keys of `.env` that agents may have been given.
    pub secret_keys: Vec<String>,
    /// The host's zone, for schedules without their own.
    pub timezone: Tz,
    /// Says how texts leave.
    pub channels: Registry,
    /// Bytes that a file to send may have.
    pub max_file: u64,
    /// How many files of a group are handled.
    pub rates: Rates,
    /// Who the agent is on the host: owns what is written for it. None when it is whoever runs the host.
    pub room_owner: Option<Owner>,
}

/// What handle, service and workers share.
#[derive(Debug)]
struct Shared {
    store: Store,
    clock: SharedClock,
    timezone: Tz,
    channels: Registry,
    home: Home,
    secret_keys: Vec<String>,
    owner: Option<Owner>,
    max_file: u64,
    rates: Rates,
    /// `data/`.
    data: SafeDir,
    /// `data/claimed/`.
    claims: SafeDir,
    ids: claim::ClaimIds,
    watch: watch::Watch,
    /// Permits for turns, given out in order of arrival.
    turns: Arc<Semaphore>,
    rooms: Mutex<HashMap<GroupFolder, Room>>,
    /// Groups or tasks changed.
    snapshots_due: Notify,
    /// Cancelled when what a crash left was handled: new files come after it.
    recovered: CancellationToken,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

/// What is known of a room while it has a worker.
#[derive(Debug)]
struct Room {
    runs: HashMap<RunId, Lane>,
    /// Takes out the secrets of every run the room has had.
    redactor: Arc<Redactor>,
    orders: mpsc::UnboundedSender<room::Order>,
    snapshot: snapshot::Last,
}

impl Shared {
    fn new(deps: IpcDeps) -> io::Result<Self> {
        let context =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", deps.home.data().display()));
        let data = SafeDir::open(&deps.home.data()).map_err(context)?;
        let claims = data.ensure_dir(Path::new("claimed"), None, 0o700).map_err(context)?;
        data.ensure_dir(Path::new("ipc"), None, 0o755).map_err(context)?;
        data.ensure_dir(Path::new("quarantine"), None, 0o700).map_err(context)?;
        Ok(Self {
            store: deps.store,
            clock: deps.clock,
            timezone: deps.timezone,
            channels: deps.channels,
            home: deps.home,
            secret_keys: deps.secret_keys,
            owner: deps.room_owner,
            max_file: deps.max_file,
            rates: deps.rates,
            data,
            claims,
            ids: claim::ClaimIds::default(),
            watch: watch::Watch::new(),
            turns: Arc::new(Semaphore::new(TURNS)),
            rooms: Mutex::default(),
            snapshots_due: Notify::new(),
            recovered: CancellationToken::new(),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    fn rooms(&self) -> std::sync::MutexGuard<'_, HashMap<GroupFolder, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose words a room's are: the one live run's, and the chat's where a task's run is live beside it, because a
    /// retry must know what was said already.
    fn speaker(&self, folder: &GroupFolder) -> Option<RunId> {
        let rooms = self.rooms();
        let runs = &rooms.get(folder)?.runs;
        let only = |lane: Option<Lane>| {
            let mut found = runs.iter().filter(|(_, of)| lane.is_none_or(|lane| **of == lane)).map(|(run, _)| *run);
            found.next().filter(|_| found.next().is_none())
        };
        only(None).or_else(|| only(Some(Lane::Chat)))
    }

    /// Takes the secrets of a room's runs out of what it says.
    fn redactor_of(&self, folder: &GroupFolder) -> Arc<Redactor> {
        self.rooms().get(folder).map(|room| Arc::clone(&room.redactor)).unwrap_or_default()
    }

    /// Takes out what runs would be given now: for what runs left that are not known any more. Blocking.
    fn redactor_of_env(&self) -> Redactor {
        match secrets::read(&self.home, &self.secret_keys) {
            Ok(found) => Redactor::of(&found),
            Err(error) => {
                tracing::warn!("secrets are not taken out of files that agents left: {error}");
                Redactor::default()
            }
        }
    }

    /// Groups with a live run.
    fn live_rooms(&self) -> Vec<GroupFolder> {
        self.rooms().iter().filter(|(_, room)| !room.runs.is_empty()).map(|(folder, _)| folder.clone()).collect()
    }

    fn snapshot_of(&self, folder: &GroupFolder) -> Option<snapshot::Last> {
        self.rooms().get(folder).map(|room| Arc::clone(&room.snapshot))
    }

    /// A worker that ends for good takes its room with it.
    fn leave(&self, folder: &GroupFolder) {
        self.rooms().remove(folder);
    }

    /// Returns true if no run is live and nobody asked for anything.
    fn is_unused(&self, folder: &GroupFolder, orders: &mpsc::UnboundedReceiver<room::Order>) -> bool {
        orders.is_empty() && self.rooms().get(folder).is_none_or(|room| room.runs.is_empty())
    }

    /// Leaves, if no run is live and nobody asked for anything meanwhile.
    fn leave_if_unused(&self, folder: &GroupFolder, orders: &mpsc::UnboundedReceiver<room::Order>) -> bool {
        let mut rooms = self.rooms();
        // Orders are given under this lock.
        let unused = orders.is_empty() && rooms.get(folder).is_none_or(|room| room.runs.is_empty());
        if unused {
            rooms.remove(folder);
        }
        unused
    }
}
