//! The stored events behind the local API's stream.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, MAIN_DB, OptionalExtension};

use super::{Ms, Tx, TxResult};
use crate::domain::clock::rfc3339;
use crate::domain::event::{Event, MessageIn};
use crate::domain::ids::ChatJid;
use crate::domain::message::{InboundState, NewMessage, Role};

/// A stored event, ready for the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its position in the stream.
    pub seq: i64,
    /// The name in the `event:` line.
    pub name: String,
    /// The chat's jid.
    pub jid: String,
    /// The JSON without the text of a message.
    pub body: String,
    /// The message's text, if there is one and it is short.
    pub text: Option<String>,
    /// The bytes of a long text, which [`part`] reads.
    pub long: Option<i64>,
    /// The time of the event.
    pub at: DateTime<Utc>,
}

impl StoredEvent {
    /// Returns the JSON with the event's time, but without the text and the closing bracket.
    pub fn head(&self) -> String {
        let open = self.body.strip_suffix('}').unwrap_or("{");
        let comma = if open.ends_with('{') { "" } else { "," };
        format!("{open}{comma}\"time\":\"{}\"", rfc3339(self.at))
    }

    /// Returns the whole JSON: the body with the time and a message's text.
    pub fn json(&self) -> String {
        let text = self.text.as_ref().map(|text| serde_json::to_string(text).unwrap_or_default());
        let text = text.map(|text| format!(",\"text\":{text}")).unwrap_or_default();
        format!("{}{text}}}", self.head())
    }
}

/// Appends an event that is not a message. Events of messages come from [`message_in`] and
/// [`super::outbox::deliver_locally`].
pub fn append(tx: &mut Tx<'_>, event: &Event, at: DateTime<Utc>) -> TxResult<i64> {
    let body = serde_json::to_string(event).unwrap_or_default();
    insert(tx, event.name(), event.chat(), &body, &Text::None, at)
}

/// Appends the event of a newly stored message.
pub fn message_in(tx: &mut Tx<'_>, new: &NewMessage, seq: i64, role: Role, at: DateTime<Utc>) -> TxResult<()> {
    let event = MessageIn {
        chat_jid: &new.jid,
        seq,
        id: &new.platform_id,
        sender: &new.sender,
        sender_name: &new.sender_name,
        role,
        state: InboundState::Pending,
        sent_at: rfc3339(new.sent_at),
        attachments: &new.attachments,
        reply_to: new.quoted.as_ref(),
    };
    let body = serde_json::to_string(&event).unwrap_or_default();
    insert(tx, "message_in", &new.jid, &body, &Text::Inbound(seq), at).map(drop)
}

/// The row that holds an event's text.
pub(super) enum Text<'a> {
    /// The event has no text.
    None,
    /// A row of the outbox, by id.
    Outbox(&'a str),
    /// A message that came in, by sequence number.
    Inbound(i64),
}

pub(super) fn insert(
    tx: &mut Tx<'_>,
    name: &str,
    jid: &ChatJid,
    body: &str,
    text: &Text<'_>,
    at: DateTime<Utc>,
) -> TxResult<i64> {
    let (outbox_id, inbound_seq) = match *text {
        Text::None => (None, None),
        Text::Outbox(id) => (Some(id), None),
        Text::Inbound(seq) => (None, Some(seq)),
    };
    let sql = "INSERT INTO events (name, jid, body, outbox_id, inbound_seq, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    tx.prepare_cached(sql)?.execute((name, jid, body, outbox_id, inbound_seq, Ms(at)))?;
    let seq = tx.last_insert_rowid();
    tx.note_event(seq);
    Ok(seq)
}

/// The most rows in a page of the stream.
const PAGE_ROWS: i64 = 500;
const PAGE_BYTES: usize = 128 << 10;
/// The most bytes of a text that a page holds complete.
const WHOLE: i64 = 128 << 10;

/// Returns the events after a cursor, in order: at most a page, but at least one if there is any. With `chat`, only
/// events of that chat.
pub fn after(db: &Connection, seq: i64, chat: Option<&ChatJid>) -> TxResult<Vec<StoredEvent>> {
    let mut s = db.prepare_cached(
        // SQLite knows a column's length without reading its text.
        "SELECT e.seq, e.name, e.jid, e.body, e.at, coalesce(octet_length(o.text), octet_length(i.text)),
           CASE WHEN coalesce(octet_length(o.text), octet_length(i.text)) <= ?4 THEN coalesce(o.text, i.text) END FROM events e
         LEFT JOIN outbox o ON o.id = e.outbox_id LEFT JOIN inbound i ON i.seq = e.inbound_seq
         WHERE e.seq > ?1 AND (?2 IS NULL OR e.jid = ?2) ORDER BY e.seq LIMIT ?3",
    )?;
    let mut rows = s.query((seq, chat, PAGE_ROWS, WHOLE))?;
    let mut page = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let event = StoredEvent {
            seq: row.get(0)?,
            name: row.get(1)?,
            jid: row.get(2)?,
            body: row.get(3)?,
            at: row.get::<_, Ms>(4)?.0,
            long: row.get::<_, Option<i64>>(5)?.filter(|bytes| *bytes > WHOLE),
            text: row.get(6)?,
        };
        bytes += event.body.len() + event.text.as_ref().map_or(0, String::len);
        page.push(event);
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(page)
}

/// Returns a part of an event's text: at most `most` bytes after `from`, up to a whole character. Returns None if the
/// text is no longer stored. SQLite walks through the text from its beginning.
pub fn part(db: &Connection, seq: i64, from: usize, most: usize) -> TxResult<Option<String>> {
    let mut s = db.prepare_cached(
        "SELECT o.seq, i.seq FROM events e
         LEFT JOIN outbox o ON o.id = e.outbox_id LEFT JOIN inbound i ON i.seq = e.inbound_seq WHERE e.seq = ?1",
    )?;
    let rows: Option<(Option<i64>, Option<i64>)> =
        s.query_row([seq], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (table, row) = match rows {
        Some((Some(row), _)) => (c"outbox", row),
        Some((None, Some(row))) => (c"inbound", row),
        _ => return Ok(None),
    };
    // Read in place: as a value, the whole text would be copied for each part.
    let text = db.blob_open(MAIN_DB, table, c"text", row, true)?;
    let mut bytes = vec![0; most.min(text.len().saturating_sub(from))];
    text.read_at_exact(&mut bytes, from)?;
    Ok(Some(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(cut) => {
            let whole = cut.utf8_error().valid_up_to();
            let mut bytes = cut.into_bytes();
            bytes.truncate(whole);
            String::from_utf8(bytes).unwrap_or_default()
        }
    }))
}

/// Returns the oldest stored event, if any, and the newest ever made (0 if there was none).
pub fn bounds(db: &Connection) -> TxResult<(Option<i64>, i64)> {
    let oldest = db.query_row("SELECT min(seq) FROM events", [], |row| row.get(0))?;
    let newest = db
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'events'", [], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    Ok((oldest, newest))
}

/// Deletes events older than `before` among the first `slice`, which are in order of time; one write must not delay
/// the others for long. Returns how many; 0 if no old event is left.
pub fn expire(tx: &Tx<'_>, before: DateTime<Utc>, slice: u32) -> TxResult<usize> {
    Ok(tx.execute(
        "DELETE FROM events WHERE seq IN (SELECT seq FROM events ORDER BY seq LIMIT ?2) AND at < ?1",
        (Ms(before), slice),
    )?)
}
