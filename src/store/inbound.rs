//! Incoming messages, and how far each is answered.
//!
//! A query for one state also lists the states of the partial index that it needs, because SQLite recognises the
//! index by that list.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{Ms, Tx, TxResult, Wake, events, groups, outbox, receipts};
use crate::domain::attachment::{self, Attachment};
use crate::domain::event::{Event, TurnState};
use crate::domain::ids::{ChatJid, DeliveryId, RunId};
use crate::domain::message::{Batch, Inbound, InboundState, NewMessage, Quoted, Role};

/// The number of characters that are kept of a quoted text.
const QUOTED: usize = 1_000;

const COLUMNS: &str = "seq, jid, platform_id, sender, sender_name, text, attachments, quoted, sent_at, role, state, run_id, input_name, tries";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Inbound> {
    Ok(Inbound {
        seq: row.get("seq")?,
        jid: row.get("jid")?,
        platform_id: row.get("platform_id")?,
        sender: row.get("sender")?,
        sender_name: row.get("sender_name")?,
        text: row.get("text")?,
        attachments: list(row.get("attachments")?),
        quoted: row.get::<_, Option<String>>("quoted")?.and_then(|json| serde_json::from_str(&json).ok()),
        sent_at: row.get::<_, Ms>("sent_at")?.0,
        role: row.get("role")?,
        state: row.get("state")?,
        run_id: row.get("run_id")?,
        input_name: row.get("input_name")?,
        tries: row.get("tries")?,
    })
}

/// Parses a stored list of files.
fn list(json: Option<String>) -> Vec<Attachment> {
    json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default()
}

