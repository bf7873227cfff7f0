//! Deliveries to a platform that accepts less than agents write, and through a host that is killed.

use std::collections::HashSet;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parlor::channel::Registry;
use parlor::channel::delivery::outbound::Outbound;
use parlor::channel::delivery::pace::Pace;
use parlor::domain::clock::{Clock, SystemClock};
use parlor::domain::delivery::{DeliveryKind, DeliveryState, NewDelivery};
use parlor::domain::ids::DeliveryId;
use parlor::store::outbox::{self, MAX_WAITING, MAX_WAITING_BYTES, Put, Route};
use parlor::store::{Store, events};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::channel::{Post, store};
use super::courier::{Courier, Server};

fn text(jid: &str, text: &str) -> NewDelivery {
    NewDelivery {
        id: DeliveryId(SystemClock.ulid()),
        jid: jid.parse().unwrap(),
        text: text.to_owned(),
        sender: None,
        reply_to: None,
        file: None,
        kind: DeliveryKind::Reply,
        run_id: None,
    }
}

/// Adds many texts to one chat; returns how many were accepted.
async fn say(store: &Store, jid: &str, route: Route, texts: Vec<String>) -> usize {
    let jid = jid.to_owned();
    let work = store.write(move |tx| {
        let mut stored = 0;
        for one in &texts {
            stored += usize::from(outbox::put(tx, &text(&jid, one), route, false, SystemClock.now())? == Put::Stored);
        }
        Ok(stored)
    });
    work.await.unwrap()
}

