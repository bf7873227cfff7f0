//! The contract of channels, tested with every channel; and the outbound worker against a server that fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parlor::channel::delivery::outbound::Outbound;
use parlor::channel::delivery::pace::Pace;
use parlor::channel::delivery::split::parts;
use parlor::channel::local::Local;
use parlor::channel::{Channel, DeliverError, Part, PartKey, Registry, Target};
use parlor::domain::clock::{Clock, SharedClock, SystemClock};
use parlor::domain::delivery::{Delivery, DeliveryKind, DeliveryState, NewDelivery};
use parlor::domain::ids::{ChatJid, DeliveryId};
use parlor::store::outbox::{self, Route};
use parlor::store::{Store, Wake, events};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::courier::{Answer, Courier, Server};

/// A channel, and its people's view of the chats.
struct Subject {
    channel: Arc<dyn Channel>,
    /// One of its chats.
    chat: &'static str,
    eyes: Eyes,
    /// A part that comes twice under its key shows once.
    takes_keys: bool,
    _dir: tempfile::TempDir,
}

enum Eyes {
    Stream(Store),
    Server(Arc<Server>),
}

impl Subject {
    async fn shown(&self) -> Vec<String> {
        match &self.eyes {
            Eyes::Server(server) => server.shown(self.chat),
            Eyes::Stream(store) => {
                let chat: ChatJid = self.chat.parse().unwrap();
                let events = store.read(move |db| events::after(db, 0, Some(&chat))).await.unwrap();
                events.into_iter().filter_map(|event| event.text).collect()
            }
        }
    }

    async fn deliver(&self, id: DeliveryId, text: &str, number: u32) -> Result<(), DeliverError> {
        let target = Target { chat: self.chat.parse().unwrap(), reply_to: None, sender: None };
        let key = PartKey { delivery: id, part: number };
        self.channel.deliver(key, &target, &Part::Text(text.to_owned())).await.map(drop)
    }
}

pub(super) fn store() -> (tempfile::TempDir, Store, mpsc::UnboundedReceiver<Wake>) {
    let dir = tempfile::tempdir().unwrap();
    let (wakes, woken) = mpsc::unbounded_channel();
    let store = Store::open(&dir.path().join("parlor.db"), wakes).unwrap();
    (dir, store, woken)
}

fn subjects() -> Vec<Subject> {
    let local = |make: fn(Store, SharedClock) -> Local, chat| {
        let (dir, store, _) = store();
        let channel = Arc::new(make(store.clone(), Arc::new(SystemClock)));
        Subject { channel, chat, eyes: Eyes::Stream(store), takes_keys: true, _dir: dir }
    };
    let courier = |takes_keys| {
        let server = Server::start(takes_keys, Vec::new());
        let channel = Arc::new(Courier { server: server.clone(), max_length: Some(100) });
        Subject {
            channel,
            chat: "courier:a",
            eyes: Eyes::Server(server),
            takes_keys,
            _dir: tempfile::tempdir().unwrap(),
        }
    };
    vec![local(Local::console, "tty:a"), local(Local::web, "web:a"), courier(true), courier(false)]
}

fn id() -> DeliveryId {
    DeliveryId(SystemClock.ulid())
}

#[tokio::test]
async fn channel_owns_its_own_chats_only() {
    let subjects = subjects();
    for subject in &subjects {
        assert!(subject.channel.owns(&subject.chat.parse().unwrap()));
        assert!(!subject.channel.name().is_empty());
        for other in ["", "x", "x:a", "tty", "web", "courier", "atty:a"] {
            if let Ok(jid) = other.parse() {
                assert!(!subject.channel.owns(&jid), "{} owns {other}", subject.channel.name());
            }
        }
        for other in subjects.iter().filter(|o| o.chat != subject.chat) {
            assert!(!subject.channel.owns(&other.chat.parse().unwrap()));
        }
    }
}

#[tokio::test]
async fn deliveries_are_shown_in_order() {
    for subject in subjects() {
        for text in ["first", "second", "third\nline"] {
            subject.deliver(id(), text, 0).await.unwrap();
        }
        assert_eq!(subject.shown().await, ["first", "second", "third\nline"], "{}", subject.channel.name());
    }
}

#[tokio::test]
async fn part_delivered_twice_is_shown_once_if_keys_are_supported() {
    for subject in subjects() {
        let id = id();
        for _ in 0..2 {
            subject.deliver(id, "once", 0).await.unwrap();
        }
        let expected = if subject.takes_keys { 1 } else { 2 };
        assert_eq!(subject.shown().await.len(), expected, "{}", subject.channel.name());
    }
}

#[tokio::test]
async fn parts_of_the_splitter_are_all_accepted_and_shown() {
    let text = "Some words that go on and on. ".repeat(20);
    for subject in subjects() {
        let id = id();
        let caps = subject.channel.capabilities();
        let target = Target { chat: subject.chat.parse().unwrap(), reply_to: None, sender: None };
        let parts = parts(&text, caps, id, |name| std::env::temp_dir().join(name));
        for (number, part) in (0..).zip(&parts) {
            subject.channel.deliver(PartKey { delivery: id, part: number }, &target, part).await.unwrap();
        }
        let shown = subject.shown().await;
        assert_eq!(shown.len(), parts.len(), "{}", subject.channel.name());
        assert_eq!(shown.join(" ").trim(), text.trim(), "{}", subject.channel.name());
    }
}

