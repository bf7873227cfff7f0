//! Outgoing texts: one row per text, kept until its channel took it.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{Ms, Tx, TxError, TxResult, Wake, events};
use crate::domain::delivery::{Delivery, DeliveryKind, FileInfo, NewDelivery};
use crate::domain::event::Message;
use crate::domain::ids::{ChatJid, DeliveryId, RunId};

/// How a chat's texts are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// By the event stream itself, with the commit.
    Local,
    /// By the outbound worker, after the commit.
    Platform,
}

/// The most texts that may wait for one chat of a platform.
pub const MAX_WAITING: i64 = 1000;
/// The most bytes of such texts.
pub const MAX_WAITING_BYTES: i64 = 16 << 20;
/// The most bytes of files that are kept for one chat, delivered or not.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// How many of Parlor's own notices may wait beyond [`MAX_WAITING`].
const NOTICES: i64 = 100;
/// How many failed texts of one chat are kept for a retry; the oldest are deleted.
const MAX_FAILED: i64 = 1000;

/// The fate of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It waits, or the commit delivers it.
    Stored,
    /// The chat's queue is full: the text is dropped, and the chat was notified once.
    LeftOut,
}

/// Puts a text into the outbox. For a local chat, the same commit delivers it. For a chat of a platform, at most
/// [`MAX_WAITING`] texts wait.
///
/// `turn_open` marks the texts of a run's open turn until the turn is settled.
pub fn put(tx: &mut Tx<'_>, new: &NewDelivery, route: Route, turn_open: bool, now: DateTime<Utc>) -> TxResult<Put> {
    if route == Route::Local {
        insert(tx, new, turn_open, "delivered", now)?;
        deliver_locally(tx, new, now)?;
        return Ok(Put::Stored);
    }
    let full = is_full(tx, new)?;
    if !full {
        insert(tx, new, turn_open, "pending", now)?;
    } else if note_left_out(tx, &new.jid)? == 1 {
        tracing::warn!("the outbox of {} is full: texts of agents are dropped for now", new.jid);
        let text = "Too much waits to be delivered to this chat. Until it is, what the agent says here is left out.";
        let notice =
            NewDelivery { text: text.into(), kind: DeliveryKind::Notice, sender: None, file: None, ..new.clone() };
        insert(tx, &notice, false, "pending", now)?;
    }
    tx.wake(Wake::Outbox);
    Ok(if full { Put::LeftOut } else { Put::Stored })
}

/// Returns true if the chat's queue is full. After it was full, there is room again once half of it is delivered.
fn is_full(tx: &Tx<'_>, new: &NewDelivery) -> TxResult<bool> {
    let load = tx
        .prepare_cached("SELECT waiting, bytes, left_out FROM outbox_load WHERE jid = ?1")?
        .query_row([&new.jid], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
        .optional()?;
    let (waiting, bytes, left_out) = load.unwrap_or_default();
    let bytes = bytes + new.text.len() as i64;
    if new.kind == DeliveryKind::Notice {
        return Ok(waiting >= MAX_WAITING + NOTICES);
    }
    let part = if left_out > 0 { 2 } else { 1 };
    let full = waiting >= MAX_WAITING / part || bytes > MAX_WAITING_BYTES / part;
    if left_out > 0 && !full {
        tracing::warn!("the outbox of {} has room again; {left_out} texts were dropped", new.jid);
        tx.execute("UPDATE outbox_load SET left_out = 0 WHERE jid = ?1", [&new.jid])?;
    }
    Ok(full)
}

/// Counts a dropped text. Returns how many were dropped since the chat was notified.
fn note_left_out(tx: &Tx<'_>, jid: &ChatJid) -> TxResult<i64> {
    let mut s = tx.prepare_cached(
        "INSERT INTO outbox_load (jid, waiting, bytes, left_out) VALUES (?1, 0, 0, 1)
         ON CONFLICT (jid) DO UPDATE SET left_out = left_out + 1 RETURNING left_out",
    )?;
    Ok(s.query_row([jid], |row| row.get(0))?)
}

fn insert(tx: &Tx<'_>, new: &NewDelivery, turn_open: bool, state: &str, now: DateTime<Utc>) -> TxResult<()> {
    tx.prepare_cached(
        "INSERT INTO outbox (id, jid, text, sender, reply_to, kind, run_id, turn_open, state, created_at, ended_at,
           file_name, file_size)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute(rusqlite::params![
        new.id,
        new.jid,
        new.text,
        new.sender,
        new.reply_to,
        new.kind,
        new.run_id,
        turn_open,
        state,
        Ms(now),
        (state == "delivered").then_some(Ms(now)),
        new.file.as_ref().map(|file| &file.name),
        new.file.as_ref().map(|file| file.size as i64),
    ])?;
    Ok(())
}

/// Appends the message event of a delivery. A second call for the same delivery does nothing.
pub fn deliver_locally(tx: &mut Tx<'_>, new: &NewDelivery, now: DateTime<Utc>) -> TxResult<()> {
    let id = new.id.to_string();
    let known = tx.prepare_cached("SELECT 1 FROM events WHERE outbox_id = ?1")?.exists([&id])?;
    if known {
        return Ok(());
    }
    let event = Message {
        chat_jid: &new.jid,
        delivery_id: new.id,
        kind: new.kind,
        reply_to: new.reply_to.as_deref(),
        sender: new.sender.as_deref(),
        file: new.file.as_ref(),
    };
    let body = serde_json::to_string(&event).unwrap_or_default();
    events::insert(tx, "message", &new.jid, &body, &events::Text::Outbox(&id), now)?;
    Ok(())
}

const COLUMNS: &str =
    "seq, id, jid, text, sender, reply_to, kind, run_id, state, parts_done, tries, next_try, last_error, created_at,
     file_name, file_size";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        seq: row.get("seq")?,
        new: NewDelivery {
            id: row.get("id")?,
            jid: row.get("jid")?,
            text: row.get("text")?,
            sender: row.get("sender")?,
            reply_to: row.get("reply_to")?,
            file: file_of(row)?,
            kind: row.get("kind")?,
            run_id: row.get("run_id")?,
        },
        state: row.get("state")?,
        parts_done: row.get("parts_done")?,
        tries: row.get("tries")?,
        next_try: row.get::<_, Option<Ms>>("next_try")?.map(|ms| ms.0),
        last_error: row.get("last_error")?,
        created_at: row.get::<_, Ms>("created_at")?.0,
    })
}

