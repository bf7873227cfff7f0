//! The durable event table behind the local API's stream.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension};

use super::{Ms, Tx, TxResult};
use crate::domain::event::Event;
use crate::domain::ids::ChatJid;

/// A stored event, ready for the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in the stream.
    pub seq: i64,
    /// The `event:` line.
    pub name: String,
    /// The chat.
    pub jid: String,
    /// JSON without the text of a message.
    pub body: String,
    /// The message's text, where there is one.
    pub text: Option<String>,
}

impl StoredEvent {
    /// The whole JSON: the body, and a message's text joined in.
    pub fn json(&self) -> String {
        match (&self.text, self.body.strip_suffix('}')) {
            (Some(text), Some(open)) => {
                let text = serde_json::to_string(text).unwrap_or_default();
                let comma = if open.ends_with('{') { "" } else { "," };
                format!("{open}{comma}\"text\":{text}}}")
            }
            _ => self.body.clone(),
        }
    }
}

/// Appends an event that is not a message; messages come from [`super::outbox::deliver_locally`].
pub fn append(tx: &mut Tx<'_>, event: &Event, at: DateTime<Utc>) -> TxResult<i64> {
    let body = serde_json::to_string(event).unwrap_or_default();
    insert(tx, event.name(), event.chat(), &body, None, at)
}

pub(super) fn insert(
    tx: &mut Tx<'_>,
    name: &str,
    jid: &ChatJid,
    body: &str,
    outbox_id: Option<&str>,
    at: DateTime<Utc>,
) -> TxResult<i64> {
    tx.prepare_cached("INSERT INTO events (name, jid, body, outbox_id, at) VALUES (?1, ?2, ?3, ?4, ?5)")?.execute((
        name,
        jid,
        body,
        outbox_id,
        Ms(at),
    ))?;
    let seq = tx.last_insert_rowid();
    tx.note_event(seq);
    Ok(seq)
}

/// What a page of the stream may hold: rows, and bytes of text.
const PAGE_ROWS: i64 = 1000;
const PAGE_BYTES: usize = 1 << 20;

/// Events after a cursor, in order; at most a page, but always the next one where there is one. With a chat, only its own.
pub fn after(db: &Connection, seq: i64, chat: Option<&ChatJid>) -> TxResult<Vec<StoredEvent>> {
    let mut s = db.prepare_cached(
        "SELECT e.seq, e.name, e.jid, e.body, o.text FROM events e LEFT JOIN outbox o ON o.id = e.outbox_id
         WHERE e.seq > ?1 AND (?2 IS NULL OR e.jid = ?2) ORDER BY e.seq LIMIT ?3",
    )?;
    let mut rows = s.query((seq, chat, PAGE_ROWS))?;
    let mut page = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let event =
            StoredEvent { seq: row.get(0)?, name: row.get(1)?, jid: row.get(2)?, body: row.get(3)?, text: row.get(4)? };
        bytes += event.body.len() + event.text.as_ref().map_or(0, String::len);
        page.push(event);
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(page)
}

/// The oldest event that is still kept, and the newest ever made (0 when none was).
pub fn bounds(db: &Connection) -> TxResult<(Option<i64>, i64)> {
    let oldest = db.query_row("SELECT min(seq) FROM events", [], |row| row.get(0))?;
    let newest = db
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'events'", [], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    Ok((oldest, newest))
}

/// Drops events older than a time from among the first `slice`: they are in order of time, and one write must not hold up
/// the others for long. Returns how many; none when no old ones are left.
pub fn expire(tx: &Tx<'_>, before: DateTime<Utc>, slice: u32) -> TxResult<usize> {
    Ok(tx.execute(
        "DELETE FROM events WHERE seq IN (SELECT seq FROM events ORDER BY seq LIMIT ?2) AND at < ?1",
        (Ms(before), slice),
    )?)
}
