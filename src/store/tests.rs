//! The store on real files: shared commits, isolation of failures, recovery of unfinished work.

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::testing::store;
use super::{Store, StoreError, TxError, TxResult, Wake, events, groups, inbound, outbox};
use crate::domain::attachment::{self, Attachment};
use crate::domain::clock::from_ms;
use crate::domain::event::Event;
use crate::domain::group::{ContainerConfig, Group};
use crate::domain::ids::{ChatJid, RunId};
use crate::domain::message::{Inbound, InboundState, NewMessage, Role};

fn jid() -> ChatJid {
    "web:a".parse().unwrap()
}

fn message(id: &str, text: &str) -> NewMessage {
    NewMessage {
        jid: jid(),
        platform_id: id.into(),
        sender: "u".into(),
        sender_name: "U".into(),
        text: text.into(),
        attachments: Vec::new(),
        quoted: None,
        sent_at: from_ms(0),
    }
}

async fn put(store: &Store, id: &str, role: Role) -> i64 {
    let new = message(id, id);
    store.write(move |tx| inbound::insert(tx, &new, role, from_ms(1))).await.unwrap()
}

fn group(folder: &str, jid: &str, is_main: bool) -> Group {
    Group {
        folder: folder.parse().unwrap(),
        jid: jid.parse().unwrap(),
        name: folder.into(),
        trigger: None,
        requires_trigger: true,
        is_main,
        container_config: ContainerConfig::default(),
        created_at: from_ms(0),
        paused: None,
    }
}

fn run() -> RunId {
    RunId(ulid::Ulid::from_parts(1, 1))
}

#[tokio::test]
async fn a_message_is_stored_once_and_keeps_its_place() {
    let (_dir, store, _wakes) = store();
    let first = put(&store, "a", Role::Trigger).await;
    let second = put(&store, "b", Role::Trigger).await;
    assert_eq!(put(&store, "a", Role::Trigger).await, first);
    assert!(second > first);
}

#[tokio::test]
async fn failing_write_does_not_affect_others() {
    let (_dir, store, mut wakes) = store();
    let ok = store.write(|tx| inbound::insert(tx, &message("a", "x"), Role::Trigger, from_ms(1)));
    let bad = store.write(|tx| {
        inbound::insert(tx, &message("b", "x"), Role::Trigger, from_ms(1))?;
        Err::<(), _>(TxError::Conflict("no".into()))
    });
    let (ok, bad) = tokio::join!(ok, bad);
    assert!(ok.is_ok());
    assert!(matches!(bad, Err(StoreError::Conflict(text)) if text == "no"));
    let count = store.read(|db| Ok(db.query_row("SELECT count(*) FROM inbound", [], |r| r.get::<_, i64>(0))?)).await;
    assert_eq!(count.unwrap(), 1);
    assert_eq!(wakes.recv().await, Some(Wake::Group(jid())));
    assert!(wakes.try_recv().is_err(), "a write that failed wakes nobody");
}

#[tokio::test]
async fn panicking_closure_fails_only_its_caller() {
    let (_dir, store, _wakes) = store();
    for n in 0..3 {
        let panics = store.write(move |tx| -> TxResult<()> {
            inbound::insert(tx, &message("gone", "gone"), Role::Trigger, from_ms(1))?;
            panic!("number {n}")
        });
        let id = format!("kept {n}");
        let beside = put(&store, &id, Role::Trigger);
        let (panicked, _) = tokio::join!(panics, beside);
        let reason = format!("number {n}");
        assert!(matches!(panicked, Err(StoreError::Panicked { reason: said }) if said == reason));
        let read = store.read(|_| -> TxResult<()> { panic!("in a read") }).await;
        assert!(matches!(read, Err(StoreError::Panicked { .. })), "{read:?}");
        store.write_soon(|_| panic!("nobody waits for it"));
    }
    put(&store, "last", Role::Trigger).await;
    let kept = store.read(|db| Ok(db.query_row("SELECT count(*) FROM inbound", [], |row| row.get::<_, i64>(0))?)).await;
    assert_eq!(kept.unwrap(), 4, "what panicked stored nothing, and took nothing with it");
}

#[tokio::test]
async fn stopped_returns_after_close_and_writes_fail() {
    let (_dir, store, _wakes) = store();
    assert!(store.stopped().now_or_never().is_none());
    store.close().await;
    store.stopped().await;
    assert!(matches!(store.write(|_| Ok(())).await, Err(StoreError::Closed)));
}

