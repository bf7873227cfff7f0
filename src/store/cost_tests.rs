//! SQLite's steps for each message and each output: a long turn of a chat with a long history takes no more than the
//! first one. The test counts steps, so the machine's speed does not matter.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use ulid::Ulid;

use super::testing::store;
use super::{Tx, TxResult, inbound, outbox, runs, tasks, told};
use crate::domain::clock::from_ms;
use crate::domain::delivery::{DeliveryKind, NewDelivery};
use crate::domain::ids::{ChatJid, DeliveryId, GroupFolder, RunId};
use crate::domain::message::{InboundState, NewMessage, Role};
use crate::domain::task::FireState;

/// The number of rows of each kind in a long history.
const MANY: u64 = 5_000;
const RUN: RunId = RunId(Ulid::from_parts(1, 1));

/// Inserts an ended run of the same group.
const PAST_RUN: &str = "INSERT INTO runs (id, folder, jid, lane, state, container, started_at)
  VALUES ('0' || ?1, 'a', 'web:a', 'chat', CASE WHEN ?2 % 2 = 0 THEN 'succeeded' ELSE 'interrupted' END, 'c', 1)";
/// The first of their ids, which all have 19 digits.
const RUN_IDS: i64 = 1_000_000_000_000_000_000;
/// Inserts an ended firing.
const PAST_FIRE: &str =
    "INSERT INTO fires (task_id, due, folder, state, claimed_at) VALUES ('t', ?1 + ?2, 'a', 'done', 1)";

fn folder() -> GroupFolder {
    "a".parse().unwrap()
}

fn jid() -> ChatJid {
    "web:a".parse().unwrap()
}

fn output(n: u64, kind: DeliveryKind) -> NewDelivery {
    NewDelivery {
        id: DeliveryId(Ulid::from_parts(n, 2)),
        jid: jid(),
        text: format!("output {n}"),
        sender: None,
        reply_to: None,
        file: None,
        kind,
        run_id: Some(RUN),
    }
}

fn message(n: u64) -> NewMessage {
    NewMessage {
        jid: jid(),
        platform_id: format!("in {n}"),
        sender: "u".into(),
        sender_name: "U".into(),
        text: format!("message {n}"),
        attachments: Vec::new(),
        quoted: None,
        sent_at: from_ms(0),
    }
}

type Work = (&'static str, fn(&mut Tx<'_>, u64) -> TxResult<()>);

/// The store's work for a message and an output, each with a number that no row has yet.
const WORK: &[Work] = &[
    ("a message comes in", |tx, n| inbound::insert(tx, &message(n), Role::Trigger, from_ms(1)).map(drop)),
    ("commands are looked for", |tx, _| inbound::commands(tx, &jid()).map(drop)),
    ("a trigger is looked for", |tx, _| inbound::first_trigger(tx, &jid()).map(drop)),
    ("since when messages wait", |tx, _| inbound::waiting_since(tx, &jid()).map(drop)),
    ("how many wait", |tx, _| inbound::count_waiting(tx, &jid()).map(drop)),
    ("chats with work are looked for", |tx, _| inbound::chats_with_work(tx).map(drop)),
    ("a batch is taken", |tx, n| inbound::take_batch(tx, &jid(), RUN, &format!("{n}")).map(drop)),
    ("messages are given up and wait again", |tx, _| inbound::retry_failed(tx, &jid()).map(drop)),
    ("messages are taken back", |tx, n| inbound::cancel_before(tx, &jid(), n as i64).map(drop)),
    ("a run that broke off is looked for", |tx, _| runs::interrupted_with_messages(tx, &folder()).map(drop)),
    ("an answer is compared with what was sent", |tx, n| outbox::is_said(tx, &jid(), &format!("output {n}")).map(drop)),
    ("an answer goes to a local chat", |tx, n| {
        outbox::put(tx, &output(n, DeliveryKind::Reply), outbox::Route::Local, true, from_ms(1)).map(drop)
    }),
    ("an answer waits for a platform", |tx, n| {
        outbox::put(tx, &output(n + 1, DeliveryKind::Reply), outbox::Route::Platform, true, from_ms(1)).map(drop)
    }),
    ("the next one to deliver is looked for", |tx, _| outbox::next(tx, &jid()).map(drop)),
    ("chats with something to deliver are looked for", |tx, _| outbox::waiting_chats(tx).map(drop)),
    ("it is delivered", |tx, n| outbox::delivered(tx, DeliveryId(Ulid::from_parts(n + 1, 2)), from_ms(2))),
    ("another is given up", |tx, n| {
        outbox::failed(tx, DeliveryId(Ulid::from_parts(n, 2)), "gone", None, from_ms(2)).map(drop)
    }),
    ("the bytes of the chat's files are added up", |tx, _| outbox::file_bytes(tx, &jid()).map(drop)),
    ("live runs are looked for", |tx, _| runs::live(tx).map(drop)),
    ("runs of another group are listed", |tx, _| runs::list(tx, Some(&"b".parse().unwrap()), 20).map(drop)),
    ("what is not delivered is listed", |tx, _| outbox::list(tx, false, 100).map(drop)),
    ("firings that wait are looked for", |tx, _| tasks::claimed(tx, &folder()).map(drop)),
    ("firings of all groups are looked for", |tx, _| tasks::in_state(tx, FireState::Running).map(drop)),
    ("due tasks are looked for", |tx, _| tasks::due(tx, from_ms(1), 10).map(drop)),
    ("the next due time is looked for", |tx, _| tasks::next_due(tx).map(drop)),
    ("the newest place of the chat is looked for", |tx, _| told::newest(tx, &jid()).map(drop)),
];

