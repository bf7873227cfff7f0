//! The sessions that each group's agents resume: one for each provider, since no provider can use another one's.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row};

use super::{Ms, Tx, TxResult};
use crate::domain::ids::GroupFolder;

/// The provider of a session of which none is known: whoever answers next may try it.
pub const ANY: &str = "";

/// A stored session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose agent resumes it.
    pub folder: GroupFolder,
    /// The provider that made it, or [`ANY`].
    pub provider: String,
    /// The provider's name for it.
    pub id: String,
    /// When it was stored.
    pub updated_at: DateTime<Utc>,
}

const COLUMNS: &str = "folder, provider, session_id, updated_at";

fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session { folder: row.get(0)?, provider: row.get(1)?, id: row.get(2)?, updated_at: row.get::<_, Ms>(3)?.0 })
}

/// A group's sessions, the one that was used last first.
pub fn of_group(db: &Connection, folder: &GroupFolder) -> TxResult<Vec<Session>> {
    let mut s = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM sessions WHERE folder = ?1 ORDER BY updated_at DESC, provider DESC"
    ))?;
    let rows = s.query_map([folder], session)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Of a group's sessions, the id of the one that a provider resumes.
pub fn resumed_by<'a>(sessions: &'a [Session], provider: &str) -> Option<&'a str> {
    let of = |provider: &str| sessions.iter().find(|session| session.provider == provider);
    of(provider).or_else(|| of(ANY)).map(|session| session.id.as_str())
}

/// Stores the session that the provider's next run resumes.
pub fn set(tx: &Tx<'_>, folder: &GroupFolder, provider: &str, id: &str, now: DateTime<Utc>) -> TxResult<()> {
    if provider != ANY {
        tx.prepare_cached("DELETE FROM sessions WHERE folder = ?1 AND provider = ''")?.execute([folder])?;
    }
    // A provider's return after another one counts as use; a turn in the same session writes nothing.
    tx.prepare_cached(&format!(
        "INSERT INTO sessions ({COLUMNS}) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (folder, provider) DO UPDATE SET session_id = excluded.session_id, updated_at = excluded.updated_at
         WHERE sessions.session_id <> excluded.session_id
           OR EXISTS (SELECT 1 FROM sessions AS s WHERE s.folder = sessions.folder AND s.updated_at > sessions.updated_at)"
    ))?
    .execute((folder, provider, id, Ms(now)))?;
    Ok(())
}

/// Forgets all of a group's: its next run starts a new one, whoever answers. Returns whether there was one.
pub fn forget(tx: &Tx<'_>, folder: &GroupFolder) -> TxResult<bool> {
    Ok(tx.execute("DELETE FROM sessions WHERE folder = ?1", [folder])? > 0)
}

/// Forgets the one that a provider would resume.
pub fn forget_of(tx: &Tx<'_>, folder: &GroupFolder, provider: &str) -> TxResult<()> {
    tx.execute("DELETE FROM sessions WHERE folder = ?1 AND provider IN (?2, '')", (folder, provider))?;
    Ok(())
}

/// Every stored session.
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
    async fn each_provider_finds_its_own_session_again() {
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
    async fn a_session_of_the_schema_before_is_anyones() {
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
