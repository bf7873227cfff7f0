//! Requests that agents drop as files. The folder of a file is the identity of its author.
//!
//! A file's way: `watch` or a sweep wakes the group's worker (`room`) → `files` finds it and renames it into
//! `data/claimed` → `command` makes a typed request of its bytes → the rule of its verb (`verbs`) decides by the group of
//! the folder, and `authorize` wraps the command → the verb's handler acts in a transaction that also records the claim →
//! the answer goes to `results/`, the file is removed. Whatever happens in between, a claim's effect happens once: after a
//! crash claimed files are handled again, and one that was recorded only gives its answer.
//!
//! `verbs` says how a verb is added.
//!
//! Uses store, ops, channel (for routes) and `safe_dir`; everything below a group's IPC folder is hostile.

mod attach;
mod authorize;
mod claim;
mod command;
mod files;
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
mod verbs;
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

/// Parses an agent's file without acting on it. Returns the name of the result that it asks for, and a description of
/// the request or the error.
pub fn understand(task: bool, bytes: &[u8]) -> (Option<String>, Result<String, String>) {
    let kind = if task { command::Kind::Task } else { command::Kind::Message };
    match command::parse(kind, bytes, &Redactor::new([])) {
        Ok(parsed) => (parsed.id, Ok(verbs::of(&parsed.command).words())),
        Err(unreadable) => (unreadable.id, Err(unreadable.why)),
    }
}

/// The most turns at the same time, over all groups.
const TURNS: usize = 4;

/// The parts and settings of the service.
#[derive(Debug, Clone)]
pub struct IpcDeps {
    /// The store for effects.
    pub store: Store,
    /// The time, and ids of claims.
    pub clock: SharedClock,
    /// The installation's folders.
    pub home: Home,
    /// Names of keys in `.env` that agents may have got.
    pub secret_keys: Vec<String>,
    /// The host's time zone, for schedules without their own.
    pub timezone: Tz,
    /// Decides how texts are delivered.
    pub channels: Registry,
    /// The most bytes of a file to send.
    pub max_file: u64,
    /// How fast a group's files are handled.
    pub rates: Rates,
    /// The agent's user on the host, who owns the host's files for it. None for the host's own user.
    pub room_owner: Option<Owner>,
}

/// Shared by the handle, the service and the workers.
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
    /// Permits for turns, in order of arrival.
    turns: Arc<Semaphore>,
    rooms: Mutex<HashMap<GroupFolder, Room>>,
    /// Notified when groups or tasks have changed.
    snapshots_due: Notify,
    /// Cancelled once the claims of the last host are handled; new files come after them.
    recovered: CancellationToken,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

/// The state of a room while it has a worker.
#[derive(Debug)]
struct Room {
    runs: HashMap<RunId, Lane>,
    /// Removes the secrets of every run that the room has had.
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

    /// Returns the run to credit with this room's messages: its only live run, or the chat run if a task runs beside
    /// it. A retry of the run must know the texts that it sent.
    fn speaker(&self, folder: &GroupFolder) -> Option<RunId> {
        let rooms = self.rooms();
        let runs = &rooms.get(folder)?.runs;
        let only = |lane: Option<Lane>| {
            let mut found = runs.iter().filter(|(_, of)| lane.is_none_or(|lane| **of == lane)).map(|(run, _)| *run);
            found.next().filter(|_| found.next().is_none())
        };
        only(None).or_else(|| only(Some(Lane::Chat)))
    }

    /// Returns the redactor for the secrets of a room's runs.
    fn redactor_of(&self, folder: &GroupFolder) -> Arc<Redactor> {
        self.rooms().get(folder).map(|room| Arc::clone(&room.redactor)).unwrap_or_default()
    }

    /// Returns a redactor for the secrets that runs would get now, for files of runs that are no longer known.
    /// Blocking.
    fn redactor_of_env(&self) -> Redactor {
        match secrets::read(&self.home, &self.secret_keys) {
            Ok(found) => Redactor::of(&found),
            Err(error) => {
                tracing::warn!("cannot remove secrets from files that agents left: {error}");
                Redactor::default()
            }
        }
    }

    /// Returns the groups with a live run.
    fn live_rooms(&self) -> Vec<GroupFolder> {
        self.rooms().iter().filter(|(_, room)| !room.runs.is_empty()).map(|(folder, _)| folder.clone()).collect()
    }

    fn snapshot_of(&self, folder: &GroupFolder) -> Option<snapshot::Last> {
        self.rooms().get(folder).map(|room| Arc::clone(&room.snapshot))
    }

    /// Removes a room whose worker has ended for good.
    fn leave(&self, folder: &GroupFolder) {
        self.rooms().remove(folder);
    }

    /// Returns true if no run is live and no order waits.
    fn is_unused(&self, folder: &GroupFolder, orders: &mpsc::UnboundedReceiver<room::Order>) -> bool {
        orders.is_empty() && self.rooms().get(folder).is_none_or(|room| room.runs.is_empty())
    }

    /// Removes the room, if no run is live and no order has come meanwhile.
    fn leave_if_unused(&self, folder: &GroupFolder, orders: &mpsc::UnboundedReceiver<room::Order>) -> bool {
        let mut rooms = self.rooms();
        // Orders are sent under this lock.
        let unused = orders.is_empty() && rooms.get(folder).is_none_or(|room| room.runs.is_empty());
        if unused {
            rooms.remove(folder);
        }
        unused
    }
}
