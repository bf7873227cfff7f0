//! A copy of the whole database, made beside a running host, and the steps that make a copy an installation of its
//! own.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{StoreError, classify, migrate};

/// Writes a consistent copy of a database into a new file. A host may write meanwhile: the copy has what was
/// committed when it began.
pub fn copy(database: &Path, to: &Path) -> Result<(), StoreError> {
    let connection =
        Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|e| classify(database, &e))?;
    let fail = |e: rusqlite::Error| classify(to, &e);
    connection.busy_timeout(std::time::Duration::from_secs(30)).map_err(fail)?;
    connection.execute("VACUUM INTO ?1", [to.to_string_lossy()]).map_err(fail)?;
    Ok(())
}

/// Checks that a copy is complete and has a schema that this program knows. Returns the schema.
pub fn check(copy: &Path) -> Result<i64, StoreError> {
    let fail = |e: rusqlite::Error| classify(copy, &e);
    let connection = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(fail)?;
    let found: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(fail)?;
    if found != "ok" {
        return Err(StoreError::Sqlite { path: copy.to_owned(), reason: format!("it is damaged: {found}") });
    }
    let schema: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
    let known = migrate::MIGRATIONS.len() as i64;
    if schema > known {
        return Err(StoreError::TooNew { found: schema, known });
    }
    Ok(schema)
}

/// Gives a copy a store id of its own, so that cursors of events that the original gave out later are not valid for
/// it.
pub fn renew(copy: &Path) -> Result<(), StoreError> {
    let fail = |e: rusqlite::Error| classify(copy, &e);
    let connection = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(fail)?;
    connection
        .execute("UPDATE meta SET value = ?1 WHERE key = 'store_id'", [ulid::Ulid::new().to_string().to_lowercase()])
        .map_err(fail)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{groups, testing};

    #[tokio::test]
    async fn a_copy_holds_what_was_committed_and_gets_an_id_of_its_own() {
        let (dir, store, _wakes) = testing::store();
        let jid = "web:lab".parse().unwrap();
        store.write(move |tx| groups::touch_chat(tx, &jid, Some("Lab"), None)).await.unwrap();
        let to = dir.path().join("copy.db");
        copy(store.path(), &to).unwrap();
        assert!(check(&to).unwrap() > 0);
        renew(&to).unwrap();
        let copied = crate::store::Store::open_to_read(&to).unwrap();
        assert_eq!(copied.read(groups::chats).await.unwrap()[0].name, "Lab");
        assert_ne!(copied.id(), store.id());
        assert!(copy(store.path(), &to).is_err(), "nothing is overwritten");
        let mut bytes = std::fs::read(&to).unwrap();
        bytes.truncate(bytes.len() / 2);
        std::fs::write(&to, bytes).unwrap();
        assert!(check(&to).is_err());
    }
}
