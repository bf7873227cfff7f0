//! The store of an installation whose host is not running, open only for reading. Nothing is locked, migrated or left
//! behind.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::watch;

use super::{Shared, Store, StoreError, classify, events, from_tx, migrate, reader};

impl Store {
    /// Opens a database for reading. Every write is refused. Returns an error if the schema is not this program's,
    /// because only a host may migrate.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let fail = |e: rusqlite::Error| classify(path, &e);
        let connection = open(path).map_err(fail)?;
        migrate::expect_current(&connection, path)?;
        let id: String = connection
            .query_row("SELECT value FROM meta WHERE key = 'store_id'", [], |row| row.get(0))
            .map_err(fail)?;
        let (_, last) = events::bounds(&connection).map_err(|e| from_tx(path, e))?;
        let (_, events) = watch::channel(last);
        let readers = reader::Readers::start(path, 1, open)?;
        Ok(Self { shared: Arc::new(Shared { path: path.to_owned(), id, writer: None, readers, events }) })
    }
}

/// Without a write-ahead log, which only exists while a host has the database open, the plain file is read as
/// immutable: otherwise SQLite would create a log and an index beside it. A log that a killed host left is read, too.
/// An empty log, which a host leaves if it ends while its last reader closes, holds nothing.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let log = path.with_file_name(format!("{}-wal", path.file_name().unwrap_or_default().to_string_lossy()));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = if std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        Connection::open_with_flags(path, flags)?
    } else {
        let uri = format!("file:{}?immutable=1", escaped(path));
        Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?
    };
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Escapes a path for SQLite's URIs.
fn escaped(path: &Path) -> String {
    let mut out = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => out.push((*byte).into()),
            // A write into memory cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use tokio::sync::mpsc;

    use super::*;
    use crate::store::groups;

    fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
        entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
    }

    /// Writes a store with a chat, in a folder whose name must be escaped.
    async fn written(dir: &Path) -> std::path::PathBuf {
        let folder = dir.join("a b?c#%25é");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("parlor.db");
        let (wakes, _rx) = mpsc::unbounded_channel();
        let store = Store::open(&path, wakes).unwrap();
        let jid = "web:lab".parse().unwrap();
        store.write(move |tx| groups::touch_chat(tx, &jid, Some("Lab"), None)).await.unwrap();
        store.close().await;
        path
    }

    #[tokio::test]
    async fn store_at_rest_is_read_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path()).await;
        // The readers of the store above end a moment after it.
        for name in ["parlor.db-wal", "parlor.db-shm"] {
            let _ = fs::remove_file(path.with_file_name(name));
        }
        let before = files(path.parent().unwrap());
        let store = Store::open_to_read(&path).unwrap();
        assert_eq!(store.read(groups::chats).await.unwrap()[0].name, "Lab");
        let refused = store.write(|tx| Ok(tx.execute("DELETE FROM chats", [])?)).await.unwrap_err();
        assert!(matches!(refused, StoreError::ReadOnly { .. }), "{refused}");
        drop(store);
        assert_eq!(files(path.parent().unwrap()), before);
    }

    #[tokio::test]
    async fn empty_log_is_ignored_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        // A copy, because the readers of the store above end a moment after it.
        let path = dir.path().join("parlor.db");
        fs::copy(written(dir.path()).await, &path).unwrap();
        fs::remove_dir_all(dir.path().join("a b?c#%25é")).unwrap();
        fs::write(path.with_file_name("parlor.db-wal"), "").unwrap();
        let before = files(path.parent().unwrap());
        let store = Store::open_to_read(&path).unwrap();
        assert_eq!(store.read(groups::chats).await.unwrap()[0].name, "Lab");
        assert_eq!(files(path.parent().unwrap()), before);
        drop(store);
        assert_eq!(files(path.parent().unwrap()), before);
    }

    #[tokio::test]
    async fn log_of_a_killed_host_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (wakes, _rx) = mpsc::unbounded_channel();
        let path = dir.path().join("parlor.db");
        let store = Store::open(&path, wakes).unwrap();
        let jid = "web:lab".parse().unwrap();
        store.write(move |tx| groups::touch_chat(tx, &jid, Some("Lab"), None)).await.unwrap();
        let copy = tempfile::tempdir().unwrap();
        for name in ["parlor.db", "parlor.db-wal"] {
            fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
        }
        let copied = Store::open_to_read(&copy.path().join("parlor.db")).unwrap();
        assert_eq!(copied.read(groups::chats).await.unwrap()[0].name, "Lab");
    }

    #[tokio::test]
    async fn other_schemas_are_not_opened_for_reading() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path()).await;
        for (version, word) in [(1, "start a host once"), (99, "run a newer Parlor")] {
            Connection::open(&path).unwrap().pragma_update(None, "user_version", version).unwrap();
            let refused = Store::open_to_read(&path).unwrap_err().to_string();
            assert!(refused.contains(word), "{refused}");
        }
        assert!(Store::open_to_read(&dir.path().join("none.db")).is_err());
    }
}
