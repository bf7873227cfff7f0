//! The history of a chat: messages that came in and texts that went out, in one order.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::{Ms, TxResult};
use crate::domain::attachment::Attachment;
use crate::domain::clock::{from_ms, to_ms};
use crate::domain::delivery::{DeliveryKind, DeliveryState, FileInfo};
use crate::domain::ids::ChatJid;
use crate::domain::message::{InboundState, Role};

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From a person.
    In,
    /// From an agent or Parlor.
    Out,
}

/// A position in a chat's history: by time first; within a millisecond, incoming messages are first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The time when the message was stored.
    pub at: DateTime<Utc>,
    /// The message's direction.
    pub way: Way,
    /// Its number among the messages of its direction.
    pub seq: i64,
}

/// The form is `<milliseconds>-i-<seq>` or `<milliseconds>-o-<seq>`; clients treat it as opaque.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.way == Way::In { 'i' } else { 'o' };
        write!(f, "{}-{way}-{}", to_ms(self.at), self.seq)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '-');
        let mut part = || parts.next().ok_or(());
        let ms: i64 = part()?.parse().map_err(|_| ())?;
        let way = match part()? {
            "i" => Way::In,
            "o" => Way::Out,
            _ => return Err(()),
        };
        Ok(Self { at: from_ms(ms), way, seq: part()?.parse().map_err(|_| ())? })
    }
}

/// A message of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The position in the history.
    pub place: Place,
    /// The platform's id of an incoming message, or the delivery's id of an outgoing one.
    pub id: String,
    /// The text.
    pub text: String,
    /// The other facts, by direction.
    pub more: More,
}

/// The facts about a message besides its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum More {
    /// An incoming message.
    In {
        /// The author's name.
        sender: String,
        /// How far the message is answered.
        state: InboundState,
        /// The message's role for its group.
        role: Role,
        /// Files that came with it.
        attachments: Vec<Attachment>,
    },
    /// An outgoing message.
    Out {
        /// The shown sender; None for the assistant.
        sender: Option<String>,
        /// How far the message is delivered.
        state: DeliveryState,
        /// Reply, message or notice.
        kind: DeliveryKind,
        /// The file of the message.
        file: Option<FileInfo>,
    },
}

/// How much of a history a client has seen. The numbers follow the order of commits, so a message that is stored
/// later is always behind, whatever its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The last number of incoming messages.
    pub incoming: i64,
    /// The last number of outgoing messages.
    pub outgoing: i64,
}

/// The form is `<incoming>-<outgoing>`; clients treat it as opaque.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.incoming, self.outgoing)
    }
}

impl FromStr for Seen {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (incoming, outgoing) = text.split_once('-').ok_or(())?;
        let number = |text: &str| text.parse().ok().filter(|number: &i64| *number >= 0).ok_or(());
        Ok(Self { incoming: number(incoming)?, outgoing: number(outgoing)? })
    }
}

/// A page ends after this many bytes of text: a message may have megabytes, and a client may ask for thousands.
const PAGE_BYTES: usize = 1 << 20;

/// A part of a chat's history, newest message first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At least one message, if there is any.
    pub messages: Vec<Said>,
    /// True if there may be earlier messages.
    pub more: bool,
}

/// Returns true if the chat has a group or messages.
pub fn is_known(db: &Connection, jid: &ChatJid) -> TxResult<bool> {
    let mut s = db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM groups WHERE jid = ?1) OR EXISTS (SELECT 1 FROM inbound WHERE jid = ?1)
           OR EXISTS (SELECT 1 FROM outbox WHERE jid = ?1)",
    )?;
    Ok(s.query_row([jid], |row| row.get(0))?)
}

/// Returns the current end of all chats' histories. Messages that are stored while a page is read are behind it.
pub fn seen(db: &Connection) -> TxResult<Seen> {
    let last = |table: &str| {
        db.query_row(&format!("SELECT coalesce(max(seq), 0) FROM {table}"), [], |row| row.get::<_, i64>(0))
    };
    Ok(Seen { incoming: last("inbound")?, outgoing: last("outbox")? })
}