#[tokio::test]
async fn writes_that_wait_share_a_commit() {
    let (_dir, store, mut wakes) = store();
    let all = (0..500).map(|n| {
        let store = store.clone();
        async move { put(&store, &n.to_string(), Role::Trigger).await }
    });
    futures_util::future::join_all(all).await;
    // There is one wake-up per commit, however many writes ask for it, and it follows the answers to the writers.
    assert!(wakes.recv().await.is_some());
    let mut commits = 1;
    while wakes.try_recv().is_ok() {
        commits += 1;
    }
    assert!((1..100).contains(&commits), "{commits} commits for 500 writes");
}

#[tokio::test]
async fn a_batch_is_the_trigger_what_follows_and_a_window_before() {
    let (_dir, store, _wakes) = store();
    for n in 0..250 {
        put(&store, &format!("c{n}"), Role::Context).await;
    }
    assert!(store.write(|tx| inbound::take_batch(tx, &jid(), run(), "")).await.unwrap().is_none());
    put(&store, "t1", Role::Trigger).await;
    put(&store, "late", Role::Context).await;
    put(&store, "t2", Role::Trigger).await;
    let batch = store.write(|tx| inbound::take_batch(tx, &jid(), run(), "")).await.unwrap().unwrap();
    assert_eq!((batch.omitted, batch.messages.len()), (50, 203));
    assert_eq!(batch.messages[0].platform_id, "c50");
    assert_eq!(batch.messages[202].platform_id, "t2");
    assert!(store.write(|tx| inbound::take_batch(tx, &jid(), run(), "")).await.unwrap().is_none());
}

#[tokio::test]
async fn marks_of_files_count_for_the_size_of_a_batch() {
    let (_dir, store, _wakes) = store();
    let refused = || Attachment::refused("n".repeat(150), 1, "a message may bring 10 files");
    let with_files = |id: String| NewMessage { attachments: vec![refused(); 21], ..message(&id, "") };
    let shown = |messages: &[Inbound]| {
        messages.iter().map(|m| attachment::with_marks(&m.text, &m.attachments).len()).collect::<Vec<_>>()
    };
    for n in 0..200 {
        let new = with_files(format!("c{n}"));
        store.write(move |tx| inbound::insert(tx, &new, Role::Context, from_ms(1))).await.unwrap();
    }
    put(&store, "t", Role::Trigger).await;
    for n in 0..300 {
        let new = with_files(format!("f{n}"));
        store.write(move |tx| inbound::insert(tx, &new, Role::Context, from_ms(1))).await.unwrap();
    }
    let batch = store.write(|tx| inbound::take_batch(tx, &jid(), run(), "")).await.unwrap().unwrap();
    let first = batch.messages.iter().position(|m| m.platform_id == "t").unwrap();
    let (context, rest) = batch.messages.split_at(first);
    let each = shown(context)[0];
    assert_eq!(context.len(), (64 << 10) / each);
    assert_eq!(batch.omitted, 200 - context.len() as u64);
    assert_eq!(rest.len(), 1 + ((1 << 20) - 1) / each);
    assert!(shown(rest).iter().sum::<usize>() <= 1 << 20);
}

#[tokio::test]
async fn messages_of_a_dead_host_wait_again_but_stopped_ones_do_not() {
    let (_dir, store, _wakes) = store();
    let first = put(&store, "a", Role::Trigger).await;
    store.write(|tx| inbound::take_batch(tx, &jid(), run(), "")).await.unwrap();
    let second = put(&store, "b", Role::Trigger).await;
    let last = store.write(move |tx| inbound::cancel_before(tx, &jid(), second)).await.unwrap();
    assert_eq!(last, Some(first));
    store.write(move |tx| inbound::settle(tx, &[first], InboundState::Done)).await.unwrap();
    store.write(|tx| inbound::reclaim_all(tx)).await.unwrap();
    let batch = store.write(|tx| inbound::take_batch(tx, &jid(), run(), "")).await.unwrap().unwrap();
    let ids: Vec<_> = batch.messages.iter().map(|m| m.platform_id.as_str()).collect();
    assert_eq!(ids, ["b"]);
}

#[tokio::test]
async fn a_chat_or_folder_in_use_is_refused_in_any_case() {
    let (_dir, store, _wakes) = store();
    let register = |g: Group| {
        let store = store.clone();
        async move { store.write(move |tx| groups::register(tx, &g)).await }
    };
    register(group("Team", "web:team", true)).await.unwrap();
    for other in [group("TEAM", "web:x", false), group("x", "web:team", false), group("y", "web:y", true)] {
        assert!(matches!(register(other).await, Err(StoreError::Conflict(_))));
    }
    let all = store.read(groups::all).await.unwrap();
    assert_eq!((all.len(), all[0].jid.as_str()), (1, "web:team"));
}

