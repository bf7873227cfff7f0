//! One watcher for all live rooms. It carries no data: an event sets a flag of its room, and the room scans its
//! folder. Folders are watched through open handles, so that a name swapped for a link has no effect.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::safe_dir::SafeDir;

/// The most events of one folder per second. All rooms share the queue, so a noisier room is scanned once a second
/// instead.
const NOISY: u32 = 4_000;

/// The events of a room.
pub(super) mod flag {
    /// A file is ready.
    pub(in crate::ipc) const NOW: u8 = 1;
    /// A file was made that may become ready without another event.
    pub(in crate::ipc) const LATER: u8 = 2;
    /// The folders themselves have changed.
    pub(in crate::ipc) const STRUCTURE: u8 = 4;
    /// There were too many events.
    pub(in crate::ipc) const NOISY: u8 = 8;
    /// Events were lost.
    pub(in crate::ipc) const LOST: u8 = 16;
}

/// Wakes a room.
#[derive(Debug, Default)]
pub(super) struct Signal {
    flags: AtomicU8,
    notify: Notify,
}

impl Signal {
    pub(super) fn set(&self, flags: u8) {
        self.flags.fetch_or(flags, Ordering::AcqRel);
        self.notify.notify_one();
    }

    /// Returns the flags since the last call.
    pub(super) fn take(&self) -> u8 {
        self.flags.swap(0, Ordering::AcqRel)
    }

    pub(super) async fn wait(&self) {
        self.notify.notified().await;
    }
}

/// The folder of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// `messages/` or `tasks/`.
    Files,
    /// The room's folder itself.
    Room,
}

#[derive(Debug)]
struct Target {
    role: Role,
    signal: Arc<Signal>,
    since: Instant,
    events: u32,
}

type Targets = Arc<Mutex<HashMap<PathBuf, Target>>>;

/// The watcher. Without one (no inotify instance left), every room is scanned once a second.
#[derive(Debug)]
pub(super) struct Watch {
    watcher: Mutex<Option<RecommendedWatcher>>,
    targets: Targets,
}

impl Watch {
    pub(super) fn new() -> Self {
        let targets = Targets::default();
        let seen = Arc::clone(&targets);
        let mut reported = None;
        let watcher = notify::recommended_watcher(move |event| on_event(&seen, event, &mut reported));
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!("agents' files cannot be watched and are looked for each second instead: {error}");
            })
            .ok();
        Self { watcher: Mutex::new(watcher), targets }
    }

    /// Simulates a machine without inotify.
    #[cfg(test)]
    pub(super) fn break_down(&self) {
        *lock(&self.watcher) = None;
    }

    /// Simulates an overflow of the kernel's queue.
    #[cfg(test)]
    pub(super) fn lose_events(&self) {
        let lost = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        on_event(&self.targets, Ok(lost), &mut None);
    }

    /// Watches an open folder. [`Watch::remove`] must be called before the handle is closed.
    pub(super) fn add(&self, dir: &SafeDir, role: Role, signal: &Arc<Signal>) -> notify::Result<PathBuf> {
        let path = dir.proc_path();
        let target = Target { role, signal: Arc::clone(signal), since: Instant::now(), events: 0 };
        lock(&self.targets).insert(path.clone(), target);
        let result = match lock(&self.watcher).as_mut() {
            Some(watcher) => watcher.watch(&path, RecursiveMode::NonRecursive),
            None => Err(notify::Error::generic("there is no watcher")),
        };
        if let Err(error) = result {
            lock(&self.targets).remove(&path);
            return Err(error);
        }
        Ok(path)
    }

    pub(super) fn remove(&self, path: &Path) {
        if let Some(watcher) = lock(&self.watcher).as_mut()
            && let Err(error) = watcher.unwatch(path)
        {
            // The kernel itself removes the watch of a removed folder.
            tracing::debug!("cannot stop watching {}: {error}", path.display());
        }
        lock(&self.targets).remove(path);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time between reports of lost events.
const REPORT: Duration = Duration::from_secs(60);

fn on_event(targets: &Targets, event: notify::Result<Event>, reported: &mut Option<Instant>) {
    let mut targets = lock(targets);
    let event = match event {
        Ok(event) if !event.need_rescan() => event,
        lost => {
            if reported.is_none_or(|at| at.elapsed() > REPORT) {
                *reported = Some(Instant::now());
                let why = lost.err().map_or_else(|| "the queue ran over".to_owned(), |error| error.to_string());
                tracing::warn!("file events were lost ({why}): live rooms are looked at each second from now on");
            }
            for target in targets.values() {
                target.signal.set(flag::LOST);
            }
            return;
        }
    };
    for path in &event.paths {
        let (target, inside) = match targets.get_mut(path) {
            Some(target) => (target, false),
            None => match path.parent().and_then(|dir| targets.get_mut(dir)) {
                Some(target) => (target, true),
                None => continue,
            },
        };
        let noise = target.count();
        let flags = noise | flags_of(event.kind, target.role, inside, path);
        if flags != 0 {
            target.signal.set(flags);
        }
    }
}

impl Target {
    /// Counts an event. Returns a flag if it is one too many.
    fn count(&mut self) -> u8 {
        if self.since.elapsed() >= Duration::from_secs(1) {
            self.since = Instant::now();
            self.events = 0;
        }
        self.events += 1;
        if self.events == NOISY { flag::NOISY } else { 0 }
    }
}

fn flags_of(kind: EventKind, role: Role, inside: bool, path: &Path) -> u8 {
    let moved = matches!(kind, EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_));
    match role {
        // The folder itself was moved or removed.
        Role::Files if !inside => u8::from(moved) * flag::STRUCTURE,
        Role::Files if !super::files::is_candidate(path.file_name().unwrap_or_default()) => 0,
        Role::Files => match kind {
            EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both | RenameMode::Any))
            | EventKind::Access(AccessKind::Close(AccessMode::Write)) => flag::NOW,
            EventKind::Create(_) => flag::LATER,
            _ => 0,
        },
        Role::Room => {
            let one_of_ours =
                matches!(path.file_name().and_then(|n| n.to_str()), Some("messages" | "tasks" | "results"));
            u8::from(inside && one_of_ours && (moved || matches!(kind, EventKind::Create(_)))) * flag::STRUCTURE
        }
    }
}
