//! Texts that were sent to a chat in the assistant's name outside the session of its messages: by isolated tasks, and
//! by other groups' agents.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension};

use super::{Ms, Tx, TxResult};
use crate::domain::ids::{ChatJid, TaskId};

/// The most such texts in a prompt: the newest.
const TEXTS: u32 = 20;
/// The most characters of each.
const LENGTH: usize = 1_000;

/// One text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its position in the outbox.
    pub seq: i64,
    /// The text, cut if it is long.
    pub text: String,
    /// The time when it was sent.
    pub at: DateTime<Utc>,
    /// The task that sent it, if any.
    pub task: Option<TaskId>,
}

/// Returns the texts that the chat's agent does not know yet, oldest first. The live run knows those up to `after`.
pub fn news(db: &Connection, jid: &ChatJid, after: i64) -> TxResult<Vec<Told>> {
    let known =
        db.prepare_cached("SELECT seq FROM told WHERE jid = ?1")?.query_row([jid], |row| row.get(0)).optional()?;
    let after = after.max(known.unwrap_or(0));
    let mut s = db.prepare_cached(
        "SELECT o.seq, substr(o.text, 1, ?4), o.created_at, o.file_name, r.task_id FROM outbox o
         LEFT JOIN runs r ON r.id = o.run_id LEFT JOIN tasks t ON t.id = r.task_id
         WHERE o.jid = ?1 AND o.seq > ?2 AND o.kind IN ('reply', 'message')
           AND (o.run_id IS NULL OR (r.task_id IS NOT NULL AND coalesce(t.context_mode, 'isolated') <> 'group'))
         ORDER BY o.seq DESC LIMIT ?3",
    )?;
    let mut news = Vec::new();
    let mut rows = s.query((jid, after, TEXTS, LENGTH as i64 + 1))?;
    while let Some(row) = rows.next()? {
        let (mut text, file): (String, Option<String>) = (row.get(1)?, row.get(3)?);
        if text.chars().count() > LENGTH {
            text = format!("{}…", text.chars().take(LENGTH).collect::<String>());
        }
        if let Some(file) = file {
            text = format!("{text}[file: {file}]");
        }
        news.push(Told { seq: row.get(0)?, text, at: row.get::<_, Ms>(2)?.0, task: row.get(4)? });
    }
    news.reverse();
    Ok(news)
}

/// Returns the newest position in a chat's outbox: a prompt with all news covers everything up to there.
pub fn newest(db: &Connection, jid: &ChatJid) -> TxResult<i64> {
    let mut s = db.prepare_cached("SELECT coalesce(max(seq), 0) FROM outbox WHERE jid = ?1")?;
    Ok(s.query_row([jid], |row| row.get(0))?)
}

/// Notes that the chat's agent knows the texts up to `seq`, because a turn that had them ended well.
pub fn set(tx: &Tx<'_>, jid: &ChatJid, seq: i64) -> TxResult<()> {
    tx.prepare_cached(
        "INSERT INTO told (jid, seq) VALUES (?1, ?2) ON CONFLICT (jid) DO UPDATE SET seq = excluded.seq
         WHERE excluded.seq > told.seq",
    )?
    .execute((jid, seq))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::from_ms;
    use crate::domain::delivery::{DeliveryKind, NewDelivery};
    use crate::domain::ids::{DeliveryId, RunId};
    use crate::domain::run::{Lane, RunState};
    use crate::store::Store;
    use crate::store::outbox::{self, Route};
    use crate::store::runs::{self, Run};
    use crate::store::testing::store;

    async fn run(store: &Store, n: u64, task: Option<&str>) -> RunId {
        let id = RunId(ulid::Ulid::from_parts(n, 1));
        let run = Run {
            id,
            folder: "room".parse().unwrap(),
            jid: "web:a".parse().unwrap(),
            lane: if task.is_some() { Lane::Task } else { Lane::Chat },
            task_id: task.map(|id| id.parse().unwrap()),
            due: None,
            state: RunState::Succeeded,
            container: "c".into(),
            session_id: None,
            started_at: from_ms(1),
            ended_at: None,
            exit_code: None,
            error: None,
            outputs: 0,
            cost_usd: None,
            tokens: 0,
        };
        store.write(move |tx| runs::put(tx, &run)).await.unwrap();
        id
    }

    async fn say(store: &Store, text: &str, kind: DeliveryKind, run_id: Option<RunId>) {
        let id = DeliveryId(ulid::Ulid::new());
        let (jid, text) = ("web:a".parse().unwrap(), text.to_owned());
        let new = NewDelivery { id, jid, text, sender: None, reply_to: None, file: None, kind, run_id };
        store.write(move |tx| outbox::put(tx, &new, Route::Local, false, from_ms(5))).await.unwrap();
    }

    async fn texts(store: &Store, after: i64) -> Vec<String> {
        let news = store.read(move |db| news(db, &"web:a".parse().unwrap(), after)).await.unwrap();
        news.into_iter().map(|told| told.text).collect()
    }

    #[tokio::test]
    async fn texts_from_outside_the_session_are_news_once() {
        let (_dir, store, _wakes) = store();
        let (chat, task) = (run(&store, 1, None).await, run(&store, 2, Some("t1")).await);
        say(&store, "the chat's own", DeliveryKind::Reply, Some(chat)).await;
        say(&store, "Did you take your pills?", DeliveryKind::Reply, Some(task)).await;
        say(&store, "a failure", DeliveryKind::Notice, Some(task)).await;
        say(&store, "from main", DeliveryKind::Message, None).await;
        assert_eq!(texts(&store, 0).await, ["Did you take your pills?", "from main"]);
        assert_eq!(texts(&store, 2).await, ["from main"]);
        store.write(|tx| set(tx, &"web:a".parse().unwrap(), 4)).await.unwrap();
        store.write(|tx| set(tx, &"web:a".parse().unwrap(), 2)).await.unwrap();
        assert_eq!(texts(&store, 0).await, Vec::<String>::new());
        for n in 0..30 {
            say(&store, &format!("{n} {}", "é".repeat(2_000)), DeliveryKind::Message, None).await;
        }
        let many = texts(&store, 0).await;
        assert_eq!((many.len(), many[0].starts_with("10 "), many[19].starts_with("29 ")), (20, true, true));
        assert!(many.iter().all(|text| text.chars().count() == 1_001 && text.ends_with('…')));
    }
}