fn numbered(range: std::ops::Range<i64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn flooded_chat_has_a_bounded_outbox_and_one_notice() {
    let post = Post::new(true, Vec::new());
    let stored = say(&post.store, "courier:loud", Route::Platform, numbered(0..3000)).await;
    assert_eq!(stored as i64, MAX_WAITING);
    assert_eq!(say(&post.store, "courier:quiet", Route::Platform, numbered(0..10)).await, 10);
    // The local API is not a platform: it accepts all texts.
    assert_eq!(say(&post.store, "web:loud", Route::Local, numbered(0..3000)).await, 3000);
    let rows = post.store.read(|db| outbox::list(db, false, 10_000)).await.unwrap();
    assert_eq!(rows.len() as i64, MAX_WAITING + 1 + 10);

    let _worker = post.start();
    let started = Instant::now();
    while !post.store.read(|db| outbox::list(db, false, 1)).await.unwrap().is_empty() {
        assert!(started.elapsed() < Duration::from_secs(60), "the outbox is never empty");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut shown = post.server.shown("courier:loud");
    let notice = shown.split_off(MAX_WAITING as usize);
    assert_eq!(shown, numbered(0..MAX_WAITING));
    assert!(notice[0].starts_with("Too much waits"), "{notice:?}");
    assert_eq!(post.server.shown("courier:quiet"), numbered(0..10));

    // After there is space again, the next flood is reported again.
    assert_eq!(say(&post.store, "courier:loud", Route::Platform, numbered(0..1)).await, 1);
}

#[tokio::test]
async fn outbox_limits_large_texts_by_their_bytes() {
    let (_dir, store, _wakes) = store();
    let large = || vec!["x".repeat(5 << 20)];
    for fits in [1, 1, 1, 0, 0] {
        assert_eq!(say(&store, "courier:a", Route::Platform, large()).await, fits);
    }
    // The notice is not repeated until half of the texts are delivered.
    assert_eq!(say(&store, "courier:a", Route::Platform, numbered(0..5)).await, 0);
    let rows = store.read(|db| outbox::list(db, false, 100)).await.unwrap();
    let bytes: usize = rows.iter().map(|r| r.new.text.len()).sum();
    assert!(rows.len() == 4 && bytes as i64 <= MAX_WAITING_BYTES, "{} rows, {bytes} bytes", rows.len());
    let notices = rows.iter().filter(|r| r.new.kind == DeliveryKind::Notice).count();
    assert_eq!(notices, 1);
    for row in rows.into_iter().rev().take(2) {
        store.write(move |tx| outbox::delivered(tx, row.new.id, SystemClock.now())).await.unwrap();
    }
    assert_eq!(say(&store, "courier:a", Route::Platform, numbered(0..5)).await, 5);
    // The local API shows even this text in one piece.
    assert_eq!(say(&store, "web:a", Route::Local, large()).await, 1);
    let shown = store.read(|db| events::after(db, 0, None)).await.unwrap();
    assert_eq!((shown[0].long, &shown[0].text), (Some(5 << 20), &None), "it is read part by part");
    let (seq, mut read) = (shown[0].seq, 0);
    while let Some(part) =
        store.read(move |db| events::part(db, seq, read, 1 << 20)).await.unwrap().filter(|part| !part.is_empty())
    {
        assert!(part.len() <= 1 << 20);
        read += part.len();
    }
    assert_eq!(read, 5 << 20);
}

#[tokio::test]
async fn reply_of_five_mebibytes_becomes_ten_messages_and_a_note() {
    let post = Post::new(true, Vec::new());
    let _worker = post.start();
    let id = post.put("courier:a", &"word ".repeat(1 << 20)).await;
    assert_eq!(post.ended(id).await.state, DeliveryState::Delivered);
    let shown = post.server.shown("courier:a");
    assert_eq!(shown.len(), 10);
    assert!(shown[9].starts_with("(Cut after "), "{}", shown[9]);
}

/// The variable in which a worker process gets its database from the test.
const DATABASE: &str = "PARLOR_TEST_DATABASE";
const SERVER: &str = "PARLOR_TEST_SERVER";
const CHATS: usize = 3;
const TEXTS: usize = 90;

/// Delivers until it is killed: the host's outbound worker, in a separate process.
async fn deliver_until_killed(database: &str, server: &str, takes_keys: bool) {
    let (wakes, _woken) = mpsc::unbounded_channel();
    let store = Store::open(database.as_ref(), wakes).unwrap();
    let server = Server::elsewhere(server.parse().unwrap(), takes_keys);
    let courier = Courier { server, max_length: Some(20) };
    let pace = Pace { per_second: 1e6, ..Pace::default() };
    let worker = Outbound::with_pace(store, Arc::new(SystemClock), Registry::new(vec![Arc::new(courier)]), pace);
    worker.run(Arc::new(Notify::new()), CancellationToken::new()).await;
}

/// Kills workers in the middle of deliveries until all is delivered; returns the number of kills, and the server.
async fn deliver_through_kills(test: &str, takes_keys: bool) -> (usize, Arc<Server>) {
    let (dir, store, _wakes) = store();
    for n in 0..TEXTS {
        let text = vec![format!("{n} and more words than fit")];
        say(&store, &format!("courier:{}", n % CHATS), Route::Platform, text).await;
    }
    let server = Server::start(takes_keys, Vec::new());
    let mut kills = 0;
    loop {
        let mut worker = Command::new(std::env::current_exe().unwrap());
        worker
            .args(["--exact", test, "--nocapture"])
            .env(DATABASE, store.path())
            .env(SERVER, server.address.to_string());
        worker.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        let mut worker = worker.spawn().unwrap();
        let (before, started) = (server.requests(), Instant::now());
        // Between two requests, each time at another point of a delivery.
        let target = before + 7 + kills * 3;
        let waiting = || async { store.read(|db| outbox::list(db, false, 1000)).await.unwrap().len() };
        while server.requests() < target && waiting().await > 0 {
            assert!(started.elapsed() < Duration::from_secs(30), "the worker delivers nothing");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(300 * kills as u64)).await;
        worker.kill().unwrap();
        worker.wait().unwrap();
        if waiting().await == 0 {
            drop(dir);
            return (kills, server);
        }
        kills += 1;
    }
}

fn expected(chat: usize) -> Vec<String> {
    let texts = (0..TEXTS).filter(|n| n % CHATS == chat);
    texts.flat_map(|n| [format!("{n} and more words"), "than fit".to_owned()]).collect()
}

async fn child(takes_keys: bool) -> bool {
    let Ok(database) = std::env::var(DATABASE) else { return false };
    deliver_until_killed(&database, &std::env::var(SERVER).unwrap(), takes_keys).await;
    true
}

#[tokio::test]
async fn a_platform_with_keys_shows_nothing_twice_when_hosts_are_killed() {
    if child(true).await {
        return;
    }
    let name = "contract::platform::a_platform_with_keys_shows_nothing_twice_when_hosts_are_killed";
    let (kills, server) = deliver_through_kills(name, true).await;
    assert!(kills >= 3, "{kills} kills");
    for chat in 0..CHATS {
        assert_eq!(server.shown(&format!("courier:{chat}")), expected(chat));
    }
}

#[tokio::test]
async fn a_platform_without_keys_shows_at_most_the_part_in_delivery_twice() {
    if child(false).await {
        return;
    }
    let name = "contract::platform::a_platform_without_keys_shows_at_most_the_part_in_delivery_twice";
    let (kills, server) = deliver_through_kills(name, false).await;
    assert!(kills >= 3, "{kills} kills");
    for chat in 0..CHATS {
        let mut shown = server.keyed(&format!("courier:{chat}"));
        let all = shown.len();
        // The part in delivery is repeated at once, not later.
        shown.dedup();
        let keys: HashSet<_> = shown.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), shown.len(), "a part came again after another one");
        assert!(all - shown.len() <= kills, "{} parts twice by {kills} kills", all - shown.len());
        let texts: Vec<String> = shown.into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, expected(chat));
    }
}
