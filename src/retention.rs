//! Deletes old data: events, delivered texts with their files, and IPC records after [`KEEP`]; finished messages,
//! runs with their logs, and firings of tasks after `PARLOR_KEEP_DAYS`.

use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use crate::container::run::run_log;
use crate::domain::clock::SharedClock;
use crate::domain::words;
use crate::store::{Store, StoreError, events, outbox_files, prune};

/// How long events, delivered texts and records of handled IPC files are kept.
pub const KEEP: TimeDelta = TimeDelta::days(7);
/// The events that one write deletes, which takes a few milliseconds.
const SLICE: u32 = 250;
/// The time between two deletions.
const EVERY: Duration = Duration::from_secs(24 * 3600);
/// The time from the start to the first deletion, so that the start is not slowed.
const FIRST: Duration = Duration::from_secs(60);

/// The operator's choice.
#[derive(Debug, Clone)]
pub struct Keep {
    /// How long messages, runs and firings are kept; None for ever.
    pub history: Option<TimeDelta>,
    /// The folder of run logs, with a folder for each group.
    pub run_logs: PathBuf,
}

/// Deletes old data daily until the shutdown.
pub async fn run(store: Store, clock: SharedClock, keep: Keep, shutdown: CancellationToken) {
    let mut wait = FIRST;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = EVERY;
        if let Some(Err(error)) = shutdown.run_until_cancelled(expire(&store, &clock, &keep)).await {
            tracing::warn!("cannot delete old data, retrying in a day: {error}");
        }
    }
}