/// Returns the last seen messages of a chat before a position: at most `limit`, fewer if their texts are long.
pub fn before(db: &Connection, jid: &ChatJid, place: Option<Place>, seen: Seen, limit: u32) -> TxResult<Page> {
    let end = place.unwrap_or(Place { at: DateTime::<Utc>::MAX_UTC, way: Way::Out, seq: i64::MAX });
    // Positions first: sorting whole rows would hold all their texts in memory.
    let mut places = places(
        db,
        "SELECT seq, received_at AS at FROM inbound
         WHERE jid = ?1 AND (received_at < ?2 OR (received_at = ?2 AND seq < ?3)) AND seq <= ?4
         ORDER BY received_at DESC, seq DESC LIMIT ?5",
        Way::In,
        (jid, Ms(end.at), same_time(end, Way::In), seen.incoming, limit),
    )?;
    places.extend(self::places(
        db,
        "SELECT seq, created_at AS at FROM outbox
         WHERE jid = ?1 AND (created_at < ?2 OR (created_at = ?2 AND seq < ?3)) AND seq <= ?4
         ORDER BY created_at DESC, seq DESC LIMIT ?5",
        Way::Out,
        (jid, Ms(end.at), same_time(end, Way::Out), seen.outgoing, limit),
    )?);
    places.sort_unstable_by(|a, b| b.cmp(a));
    places.truncate(limit as usize);
    let full = places.len() == limit as usize;
    let (messages, read) = messages(db, &places)?;
    Ok(Page { messages, more: full || read < places.len() })
}

/// Returns a chat's first messages after `from`, oldest first, and how much is then seen: at most `limit` messages,
/// fewer if their texts are long.
pub fn after(db: &Connection, jid: &ChatJid, from: Seen, limit: u32) -> TxResult<(Vec<Said>, Seen)> {
    let now = seen(db)?;
    let incoming = places(
        db,
        "SELECT seq, received_at AS at FROM inbound WHERE jid = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4",
        Way::In,
        (jid, from.incoming, now.incoming, limit),
    )?;
    let outgoing = places(
        db,
        "SELECT seq, created_at AS at FROM outbox WHERE jid = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4",
        Way::Out,
        (jid, from.outgoing, now.outgoing, limit),
    )?;
    let places = merged(&incoming, &outgoing, limit as usize);
    let (messages, read) = messages(db, &places)?;
    if read == places.len() && read < limit as usize {
        // The last rows may have been deleted since the client saw them.
        let seen = Seen { incoming: now.incoming.max(from.incoming), outgoing: now.outgoing.max(from.outgoing) };
        return Ok((messages, seen));
    }
    let mut reached = from;
    for place in &places[..read] {
        match place.way {
            Way::In => reached.incoming = place.seq,
            Way::Out => reached.outgoing = place.seq,
        }
    }
    Ok((messages, reached))
}

/// Merges the first positions of both directions by time. Each direction keeps its order, so the rest is behind.
fn merged(incoming: &[Place], outgoing: &[Place], limit: usize) -> Vec<Place> {
    let (mut incoming, mut outgoing) = (incoming.iter().peekable(), outgoing.iter().peekable());
    let mut all = Vec::new();
    while all.len() < limit {
        let next = match (incoming.peek(), outgoing.peek()) {
            (Some(one), Some(other)) if one > other => outgoing.next(),
            (None, _) => outgoing.next(),
            (Some(_), _) => incoming.next(),
        };
        let Some(place) = next else { break };
        all.push(*place);
    }
    all
}

/// Returns the messages at these positions until the page is full, and how many positions were read.
fn messages(db: &Connection, places: &[Place]) -> TxResult<(Vec<Said>, usize)> {
    let (mut messages, mut bytes) = (Vec::new(), 0);
    for (nth, place) in places.iter().enumerate() {
        let said = match place.way {
            Way::In => incoming(db, *place)?,
            Way::Out => outgoing(db, *place)?,
        };
        bytes += said.as_ref().map_or(0, |said| said.text.len());
        messages.extend(said);
        if bytes >= PAGE_BYTES {
            return Ok((messages, nth + 1));
        }
    }
    Ok((messages, places.len()))
}