/// Stores a message once. For a known platform id, returns the first message's sequence number and changes nothing.
pub fn insert(tx: &mut Tx<'_>, new: &NewMessage, role: Role, now: DateTime<Utc>) -> TxResult<i64> {
    let files = &new.attachments;
    let files = (!files.is_empty()).then(|| serde_json::to_string(files).unwrap_or_default());
    let quoted = new.quoted.as_ref().map(|quoted| serde_json::to_string(quoted).unwrap_or_default());
    let inserted = tx
        .prepare_cached(
            "INSERT INTO inbound (jid, platform_id, sender, sender_name, text, sent_at, received_at, role, state, attachments, quoted)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'pending', ?9, ?10)
             ON CONFLICT (jid, platform_id) DO NOTHING RETURNING seq",
        )?
        .query_row(
            rusqlite::params![
                new.jid,
                new.platform_id,
                new.sender,
                new.sender_name,
                new.text,
                Ms(new.sent_at),
                Ms(now),
                role,
                files,
                quoted
            ],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(seq) = inserted {
        groups::touch_chat(tx, &new.jid, None, Some(now))?;
        if matches!(role, Role::Trigger | Role::Command) {
            tx.wake(Wake::Group(new.jid.clone()));
        }
        return Ok(seq);
    }
    let mut s = tx.prepare_cached("SELECT seq FROM inbound WHERE jid = ?1 AND platform_id = ?2")?;
    Ok(s.query_row((&new.jid, &new.platform_id), |row| row.get(0))?)
}

/// Returns a stored message's role.
pub fn role(db: &Connection, seq: i64) -> TxResult<Role> {
    Ok(db.prepare_cached("SELECT role FROM inbound WHERE seq = ?1")?.query_row([seq], |row| row.get(0))?)
}

/// The most messages of context before the triggering one.
pub(super) const CONTEXT_MESSAGES: u32 = 200;
/// The most bytes of that context, with the marks of files.
const CONTEXT_BYTES: usize = 64 << 10;
/// The most messages in a batch from the triggering one on; the rest is for the next batch.
const BATCH_MESSAGES: u32 = 1000;
const BATCH_BYTES: usize = 1 << 20;

/// Returns the waiting commands of a chat, in order.
pub fn commands(db: &Connection, jid: &ChatJid) -> TxResult<Vec<Inbound>> {
    let mut s = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM inbound WHERE jid = ?1 AND state = 'pending' AND role = 'command' ORDER BY seq LIMIT 100"
    ))?;
    let rows = s.query_map([jid], from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns the first waiting message of a chat that starts a turn.
pub fn first_trigger(db: &Connection, jid: &ChatJid) -> TxResult<Option<i64>> {
    let mut s = db.prepare_cached(
        "SELECT seq FROM inbound WHERE jid = ?1 AND state = 'pending' AND role = 'trigger' ORDER BY seq LIMIT 1",
    )?;
    Ok(s.query_row([jid], |row| row.get(0)).optional()?)
}

/// Returns when the first and the last of the waiting messages that start a turn came. Returns None if none waits.
pub fn waiting_since(db: &Connection, jid: &ChatJid) -> TxResult<Option<(DateTime<Utc>, DateTime<Utc>)>> {
    let mut s = db.prepare_cached(
        "SELECT min(received_at), max(received_at) FROM inbound
         WHERE jid = ?1 AND state = 'pending' AND role = 'trigger'",
    )?;
    let (first, last): (Option<Ms>, Option<Ms>) = s.query_row([jid], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(first.zip(last).map(|(first, last)| (first.0, last.0)))
}

/// Returns the number of messages that wait for an answer.
pub fn count_waiting(db: &Connection, jid: &ChatJid) -> TxResult<i64> {
    let mut s = db.prepare_cached(
        "SELECT count(*) FROM inbound WHERE jid = ?1 AND state = 'pending' AND role IN ('trigger', 'command')",
    )?;
    Ok(s.query_row([jid], |row| row.get(0))?)
}

/// Takes the next batch of a chat for a run: the triggering message, all messages after it, and a window of context
/// before it. Older context does not wait any more. Returns None if nothing triggers. Messages after a command wait
/// until the command is done, because `/stop` takes back only the messages before it.
pub fn take_batch(tx: &Tx<'_>, jid: &ChatJid, run: RunId, input_name: &str) -> TxResult<Option<Batch>> {
    let end = first_command(tx, jid)?.unwrap_or(i64::MAX);
    let Some(first) = first_trigger(tx, jid)?.filter(|first| *first < end) else { return Ok(None) };
    let mut messages = context_before(tx, jid, first)?;
    let window_start = messages.first().map_or(first, |m| m.seq);
    let omitted = tx
        .prepare_cached(
            "UPDATE inbound SET state = 'done' WHERE jid = ?1 AND seq < ?2 AND state = 'pending'
               AND state IN ('pending', 'in_flight') AND role IN ('context', 'denied')",
        )?
        .execute((jid, window_start))? as u64;
    messages.extend(from_trigger_on(tx, jid, first, end)?);
    let seqs: Vec<i64> = messages.iter().map(|m| m.seq).collect();
    give(tx, &seqs, run, input_name)?;
    Ok(Some(Batch { messages, omitted }))
}

/// Returns the bytes of a message in a prompt: its text and the marks of its files.
fn shown(message: &Inbound) -> usize {
    let quoted = message.quoted.as_ref().and_then(|quoted| quoted.text.as_ref()).map_or(0, String::len);
    attachment::with_marks(&message.text, &message.attachments).len() + quoted
}

fn context_before(db: &Connection, jid: &ChatJid, first: i64) -> TxResult<Vec<Inbound>> {
    let mut s = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM inbound WHERE jid = ?1 AND seq < ?2 AND state = 'pending'
           AND state IN ('pending', 'in_flight') AND role IN ('context', 'denied')
         ORDER BY seq DESC LIMIT ?3"
    ))?;
    let mut bytes = 0;
    let mut context = Vec::new();
    for row in s.query_map((jid, first, CONTEXT_MESSAGES), from_row)? {
        let row = row?;
        bytes += shown(&row);
        if bytes > CONTEXT_BYTES {
            break;
        }
        context.push(row);
    }
    context.reverse();
    Ok(context)
}

fn first_command(db: &Connection, jid: &ChatJid) -> TxResult<Option<i64>> {
    let mut s = db.prepare_cached(
        "SELECT seq FROM inbound WHERE jid = ?1 AND state = 'pending' AND role = 'command' ORDER BY seq LIMIT 1",
    )?;
    Ok(s.query_row([jid], |row| row.get(0)).optional()?)
}

