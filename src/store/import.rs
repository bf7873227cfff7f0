//! Rows from another installation: they have a past, which the ordinary ways in do not take. Every function leaves
//! what is there already as it is, and says whether it changed anything.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension};

use super::{Ms, Tx, TxResult, Wake, sessions};
use crate::domain::ids::{ChatJid, GroupFolder};
use crate::domain::message::{InboundState, NewMessage, Role};
use crate::domain::task::Fire;

/// A message in the state it has come to. It is kept from now on, so that the same import finds it again.
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

/// A chat that nobody has heard of yet here.
pub fn chat(tx: &Tx<'_>, jid: &ChatJid, name: &str, last_activity: DateTime<Utc>) -> TxResult<bool> {
    let mut s = tx.prepare_cached("INSERT INTO chats VALUES (?1, ?2, ?3) ON CONFLICT (jid) DO NOTHING")?;
    Ok(s.execute((jid, name, Ms(last_activity)))? > 0)
}

/// A firing that has ended.
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

/// Returns what was taken once is not taken again, whatever became of it since: the key under which that is noted.
fn key(what: &str, folder: &str) -> String {
    format!("imported_{what}:{}", folder.to_ascii_lowercase())
}

/// A group's session, unless it has one, or this one came before and was forgotten since.
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
    // What made it is Claude Code: here, or in the image that the installation had.
    for provider in ["claude", "image"] {
        sessions::set(tx, folder, provider, session, at)?;
    }
    Ok(true)
}

/// Notes that all files of a folder were taken.
pub fn files_taken(tx: &Tx<'_>, folder: &str) -> TxResult<()> {
    tx.execute("INSERT OR IGNORE INTO meta VALUES (?1, '')", [key("files", folder)])?;
    Ok(())
}

/// Returns whether all files of a folder were taken before.
pub fn has_files(db: &Connection, folder: &str) -> TxResult<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM meta WHERE key = ?1")?.exists([key("files", folder)])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    #[tokio::test]
    async fn a_session_that_was_forgotten_does_not_come_back() {
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
