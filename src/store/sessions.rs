//! The sessions that each group's agents resume: one per provider, because no provider can use another one's.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row};

use super::{Ms, Tx, TxResult};
use crate::domain::ids::GroupFolder;

/// The provider of a session whose provider is unknown; any provider may try it.
pub const ANY: &str = "";

/// A stored session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The folder of the group.
    pub folder: GroupFolder,
    /// The provider that made it, or [`ANY`].
    pub provider: String,
    /// The session's id at its provider.
    pub id: String,
    /// The time when it was stored.
    pub updated_at: DateTime<Utc>,
}

const COLUMNS: &str = "folder, provider, session_id, updated_at";

fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session { folder: row.get(0)?, provider: row.get(1)?, id: row.get(2)?, updated_at: row.get::<_, Ms>(3)?.0 })
}

/// Returns a group's sessions, the last used one first.
pub fn of_group(db: &Connection, folder: &GroupFolder) -> TxResult<Vec<Session>> {
    let mut s = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM sessions WHERE folder = ?1 ORDER BY updated_at DESC, provider DESC"
    ))?;
    let rows = s.query_map([folder], session)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns the id of the session, among a group's, that a provider resumes.
pub fn resumed_by<'a>(sessions: &'a [Session], provider: &str) -> Option<&'a str> {
    let of = |provider: &str| sessions.iter().find(|session| session.provider == provider);
    of(provider).or_else(|| of(ANY)).map(|session| session.id.as_str())
}

/// Stores the session that the provider's next run resumes.
pub fn set(tx: &Tx<'_>, folder: &GroupFolder, provider: &str, id: &str, now: DateTime<Utc>) -> TxResult<()> {
    if provider != ANY {
        tx.prepare_cached("DELETE FROM sessions WHERE folder = ?1 AND provider = ''")?.execute([folder])?;
    }
    // A provider's return after another one counts as use. A turn in the same session writes nothing.
    tx.prepare_cached(&format!(
        "INSERT INTO sessions ({COLUMNS}) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (folder, provider) DO UPDATE SET session_id = excluded.session_id, updated_at = excluded.updated_at
         WHERE sessions.session_id <> excluded.session_id
           OR EXISTS (SELECT 1 FROM sessions AS s WHERE s.folder = sessions.folder AND s.updated_at > sessions.updated_at)"
    ))?
    .execute((folder, provider, id, Ms(now)))?;
    Ok(())
}

/// Forgets all sessions of a group, so that its next run starts a new one with any provider. Returns true if there
/// was one.
pub fn forget(tx: &Tx<'_>, folder: &GroupFolder) -> TxResult<bool> {
    Ok(tx.execute("DELETE FROM sessions WHERE folder = ?1", [folder])? > 0)
}

/// Forgets the session that a provider would resume.
pub fn forget_of(tx: &Tx<'_>, folder: &GroupFolder, provider: &str) -> TxResult<()> {
    tx.execute("DELETE FROM sessions WHERE folder = ?1 AND provider IN (?2, '')", (folder, provider))?;
    Ok(())
}

/// Returns every stored session.
pub fn all(db: &Connection) -> TxResult<Vec<Session>> {
    let mut s = db.prepare_cached(&format!("SELECT {COLUMNS} FROM sessions ORDER BY folder, updated_at DESC"))?;
    let rows = s.query_map([], session)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::from_ms;
    use crate::store::testing;

    #[tokio::test]
    async fn sessions_are_kept_per_provider() {
        let (_dir, store, _wakes) = testing::store();
        let folder: GroupFolder = "a".parse().unwrap();
        store
            .write(move |tx| {
                let at = |seconds: i64| from_ms(seconds * 1000);
                let resumed = |tx: &Tx<'_>, provider: &str| {
                    let all = of_group(tx, &folder)?;
                    Ok::<_, crate::store::TxError>(resumed_by(&all, provider).map(str::to_owned))
                };
                set(tx, &folder, ANY, "old", at(1))?;
                assert_eq!(resumed(tx, "llm")?.as_deref(), Some("old"), "of before: anyone's");
                set(tx, &folder, "llm", "one", at(2))?;
                assert_eq!((resumed(tx, "llm")?.as_deref(), resumed(tx, "claude")?), (Some("one"), None));
                set(tx, &folder, "claude", "two", at(3))?;
                set(tx, &folder, "claude", "two", at(4))?;
                assert_eq!(of_group(tx, &folder)?[0].updated_at, at(3), "the same again is not written");
                assert_eq!(resumed(tx, "llm")?.as_deref(), Some("one"));
                set(tx, &folder, "llm", "one", at(5))?;
                assert_eq!(of_group(tx, &folder)?[0].provider, "llm", "used last");
                forget_of(tx, &folder, "llm")?;
                assert_eq!((resumed(tx, "llm")?, resumed(tx, "claude")?.as_deref()), (None, Some("two")));
                assert!(forget(tx, &folder)? && all(tx)?.is_empty());
                Ok(())
            })
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn session_of_schema_6_fits_any_provider() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("parlor.db");
        let old = Connection::open(&path).unwrap();
        for sql in &crate::store::migrate::MIGRATIONS[..6] {
            old.execute_batch(sql).unwrap();
        }
        old.execute_batch("INSERT INTO sessions VALUES ('a', 's-1', 1000); PRAGMA user_version = 6;").unwrap();
        drop(old);
        let (wakes, _) = tokio::sync::mpsc::unbounded_channel();
        let store = crate::store::Store::open(&path, wakes).unwrap();
        let found = store.read(all).await.unwrap();
        let folder = "a".parse().unwrap();
        assert_eq!(found, [Session { folder, provider: String::new(), id: "s-1".into(), updated_at: from_ms(1000) }]);
        assert_eq!(resumed_by(&found, "claude"), Some("s-1"));
    }
}
