//! The store: SQLite behind one writer thread that commits in groups, and a few reader threads.
//!
//! A write is a closure over [`Tx`]. All closures that wait when the writer is free share one transaction and so one
//! fsync. Each has its own savepoint, so a closure that fails takes nothing with it. A closure's caller gets its
//! result only after the commit. Wake-ups named in a closure go out after the commit, too, and carry no data: the
//! receiver looks into the store.

mod convert;
pub mod copy;
#[cfg(test)]
mod cost_tests;
pub mod events;
pub mod fallbacks;
pub mod groups;
pub mod history;
pub mod import;
pub mod inbound;
pub mod inbox_files;
pub mod instance;
pub mod ipc_files;
#[cfg(test)]
pub mod memory;
mod migrate;
mod offline;
pub mod outbox;
pub mod outbox_files;
pub mod prune;
mod reader;
pub mod receipts;
pub mod runs;
pub mod sessions;
pub mod short_ids;
pub mod tasks;
#[cfg(test)]
mod tests;
pub mod told;
pub mod usage;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use rusqlite::Connection;
use rusqlite::config::DbConfig;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use crate::domain::ids::{ChatJid, GroupFolder};

pub use convert::Ms;
pub use writer::Tx;

/// Why the store failed.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// The disk is full.
    #[error("the disk with {path} is full: make room; Parlor goes on by itself")]
    Full {
        /// The database's file.
        path: PathBuf,
    },
    /// The database can be read but not written.
    #[error("{path} cannot be written ({reason}): check owner, mode and mount of its folder; Parlor goes on by itself")]
    ReadOnly {
        /// The database's file.
        path: PathBuf,
        /// SQLite's error.
        reason: String,
    },
    /// The request conflicts with stored rows. The text is for people and names the conflict.
    #[error("{0}")]
    Conflict(String),
    /// The requested object does not exist.
    #[error("{0}")]
    NotFound(String),
    /// A newer Parlor made the database.
    #[error(
        "the database is of schema {found}, this Parlor knows up to {known}: run a newer Parlor, or restore the backup made before the upgrade"
    )]
    TooNew {
        /// The schema of the file.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// An older Parlor made the database, and it is open only for reading.
    #[error(
        "the database is of schema {found}, this Parlor reads schema {known}: start a host once (`parlor up`), which brings it up to date"
    )]
    TooOld {
        /// The schema of the file.
        found: i64,
        /// The schema of this program.
        known: i64,
    },
    /// Any other error of SQLite.
    #[error("database {path}: {reason}")]
    Sqlite {
        /// The database's file.
        path: PathBuf,
        /// SQLite's error.
        reason: String,
    },
    /// The closure panicked. Nothing of it is stored; the store itself works on.
    #[error("a defect of Parlor: the code that used the database panicked ({reason}); the log of the host says where")]
    Panicked {
        /// The text of the panic.
        reason: String,
    },
    /// A thread of the store cannot be started.
    #[error("the thread {name} cannot be started ({reason}): allow more threads or processes to this user")]
    Thread {
        /// The name of the thread.
        name: String,
        /// The system's error.
        reason: String,
    },
    /// The store is closed.
    #[error("the store is closed: Parlor is shutting down, or the log of the host says why its writer has stopped")]
    Closed,
}

impl StoreError {
    /// Returns true if the same write may succeed later, without a change of the request.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::ReadOnly { .. } | Self::Sqlite { .. })
    }
}

/// An error inside a closure: from SQLite, or from the closure itself.
#[derive(Debug, Error)]
pub enum TxError {
    /// An error of SQLite.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// See [`StoreError::Conflict`].
    #[error("{0}")]
    Conflict(String),
    /// See [`StoreError::NotFound`].
    #[error("{0}")]
    NotFound(String),
    /// See [`StoreError::Panicked`].
    #[error("{0}")]
    Panicked(String),
}

impl TxError {
    fn panicked(payload: &(dyn std::any::Any + Send)) -> Self {
        Self::Panicked(panic_text(payload))
    }
}

/// Returns the text of a panic.
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a text").to_owned()
}

/// The result of a closure.
pub type TxResult<T> = Result<T, TxError>;

/// A part of the host to wake after a commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wake {
    /// New work for the group of this chat.
    Group(ChatJid),
    /// New rows for channels that deliver from the outbox.
    Outbox,
    /// Tasks changed.
    Scheduler,
    /// Groups or tasks changed, so snapshots of live runs are outdated.
    Snapshots,
    /// A group was registered: its folders can be made.
    Registered(GroupFolder),
}

/// The database. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    id: String,
    /// None if the store is open only for reading.
    writer: Option<writer::Writer>,
    readers: reader::Readers,
    /// The highest committed event; streams sleep until it grows.
    events: watch::Receiver<i64>,
}

