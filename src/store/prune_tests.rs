use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::domain::clock::from_ms;
use crate::domain::ids::GroupFolder;
use crate::domain::message::{NewMessage, Role};
use crate::domain::usage::Usage;
use crate::store::testing::store;
use crate::store::{inbound, usage};

/// Every time before this is old.
const OLD: i64 = 1_000_000_000_000;

fn message(jid: &str, id: &str) -> NewMessage {
    NewMessage {
        jid: jid.parse().unwrap(),
        platform_id: id.into(),
        sender: "u".into(),
        sender_name: "U".into(),
        text: id.into(),
        sent_at: from_ms(1),
        attachments: Vec::new(),
        quoted: None,
    }
}

async fn put(store: &Store, jid: &str, id: &str, at: i64) -> i64 {
    let new = message(jid, id);
    store.write(move |tx| inbound::insert(tx, &new, Role::Trigger, from_ms(at))).await.unwrap()
}

async fn sql(store: &Store, sql: &'static str) {
    store.write(move |tx| Ok(tx.execute_batch(sql)?)).await.unwrap();
}

async fn ask(store: &Store, sql: &'static str) -> Vec<String> {
    let read = move |db: &Connection| {
        let mut s = db.prepare(sql)?;
        let rows = s.query_map([], |row| row.get::<_, rusqlite::types::Value>(0))?;
        Ok(rows.map(|value| Ok(text(value?))).collect::<rusqlite::Result<Vec<String>>>()?)
    };
    store.read(read).await.unwrap()
}