/// A connection that counts its steps.
struct Counted {
    connection: Connection,
    steps: Arc<AtomicU64>,
}

impl Counted {
    fn open(path: &Path) -> Self {
        let mut connection = Connection::open(path).unwrap();
        let steps = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&steps);
        let count = move || {
            counter.fetch_add(1, Ordering::Relaxed);
            false
        };
        connection.progress_handler(1, Some(count)).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self { connection, steps }
    }

    /// Returns the steps of each kind of work.
    fn costs(&self, n: u64) -> Vec<u64> {
        let mut tx = Tx::on(&self.connection);
        let mut cost = |(_, work): &Work| {
            self.steps.store(0, Ordering::Relaxed);
            work(&mut tx, n).unwrap();
            self.steps.load(Ordering::Relaxed)
        };
        WORK.iter().map(&mut cost).collect()
    }

    /// Stores a long history whose turn is still open.
    fn fill(&self) {
        let mut tx = Tx::on(&self.connection);
        for n in 0..MANY {
            let seq = inbound::insert(&mut tx, &message(n), Role::Trigger, from_ms(1)).unwrap();
            inbound::settle(&tx, &[seq], InboundState::Done).unwrap();
            let kinds = [DeliveryKind::Reply, DeliveryKind::Notice];
            for (at, kind) in (3u128..).zip(kinds) {
                let new = NewDelivery { id: DeliveryId(Ulid::from_parts(n, at)), ..output(n, kind) };
                outbox::put(&mut tx, &new, outbox::Route::Local, true, from_ms(1)).unwrap();
            }
            let values = (RUN_IDS + n as i64, n as i64);
            tx.execute(PAST_RUN, values).unwrap();
            tx.execute(PAST_FIRE, values).unwrap();
        }
    }
}

#[tokio::test]
async fn cost_of_messages_and_outputs_does_not_grow_with_the_history() {
    let (dir, store, _wakes) = store();
    store.close().await;
    let store = Counted::open(&dir.path().join("parlor.db"));
    store.costs(1_000_000);
    let few = store.costs(2_000_000);
    store.fill();
    let many = store.costs(3_000_000);
    let grown: Vec<String> = WORK
        .iter()
        .zip(few.into_iter().zip(many))
        .filter(|(_, (few, many))| *few == 0 || *many > few + 100)
        .map(|((what, _), (few, many))| format!("{what}: {few} steps in a short turn, {many} after {MANY} outputs"))
        .collect();
    assert!(grown.is_empty(), "{grown:#?}");
}
