//! From wake-ups to runs: one actor per group, which exists only while there is work.

mod actor;
mod advance;
mod backoff;
mod budget;
mod commands;
mod desk;
mod ending;
mod event;
mod failed_turn;
mod failure;
mod fallback;
mod hold;
mod jobs;
mod lane;
mod live;
mod look;
mod machine;
#[cfg(test)]
mod machine_tests;
mod messages;
mod opening;
mod orders;
mod outputs;
mod prompt;
mod ready;
pub mod recover;
mod rooms;
#[cfg(test)]
mod sim;
mod slots;
mod spend;
mod start;
mod steps;
mod supervise;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore, broadcast, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::channel::Registry;
use crate::config::settings::Settings;
use crate::container::engine::ContainerEngine;
use crate::domain::clock::SharedClock;
use crate::domain::ids::{ChatJid, GroupFolder, RunId};
use crate::domain::run::Lane;
use crate::domain::typing::Typing;
use crate::ipc::IpcHandle;
use crate::lifecycle::Shutdown;
use crate::store::{Store, groups};

use actor::{GroupActor, Verb};
pub use prompt::format as format_prompt;
pub use rooms::Rooms;
pub use slots::{Load, Slots};

/// What a group does at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupActivity {
    /// Its live runs, and those about to start.
    pub runs: Vec<RunActivity>,
    /// Why work waits: a slot, a back-off, a pause.
    pub waiting: Option<String>,
}

/// A run and its current activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunActivity {
    /// The id of the run.
    pub run: RunId,
    /// The lane of the run.
    pub lane: Lane,
    /// The run's current activity.
    pub doing: Doing,
}

/// What a run does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Its room is being opened.
    Opening,
    /// A turn is open.
    Working,
    /// Its room is open, and nothing is owed.
    Idle,
}

/// The shared parts of all actors.
#[derive(Debug)]
pub struct Deps {
    /// The database.
    pub store: Store,
    /// Time and ids.
    pub clock: SharedClock,
    /// Starts and ends containers.
    pub engine: Arc<dyn ContainerEngine>,
    /// Decides which chats are delivered by the local API.
    pub registry: Registry,
    /// The host's settings.
    pub settings: Arc<Settings>,
    /// Limits the containers at one time.
    pub slots: Slots,
    /// Handles the IPC files of agents.
    pub ipc: IpcHandle,
    /// Prepares a room before its container starts.
    pub rooms: Rooms,
    /// Sends the changes of typing.
    pub typing: broadcast::Sender<Typing>,
    /// Ends the actors.
    pub shutdown: Shutdown,
}

/// Handle to the dispatcher. Clones share one dispatcher.
#[derive(Clone)]
pub struct DispatchHandle {
    shared: Arc<Shared>,
}

struct Shared {
    deps: Arc<Deps>,
    actors: Mutex<HashMap<ChatJid, ActorRef>>,
    tracker: TaskTracker,
    /// One group at a time has its folders made.
    ready: Semaphore,
}

struct ActorRef {
    notify: Arc<Notify>,
    verbs: mpsc::Sender<Verb>,
}

impl fmt::Debug for DispatchHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DispatchHandle").finish_non_exhaustive()
    }
}

impl DispatchHandle {
    /// A dispatcher without actors.
    pub fn new(deps: Deps) -> Self {
        let (deps, tracker) = (Arc::new(deps), TaskTracker::new());
        let shared = Shared { deps, actors: Mutex::new(HashMap::new()), tracker, ready: Semaphore::new(1) };
        Self { shared: Arc::new(shared) }
    }

    /// Wakes the actor of a chat, which may have new work.
    pub fn wake(&self, jid: &ChatJid) {
        self.with_actor(jid, |actor| actor.notify.notify_one());
    }

    /// Ends a group's open turns now, as `/stop` does. Returns false if nothing ran or waited.
    pub async fn stop(&self, folder: &GroupFolder) -> bool {
        let Some(jid) = self.jid_of(folder).await else { return false };
        let (tx, rx) = oneshot::channel();
        self.ask(&jid, Verb::Stop(tx)).await;
        rx.await.unwrap_or(false)
    }

