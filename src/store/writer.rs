//! The only writer: a thread that runs queued closures in shared transactions.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc as queue;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::{StoreError, TxError, TxResult, Wake, classify, from_tx};

/// The most closures in one commit; more would delay the first one's answer.
const BATCH: usize = 1024;
/// The longest time that one commit collects closures.
const COLLECT: Duration = Duration::from_millis(10);
/// How long a write without a waiting caller may wait for others.
const LAZY: Duration = Duration::from_millis(50);
/// The writer copies the write-ahead log back after this many pages. SQLite's default would do so inside a commit for
/// which a caller waits.
const CHECKPOINT_PAGES: i64 = 2000;

/// A transaction as a closure sees it.
#[derive(Debug)]
pub struct Tx<'a> {
    connection: &'a Connection,
    wakes: Vec<Wake>,
    event: Option<i64>,
}

impl<'a> Tx<'a> {
    /// Begins without wake-ups and events.
    pub(super) fn on(connection: &'a Connection) -> Self {
        Self { connection, wakes: Vec::new(), event: None }
    }

    /// Adds a wake-up for after the commit.
    pub fn wake(&mut self, wake: Wake) {
        if !self.wakes.contains(&wake) {
            self.wakes.push(wake);
        }
    }

    /// Returns the wake-ups.
    #[cfg(test)]
    pub(super) fn into_wakes(self) -> Vec<Wake> {
        self.wakes
    }

    /// Notes that an event was inserted.
    pub(super) fn note_event(&mut self, seq: i64) {
        self.event = Some(seq);
    }
}

impl Deref for Tx<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        self.connection
    }
}