#[tokio::test]
async fn chat_has_the_name_of_its_group() {
    let (_dir, store, _wakes) = store();
    let mut g = group("lab", "web:a", false);
    let names = || async { store.read(groups::chats).await.unwrap().into_iter().map(|c| c.name).collect::<Vec<_>>() };
    let first = g.clone();
    store.write(move |tx| groups::register(tx, &first)).await.unwrap();
    assert_eq!(names().await, ["lab"]);
    g.name = "Team A".into();
    store.write(move |tx| groups::update(tx, &g)).await.unwrap();
    assert_eq!(names().await, ["Team A"]);
    store.write(|tx| groups::remove(tx, &"lab".parse().unwrap(), from_ms(1))).await.unwrap();
    assert_eq!(names().await, ["Team A"], "also when the group is gone");
}

#[tokio::test]
async fn local_delivery_twice_makes_one_event() {
    use crate::domain::delivery::{DeliveryKind, NewDelivery};
    let (_dir, store, _wakes) = store();
    let new = NewDelivery {
        id: crate::domain::ids::DeliveryId(ulid::Ulid::from_parts(1, 2)),
        jid: jid(),
        text: "hi".into(),
        sender: None,
        reply_to: None,
        file: None,
        kind: DeliveryKind::Reply,
        run_id: None,
    };
    let again = new.clone();
    store.write(move |tx| outbox::put(tx, &new, outbox::Route::Local, false, from_ms(1))).await.unwrap();
    store.write(move |tx| outbox::deliver_locally(tx, &again, from_ms(2))).await.unwrap();
    let page = store.read(|db| super::events::after(db, 0, None)).await.unwrap();
    assert_eq!(page.len(), 1);
    assert!(page[0].json().ends_with(r#""text":"hi"}"#), "{}", page[0].json());
}

#[tokio::test]
async fn answer_is_compared_with_the_last_texts_of_its_own_turn() {
    use crate::domain::delivery::{DeliveryKind, NewDelivery};
    let (_dir, store, _wakes) = store();
    let run = RunId(ulid::Ulid::from_parts(1, 1));
    store
        .write(move |tx| {
            for n in 0..20 {
                let new = NewDelivery {
                    id: crate::domain::ids::DeliveryId(ulid::Ulid::from_parts(n, 2)),
                    jid: jid(),
                    text: format!("text {n}\n"),
                    sender: None,
                    reply_to: None,
                    file: None,
                    kind: DeliveryKind::Message,
                    run_id: Some(run),
                };
                outbox::put(tx, &new, outbox::Route::Local, true, from_ms(1))?;
            }
            let said = |text: &str| outbox::is_said(tx, &jid(), text);
            assert_eq!(
                (said(" text  19")?, said("text 4")?, said("text 0")?, said("text")?),
                (true, true, false, false)
            );
            outbox::close_turn(tx, run)?;
            assert!(!outbox::is_said(tx, &jid(), "text 19")?);
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn texts_of_a_broken_turn_reach_every_later_try() {
    use crate::domain::delivery::{DeliveryKind, NewDelivery};
    let (_dir, store, _wakes) = store();
    let runs: Vec<RunId> = (1..=3).map(|n| RunId(ulid::Ulid::from_parts(n, 1))).collect();
    let new = NewDelivery {
        id: crate::domain::ids::DeliveryId(ulid::Ulid::from_parts(1, 2)),
        jid: jid(),
        text: "part one".into(),
        sender: None,
        reply_to: None,
        file: None,
        kind: DeliveryKind::Reply,
        run_id: Some(runs[0]),
    };
    let known = store
        .write(move |tx| {
            outbox::put(tx, &new, outbox::Route::Local, true, from_ms(1))?;
            outbox::take_over_turn(tx, runs[0], runs[1])?;
            outbox::take_over_turn(tx, runs[1], runs[2])?;
            let known = outbox::said_in_open_turn(tx, runs[2])?;
            outbox::close_turn(tx, runs[2])?;
            Ok((known, outbox::said_in_open_turn(tx, runs[2])?))
        })
        .await
        .unwrap();
    assert_eq!(known, (vec!["part one".to_owned()], Vec::new()));
}

#[tokio::test]
async fn retry_gets_the_last_texts_within_its_limits() {
    use crate::domain::delivery::{DeliveryKind, NewDelivery};
    let (_dir, store, _wakes) = store();
    let said = |run: RunId, texts: Vec<String>| {
        let put = move |tx: &mut super::Tx<'_>| {
            for (n, text) in texts.into_iter().enumerate() {
                let new = NewDelivery {
                    id: crate::domain::ids::DeliveryId(ulid::Ulid::from_parts(n as u64, run.0.timestamp_ms().into())),
                    jid: jid(),
                    text,
                    sender: None,
                    reply_to: None,
                    file: None,
                    kind: DeliveryKind::Reply,
                    run_id: Some(run),
                };
                outbox::put(tx, &new, outbox::Route::Local, true, from_ms(1))?;
            }
            outbox::said_in_open_turn(tx, run)
        };
        store.write(put)
    };
    let run = |n| RunId(ulid::Ulid::from_parts(n, 1));
    let known = said(run(1), (0..1_100).map(|n| format!("text {n}")).collect()).await.unwrap();
    assert_eq!((known.len(), known[0].as_str(), known[999].as_str()), (1_000, "text 100", "text 1099"));
    let large = |letter: &str| letter.repeat(200 << 10);
    let known = said(run(2), ["a", "b", "c", "d", "e", "f"].map(large).to_vec()).await.unwrap();
    assert!(known == ["b", "c", "d", "e", "f"].map(large), "{}", known.len());
    let known = said(run(3), vec!["short".into(), "é".repeat(2 << 20)]).await.unwrap();
    assert!(known[0] == "short" && known[1] == format!("{}…", "é".repeat(256 << 10)), "{}", known[1].len());
}

#[tokio::test]
async fn log_is_short_again_after_a_checkpoint() {
    let (dir, store, _wakes) = store();
    let wal = || std::fs::metadata(dir.path().join("parlor.db-wal")).map_or(0, |m| m.len());
    let text = "x".repeat(256 << 10);
    for n in 0..48 {
        let new = message(&n.to_string(), &text);
        store.write(move |tx| inbound::insert(tx, &new, Role::Context, from_ms(1))).await.unwrap();
    }
    for n in 0..20 {
        put(&store, &format!("after {n}"), Role::Context).await;
    }
    assert!(wal() < 9 << 20, "the log has {} bytes", wal());
}

#[tokio::test]
async fn closed_store_has_everything_in_one_file() {
    let (dir, store, _wakes) = store();
    put(&store, "a", Role::Trigger).await;
    store.close().await;
    let wal = std::fs::metadata(dir.path().join("parlor.db-wal")).map_or(0, |m| m.len());
    assert_eq!(wal, 0);
    let late = store.write(|tx| inbound::insert(tx, &message("b", "x"), Role::Trigger, from_ms(1))).await;
    assert!(matches!(late, Err(StoreError::Closed)));
}

#[tokio::test]
async fn a_newer_database_is_refused_and_an_old_one_is_kept() {
    let (dir, store, _wakes) = store();
    put(&store, "a", Role::Trigger).await;
    let path = dir.path().join("parlor.db");
    drop(store);
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let (tx, _rx) = mpsc::unbounded_channel();
    assert!(matches!(Store::open(&path, tx), Err(StoreError::TooNew { found: 99, .. })));
}

#[tokio::test]
async fn end_of_the_stream_survives_expiry_of_all_events() {
    let (dir, store, _wakes) = store();
    let event = Event::Task { task_id: "t".parse().unwrap(), chat_jid: jid(), change: "x".into() };
    store.write(move |tx| events::append(tx, &event, from_ms(1))).await.unwrap();
    assert_eq!(store.write(|tx| events::expire(tx, from_ms(2), 10)).await.unwrap(), 1);
    store.close().await;
    let (wake, _wakes) = mpsc::unbounded_channel();
    let again = Store::open(&dir.path().join("parlor.db"), wake).unwrap();
    assert_eq!(*again.events().borrow(), 1);
}

#[tokio::test]
async fn migration_from_schema_4_keeps_messages() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("parlor.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    for sql in &super::migrate::MIGRATIONS[..4] {
        old.execute_batch(sql).unwrap();
    }
    old.execute_batch(
        "INSERT INTO inbound (jid, platform_id, sender, sender_name, text, sent_at, received_at, role, state)
           VALUES ('web:a', 'old', 'u', 'U', 'look [Image: attachments/p.png]', 1, 2, 'trigger', 'pending');
         PRAGMA user_version = 4;",
    )
    .unwrap();
    drop(old);
    let (wakes, _) = mpsc::unbounded_channel();
    let store = Store::open(&path, wakes).unwrap();
    let file = Attachment::refused("a.txt".into(), 3, "it is too large");
    let new = NewMessage { attachments: vec![file.clone()], ..message("new", "") };
    store.write(move |tx| inbound::insert(tx, &new, Role::Trigger, from_ms(3))).await.unwrap();
    let taken = store.write(|tx| inbound::take_batch(tx, &jid(), run(), "")).await.unwrap().unwrap();
    let seen: Vec<_> = taken.messages.iter().map(|m| (m.text.as_str(), m.attachments.clone())).collect();
    assert_eq!(seen, [("look [Image: attachments/p.png]", vec![]), ("", vec![file])]);
    let unknown = store.read(|db| inbound::attachments(db, &jid(), "other")).await.unwrap();
    assert_eq!(unknown, None);
}