impl Store {
    /// Opens or creates the database and brings its schema up to date.
    ///
    /// Wake-ups go to `wakes` after their commit.
    pub fn open(path: &Path, wakes: mpsc::UnboundedSender<Wake>) -> Result<Self, StoreError> {
        let fail = |e: rusqlite::Error| classify(path, &e);
        let mut connection = Connection::open(path).map_err(fail)?;
        prepare(&connection).map_err(fail)?;
        migrate::migrate(&mut connection, path)?;
        let id: String = connection
            .query_row("SELECT value FROM meta WHERE key = 'store_id'", [], |row| row.get(0))
            .map_err(fail)?;
        // Not the newest event that is still stored: cursors must stay valid after all events have expired.
        let (_, last) = events::bounds(&connection).map_err(|e| from_tx(path, e))?;
        let (events_tx, events) = watch::channel(last);
        let readers = reader::Readers::start(path, 2, reader::connection)?;
        let writer = writer::Writer::start(connection, path.to_owned(), wakes, events_tx)?;
        Ok(Self { shared: Arc::new(Shared { path: path.to_owned(), id, writer: Some(writer), readers, events }) })
    }

    /// Runs a closure in a transaction. Returns after its commit.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> TxResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        match &self.shared.writer {
            Some(writer) => writer.write(work).await,
            None => Err(StoreError::ReadOnly { path: self.shared.path.clone(), reason: "no host is running".into() }),
        }
    }

    /// Queues a closure behind every earlier write and does not wait for it. It joins the next commit, or runs alone
    /// after 50 ms. Only for bookkeeping that crash recovery can restore.
    pub fn write_soon(&self, work: impl FnOnce(&mut Tx<'_>) -> TxResult<()> + Send + 'static) {
        if let Some(writer) = &self.shared.writer {
            writer.write_soon(work);
        }
    }

    /// Runs a closure on a reader, which sees everything committed before.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> TxResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.shared.path.clone();
        self.shared.readers.read(work).await?.map_err(|e| from_tx(&path, e))
    }

    /// Stops writing after everything queued so far, at the end of the program.
    pub async fn close(&self) {
        if let Some(writer) = &self.shared.writer {
            writer.close().await;
        }
    }

    /// Returns when nothing can be written any more: after [`close`](Self::close), or after the writer's thread has
    /// ended by itself.
    pub async fn stopped(&self) {
        if let Some(writer) = &self.shared.writer {
            writer.stopped().await;
        }
    }

    /// Returns the path of the database's file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Returns the outgoing files.
    pub fn files(&self) -> outbox_files::OutboxFiles {
        outbox_files::OutboxFiles::beside(self.path())
    }

    /// Returns the incoming files.
    pub fn inbox_files(&self) -> inbox_files::InboxFiles {
        inbox_files::InboxFiles::beside(self.path())
    }

    /// Returns the store's random id, which is part of every event cursor.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// Subscribes to the highest committed event.
    pub fn events(&self) -> watch::Receiver<i64> {
        self.shared.events.clone()
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    // The log's file shrinks after each complete checkpoint, so its length shows how much waits for the next one.
    connection.pragma_update(None, "journal_size_limit", 0)?;
    connection.pragma_update(None, "cache_size", -2000)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    // Otherwise SQLite prepares a statement anew whenever a bound value changes that it has compared with a partial
    // index.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

fn from_tx(path: &Path, error: TxError) -> StoreError {
    match error {
        TxError::Sqlite(error) => classify(path, &error),
        TxError::Conflict(text) => StoreError::Conflict(text),
        TxError::NotFound(text) => StoreError::NotFound(text),
        TxError::Panicked(reason) => StoreError::Panicked { reason },
    }
}

fn classify(path: &Path, error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode as Code;
    let path = path.to_owned();
    let reason = error.to_string();
    match error.sqlite_error_code() {
        Some(Code::DiskFull) => StoreError::Full { path },
        Some(Code::ReadOnly | Code::CannotOpen | Code::PermissionDenied | Code::SystemIoFailure) => {
            StoreError::ReadOnly { path, reason }
        }
        _ => StoreError::Sqlite { path, reason },
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A store on a real file for unit tests.

    use super::{Store, Wake};
    use tokio::sync::mpsc;

    /// Returns a new store in a new folder, and its wake-ups.
    pub(crate) fn store() -> (tempfile::TempDir, Store, mpsc::UnboundedReceiver<Wake>) {
        let dir = tempfile::tempdir().unwrap();
        let (tx, rx) = mpsc::unbounded_channel();
        let store = Store::open(&dir.path().join("parlor.db"), tx).unwrap();
        (dir, store, rx)
    }
}