/// Deletes old data once.
pub async fn expire(store: &Store, clock: &SharedClock, keep: &Keep) -> Result<(), StoreError> {
    let now = clock.now();
    let before = now - KEEP;
    while store.write(move |tx| events::expire(tx, before, SLICE)).await? > 0 {}
    prune::deliveries(store, before).await?;
    prune::records(store, before).await?;
    outbox_files::sweep(store).await?;
    let Some(before) = keep.history.and_then(|kept| now.checked_sub_signed(kept)) else { return Ok(()) };
    let messages = prune::messages(store, before).await?;
    let runs = prune::runs(store, before).await?;
    let tasks = prune::tasks(store, before).await?;
    if messages + runs + tasks > 0 {
        tracing::info!(
            "deleted data older than PARLOR_KEEP_DAYS: {}, {}, {tasks} firings and tasks",
            words::count(messages as u64, "message"),
            words::count(runs as u64, "run"),
        );
    }
    let logs = keep.run_logs.clone();
    let removed = tokio::task::spawn_blocking(move || run_log::expire(&logs, before)).await;
    if let Ok(Err(error)) = removed {
        tracing::warn!("cannot delete old run logs in {}: {error}", keep.run_logs.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::channel::Registry;
    use crate::domain::clock::{Clock, SystemClock, to_ms};
    use crate::domain::delivery::{DeliveryKind, NewDelivery};
    use crate::domain::event::Event;
    use crate::domain::ids::{DeliveryId, RunId};
    use crate::store::outbox::{self, Route};
    use crate::store::testing::store;
    use crate::store::{Tx, TxResult};

    fn keep() -> Keep {
        Keep { history: None, run_logs: PathBuf::from("/nowhere") }
    }

    #[tokio::test]
    async fn events_and_deliveries_are_kept_for_a_week() {
        let (_dir, store, _wakes) = store();
        let clock: SharedClock = Arc::new(SystemClock);
        let now = clock.now();
        assert_eq!(Registry::default().route(&"x:y".parse().unwrap()), Route::Platform);
        for days in [6, 8] {
            let new = NewDelivery {
                id: DeliveryId(SystemClock.ulid()),
                jid: "web:a".parse().unwrap(),
                text: format!("{days} days old"),
                sender: None,
                reply_to: None,
                file: None,
                kind: DeliveryKind::Reply,
                run_id: None,
            };
            let at = now - TimeDelta::days(days);
            store.write(move |tx| outbox::put(tx, &new, Route::Local, false, at)).await.unwrap();
        }
        expire(&store, &clock, &keep()).await.unwrap();
        let texts: Vec<_> = store.read(|db| events::after(db, 0, None)).await.unwrap();
        let texts: Vec<_> = texts.into_iter().map(|e| e.text.unwrap()).collect();
        assert_eq!(texts, ["6 days old"]);
        assert_eq!(store.read(|db| outbox::list(db, true, 9)).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn history_is_deleted_after_the_operators_days() {
        let (dir, store, _wakes) = store();
        let clock: SharedClock = Arc::new(SystemClock);
        let logs = dir.path().join("runs");
        std::fs::create_dir_all(logs.join("a")).unwrap();
        let now = clock.now();
        for days in [89, 91] {
            let at = now - TimeDelta::days(days);
            let id = ulid::Ulid::from_parts(to_ms(at).unsigned_abs(), 1);
            std::fs::write(run_log::path(&logs.join("a"), RunId(id)), "log").unwrap();
            let id = id.to_string();
            let add = move |tx: &mut Tx<'_>| -> TxResult<()> {
                tx.execute(
                    "INSERT INTO inbound (jid, platform_id, sender, sender_name, text, sent_at, received_at, role, state)
                     VALUES ('web:a', ?1, 'u', 'U', 'x', ?2, ?2, 'trigger', 'done')",
                    (days, to_ms(at)),
                )?;
                tx.execute(
                    "INSERT INTO runs (id, folder, jid, lane, state, container, started_at, ended_at)
                     VALUES (?1, 'a', 'web:a', 'chat', 'succeeded', 'c', ?2, ?2)",
                    (id, to_ms(at)),
                )?;
                tx.execute(
                    "INSERT INTO fires (task_id, due, folder, state, claimed_at, ended_at)
                            VALUES ('t', ?1, 'a', 'done', ?1, ?1)",
                    [to_ms(at)],
                )?;
                Ok(())
            };
            store.write(add).await.unwrap();
        }
        let count = |store: &Store| {
            let sql =
                "SELECT (SELECT count(*) FROM inbound) || (SELECT count(*) FROM runs) || (SELECT count(*) FROM fires)";
            let store = store.clone();
            async move { store.read(move |db| Ok(db.query_row(sql, [], |row| row.get::<_, String>(0))?)).await.unwrap() }
        };
        let left = || std::fs::read_dir(logs.join("a")).unwrap().count();
        expire(&store, &clock, &Keep { history: None, run_logs: logs.clone() }).await.unwrap();
        assert_eq!((count(&store).await.as_str(), left()), ("222", 2), "for ever");
        let keep = Keep { history: Some(TimeDelta::days(90)), run_logs: logs.clone() };
        expire(&store, &clock, &keep).await.unwrap();
        assert_eq!((count(&store).await.as_str(), left()), ("111", 1));
    }

    #[tokio::test]
    async fn events_expire_in_slices_and_new_ones_stay() {
        let (_dir, store, _wakes) = store();
        let clock: SharedClock = Arc::new(SystemClock);
        let now = clock.now();
        let rows = i64::from(SLICE) * 2 + 10;
        let add = move |tx: &mut Tx<'_>| -> TxResult<()> {
            for n in 0..rows + 3 {
                let at = if n < rows { now - TimeDelta::days(8) } else { now };
                let event = Event::Task {
                    task_id: "t".parse().unwrap(),
                    chat_jid: "web:a".parse().unwrap(),
                    change: "x".into(),
                };
                events::append(tx, &event, at)?;
            }
            Ok(())
        };
        store.write(add).await.unwrap();
        let before = now - KEEP;
        let first = store.write(move |tx| events::expire(tx, before, SLICE)).await.unwrap();
        assert_eq!(first, SLICE as usize);
        expire(&store, &clock, &keep()).await.unwrap();
        assert_eq!(store.read(events::bounds).await.unwrap(), (Some(rows + 1), rows + 3));
    }
}
