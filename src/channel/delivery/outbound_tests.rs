use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::channel::local::Local;
use crate::channel::{Capabilities, Channel, DeliverError, Part, PartKey, Receipt, Target};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::delivery::{Delivery, DeliveryKind, DeliveryState, NewDelivery};
use crate::domain::group::{ContainerConfig, Group};
use crate::domain::ids::DeliveryId;
use crate::store::outbox::Route;
use crate::store::testing::store;
use crate::store::{Wake, events, groups, receipts};

/// Test double: a platform that notes what arrives, and fails as scripted.
#[derive(Debug, Default)]
struct Double {
    script: Mutex<VecDeque<Answer>>,
    arrived: Mutex<Vec<(String, DeliveryId, u32, String)>>,
    max_length: Option<usize>,
}

#[derive(Debug)]
enum Answer {
    Fine,
    Later(Option<Duration>),
    Never,
    Hang,
    Panic,
}

#[async_trait]
impl Channel for Double {
    fn name(&self) -> &'static str {
        "double"
    }
    fn owns(&self, jid: &ChatJid) -> bool {
        jid.channel() == "double"
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities { max_length: self.max_length, files: false, typing: false, local: false }
    }
    async fn deliver(&self, key: PartKey, target: &Target, part: &Part) -> Result<Receipt, DeliverError> {
        let answer = self.script.lock().unwrap().pop_front().unwrap_or(Answer::Fine);
        match answer {
            Answer::Fine => {}
            Answer::Later(after) => return Err(DeliverError::Retryable { reason: "busy".into(), after }),
            Answer::Never => return Err(DeliverError::Permanent { reason: "no such chat".into() }),
            Answer::Hang => std::future::pending().await,
            Answer::Panic => panic!("scripted"),
        }
        let Part::Text(text) = part else { panic!("a file") };
        self.arrived.lock().unwrap().push((target.chat.to_string(), key.delivery, key.part, text.clone()));
        Ok(Receipt { platform_id: Some(format!("message {}", key.part)) })
    }
}

struct Bench {
    dir: tempfile::TempDir,
    store: Store,
    double: Arc<Double>,
    shutdown: CancellationToken,
    worker: tokio::task::JoinHandle<()>,
    texts: u32,
}

const QUICK: [Duration; 5] = [Duration::from_millis(20); 5];

fn quick() -> Pace {
    Pace { retries: QUICK.to_vec(), per_second: 1e6, burst: 1000, answer: Duration::from_millis(200) }
}

impl Bench {
    async fn new(double: Double, pace: Pace) -> Self {
        Self::with_texts(double, pace, &[]).await
    }

    /// A worker that finds waiting texts when it starts.
    async fn with_texts(double: Double, pace: Pace, texts: &[(&str, &str)]) -> Self {
        let (dir, store, mut wakes) = store();
        let double = Arc::new(double);
        let clock: SharedClock = Arc::new(SystemClock);
        let registry = Registry::new(vec![double.clone(), Arc::new(Local::web(store.clone(), clock.clone()))]);
        let shutdown = CancellationToken::new();
        for (n, (jid, text)) in texts.iter().enumerate() {
            put(&store, jid, text, n as u32).await;
        }
        let wake = Arc::new(Notify::new());
        let worker =
            tokio::spawn(Outbound::with_pace(store.clone(), clock, registry, pace).run(wake.clone(), shutdown.clone()));
        tokio::spawn(async move {
            while let Some(next) = wakes.recv().await {
                if next == Wake::Outbox {
                    wake.notify_one();
                }
            }
        });
        Self { dir, store, double, shutdown, worker, texts: texts.len() as u32 }
    }

    async fn put(&mut self, jid: &str, text: &str) -> DeliveryId {
        self.texts += 1;
        put(&self.store, jid, text, self.texts).await
    }

    /// Returns the row once its delivery has ended.
    async fn ended(&self, id: DeliveryId) -> Delivery {
        self.row(id, |row| row.state != DeliveryState::Pending).await
    }