/// Returns the number below which rows of the same millisecond are before a position.
fn same_time(end: Place, way: Way) -> i64 {
    match way.cmp(&end.way) {
        std::cmp::Ordering::Less => i64::MAX,
        std::cmp::Ordering::Equal => end.seq,
        std::cmp::Ordering::Greater => i64::MIN,
    }
}

fn places(db: &Connection, sql: &str, way: Way, with: impl Params) -> TxResult<Vec<Place>> {
    let mut s = db.prepare_cached(sql)?;
    let place = |row: &Row<'_>| Ok(Place { at: row.get::<_, Ms>("at")?.0, way, seq: row.get("seq")? });
    let rows = s.query_map(with, place)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn incoming(db: &Connection, place: Place) -> TxResult<Option<Said>> {
    let mut s = db.prepare_cached(
        "SELECT platform_id, sender_name, text, state, role, attachments FROM inbound WHERE seq = ?1",
    )?;
    let said = s.query_row([place.seq], |row| {
        let attachments: Option<String> = row.get("attachments")?;
        Ok(Said {
            place,
            id: row.get("platform_id")?,
            text: row.get("text")?,
            more: More::In {
                sender: row.get("sender_name")?,
                state: row.get("state")?,
                role: row.get("role")?,
                attachments: attachments.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
            },
        })
    });
    Ok(said.optional()?)
}

fn outgoing(db: &Connection, place: Place) -> TxResult<Option<Said>> {
    let mut s =
        db.prepare_cached("SELECT id, sender, text, state, kind, file_name, file_size FROM outbox WHERE seq = ?1")?;
    let said = s.query_row([place.seq], |row| {
        let name: Option<String> = row.get("file_name")?;
        let size: Option<i64> = row.get("file_size")?;
        Ok(Said {
            place,
            id: row.get("id")?,
            text: row.get("text")?,
            more: More::Out {
                sender: row.get("sender")?,
                state: row.get("state")?,
                kind: row.get("kind")?,
                file: name.zip(size).map(|(name, size)| FileInfo { name, size: size.unsigned_abs() }),
            },
        })
    });
    Ok(said.optional()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    #[tokio::test]
    async fn history_pages_have_one_order_without_gap_or_repetition() {
        let (_dir, store, _wakes) = testing::store();
        // Many in the same millisecond, both directions.
        let times = [5_i64, 5, 5, 7, 7, 9, 9, 9, 9, 12];
        let put = move |tx: &mut crate::store::Tx<'_>| {
            for (number, at) in times.iter().enumerate() {
                tx.execute(
                    "INSERT INTO inbound (jid, platform_id, sender, sender_name, text, sent_at, received_at, role, state)
                     VALUES ('web:a', ?1, 'ann', 'Ann', ?1, 0, ?2, 'trigger', 'done')",
                    (format!("in {number}"), at),
                )?;
                tx.execute(
                    "INSERT INTO outbox (id, jid, text, kind, state, created_at) VALUES (?1, 'web:a', ?1, 'reply', 'delivered', ?2)",
                    (format!("out {number}"), at),
                )?;
            }
            tx.execute(
                "INSERT INTO outbox (id, jid, text, kind, state, created_at) VALUES ('x', 'web:b', 'x', 'reply', 'delivered', 6)",
                [],
            )?;
            Ok(())
        };
        store.write(put).await.unwrap();
        let jid: ChatJid = "web:a".parse().unwrap();
        let page = async |place: Option<Place>, limit: u32| {
            let jid = jid.clone();
            store.read(move |db| before(db, &jid, place, seen(db)?, limit)).await.unwrap()
        };
        let whole = page(None, 1000).await;
        assert!(!whole.more);
        let whole = whole.messages;
        assert_eq!(whole.len(), 2 * times.len());
        assert!(whole.is_sorted_by(|a, b| a.place > b.place));
        assert_eq!((whole[0].text.as_str(), whole[1].text.as_str()), ("out 9", "in 9"));
        for limit in [1, 2, 3, 7] {
            let (mut all, mut place) = (Vec::new(), None);
            loop {
                let some = page(place, limit).await;
                let Some(last) = some.messages.last() else { break };
                place = Some(last.place.to_string().parse().unwrap());
                all.extend(some.messages);
                if !some.more {
                    break;
                }
            }
            assert_eq!(all, whole, "{limit}");
        }
        // Texts of half a page each: two to a page. A longer one is alone.
        store
            .write(move |tx| {
                Ok(tx.execute("UPDATE outbox SET text = printf('%.*c', ?1, 'x')", [PAGE_BYTES as i64 / 2])?)
            })
            .await
            .unwrap();
        let first = page(None, 1000).await;
        assert_eq!((first.messages.len(), first.more), (3, true), "two out, and what came in between");
        store.write(|tx| Ok(tx.execute("UPDATE inbound SET text = printf('%.*c', 3000000, 'x')", [])?)).await.unwrap();
        let first = page(None, 1000).await;
        assert_eq!((first.messages.len(), first.more), (2, true), "a text that is longer than a page ends one");
        for bad in ["", "5", "5-x-1", "a-i-1", "5-i-", "5-i-b"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
    /// Stores messages, each with its direction and time.
    async fn said(store: &crate::store::Store, all: &'static [(Way, i64)]) {
        let put = move |tx: &mut crate::store::Tx<'_>| {
            for (way, at) in all {
                let sql = match way {
                    Way::In => {
                        "INSERT INTO inbound (jid, platform_id, sender, sender_name, text, sent_at, received_at, role, state)
                         SELECT 'web:a', count(*), 'ann', 'Ann', 'in', 0, ?1, 'trigger', 'done' FROM inbound"
                    }
                    Way::Out => {
                        "INSERT INTO outbox (id, jid, text, kind, state, created_at)
                         SELECT 'out ' || count(*), 'web:a', 'out', 'reply', 'delivered', ?1 FROM outbox"
                    }
                };
                tx.execute(sql, [at])?;
            }
            Ok(())
        };
        store.write(put).await.unwrap();
    }

    #[tokio::test]
    async fn history_polling_returns_each_message_once_despite_early_times() {
        use Way::{In, Out};
        // The second batch has times before, among and after those of the first.
        let batches: [&[(Way, i64)]; 3] = [
            &[(In, 5), (Out, 5), (In, 7), (Out, 9), (In, 9)],
            &[(Out, 4), (In, 6), (In, 6), (Out, 12), (Out, 8), (In, 3)],
            &[(Out, 12), (In, 12)],
        ];
        for limit in [1, 2, 3, 5, 100] {
            let (_dir, store, _wakes) = testing::store();
            let jid: ChatJid = "web:a".parse().unwrap();
            let mut at = store.read(seen).await.unwrap();
            for (number, batch) in batches.into_iter().enumerate() {
                said(&store, batch).await;
                let mut places = Vec::new();
                loop {
                    let (of, from) = (jid.clone(), at);
                    let (page, reached) = store.read(move |db| after(db, &of, from, limit)).await.unwrap();
                    assert!(page.len() <= limit as usize);
                    at = reached.to_string().parse().unwrap();
                    if page.is_empty() {
                        break;
                    }
                    places.extend(page.into_iter().map(|said| said.place));
                }
                let seen: std::collections::BTreeSet<Place> = places.iter().copied().collect();
                assert_eq!((places.len(), seen.len()), (batch.len(), batch.len()), "batch {number}, pages of {limit}");
            }
            let (of, from) = (jid.clone(), at);
            assert_eq!(store.read(move |db| after(db, &of, from, limit)).await.unwrap(), (Vec::new(), at));
            // Texts longer than a page come one by one.
            store
                .write(|tx| Ok(tx.execute("UPDATE outbox SET text = printf('%.*c', 2000000, 'x')", [])?))
                .await
                .unwrap();
            let (of, from) = (jid.clone(), Seen { incoming: 0, outgoing: 0 });
            let (page, reached) = store.read(move |db| after(db, &of, from, limit)).await.unwrap();
            assert!((1..=2).contains(&page.len()) && reached != at, "{} {reached}", page.len());
        }
        for bad in ["", "5", "5-", "-1-2", "5-x", "5-6-7", "99999999999999999999-1"] {
            assert!(bad.parse::<Seen>().is_err(), "{bad}");
        }
    }
}