fn file_of(row: &Row<'_>) -> rusqlite::Result<Option<FileInfo>> {
    let (name, size): (Option<String>, Option<i64>) = (row.get("file_name")?, row.get("file_size")?);
    Ok(name.map(|name| FileInfo { name, size: size.unwrap_or(0) as u64 }))
}

/// Returns the bytes of files that are kept for a chat.
pub fn file_bytes(db: &Connection, jid: &ChatJid) -> TxResult<u64> {
    let mut s =
        db.prepare_cached("SELECT coalesce(sum(file_size), 0) FROM outbox WHERE jid = ?1 AND file_name IS NOT NULL")?;
    Ok(s.query_row([jid], |row| row.get::<_, i64>(0))? as u64)
}

/// Returns the ids that have no row.
pub fn without_row(db: &Connection, ids: Vec<DeliveryId>) -> TxResult<Vec<DeliveryId>> {
    let mut s = db.prepare_cached("SELECT 1 FROM outbox WHERE id = ?1")?;
    let mut lost = Vec::new();
    for id in ids {
        if !s.exists([id])? {
            lost.push(id);
        }
    }
    Ok(lost)
}

/// Returns the chats with waiting rows, each with the time of its first row's next try.
pub fn waiting_chats(db: &Connection) -> TxResult<Vec<(ChatJid, DateTime<Utc>)>> {
    let mut s = db.prepare_cached(
        "SELECT jid, coalesce(next_try, 0), min(seq) FROM outbox WHERE state = 'pending' GROUP BY jid ORDER BY min(seq)",
    )?;
    let rows = s.query_map([], |row| Ok((row.get(0)?, row.get::<_, Ms>(1)?.0)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns the first waiting row of a chat.
pub fn next(db: &Connection, jid: &ChatJid) -> TxResult<Option<Delivery>> {
    let mut s = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM outbox WHERE jid = ?1 AND state = 'pending' ORDER BY seq LIMIT 1"
    ))?;
    let mut rows = s.query_map([jid], from_row)?;
    Ok(rows.next().transpose()?)
}

/// Notes how many parts the channel has taken.
pub fn part_done(tx: &Tx<'_>, id: DeliveryId, parts_done: u32) -> TxResult<()> {
    tx.execute("UPDATE outbox SET parts_done = ?2 WHERE id = ?1", (id, parts_done))?;
    Ok(())
}

/// Notes that the channel has taken the whole text.
pub fn delivered(tx: &Tx<'_>, id: DeliveryId, now: DateTime<Utc>) -> TxResult<()> {
    tx.execute("UPDATE outbox SET state = 'delivered', ended_at = ?2, last_error = NULL WHERE id = ?1", (id, Ms(now)))?;
    Ok(())
}

/// Notes a failed try and the time of the next one. Without a next one, the row has failed; a chat's last thousand
/// failed rows are kept.
pub fn failed(
    tx: &Tx<'_>,
    id: DeliveryId,
    error: &str,
    next_try: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> TxResult<()> {
    tx.execute(
        "UPDATE outbox SET tries = tries + 1, last_error = ?2, next_try = ?3,
           state = CASE WHEN ?3 IS NULL THEN 'failed' ELSE 'pending' END,
           ended_at = CASE WHEN ?3 IS NULL THEN ?4 END WHERE id = ?1",
        (id, error, next_try.map(Ms), Ms(now)),
    )?;
    if next_try.is_none() {
        let too_many = "state = 'failed' AND jid = (SELECT jid FROM outbox WHERE id = ?1) AND seq <= (
               SELECT seq FROM outbox WHERE state = 'failed' AND jid = (SELECT jid FROM outbox WHERE id = ?1)
               ORDER BY seq DESC LIMIT 1 OFFSET ?2)";
        let receipts = format!("DELETE FROM receipts WHERE delivery IN (SELECT id FROM outbox WHERE {too_many})");
        tx.execute(&receipts, (id, MAX_FAILED))?;
        tx.execute(&format!("DELETE FROM outbox WHERE {too_many}"), (id, MAX_FAILED))?;
    }
    Ok(())
}

/// Makes failed rows wait again: one, or all. Returns how many.
pub fn retry(tx: &mut Tx<'_>, id: Option<DeliveryId>) -> TxResult<usize> {
    let changed = tx.execute(
        "UPDATE outbox SET state = 'pending', tries = 0, next_try = NULL, ended_at = NULL
         WHERE state = 'failed' AND (?1 IS NULL OR id = ?1)",
        [id],
    )?;
    if let (Some(id), 0) = (id, changed) {
        return Err(TxError::NotFound(format!("delivery {id} is not among the failed ones")));
    }
    tx.wake(Wake::Outbox);
    Ok(changed)
}

/// Returns rows for people, newest first: the waiting and failed ones, or all.
pub fn list(db: &Connection, all: bool, limit: u32) -> TxResult<Vec<Delivery>> {
    let open = "WHERE seq IN (SELECT seq FROM outbox WHERE state = 'pending'
                              UNION ALL SELECT seq FROM outbox WHERE state = 'failed')";
    let of_state = if all { "" } else { open };
    let mut s = db.prepare_cached(&format!("SELECT {COLUMNS} FROM outbox {of_state} ORDER BY seq DESC LIMIT ?1"))?;
    let rows = s.query_map([limit], from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns the row of a delivery.
pub fn get(db: &Connection, id: DeliveryId) -> TxResult<Option<Delivery>> {
    let mut s = db.prepare_cached(&format!("SELECT {COLUMNS} FROM outbox WHERE id = ?1"))?;
    Ok(s.query_row([id], from_row).optional()?)
}

/// The most texts of a broken-off turn that its retry gets. An agent may send any number in one turn.
const RESUMED: u32 = 1000;
const RESUMED_BYTES: usize = 1 << 20;

/// Returns the last texts that a run sent in its open turn, oldest first, within the limits of a retry. A single text
/// that is too long is cut.
pub fn said_in_open_turn(db: &Connection, run: RunId) -> TxResult<Vec<String>> {
    let mut s = db.prepare_cached(
        "SELECT substr(text, 1, ?2) || CASE WHEN length(text) > ?2 THEN '…' ELSE '' END
           || CASE WHEN file_name IS NULL THEN '' ELSE ' [file: ' || file_name || ']' END
         FROM outbox WHERE run_id = ?1 AND turn_open = 1 ORDER BY seq DESC LIMIT ?3",
    )?;
    let mut rows = s.query((run, RESUMED_BYTES as i64 / 4, RESUMED))?;
    let (mut said, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        bytes += text.len();
        if bytes > RESUMED_BYTES && !said.is_empty() {
            break;
        }
        said.push(text);
    }
    said.reverse();
    Ok(said)
}

/// How many of an open turn's last texts are compared with an answer. An agent may send any number in one turn, and
/// all groups share the writer, which compares them.
const COMPARED: u32 = 16;

/// Returns true if an open turn of the chat has just sent this text with a tool. White space does not count.
pub fn is_said(db: &Connection, jid: &ChatJid, text: &str) -> TxResult<bool> {
    // Texts of a very different length are not read.
    let mut s = db.prepare_cached(
        "SELECT CASE WHEN octet_length(text) BETWEEN ?2 / 2 AND ?2 * 2 + 64 THEN text END FROM outbox
         WHERE turn_open = 1 AND jid = ?1 AND kind = 'message' AND file_name IS NULL ORDER BY seq DESC LIMIT ?3",
    )?;
    let mut rows = s.query((jid, i64::try_from(text.len()).unwrap_or(i64::MAX / 4), COMPARED))?;
    while let Some(row) = rows.next()? {
        let said: Option<String> = row.get(0)?;
        if said.is_some_and(|said| said.split_whitespace().eq(text.split_whitespace())) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Moves a broken-off turn, with its texts, to a new run.
pub fn take_over_turn(tx: &Tx<'_>, from: RunId, to: RunId) -> TxResult<()> {
    tx.prepare_cached("UPDATE outbox SET run_id = ?2 WHERE run_id = ?1 AND turn_open = 1")?.execute((from, to))?;
    Ok(())
}

/// Notes that the turn of a run is settled, so that no retry gets its texts.
pub fn close_turn(tx: &Tx<'_>, run: RunId) -> TxResult<()> {
    tx.prepare_cached("UPDATE outbox SET turn_open = 0 WHERE run_id = ?1 AND turn_open = 1")?.execute([run])?;
    Ok(())
}