#[tokio::test]
async fn typing_is_shown_or_ignored_but_never_fails() {
    for subject in subjects() {
        let chat = subject.chat.parse().unwrap();
        subject.channel.typing(&chat, true).await;
        subject.channel.typing(&chat, false).await;
        assert_eq!(subject.shown().await, [""; 0]);
    }
}

/// An outbound worker and its server double.
pub(super) struct Post {
    pub(super) store: Store,
    pub(super) server: Arc<Server>,
    wake: Arc<Notify>,
    _dir: tempfile::TempDir,
}

impl Post {
    pub(super) fn new(takes_keys: bool, script: Vec<Answer>) -> Self {
        let (dir, store, mut wakes) = store();
        let wake = Arc::new(Notify::new());
        let notify = wake.clone();
        tokio::spawn(async move {
            while let Some(next) = wakes.recv().await {
                if next == Wake::Outbox {
                    notify.notify_one();
                }
            }
        });
        Self { store, server: Server::start(takes_keys, script), wake, _dir: dir }
    }

    /// Starts a worker, as each start of the host does.
    pub(super) fn start(&self) -> (CancellationToken, tokio::task::JoinHandle<()>) {
        let courier = Courier { server: self.server.clone(), max_length: Some(20) };
        let pace = Pace { retries: vec![Duration::from_millis(10); 5], per_second: 1e6, ..Pace::default() };
        let registry = Registry::new(vec![Arc::new(courier)]);
        let worker = Outbound::with_pace(self.store.clone(), Arc::new(SystemClock), registry, pace);
        let shutdown = CancellationToken::new();
        (shutdown.clone(), tokio::spawn(worker.run(self.wake.clone(), shutdown)))
    }

    pub(super) async fn put(&self, jid: &str, text: &str) -> DeliveryId {
        let new = NewDelivery {
            id: id(),
            jid: jid.parse().unwrap(),
            text: text.to_owned(),
            sender: None,
            reply_to: None,
            file: None,
            kind: DeliveryKind::Reply,
            run_id: None,
        };
        let id = new.id;
        self.store.write(move |tx| outbox::put(tx, &new, Route::Platform, false, SystemClock.now())).await.unwrap();
        id
    }

    pub(super) async fn ended(&self, id: DeliveryId) -> Delivery {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let rows = self.store.read(|db| outbox::list(db, true, 1000)).await.unwrap();
            if let Some(row) = rows.into_iter().find(|r| r.new.id == id && r.state != DeliveryState::Pending) {
                return row;
            }
            assert!(Instant::now() < deadline, "{id} is still waiting");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn flaky_server_gets_every_text_once_and_in_order() {
    let script = vec![
        Answer::Shows,
        Answer::Unavailable,
        Answer::Breaks,
        Answer::ShowsAndBreaks,
        Answer::Shows,
        Answer::TooMany(1),
        Answer::ShowsAndBreaks,
    ];
    let post = Post::new(true, script);
    let _worker = post.start();
    let mut last = None;
    for text in ["one", "two", "three", "a text that takes more than one part", "five"] {
        last = Some(post.put("courier:a", text).await);
    }
    assert_eq!(post.ended(last.unwrap()).await.state, DeliveryState::Delivered);
    assert_eq!(
        post.server.shown("courier:a"),
        ["one", "two", "three", "a text that takes", "more than one part", "five"]
    );
}

#[tokio::test]
async fn refusal_is_final_and_the_next_text_is_delivered() {
    let post = Post::new(false, vec![Answer::Forbidden]);
    let _worker = post.start();
    let refused = post.put("courier:a", "no").await;
    let next = post.put("courier:a", "yes").await;
    let row = post.ended(refused).await;
    assert_eq!((row.state, row.last_error.as_deref()), (DeliveryState::Failed, Some("403 Forbidden")));
    assert_eq!(post.ended(next).await.state, DeliveryState::Delivered);
    assert_eq!(post.server.shown("courier:a"), ["yes"]);
}

#[tokio::test]
async fn workers_that_are_stopped_at_any_moment_deliver_all_and_none_twice() {
    let post = Post::new(false, Vec::new());
    let mut ids = Vec::new();
    for n in 0..60 {
        ids.push(post.put(&format!("courier:{}", n % 3), &format!("{n} and more words than fit")).await);
    }
    for round in 0..8 {
        let (shutdown, worker) = post.start();
        let target = round * 12;
        while post.server.requests() < target {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        shutdown.cancel();
        worker.await.unwrap();
    }
    let _worker = post.start();
    for id in ids {
        assert_eq!(post.ended(id).await.state, DeliveryState::Delivered);
    }
    for chat in 0..3 {
        let expected: Vec<String> = (0..60)
            .filter(|n| n % 3 == chat)
            .flat_map(|n| [format!("{n} and more words"), "than fit".into()])
            .collect();
        assert_eq!(post.server.shown(&format!("courier:{chat}")), expected);
    }
}