/// Answers a closure's caller, once it is known whether the commit succeeded.
type Reply = Box<dyn FnOnce(Option<StoreError>) + Send>;
type Fail = Box<dyn FnOnce(TxError, &std::path::Path) + Send>;
type Work = Box<dyn FnOnce(&mut Tx<'_>) -> TxResult<Reply> + Send>;

struct Job {
    work: Work,
    /// Called if the closure itself fails.
    fail: Fail,
    lazy: bool,
    /// True for the last job of the thread.
    last: bool,
}

#[derive(Debug)]
pub(super) struct Writer {
    jobs: queue::Sender<Job>,
    /// Taken by the caller that closes the store.
    thread: std::sync::Mutex<Option<std::thread::JoinHandle<()>>>,
    /// The thread owns its sender, which ends with the thread.
    alive: watch::Receiver<()>,
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        path: PathBuf,
        wakes: mpsc::UnboundedSender<Wake>,
        events: watch::Sender<i64>,
    ) -> Result<Self, StoreError> {
        let (jobs, queue) = queue::channel();
        let (living, alive) = watch::channel(());
        let name = "store-writer".to_owned();
        let thread = std::thread::Builder::new().name(name.clone()).spawn(move || {
            let _living = living;
            Loop { connection, path, wakes, events, queue, ahead: None, closing: false, wal_pages: 0 }.run();
        });
        let thread = thread.map_err(|e| StoreError::Thread { name, reason: e.to_string() })?;
        Ok(Self { jobs, thread: std::sync::Mutex::new(Some(thread)), alive })
    }

    /// Returns when the thread has ended.
    pub(super) async fn stopped(&self) {
        // Nothing is ever sent: only the end of the sender counts.
        let _ = self.alive.clone().changed().await;
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> TxResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel::<Result<T, StoreError>>();
        // Exactly one of the two closures is called; both need the sender.
        let answer = std::sync::Arc::new(std::sync::Mutex::new(Some(answer)));
        let failed = answer.clone();
        let job = Job {
            work: Box::new(move |tx| {
                let value = work(tx)?;
                Ok(Box::new(move |error: Option<StoreError>| send(&answer, error.map_or(Ok(value), Err))) as Reply)
            }),
            fail: Box::new(move |error, path| send(&failed, Err(from_tx(path, error)))),
            lazy: false,
            last: false,
        };
        self.jobs.send(job).map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Ends the thread after everything queued, and copies the log back into the database. Later writes get `Closed`.
    pub(super) async fn close(&self) {
        let work: Work = Box::new(|_| Ok(Box::new(|_| {}) as Reply));
        let job = Job { work, fail: Box::new(|_, _| {}), lazy: false, last: true };
        let thread = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let (Ok(()), Some(thread)) = (self.jobs.send(job), thread) {
            // The panic of a writer was reported before.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    pub(super) fn write_soon(&self, work: impl FnOnce(&mut Tx<'_>) -> TxResult<()> + Send + 'static) {
        let job = Job {
            work: Box::new(move |tx| {
                work(tx)?;
                Ok(Box::new(|error: Option<StoreError>| {
                    if let Some(error) = error {
                        tracing::warn!("cannot store bookkeeping: {error}");
                    }
                }) as Reply)
            }),
            fail: Box::new(|error, _| tracing::warn!("cannot store bookkeeping: {error}")),
            lazy: true,
            last: false,
        };
        // After the close, only bookkeeping is lost, which recovery restores.
        let _ = self.jobs.send(job);
    }
}

type Slot<T> = std::sync::Arc<std::sync::Mutex<Option<oneshot::Sender<Result<T, StoreError>>>>>;

fn send<T>(slot: &Slot<T>, result: Result<T, StoreError>) {
    let sender = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    if let Some(sender) = sender {
        // A caller that is gone does not need the answer.
        let _ = sender.send(result);
    }
}

struct Loop {
    connection: Connection,
    path: PathBuf,
    wakes: mpsc::UnboundedSender<Wake>,
    events: watch::Sender<i64>,
    queue: queue::Receiver<Job>,
    /// Taken from the queue, but not yet run.
    ahead: Option<Job>,
    /// True after the last job.
    closing: bool,
    wal_pages: i64,
}

impl Loop {
    fn run(mut self) {
        if let Err(error) = self.connection.pragma_update(None, "wal_autocheckpoint", 0) {
            tracing::warn!("cannot disable automatic checkpoints of {}: {error}", self.path.display());
        }
        while !self.closing
            && let Some(jobs) = self.next_batch_start()
        {
            self.commit_batch(jobs);
            self.ahead = self.queue.try_recv().ok();
            if self.ahead.is_none() || self.wal_pages > 8 * CHECKPOINT_PAGES {
                self.checkpoint();
            }
        }
        let _ = self.connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)");
    }

    /// Waits for work; lazy work first waits for other work.
    fn next_batch_start(&mut self) -> Option<Vec<Job>> {
        let first = match self.ahead.take() {
            Some(job) => job,
            None => self.queue.recv().ok()?,
        };
        let mut urgent = !first.lazy;
        let mut jobs = vec![first];
        let deadline = Instant::now() + LAZY;
        while !urgent && jobs.len() < BATCH {
            match self.queue.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(job) => {
                    urgent = !job.lazy;
                    jobs.push(job);
                }
                Err(_) => break,
            }
        }
        Some(jobs)
    }

    fn commit_batch(&mut self, jobs: Vec<Job>) {
        let started = Instant::now();
        if let Err(error) = self.connection.execute_batch("BEGIN IMMEDIATE") {
            for job in jobs {
                self.closing |= job.last;
                let error = rusqlite::Error::SqliteFailure(
                    error.sqlite_error().copied().unwrap_or(rusqlite::ffi::Error::new(1)),
                    Some(error.to_string()),
                );
                (job.fail)(error.into(), &self.path);
            }
            return;
        }
        let mut replies: Vec<Reply> = Vec::new();
        let mut wakes: Vec<Wake> = Vec::new();
        let mut event = None;
        let mut done = 0;
        let mut pending = jobs.into_iter();
        loop {
            let job = match pending.next() {
                Some(job) => job,
                None => match self.queue.try_recv() {
                    Ok(job) => job,
                    Err(_) => break,
                },
            };
            self.closing |= job.last;
            self.run_job(job, &mut replies, &mut wakes, &mut event);
            done += 1;
            // A full disk or an I/O error ends the whole transaction, and not only the savepoint.
            if self.connection.is_autocommit() {
                self.ahead = pending.next();
                let rest: Vec<Job> = pending.collect();
                return self.abandon(replies, rest);
            }
            if pending.len() == 0 && (self.closing || done >= BATCH || started.elapsed() > COLLECT) {
                break;
            }
        }
        let committed = self.connection.execute_batch("COMMIT");
        if let Err(error) = &committed {
            let _ = self.connection.execute_batch("ROLLBACK");
            let error = classify(&self.path, error);
            for reply in replies {
                reply(Some(error.clone()));
            }
            return;
        }
        metrics::counter!("parlor_store_commits_total").increment(1);
        metrics::counter!("parlor_store_writes_total").increment(done as u64);
        if let Some(seq) = event {
            self.events.send_replace(seq);
        }
        for reply in replies {
            reply(None);
        }
        for wake in wakes {
            // During the shutdown there is no receiver any more.
            let _ = self.wakes.send(wake);
        }
        self.wal_pages = self.wal_size();
    }

    /// Fails all jobs of a batch whose transaction is gone.
    fn abandon(&mut self, replies: Vec<Reply>, rest: Vec<Job>) {
        let error = self.last_error();
        for reply in replies {
            reply(Some(classify(&self.path, &error)));
        }
        for job in rest.into_iter().chain(self.ahead.take()) {
            self.closing |= job.last;
            (job.fail)(self.last_error().into(), &self.path);
        }
    }

    fn last_error(&self) -> rusqlite::Error {
        // A write like any other shows whether the cause persists.
        match self.connection.execute_batch(
            "BEGIN IMMEDIATE; INSERT OR REPLACE INTO meta VALUES ('probe', hex(randomblob(2048))); COMMIT",
        ) {
            Err(error) => {
                let _ = self.connection.execute_batch("ROLLBACK");
                error
            }
            Ok(()) => rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None),
        }
    }

    fn run_job(&mut self, job: Job, replies: &mut Vec<Reply>, wakes: &mut Vec<Wake>, event: &mut Option<i64>) {
        let savepoint = self.connection.prepare_cached("SAVEPOINT job").and_then(|mut s| s.execute([]));
        if let Err(error) = savepoint {
            (job.fail)(error.into(), &self.path);
            return;
        }
        let mut tx = Tx::on(&self.connection);
        // A panic of a closure is an error for its caller; only the closure's own changes are rolled back.
        let worked = catch_unwind(AssertUnwindSafe(|| (job.work)(&mut tx)));
        match worked.unwrap_or_else(|payload| Err(TxError::panicked(&*payload))) {
            Ok(reply) => {
                replies.push(reply);
                for wake in tx.wakes {
                    if !wakes.contains(&wake) {
                        wakes.push(wake);
                    }
                }
                *event = tx.event.or(*event);
                let _ = self.connection.prepare_cached("RELEASE job").and_then(|mut s| s.execute([]));
            }
            Err(error) => {
                let _ = self.connection.execute_batch("ROLLBACK TO job; RELEASE job");
                (job.fail)(error, &self.path);
            }
        }
    }

    fn wal_size(&self) -> i64 {
        let mut wal = self.path.clone().into_os_string();
        wal.push("-wal");
        std::fs::metadata(wal).map_or(0, |m| (m.len() / 4096) as i64)
    }

    /// Copies the log back if it has grown and no job waits.
    fn checkpoint(&mut self) {
        if self.wal_pages > CHECKPOINT_PAGES {
            let mode = if self.wal_pages > 8 * CHECKPOINT_PAGES { "TRUNCATE" } else { "PASSIVE" };
            if let Err(error) = self.connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())) {
                tracing::warn!("cannot make a checkpoint of {}: {error}", self.path.display());
            }
            self.wal_pages = 0;
        }
    }
}
