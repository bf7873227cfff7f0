//! Imports rows from another installation. They have a past, so the ordinary functions do not fit. Every function
//! leaves existing rows unchanged and returns whether it changed anything.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension};

use super::{Ms, Tx, TxResult, Wake, sessions};
use crate::domain::ids::{ChatJid, GroupFolder};
use crate::domain::message::{InboundState, NewMessage, Role};
use crate::domain::task::Fire;

/// Imports a message in its final state. Its age counts from now, so that the same import finds it again.
pub fn message(
    tx: &mut Tx<'_>,
    new: &NewMessage,
    role: Role,
    state: InboundState,
    now: DateTime<Utc>,
) -> TxResult<bool> {
    let inserted = tx
        .prepare_cached(
            "INSERT INTO inbound (jid, platform_id, sender, sender_name, text, sent_at, received_at, role, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (jid, platform_id) DO NOTHING",
        )?
        .execute((
            &new.jid,
            &new.platform_id,
            &new.sender,
            &new.sender_name,
            &new.text,
            Ms(new.sent_at),
            Ms(now),
            role,
            state,
        ))?;
    if inserted > 0 && state == InboundState::Pending && role == Role::Trigger {
        tx.wake(Wake::Group(new.jid.clone()));
    }
    Ok(inserted > 0)
}

/// Imports a chat that is not known yet.
pub fn chat(tx: &Tx<'_>, jid: &ChatJid, name: &str, last_activity: DateTime<Utc>) -> TxResult<bool> {
    let mut s = tx.prepare_cached("INSERT INTO chats VALUES (?1, ?2, ?3) ON CONFLICT (jid) DO NOTHING")?;
    Ok(s.execute((jid, name, Ms(last_activity)))? > 0)
}

/// Imports a firing that has ended.
pub fn fire(tx: &Tx<'_>, fire: &Fire) -> TxResult<bool> {
    let mut s = tx.prepare_cached(
        "INSERT INTO fires (task_id, due, folder, state, claimed_at, ended_at, result, error)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (task_id, due) DO NOTHING",
    )?;
    let changed = s.execute((
        &fire.task_id,
        Ms(fire.due),
        &fire.folder,
        fire.state,
        Ms(fire.claimed_at),
        fire.ended_at.map(Ms),
        &fire.result,
        &fire.error,
    ))?;
    Ok(changed > 0)
}

/// Returns the key that notes an import, so that nothing is imported twice, whatever became of it since.
fn key(what: &str, folder: &str) -> String {
    format!("imported_{what}:{}", folder.to_ascii_lowercase())
}

/// Imports a group's session, unless the group has one, or this one was imported before and forgotten since.
pub fn session(tx: &Tx<'_>, folder: &GroupFolder, session: &str, at: DateTime<Utc>) -> TxResult<bool> {
    let key = key("session", folder.as_str());
    let before: Option<String> =
        tx.query_row("SELECT value FROM meta WHERE key = ?1", [&key], |row| row.get(0)).optional()?;
    if before.as_deref() == Some(session) {
        return Ok(false);
    }
    tx.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", (&key, session))?;
    if !sessions::of_group(tx, folder)?.is_empty() {
        return Ok(false);
    }
    // Claude Code made the session: here, or in the image of the old installation.
    for provider in ["claude", "image"] {
        sessions::set(tx, folder, provider, session, at)?;
    }
    Ok(true)
}

/// Notes that all files of a folder were imported.
pub fn files_taken(tx: &Tx<'_>, folder: &str) -> TxResult<()> {
    tx.execute("INSERT OR IGNORE INTO meta VALUES (?1, '')", [key("files", folder)])?;
    Ok(())
}

/// Returns true if all files of a folder were imported before.
pub fn has_files(db: &Connection, folder: &str) -> TxResult<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM meta WHERE key = ?1")?.exists([key("files", folder)])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    #[tokio::test]
    async fn forgotten_session_is_not_imported_again() {
        let (_dir, store, _wakes) = testing::store();
        let folder: GroupFolder = "a".parse().unwrap();
        let taken = store
            .write(move |tx| {
                let mut taken =
                    vec![session(tx, &folder, "one", Utc::now())?, session(tx, &folder, "one", Utc::now())?];
                sessions::forget(tx, &folder)?;
                taken.push(session(tx, &folder, "one", Utc::now())?);
                taken.push(session(tx, &folder, "two", Utc::now())?);
                let now = sessions::of_group(tx, &folder)?;
                let of = |provider: &str| sessions::resumed_by(&now, provider).map(str::to_owned);
                Ok((taken, of("claude"), of("image"), of("llm")))
            })
            .await
            .unwrap();
        let two = || Some("two".to_owned());
        assert_eq!(taken, (vec![true, false, false, true], two(), two(), None), "no other provider gets it");
    }
}
