//! Short ids: the beginning of an id is enough if no other id begins with it.

use rusqlite::Connection;

use super::{TxError, TxResult};
use crate::domain::ids::{DeliveryId, RunId, TaskId};

/// The most ids that an error lists.
const SHOWN: usize = 5;

/// Returns the run of an id, or of the beginning of one.
pub fn run(db: &Connection, text: &str) -> TxResult<RunId> {
    let what = What { table: "runs", noun: "run", list: "parlor runs list" };
    parse(&find(db, &what, &text.to_uppercase())?)
}

/// Returns the delivery of an id, or of the beginning of one.
pub fn delivery(db: &Connection, text: &str) -> TxResult<DeliveryId> {
    let what = What { table: "outbox", noun: "delivery", list: "parlor outbox list --all" };
    parse(&find(db, &what, &text.to_uppercase())?)
}

/// Returns the task of an id, or of the beginning of one. Case matters, because agents choose ids.
pub fn task(db: &Connection, text: &str) -> TxResult<TaskId> {
    let what = What { table: "tasks", noun: "task", list: "parlor tasks list --all" };
    parse(&find(db, &what, text)?)
}

struct What {
    table: &'static str,
    noun: &'static str,
    list: &'static str,
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(id: &str) -> TxResult<T> {
    id.parse().map_err(|e: T::Err| TxError::NotFound(e.to_string()))
}

fn find(db: &Connection, what: &What, prefix: &str) -> TxResult<String> {
    let What { table, noun, list } = what;
    let mut s =
        db.prepare_cached(&format!("SELECT id FROM {table} WHERE id >= ?1 AND id <= ?2 ORDER BY id LIMIT ?3"))?;
    // `~` sorts after every character of an id.
    let end = format!("{prefix}~");
    let found = s.query_map((prefix, &end, SHOWN as i64 + 1), |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    match &found[..] {
        [] => Err(TxError::NotFound(format!("there is no {noun} {prefix}: `{list}` shows those there are"))),
        [one] => Ok(one.clone()),
        // A complete id, although other ids begin with it.
        [first, ..] if first == prefix => Ok(first.clone()),
        _ => {
            let more = if found.len() > SHOWN { ", …" } else { "" };
            let ids = found.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
            Err(TxError::Conflict(format!("several {noun} ids begin with {prefix}: {ids}{more}; give more of it")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    #[tokio::test]
    async fn unique_prefix_of_an_id_is_enough() {
        let (_dir, store, _wakes) = testing::store();
        let ids = ["t1", "t10", "tea", "Tea2", "01ARZ3NDEKTSV4RRFFQ69G5FAV"];
        let put = move |tx: &mut crate::store::Tx<'_>| {
            for id in ids {
                tx.execute(
                    "INSERT INTO tasks (id, folder, jid, prompt, schedule_type, schedule_value, context_mode, missed, status, anchor, created_at)
                     VALUES (?1, 'a', 'web:a', 'x', 'interval', '60000', 'isolated', 'run', 'active', 0, 0)",
                    [id],
                )?;
            }
            Ok(())
        };
        store.write(put).await.unwrap();
        let ask = async |text: &str| {
            let text = text.to_owned();
            store.read(move |db| task(db, &text)).await.map(String::from).map_err(|e| e.to_string())
        };
        for (text, id) in [("t1", "t1"), ("t10", "t10"), ("te", "tea"), ("T", "Tea2"), ("01A", ids[4]), ("tea", "tea")]
        {
            assert_eq!(ask(text).await.unwrap(), id, "{text}");
        }
        assert_eq!(ask("t").await.unwrap_err(), "several task ids begin with t: t1, t10, tea; give more of it");
        for text in ["x", "te~", "01ARZ3NDEKTSV4RRFFQ69G5FAV1"] {
            assert!(ask(text).await.unwrap_err().starts_with(&format!("there is no task {text}: ")), "{text}");
        }
        assert!(store.read(|db| run(db, "01a")).await.unwrap_err().to_string().contains("there is no run 01A"));
    }
}