fn from_trigger_on(db: &Connection, jid: &ChatJid, first: i64, end: i64) -> TxResult<Vec<Inbound>> {
    let mut s = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM inbound WHERE jid = ?1 AND seq >= ?2 AND seq < ?4 AND state = 'pending'
           AND state IN ('pending', 'in_flight')
         ORDER BY seq LIMIT ?3"
    ))?;
    let mut bytes = 0;
    let mut messages: Vec<Inbound> = Vec::new();
    for row in s.query_map((jid, first, BATCH_MESSAGES, end), from_row)? {
        let row = row?;
        bytes += shown(&row);
        if bytes > BATCH_BYTES && !messages.is_empty() {
            break;
        }
        messages.push(row);
    }
    Ok(messages)
}

/// Marks messages as given to a run.
pub fn give(tx: &Tx<'_>, seqs: &[i64], run: RunId, input_name: &str) -> TxResult<()> {
    let mut s = tx.prepare_cached(
        "UPDATE inbound SET state = 'in_flight', run_id = ?2, input_name = ?3 WHERE seq = ?1 AND state = 'pending'",
    )?;
    for seq in seqs {
        s.execute((seq, run, input_name))?;
    }
    Ok(())
}

/// Gives open messages a new state. Messages that `/stop` cancelled stay cancelled.
pub fn settle(tx: &Tx<'_>, seqs: &[i64], state: InboundState) -> TxResult<()> {
    let mut s =
        tx.prepare_cached("UPDATE inbound SET state = ?2 WHERE seq = ?1 AND state IN ('pending', 'in_flight')")?;
    for seq in seqs {
        s.execute((seq, state))?;
    }
    Ok(())
}

/// Cancels messages that are still open. Returns the last of them.
pub fn cancel(tx: &Tx<'_>, seqs: &[i64]) -> TxResult<Option<i64>> {
    let mut s = tx.prepare_cached(
        "UPDATE inbound SET state = 'cancelled' WHERE seq = ?1 AND state IN ('pending', 'in_flight')",
    )?;
    let mut last = None;
    for seq in seqs {
        if s.execute([seq])? > 0 {
            last = last.max(Some(*seq));
        }
    }
    Ok(last)
}

/// Makes messages wait again after a failed try. The try counts unless the engine was at fault.
pub fn put_back(tx: &Tx<'_>, seqs: &[i64], counts: bool) -> TxResult<()> {
    let mut s = tx.prepare_cached(
        "UPDATE inbound SET state = 'pending', tries = tries + ?2 WHERE seq = ?1 AND state IN ('pending', 'in_flight')",
    )?;
    for seq in seqs {
        s.execute((seq, i64::from(counts)))?;
    }
    Ok(())
}

/// After a crash: makes the messages of ended runs wait again. They keep their run ids, so that a retry finds the
/// texts already sent.
pub fn reclaim_all(tx: &Tx<'_>) -> TxResult<usize> {
    Ok(tx.execute(
        "UPDATE inbound SET state = 'pending' WHERE state = 'in_flight' AND state IN ('pending', 'in_flight')",
        [],
    )?)
}

/// After a panic of a group's actor: makes the messages of its runs wait again; the try counts. Messages with too
/// many tries fail. Returns true if there is any.
pub fn reclaim(tx: &mut Tx<'_>, jid: &ChatJid, most: u32, now: DateTime<Utc>) -> TxResult<bool> {
    let given_up: Option<i64> = tx.query_row(
        "SELECT max(seq) FROM inbound
         WHERE jid = ?1 AND state = 'in_flight' AND state IN ('pending', 'in_flight') AND tries >= ?2",
        (jid, most),
        |row| row.get(0),
    )?;
    tx.execute(
        "UPDATE inbound SET state = CASE WHEN tries >= ?2 THEN 'failed' ELSE 'pending' END, tries = tries + 1
         WHERE jid = ?1 AND state = 'in_flight' AND state IN ('pending', 'in_flight')",
        (jid, most),
    )?;
    if let Some(through_seq) = given_up {
        let reason = Some("a defect of Parlor".to_owned());
        let event = Event::Turn { chat_jid: jid.clone(), state: TurnState::Failed, through_seq, reason };
        events::append(tx, &event, now)?;
    }
    Ok(given_up.is_some())
}

