//! What was said in a chat, both ways, in one order: messages that came in and texts that went out.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{Ms, TxResult};
use crate::domain::clock::{from_ms, to_ms};
use crate::domain::delivery::FileInfo;
use crate::domain::ids::ChatJid;

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Somebody wrote it.
    In,
    /// An agent, or Parlor.
    Out,
}

/// A place in a chat's history. Order of time first; of what came in the same millisecond, what came in is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When it was stored.
    pub at: DateTime<Utc>,
    /// Which way it went.
    pub way: Way,
    /// Its number among those that went the same way.
    pub seq: i64,
}

/// `<milliseconds>-i-<seq>` or `<milliseconds>-o-<seq>`; opaque to clients.
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
    /// Where it stands.
    pub place: Place,
    /// Its id: the platform's of one that came in, the delivery's of one that went out.
    pub id: String,
    /// Who wrote it; none where it is the assistant.
    pub sender: Option<String>,
    /// The text.
    pub text: String,
    /// Where it is on its way.
    pub state: String,
    /// Its role or its kind.
    pub kind: String,
    /// Files that came with it, as JSON.
    pub attachments: Option<String>,
    /// A file that went with it.
    pub file: Option<FileInfo>,
}

/// Bytes of text after which a page ends: messages have up to megabytes, and a client may ask for thousands.
const PAGE_BYTES: usize = 1 << 20;

/// A part of a chat's history, newest message first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At least one message where there is one.
    pub messages: Vec<Said>,
    /// Whether there may be earlier ones.
    pub more: bool,
}

/// Returns the last messages of a chat before a place: at most `limit`, and fewer if their texts are long.
pub fn before(db: &Connection, jid: &ChatJid, place: Option<Place>, limit: u32) -> TxResult<Page> {
    let end = place.unwrap_or(Place { at: DateTime::<Utc>::MAX_UTC, way: Way::Out, seq: i64::MAX });
    // The places first: a sort of whole rows would hold the texts of all of them.
    let mut places = places(db, jid, end, Way::In, limit)?;
    places.extend(self::places(db, jid, end, Way::Out, limit)?);
    places.sort_unstable_by(|a, b| b.cmp(a));
    places.truncate(limit as usize);
    let mut more = places.len() == limit as usize;
    let (mut messages, mut bytes) = (Vec::new(), 0);
    for (nth, place) in places.iter().enumerate() {
        let said = match place.way {
            Way::In => incoming(db, *place)?,
            Way::Out => outgoing(db, *place)?,
        };
        bytes += said.as_ref().map_or(0, |said| said.text.len());
        messages.extend(said);
        if bytes >= PAGE_BYTES && nth + 1 < places.len() {
            more = true;
            break;
        }
    }
    Ok(Page { messages, more })
}

/// The number below which rows of the same millisecond stand before a place.
fn same_time(end: Place, way: Way) -> i64 {
    match way.cmp(&end.way) {
        std::cmp::Ordering::Less => i64::MAX,
        std::cmp::Ordering::Equal => end.seq,
        std::cmp::Ordering::Greater => i64::MIN,
    }
}

fn places(db: &Connection, jid: &ChatJid, end: Place, way: Way, limit: u32) -> TxResult<Vec<Place>> {
    let mut s = db.prepare_cached(match way {
        Way::In => {
            "SELECT seq, received_at AS at FROM inbound
             WHERE jid = ?1 AND (received_at < ?2 OR (received_at = ?2 AND seq < ?3))
             ORDER BY received_at DESC, seq DESC LIMIT ?4"
        }
        Way::Out => {
            "SELECT seq, created_at AS at FROM outbox
             WHERE jid = ?1 AND (created_at < ?2 OR (created_at = ?2 AND seq < ?3))
             ORDER BY created_at DESC, seq DESC LIMIT ?4"
        }
    })?;
    let place = |row: &Row<'_>| Ok(Place { at: row.get::<_, Ms>("at")?.0, way, seq: row.get("seq")? });
    let rows = s.query_map((jid, Ms(end.at), same_time(end, way), limit), place)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn incoming(db: &Connection, place: Place) -> TxResult<Option<Said>> {
    let mut s = db.prepare_cached(
        "SELECT platform_id, sender_name, text, state, role, attachments FROM inbound WHERE seq = ?1",
    )?;
    let said = s.query_row([place.seq], |row| {
        Ok(Said {
            place,
            id: row.get("platform_id")?,
            sender: Some(row.get("sender_name")?),
            text: row.get("text")?,
            state: row.get("state")?,
            kind: row.get("role")?,
            attachments: row.get("attachments")?,
            file: None,
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
            sender: row.get("sender")?,
            text: row.get("text")?,
            state: row.get("state")?,
            kind: row.get("kind")?,
            attachments: None,
            file: name.zip(size).map(|(name, size)| FileInfo { name, size: size.unsigned_abs() }),
        })
    });
    Ok(said.optional()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    #[tokio::test]
    async fn both_ways_are_one_order_and_pages_meet_without_gap_or_repetition() {
        let (_dir, store, _wakes) = testing::store();
        // Many in the same millisecond, both ways.
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
            store.read(move |db| before(db, &jid, place, limit)).await.unwrap()
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
        // Texts of half a page each: two to a page, and one that is longer alone.
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
}