    /// Ends one run now. Returns false if it is not live.
    pub async fn stop_run(&self, jid: &ChatJid, run: RunId) -> bool {
        let (tx, rx) = oneshot::channel();
        self.ask(jid, Verb::StopRun(run, tx)).await;
        rx.await.unwrap_or(false)
    }

    /// Retries at once a group's failed work that waits for its next try.
    pub async fn go_on(&self, jid: &ChatJid) {
        let verbs = self.with_actors(|actors| actors.get(jid).map(|a| a.verbs.clone()));
        if let Some(verbs) = verbs {
            // Without an actor nothing is held back.
            let _ = verbs.send(Verb::GoOn).await;
        }
    }

    /// Returns the current activity of a group.
    pub async fn activity(&self, folder: &GroupFolder) -> GroupActivity {
        let Some(jid) = self.jid_of(folder).await else { return GroupActivity::default() };
        let verbs = self.with_actors(|actors| actors.get(&jid).map(|a| a.verbs.clone()));
        let Some(verbs) = verbs else { return GroupActivity::default() };
        let (tx, rx) = oneshot::channel();
        let answer = async {
            verbs.send(Verb::Activity(tx)).await.ok()?;
            rx.await.ok()
        };
        answer.await.unwrap_or_default()
    }

    /// Returns how many groups wait for a container, and how many containers are in use.
    pub fn load(&self) -> Load {
        self.shared.deps.slots.load()
    }

    /// Subscribes to typing. A receiver that lags loses only old states.
    pub fn typing(&self) -> broadcast::Receiver<Typing> {
        self.shared.deps.typing.subscribe()
    }

    /// Returns when every actor has ended, which happens once the shutdown has begun and their runs are gone.
    pub async fn finished(&self) {
        self.shared.tracker.close();
        self.shared.tracker.wait().await;
    }

    async fn jid_of(&self, folder: &GroupFolder) -> Option<ChatJid> {
        let folder = folder.clone();
        let group = self.shared.deps.store.read(move |db| groups::by_folder(db, &folder)).await;
        group.ok().flatten().map(|g| g.jid)
    }

    async fn ask(&self, jid: &ChatJid, verb: Verb) {
        let verbs = self.with_actor(jid, |actor| actor.verbs.clone());
        // An actor that ends now drops the answer's sender, which the caller sees.
        let _ = verbs.send(verb).await;
    }

    fn with_actors<T>(&self, work: impl FnOnce(&mut HashMap<ChatJid, ActorRef>) -> T) -> T {
        work(&mut self.shared.actors.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Calls `work` with the actor of a chat, which is made if there is none. The registry's lock is held; an actor
    /// takes it to leave, so a wake-up never goes to an actor that is gone.
    fn with_actor<T>(&self, jid: &ChatJid, work: impl FnOnce(&ActorRef) -> T) -> T {
        self.with_actors(|actors| work(actors.entry(jid.clone()).or_insert_with(|| self.spawn(jid))))
    }

    fn spawn(&self, jid: &ChatJid) -> ActorRef {
        let notify = Arc::new(Notify::new());
        let (verbs, queue) = mpsc::channel(16);
        let actor = GroupActor::new(self.shared.deps.clone(), jid.clone(), notify.clone(), queue);
        let (registry, jid, bell) = (self.clone(), jid.clone(), notify.clone());
        self.shared.tracker.spawn(async move {
            let deps = registry.shared.deps.clone();
            let ended_well = {
                let actor = actor.run(|verbs| registry.leave(&jid, &bell, verbs));
                supervise::supervise(&deps, &jid, actor).await
            };
            if !ended_well {
                registry.with_actors(|actors| actors.remove(&jid));
                registry.wake(&jid);
            }
        });
        ActorRef { notify, verbs }
    }

    /// Decides whether an actor without work may go.
    fn leave(&self, jid: &ChatJid, bell: &Notify, verbs: &mpsc::Receiver<Verb>) -> bool {
        self.with_actors(|actors| {
            let woken = futures_util::FutureExt::now_or_never(bell.notified()).is_some();
            if woken {
                bell.notify_one();
            }
            let may_go = !woken && verbs.is_empty();
            if may_go {
                actors.remove(jid);
            }
            may_go
        })
    }
}