/// Returns the chats with a waiting command or message that starts a turn.
pub fn chats_with_work(db: &Connection) -> TxResult<Vec<ChatJid>> {
    let mut s = db.prepare(
        "SELECT jid FROM inbound WHERE state = 'pending' AND role IN ('trigger', 'command') GROUP BY jid ORDER BY min(seq)",
    )?;
    let rows = s.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Makes a chat's failed messages wait again. Returns how many.
pub fn retry_failed(tx: &mut Tx<'_>, jid: &ChatJid) -> TxResult<usize> {
    let changed =
        tx.execute("UPDATE inbound SET state = 'pending', tries = 0 WHERE jid = ?1 AND state = 'failed'", [jid])?;
    tx.wake(Wake::Group(jid.clone()));
    Ok(changed)
}

/// `/stop`: cancels a chat's unanswered messages before the command. Returns the last of them.
pub fn cancel_before(tx: &Tx<'_>, jid: &ChatJid, seq: i64) -> TxResult<Option<i64>> {
    let last = tx.query_row(
        "SELECT max(seq) FROM inbound WHERE jid = ?1 AND seq < ?2 AND state IN ('pending', 'in_flight')
           AND (role = 'trigger' OR state = 'in_flight')",
        (jid, seq),
        |row| row.get(0),
    )?;
    tx.execute(
        "UPDATE inbound SET state = 'cancelled' WHERE jid = ?1 AND seq < ?2 AND state IN ('pending', 'in_flight')
           AND (role = 'trigger' OR state = 'in_flight')",
        (jid, seq),
    )?;
    Ok(last)
}

/// Returns the files that came with a message; None if the chat has no message of this platform id.
pub fn attachments(db: &Connection, jid: &ChatJid, platform_id: &str) -> TxResult<Option<Vec<Attachment>>> {
    let mut s = db.prepare_cached("SELECT attachments FROM inbound WHERE jid = ?1 AND platform_id = ?2")?;
    Ok(s.query_row((jid, platform_id), |row| row.get(0)).optional()?.map(list))
}

/// Completes a quotation from the stored message: a delivery to the same chat, or a message from it.
pub fn complete(db: &Connection, jid: &ChatJid, quoted: &mut Quoted, assistant: &str) -> TxResult<()> {
    // By Parlor's own id, or by the platform's.
    let id = match quoted.id.parse::<DeliveryId>() {
        Ok(id) => Some(id),
        Err(_) => receipts::delivery(db, jid, &quoted.id)?,
    };
    let delivery = match id {
        Some(id) => outbox::get(db, id)?.filter(|delivery| delivery.new.jid == *jid),
        None => None,
    };
    if let Some(delivery) = delivery {
        quoted.sender = Some(delivery.new.sender.unwrap_or_else(|| assistant.to_owned()));
        quoted.text = Some(delivery.new.text);
        quoted.assistant = true;
    } else {
        let mut s = db.prepare_cached("SELECT sender_name, text FROM inbound WHERE jid = ?1 AND platform_id = ?2")?;
        let found = s.query_row((jid, &quoted.id), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        if let Some((sender, text)) = found {
            (quoted.sender, quoted.text, quoted.assistant) = (Some(sender), Some(text), false);
        }
    }
    if let Some(text) = quoted.text.as_mut().filter(|text| text.chars().count() > QUOTED) {
        *text = format!("{}…", text.chars().take(QUOTED).collect::<String>());
    }
    Ok(())
}

/// Returns true if a chat has a message of this platform id.
pub fn knows(db: &Connection, jid: &ChatJid, platform_id: &str) -> TxResult<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM inbound WHERE jid = ?1 AND platform_id = ?2")?.exists((jid, platform_id))?)
}