    async fn row(&self, id: DeliveryId, fits: impl Fn(&Delivery) -> bool) -> Delivery {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let rows = self.store.read(|db| outbox::list(db, true, 10_000)).await.unwrap();
            if let Some(row) = rows.into_iter().find(|row| row.new.id == id && fits(row)) {
                return row;
            }
            assert!(Instant::now() < deadline, "the row did not get there");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn arrived(&self) -> Vec<String> {
        self.double.arrived.lock().unwrap().iter().map(|(_, _, _, text)| text.clone()).collect()
    }

    async fn stop(self) -> (tempfile::TempDir, Store, Arc<Double>) {
        self.shutdown.cancel();
        self.worker.await.unwrap();
        (self.dir, self.store, self.double)
    }
}

async fn put(store: &Store, jid: &str, text: &str, n: u32) -> DeliveryId {
    let id = DeliveryId(ulid::Ulid::from_parts(u64::from(n), 1));
    let new = NewDelivery {
        id,
        jid: jid.parse().unwrap(),
        text: text.into(),
        sender: None,
        reply_to: None,
        file: None,
        kind: DeliveryKind::Reply,
        run_id: None,
    };
    store.write(move |tx| outbox::put(tx, &new, Route::Platform, false, SystemClock.now())).await.unwrap();
    id
}

fn script(answers: impl IntoIterator<Item = Answer>) -> Double {
    Double { script: Mutex::new(answers.into_iter().collect()), ..Double::default() }
}

#[tokio::test]
async fn texts_of_a_chat_arrive_in_order_despite_retries() {
    let mut bench =
        Bench::new(script([Answer::Fine, Answer::Later(None), Answer::Later(None), Answer::Fine]), quick()).await;
    let mut last = None;
    for n in 0..30 {
        last = Some(bench.put("double:a", &n.to_string()).await);
    }
    assert_eq!(bench.ended(last.unwrap()).await.state, DeliveryState::Delivered);
    assert_eq!(bench.arrived(), (0..30).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn failed_text_is_kept_after_five_retries_and_the_owner_notified() {
    let mut bench = Bench::new(script((0..6).map(|_| Answer::Later(None))), quick()).await;
    let main = Group {
        folder: "main".parse().unwrap(),
        jid: "web:owner".parse().unwrap(),
        name: "Owner".into(),
        trigger: None,
        requires_trigger: false,
        is_main: true,
        container_config: ContainerConfig::default(),
        created_at: SystemClock.now(),
        paused: None,
    };
    bench.store.write(move |tx| groups::register(tx, &main)).await.unwrap();
    let first = bench.put("double:a", "lost").await;
    let second = bench.put("double:a", "next").await;
    let row = bench.ended(first).await;
    assert_eq!((row.state, row.tries, row.last_error.as_deref()), (DeliveryState::Failed, 6, Some("busy")));
    assert_eq!(bench.ended(second).await.state, DeliveryState::Delivered);
    assert_eq!(bench.arrived(), ["next"]);
    let told = bench.store.read(|db| events::after(db, 0, Some(&"web:owner".parse().unwrap()))).await.unwrap();
    assert_eq!(told.len(), 1);
    assert!(told[0].text.as_ref().unwrap().contains("double:a could not be delivered: busy"), "{:?}", told[0].text);

    bench.store.write(move |tx| outbox::retry(tx, Some(first))).await.unwrap();
    assert_eq!(bench.row(first, |r| r.state == DeliveryState::Delivered).await.tries, 0);
    assert_eq!(bench.arrived(), ["next", "lost"]);
}

#[tokio::test]
async fn permanent_errors_and_unknown_channels_fail_at_once() {
    let mut bench = Bench::new(script([Answer::Never]), quick()).await;
    let never = bench.put("double:a", "x").await;
    let nowhere = bench.put("carrier-pigeon:a", "x").await;
    let row = bench.ended(never).await;
    assert_eq!((row.state, row.tries), (DeliveryState::Failed, 1));
    let row = bench.ended(nowhere).await;
    assert_eq!(row.state, DeliveryState::Failed);
    let reason = row.last_error.unwrap();
    assert!(reason.starts_with("no channel takes the chat carrier-pigeon:a"), "{reason}");
    assert_eq!(bench.arrived(), [""; 0]);
}

#[tokio::test]
async fn platform_sets_the_wait_before_a_retry() {
    let pace = Pace { retries: vec![Duration::from_secs(60); 5], ..quick() };
    let mut bench = Bench::new(script([Answer::Later(Some(Duration::from_millis(30)))]), pace).await;
    let id = bench.put("double:a", "x").await;
    assert_eq!(bench.ended(id).await.state, DeliveryState::Delivered);
}

#[tokio::test]
async fn a_retry_goes_on_at_the_part_that_failed() {
    let mut double = script([Answer::Fine, Answer::Later(None), Answer::Fine, Answer::Fine]);
    double.max_length = Some(4);
    let mut bench = Bench::new(double, quick()).await;
    let id = bench.put("double:a", "one. two. six.").await;
    assert_eq!(bench.ended(id).await.parts_done, 3);
    let numbers: Vec<u32> = bench.double.arrived.lock().unwrap().iter().map(|a| a.2).collect();
    assert_eq!((bench.arrived(), numbers), (vec!["one.".into(), "two.".into(), "six.".into()], vec![0, 1, 2]));
    // What the platform calls its parts is kept, and leads back to the text.
    let (found, receipts) = bench
        .store
        .read(move |db| {
            let jid = "double:a".parse().unwrap();
            Ok((receipts::delivery(db, &jid, "message 2")?, receipts::of(db, id)?))
        })
        .await
        .unwrap();
    assert_eq!((found, receipts), (Some(id), ["message 0", "message 1", "message 2"].map(String::from).to_vec()));
}

#[tokio::test]
async fn hanging_or_panicking_platform_delays_only_its_own_chat() {
    let mut bench = Bench::new(script([Answer::Hang, Answer::Fine]), quick()).await;
    let hanging = bench.put("double:a", "a").await;
    bench.row(hanging, |_| bench.double.script.lock().unwrap().len() == 1).await;
    let other = bench.put("double:b", "b").await;
    bench.ended(other).await;
    assert_eq!(bench.ended(hanging).await.tries, 1);
    assert_eq!(bench.arrived(), ["b", "a"]);

    bench.double.script.lock().unwrap().push_back(Answer::Panic);
    let broken = bench.put("double:a", "c").await;
    assert_eq!(bench.ended(broken).await.state, DeliveryState::Delivered);
    assert_eq!(bench.arrived(), ["b", "a", "c"]);
}

#[tokio::test]
async fn rows_from_before_the_start_are_delivered_until_the_stop() {
    let texts: Vec<(String, String)> = (0..200).map(|n| (format!("double:{}", n % 40), n.to_string())).collect();
    let texts: Vec<(&str, &str)> = texts.iter().map(|(j, t)| (j.as_str(), t.as_str())).collect();
    let bench = Bench::with_texts(Double::default(), quick(), &texts).await;
    let last = DeliveryId(ulid::Ulid::from_parts(100, 1));
    bench.ended(last).await;
    let (_dir, store, double) = bench.stop().await;
    let arrived = double.arrived.lock().unwrap().len();
    let rows = store.read(|db| outbox::list(db, true, 10_000)).await.unwrap();
    let delivered = rows.iter().filter(|r| r.state == DeliveryState::Delivered).count();
    assert_eq!(arrived, delivered, "a stop between a delivery and its note");
}

#[tokio::test]
async fn chat_gets_its_burst_and_then_the_rate() {
    let pace = Pace { per_second: 50.0, burst: 5, ..quick() };
    let mut bench = Bench::new(Double::default(), pace).await;
    let started = Instant::now();
    let mut last = None;
    for n in 0..15 {
        last = Some(bench.put("double:a", &n.to_string()).await);
    }
    let other = bench.put("double:b", "other").await;
    bench.ended(other).await;
    bench.ended(last.unwrap()).await;
    assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());
    let place = bench.arrived().iter().position(|t| t == "other").unwrap();
    assert!(place < 15, "the other chat had to wait");
}

#[tokio::test]
async fn platform_rows_of_local_chats_reach_the_stream_once() {
    let mut bench = Bench::new(Double::default(), quick()).await;
    let id = bench.put("web:a", "hello").await;
    assert_eq!(bench.ended(id).await.state, DeliveryState::Delivered);
    let local = Local::web(bench.store.clone(), Arc::new(SystemClock));
    let target = Target { chat: "web:a".parse().unwrap(), reply_to: None, sender: None };
    for _ in 0..2 {
        local.deliver(PartKey { delivery: id, part: 0 }, &target, &Part::Text("hello".into())).await.unwrap();
    }
    assert_eq!(bench.store.read(|db| events::after(db, 0, None)).await.unwrap().len(), 1);
}