fn text(value: rusqlite::types::Value) -> String {
    match value {
        rusqlite::types::Value::Text(text) => text,
        rusqlite::types::Value::Integer(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

async fn count(store: &Store) -> i64 {
    let sql = "SELECT (SELECT count(*) FROM inbound) + (SELECT count(*) FROM runs) + (SELECT count(*) FROM fires)
                 + (SELECT count(*) FROM outbox) + (SELECT count(*) FROM ipc_files) + (SELECT count(*) FROM refusals)";
    store.read(move |db| Ok(db.query_row(sql, [], |row| row.get(0))?)).await.unwrap()
}

async fn prune(store: &Store) {
    let before = from_ms(OLD);
    deliveries(store, before).await.unwrap();
    records(store, before).await.unwrap();
    messages(store, before).await.unwrap();
    runs(store, before).await.unwrap();
    tasks(store, before).await.unwrap();
}

const MANY: &str = "
    CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) SELECT i FROM n;
    INSERT INTO inbound (jid, platform_id, sender, sender_name, text, sent_at, received_at, role, state)
      SELECT 'web:' || (i % 50), 'old' || i, 'u', 'U', printf('%.*c', i % 500, 'x'), i, i, 'trigger',
        CASE i % 3 WHEN 0 THEN 'done' WHEN 1 THEN 'cancelled' ELSE 'failed' END FROM n;
    INSERT INTO runs (id, folder, jid, lane, state, container, started_at, ended_at)
      SELECT printf('%026d', i), 'g', 'web:1', 'chat', 'succeeded', 'c', i, i FROM n WHERE i <= 20000;
    INSERT INTO fires (task_id, due, folder, state, claimed_at, ended_at)
      SELECT 't' || (i % 100), i, 'g', 'done', i, i FROM n WHERE i <= 20000;
    INSERT INTO outbox (id, jid, text, kind, state, created_at, ended_at)
      SELECT 'd' || i, 'web:1', printf('%.*c', i % 500, 'x'), 'reply', 'delivered', i, i FROM n WHERE i <= 15000;
    INSERT INTO ipc_files SELECT 'f' || i, 'g', 'n', '{}', i FROM n WHERE i <= 4000;
    INSERT INTO refusals (folder, what, why, at) SELECT 'g', 'w', 'y', i FROM n WHERE i <= 1000;
    DROP TABLE n;";

#[tokio::test(flavor = "multi_thread")]
async fn pruning_100_000_rows_does_not_hold_up_messages() {
    let (_dir, store, _wakes) = store();
    sql(&store, MANY).await;
    assert_eq!(count(&store).await, 100_000);
    let folder: GroupFolder = "g".parse().unwrap();
    let day = "2001-01-01".parse().unwrap();
    let spent = Usage { turns: 3, cost_usd: 1.5, ..Usage::default() };
    store.write(move |tx| usage::add(tx, &folder, day, &spent, None)).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let others = tokio::spawn({
        let (store, over) = (store.clone(), Arc::clone(&over));
        async move {
            let (mut sent, mut worst) = (0, Duration::ZERO);
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                put(&store, "web:new", &format!("new{sent}"), OLD).await;
                worst = worst.max(begun.elapsed());
                sent += 1;
            }
            (sent, worst)
        }
    });
    let begun = Instant::now();
    prune(&store).await;
    let took = begun.elapsed();
    over.store(true, Ordering::Relaxed);
    let (sent, worst) = others.await.unwrap();
    eprintln!("100,000 rows in {took:?}; {sent} messages meanwhile, the slowest in {worst:?}");
    // Another write may come between any two of the pruning.
    assert!(sent > 100, "{sent}");
    assert_eq!(count(&store).await, sent);
    let spent = store.read(move |db| usage::since(db, day, None)).await.unwrap();
    assert_eq!((spent.len(), spent[0].used.turns), (1, 3), "sums by day stay");
    // A forgotten platform id counts as new; sequence numbers are never reused.
    let newest = put(&store, "web:1", "old1", OLD).await;
    assert!(newest > 40_000 + sent, "{newest}");
    assert_eq!(put(&store, "web:1", "old1", OLD).await, newest);
}

#[tokio::test(flavor = "multi_thread")]
async fn needed_rows_stay_at_any_age() {
    let (_dir, store, _wakes) = store();
    sql(
        &store,
        "INSERT INTO inbound (jid, platform_id, sender, sender_name, text, sent_at, received_at, role, state, run_id) VALUES
           ('web:a', 'waits', 'u', 'U', 'x', 1, 1, 'trigger', 'pending', 'r-broken'),
           ('web:a', 'works', 'u', 'U', 'x', 1, 1, 'trigger', 'in_flight', 'r-live'),
           ('web:a', 'over', 'u', 'U', 'x', 1, 1, 'trigger', 'done', 'r-over'),
           ('web:a', 'new', 'u', 'U', 'x', 1, 2000000000000, 'trigger', 'done', NULL),
           ('web:a', 'given up lately', 'u', 'U', 'x', 1, 2000000000000, 'trigger', 'failed', NULL);
         INSERT INTO runs (id, folder, jid, lane, state, container, started_at, ended_at) VALUES
           ('00-broken', 'a', 'web:a', 'chat', 'interrupted', 'c', 1, 1),
           ('00-live', 'a', 'web:a', 'chat', 'running', 'c', 1, NULL),
           ('00-over', 'a', 'web:a', 'chat', 'succeeded', 'c', 1, 1),
           ('00-said', 'a', 'web:a', 'chat', 'interrupted', 'c', 1, 1),
           ('00-ended-lately', 'a', 'web:a', 'chat', 'succeeded', 'c', 1, 2000000000000),
           ('7Z', 'a', 'web:a', 'chat', 'succeeded', 'c', 1, 1);
         UPDATE inbound SET run_id = replace(run_id, 'r-', '00-');
         INSERT INTO outbox (id, jid, text, kind, run_id, turn_open, state, created_at, ended_at) VALUES
           ('waits', 'x:a', 'x', 'reply', NULL, 0, 'pending', 1, NULL),
           ('failed', 'x:a', 'x', 'reply', NULL, 0, 'failed', 1, 1),
           ('said', 'web:a', 'x', 'reply', '00-said', 1, 'delivered', 1, 1),
           ('over', 'web:a', 'x', 'reply', NULL, 0, 'delivered', 1, 1),
           ('took long', 'x:a', 'x', 'reply', NULL, 0, 'delivered', 1, 2000000000000);
         INSERT INTO tasks (id, folder, jid, prompt, schedule_type, schedule_value, context_mode, missed, status, anchor,
             created_at) VALUES
           ('yearly', 'a', 'web:a', 'p', 'cron', 'v', 'group', 'run', 'active', 1, 1),
           ('once', 'a', 'web:a', 'p', 'once', 'v', 'group', 'run', 'completed', 1, 1),
           ('waits', 'a', 'web:a', 'p', 'once', 'v', 'group', 'run', 'completed', 1, 1),
           ('young', 'a', 'web:a', 'p', 'once', 'v', 'group', 'run', 'cancelled', 1, 2000000000000),
           ('paused', 'a', 'web:a', 'p', 'cron', 'v', 'group', 'run', 'paused', 1, 1);
         INSERT INTO fires (task_id, due, folder, state, claimed_at, ended_at) VALUES
           ('yearly', 1, 'a', 'done', 1, 1), ('yearly', 2, 'a', 'failed', 2, 2),
           ('once', 1, 'a', 'done', 1, 1), ('waits', 1, 'a', 'claimed', 1, NULL), ('gone', 1, 'a', 'running', 1, NULL),
           ('gone', 2, 'a', 'done', 1, 1);",
    )
    .await;
    for _ in 0..2 {
        prune(&store).await;
        assert_eq!(
            ask(&store, "SELECT platform_id FROM inbound ORDER BY 1").await,
            ["given up lately", "new", "waits", "works"]
        );
        assert_eq!(
            ask(&store, "SELECT id FROM runs ORDER BY 1").await,
            ["00-broken", "00-ended-lately", "00-live", "00-said", "7Z"]
        );
        assert_eq!(ask(&store, "SELECT id FROM outbox ORDER BY 1").await, ["failed", "said", "took long", "waits"]);
        assert_eq!(
            ask(&store, "SELECT task_id || ' ' || due FROM fires ORDER BY 1").await,
            ["gone 1", "waits 1", "yearly 2"]
        );
        assert_eq!(ask(&store, "SELECT id FROM tasks ORDER BY 1").await, ["paused", "waits", "yearly", "young"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn context_stays_within_the_window_of_a_later_message() {
    let (_dir, store, _wakes) = store();
    // 250 messages of context each. In the second and third chat, 230 are before a message that waits or may be
    // retried, and 20 after.
    sql(
        &store,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250),
           chat(jid) AS (VALUES ('web:a'), ('web:waits'), ('web:failed'), ('web:young'))
         INSERT INTO inbound (jid, platform_id, sender, sender_name, text, sent_at, received_at, role, state)
           SELECT jid, i, 'u', 'U', 'x', 1, iif(jid = 'web:young', 2000000000000, 1),
             iif(i = 231 AND jid IN ('web:waits', 'web:failed'), 'trigger', iif(i % 2, 'context', 'denied')),
             iif(i = 231 AND jid = 'web:failed', 'failed', 'pending') FROM chat, n ORDER BY i;
         UPDATE inbound SET received_at = 2000000000000 WHERE state = 'failed'",
    )
    .await;
    prune(&store).await;
    let left = "SELECT jid || ' ' || count(*) || ' from ' || min(seq / 4 + (seq % 4 > 0)) FROM inbound GROUP BY jid ORDER BY 1";
    assert_eq!(
        ask(&store, left).await,
        ["web:a 200 from 51", "web:failed 220 from 31", "web:waits 220 from 31", "web:young 250 from 1"]
    );
    // The batch is the same as before the pruning.
    let run = crate::domain::ids::RunId(Ulid::from_parts(1, 1));
    let jid = "web:waits".parse().unwrap();
    let batch = store.write(move |tx| inbound::take_batch(tx, &jid, run, "")).await.unwrap().unwrap();
    assert_eq!((batch.messages.len(), batch.messages[0].platform_id.as_str()), (220, "31"));
}

#[test]
fn prune_batches_are_bounded_by_rows_and_bytes() {
    let page = |sizes: &[i64]| Page { old: sizes.iter().map(|size| (0_i64, *size)).collect(), next: None };
    let lengths = |page: Page<i64>| page.batches().iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(page(&[10; 250])), [100, 100, 50]);
    assert_eq!(lengths(page(&[BATCH_BYTES / 2; 3])), [2, 1]);
    assert_eq!(lengths(page(&[1, BATCH_BYTES * 9, 1, 1])), [1, 1, 2]);
    assert_eq!(lengths(page(&[])), [0; 0]);
}
