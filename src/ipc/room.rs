//! One worker per live room. It waits for its signal, and handles the files in its folders in small turns, never
//! faster than its rate. All rooms share a few permits, which are given out in order of arrival, so that turns are
//! fair.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use ulid::Ulid;

use super::files::Files;
use super::pace::{Flood, Gate, Pace};
use super::process::{self, Batch, Job};
use super::watch::{Role, Signal, flag};
use super::{Shared, snapshot};
use crate::domain::ids::GroupFolder;

/// The most files of one turn.
const TURN: usize = 16;
/// The time between scans while events are not reliable.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait for a file that was made but not yet closed or renamed.
const LATER: Duration = Duration::from_millis(200);
/// How long the events of a noisy room are ignored.
const DEAF: Duration = Duration::from_secs(5);

/// An order to a worker.
#[derive(Debug)]
pub(super) enum Order {
    /// Answer once every file that is there now was handled.
    Flush(oneshot::Sender<()>),
    /// Open the folders again: a run starts, and they may have been replaced.
    Reopen,
    /// A run has ended: check whether the room is still needed.
    Idle,
}

/// The worker of a room.
#[derive(Debug)]
pub(super) struct Worker {
    shared: Arc<Shared>,
    folder: GroupFolder,
    orders: mpsc::UnboundedReceiver<Order>,
    signal: Arc<Signal>,
    watched: Vec<PathBuf>,
    pace: Pace,
    gate: Gate,
    /// Claims whose files are removed.
    gone: Vec<Ulid>,
    flood: Flood,
    /// True if the agent may have replaced the folders.
    replaced: bool,
    /// True if events are not reliable for the rest of the room's life.
    look_each_second: bool,
    /// The folders are not watched until then.
    deaf_until: Option<Instant>,
    /// When a file that was made may be ready.
    later: Option<Instant>,
    flushes: Vec<oneshot::Sender<()>>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, folder: GroupFolder, orders: mpsc::UnboundedReceiver<Order>) -> Self {
        let (now, rates) = (Instant::now(), shared.rates);
        Self {
            shared,
            folder,
            orders,
            signal: Arc::default(),
            watched: Vec::new(),
            pace: Pace::new(rates, now),
            gate: Gate::new(now),
            gone: Vec::new(),
            flood: Flood::default(),
            replaced: false,
            look_each_second: false,
            deaf_until: None,
            later: None,
            flushes: Vec::new(),
        }
    }

    /// Works until no run is live and no file is left, or the host shuts down. During each turn, the folders are lent
    /// to a thread and come back.
    pub(super) async fn run(mut self, files: Box<Files>) {
        if let Err(error) = self.live(files).await {
            tracing::error!("cannot handle IPC files of group {} any more: {error}", self.folder);
            self.unwatch();
            self.shared.leave(&self.folder);
        }
    }

    /// Removes the watches. This must come before the handles are closed, and before another worker may watch the
    /// same folders.
    fn unwatch(&mut self) {
        for path in self.watched.drain(..) {
            self.shared.watch.remove(&path);
        }
    }

    async fn live(&mut self, files: Box<Files>) -> io::Result<()> {
        let mut files = self.arrange(files, true, true).await?;
        tokio::select! {
            () = self.shared.recovered.cancelled() => {}
            () = self.shared.shutdown.cancelled() => {}
        }
        while !self.shared.shutdown.is_cancelled() {
            while let Ok(order) = self.orders.try_recv() {
                self.obey(order, &mut files);
            }
            let deafen = self.heed_signal(&mut files);
            let now = Instant::now();
            if deafen {
                self.deaf_until = Some(now + DEAF);
            }
            let listen_again = self.deaf_until.is_some_and(|until| until <= now);
            if self.replaced || deafen || listen_again {
                files = self.open_again(files).await?;
            } else if files.has_work() {
                files = self.work(files).await?;
            } else if self.rest(&mut files).await {
                return Ok(());
            }
        }
        self.unwatch();
        Ok(())
    }

    /// Opens and watches the folders again, within the rate limit, because an agent may replace them all the time.
    async fn open_again(&mut self, files: Box<Files>) -> io::Result<Box<Files>> {
        let now = Instant::now();
        if let Err(wait) = self.pace.allowed(now, 1) {
            self.report_flood();
            self.pause(wait).await;
            return Ok(files);
        }
        self.pace.spend(1);
        self.replaced = false;
        let listen = self.deaf_until.is_none_or(|until| until <= now);
        self.arrange(files, true, listen).await
    }

    /// Watches the folders again, or not at all; opens them again if they may have been replaced.
    async fn arrange(&mut self, mut files: Box<Files>, reopen: bool, listen: bool) -> io::Result<Box<Files>> {
        let (shared, signal) = (Arc::clone(&self.shared), Arc::clone(&self.signal));
        let old = std::mem::take(&mut self.watched);
        let arranged = tokio::task::spawn_blocking(move || {
            // Before the handles are closed, because their numbers are used again.
            for path in &old {
                shared.watch.remove(path);
            }
            let mut watched = Vec::new();
            // The room first and then its folders, so that a replacement during the opening is noticed.
            let mut listening = if listen { watch_room(&shared, &files, &signal, &mut watched) } else { Ok(()) };
            let reopened = if reopen { files.reopen() } else { Ok(()) };
            if listen && listening.is_ok() {
                listening = watch_sides(&shared, &files, &signal, &mut watched);
            }
            if listening.is_err() {
                for path in watched.drain(..) {
                    shared.watch.remove(&path);
                }
            }
            files.dirty();
            (files, reopened, watched, listening)
        });
        let (files, reopened, watched, listening) = arranged.await.map_err(io::Error::other)?;
        self.watched = watched;
        if listen {
            self.deaf_until = None;
        }
        if let Err(error) = listening
            && !std::mem::replace(&mut self.look_each_second, true)
        {
            tracing::warn!("group {}: folders cannot be watched, looking each second: {error}", self.folder);
        }
        if let Err(error) = reopened {
            self.trouble(&error).await;
            self.replaced = true;
        }
        Ok(files)
    }

    fn obey(&mut self, order: Order, files: &mut Files) {
        match order {
            Order::Flush(done) => {
                files.dirty();
                self.flushes.push(done);
            }
            Order::Reopen => self.replaced = true,
            Order::Idle => {}
        }
    }

    /// Notes the watcher's events. Returns true if the room is too noisy to be watched.
    fn heed_signal(&mut self, files: &mut Files) -> bool {
        let flags = self.signal.take();
        if flags & (flag::NOW | flag::LOST) != 0 {
            files.dirty();
        }
        if flags & flag::LATER != 0 {
            self.later.get_or_insert(Instant::now() + LATER);
        }
        self.replaced |= flags & flag::STRUCTURE != 0;
        self.look_each_second |= flags & flag::LOST != 0;
        let noisy = flags & flag::NOISY != 0 && !self.watched.is_empty();
        if noisy {
            self.report_flood();
        }
        noisy
    }

    fn report_flood(&mut self) {
        if self.flood.begins() {
            tracing::warn!(
                "group {} floods its IPC folder: its files are handled at a limited rate until it is quiet again",
                self.folder
            );
        }
    }

    /// Does one turn, as soon as the rate and the permits allow.
    async fn work(&mut self, mut files: Box<Files>) -> io::Result<Box<Files>> {
        self.flood.looks(self.pace.is_full(Instant::now()) && self.deaf_until.is_none());
        let most = match self.pace.allowed(Instant::now(), TURN) {
            Ok(most) => most,
            Err(wait) => {
                self.report_flood();
                // A flood is not watched, because all rooms share the queue of events.
                self.deaf_until = Some(Instant::now() + DEAF);
                if !self.watched.is_empty() {
                    files = self.arrange(files, false, false).await?;
                }
                self.pause(wait).await;
                return Ok(files);
            }
        };
        let turns = Arc::clone(&self.shared.turns);
        let _permit = turns.acquire_owned().await.map_err(io::Error::other)?;
        self.turn(files, most).await
    }

    async fn turn(&mut self, files: Box<Files>, most: usize) -> io::Result<Box<Files>> {
        let shared = Arc::clone(&self.shared);
        let claimed = tokio::task::spawn_blocking(move || {
            let mut files = files;
            let jobs = claim(&shared, &mut files, most);
            (files, jobs)
        });
        let (mut files, jobs) = claimed.await.map_err(io::Error::other)?;
        let jobs = match jobs {
            Ok(jobs) => jobs,
            Err(error) => {
                self.trouble(&error).await;
                files.dirty();
                return Ok(files);
            }
        };
        self.pace.spend(jobs.len());
        if jobs.is_empty() {
            return Ok(files);
        }
        let run = self.shared.speaker(&self.folder);
        let mut batch = Batch { run, gone: &mut self.gone, gate: &mut self.gate };
        let (files, report) = process::settle(&self.shared, files, jobs, &mut batch).await?;
        if report.left && !self.shared.shutdown.is_cancelled() {
            return Err(io::Error::other("the store is closed"));
        }
        if report.refresh {
            snapshot::rewrite(&self.shared, &self.folder, true).await;
        }
        Ok(files)
    }

    /// Logs an I/O error now and then, and waits a second.
    async fn trouble(&mut self, error: &io::Error) {
        if self.gate.pass(Instant::now()).is_some() {
            tracing::error!("cannot read the IPC folder of group {}, retrying: {error}", self.folder);
        }
        self.pause(LOOK).await;
    }

    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.shared.shutdown.cancelled() => {}
        }
    }

    /// Waits for work when none is left. Returns true if the room is not needed any more.
    async fn rest(&mut self, files: &mut Files) -> bool {
        self.flood.rests();
        for done in self.flushes.drain(..) {
            // A caller that stopped waiting does not need the answer.
            let _ = done.send(());
        }
        if self.shared.is_unused(&self.folder, &self.orders) {
            self.unwatch();
            if self.shared.leave_if_unused(&self.folder, &self.orders) {
                return true;
            }
            // An order came at the last moment: watch again.
            self.deaf_until = Some(Instant::now());
        }
        let now = Instant::now();
        let look = (self.look_each_second || self.deaf_until.is_some()).then_some(now + LOOK);
        let next = [look, self.later, self.deaf_until].into_iter().flatten().min();
        tokio::select! {
            () = self.signal.wait() => {}
            order = self.orders.recv() => if let Some(order) = order { self.obey(order, files) },
            () = sleep_until(next) => {
                self.later = self.later.filter(|later| *later > Instant::now());
                // Without events, replaced folders are not reported either.
                self.replaced |= look.is_some();
                files.dirty();
            }
            () = self.shared.shutdown.cancelled() => {}
        }
        false
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

type Watched = Vec<PathBuf>;

fn watch_room(shared: &Shared, files: &Files, signal: &Arc<Signal>, watched: &mut Watched) -> notify::Result<()> {
    watched.push(shared.watch.add(files.room(), Role::Room, signal)?);
    Ok(())
}

fn watch_sides(shared: &Shared, files: &Files, signal: &Arc<Signal>, watched: &mut Watched) -> notify::Result<()> {
    for dir in files.sides() {
        watched.push(shared.watch.add(dir, Role::Files, signal)?);
    }
    Ok(())
}

fn claim(shared: &Shared, files: &mut Files, most: usize) -> io::Result<Vec<Job>> {
    let claimed = files.claim(most, &shared.claims, &shared.ids, &*shared.clock)?;
    Ok(process::read(&shared.claims, claimed, &shared.redactor_of(&files.folder)))
}
