use std::sync::Mutex;

use tokio::sync::mpsc;
use ulid::Ulid;

use super::*;
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::group::{ContainerConfig, Group};
use crate::domain::ids::{GroupFolder, RunId, TaskId};
use crate::domain::schedule::Schedule;
use crate::domain::task::{ContextMode, Missed};
use crate::store::{Wake, testing};

/// Test double: a clock that stands still until it is moved.
#[derive(Debug)]
struct TestClock(Mutex<DateTime<Utc>>);

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
    fn ulid(&self) -> Ulid {
        Ulid::new()
    }
}

struct Fixture {
    _dir: tempfile::TempDir,
    store: Store,
    wakes: mpsc::UnboundedReceiver<Wake>,
    clock: Arc<TestClock>,
    scheduler: Scheduler,
}

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
}

fn folder(name: &str) -> GroupFolder {
    name.parse().unwrap()
}

fn group(name: &str) -> Group {
    Group {
        folder: folder(name),
        jid: format!("web:{name}").parse().unwrap(),
        name: name.into(),
        trigger: None,
        requires_trigger: true,
        is_main: false,
        container_config: ContainerConfig::default(),
        created_at: at("2026-01-01T00:00:00Z"),
        paused: None,
    }
}

fn task(id: &str, group: &str, schedule: Schedule, due: DateTime<Utc>) -> Task {
    Task {
        id: id.parse().unwrap(),
        folder: folder(group),
        jid: format!("web:{group}").parse().unwrap(),
        prompt: "do it".into(),
        schedule,
        timezone: None,
        context_mode: ContextMode::Isolated,
        missed: Missed::Run,
        status: TaskStatus::Active,
        next_due: Some(due),
        anchor: due,
        created_at: due,
    }
}

async fn fixture(now: &str, tasks: Vec<Task>) -> Fixture {
    let (dir, store, wakes) = testing::store();
    let clock = Arc::new(TestClock(Mutex::new(at(now))));
    store
        .write(move |tx| {
            groups::register(tx, &group("a"))?;
            groups::register(tx, &group("b"))?;
            tasks.iter().try_for_each(|task| tasks::insert(tx, task))
        })
        .await
        .unwrap();
    let scheduler = Scheduler { store: store.clone(), clock: clock.clone(), host: Tz::UTC };
    Fixture { _dir: dir, store, wakes, clock, scheduler }
}

impl Fixture {
    async fn turn_at(&self, now: &str) -> Option<DateTime<Utc>> {
        *self.clock.0.lock().unwrap() = at(now);
        self.scheduler.turn(false).await.unwrap()
    }
    async fn task(&self, id: &str) -> Task {
        let id: TaskId = id.parse().unwrap();
        self.store.read(move |db| tasks::get(db, &id)).await.unwrap().unwrap()
    }
    async fn fires(&self, id: &str) -> Vec<(DateTime<Utc>, FireState)> {
        let id: TaskId = id.parse().unwrap();
        let fires = self.store.read(move |db| tasks::history(db, &id, 100)).await.unwrap();
        fires.into_iter().map(|f| (f.due, f.state)).collect()
    }
    async fn start(&self, id: &str, due: DateTime<Utc>) {
        let id: TaskId = id.parse().unwrap();
        let started = self.store.write(move |tx| tasks::start(tx, &id, due, RunId(Ulid::new()))).await.unwrap();
        assert!(started);
    }
}

const MINUTE: Schedule = Schedule::Interval(60_000);

#[tokio::test]
async fn a_due_task_is_claimed_once_and_its_group_is_woken() {
    let due = at("2026-01-01T00:01:00Z");
    let mut f = fixture("2026-01-01T00:00:00Z", vec![task("t", "a", MINUTE, due)]).await;
    assert_eq!(f.turn_at("2026-01-01T00:00:30Z").await, Some(due));
    assert!(f.fires("t").await.is_empty());
    assert_eq!(f.turn_at("2026-01-01T00:01:00Z").await, Some(at("2026-01-01T00:02:00Z")));
    assert_eq!(f.fires("t").await, [(due, FireState::Claimed)]);
    let wanted = Wake::Group("web:a".parse().unwrap());
    // Nothing else wakes a group here; wake-ups follow just after the commit's answer.
    while tokio::time::timeout(Duration::from_secs(10), f.wakes.recv()).await.unwrap().unwrap() != wanted {}
    f.turn_at("2026-01-01T00:01:01Z").await;
    assert_eq!(f.fires("t").await.len(), 1);
}

#[tokio::test]
async fn waiting_firing_absorbs_newer_ones_and_a_running_one_does_not() {
    let due = at("2026-01-01T00:01:00Z");
    let f = fixture("2026-01-01T00:00:00Z", vec![task("t", "a", MINUTE, due)]).await;
    f.turn_at("2026-01-01T00:01:00Z").await;
    assert_eq!(f.turn_at("2026-01-01T00:02:00Z").await, Some(at("2026-01-01T00:03:00Z")));
    assert_eq!(f.fires("t").await, [(due, FireState::Claimed)]);
    f.start("t", due).await;
    f.turn_at("2026-01-01T00:03:00Z").await;
    assert_eq!(f.fires("t").await, [(at("2026-01-01T00:03:00Z"), FireState::Claimed), (due, FireState::Running)]);
}

#[tokio::test]
async fn missed_times_are_one_run() {
    let due = at("2026-01-01T00:01:00Z");
    let mut skipping = task("skip", "b", MINUTE, due);
    skipping.missed = Missed::Skip;
    let f = fixture("2026-01-01T00:00:00Z", vec![task("run", "a", MINUTE, due), skipping]).await;
    assert_eq!(f.turn_at("2026-01-03T10:00:30Z").await, Some(at("2026-01-03T10:01:00Z")));
    assert_eq!(f.fires("run").await, [(due, FireState::Claimed)]);
    assert!(f.fires("skip").await.is_empty());
}

#[tokio::test]
async fn once_is_completed_and_its_claim_stays() {
    let due = at("2026-01-01T00:01:00Z");
    let once = Schedule::parse("once", "2026-01-01T00:01:00").unwrap();
    let f = fixture("2026-01-01T00:00:00Z", vec![task("t", "a", once, due)]).await;
    assert_eq!(f.turn_at("2026-01-01T00:01:00Z").await, None);
    assert_eq!(f.fires("t").await, [(due, FireState::Claimed)]);
    let task = f.task("t").await;
    assert_eq!((task.status, task.next_due), (TaskStatus::Completed, None));
}

#[tokio::test]
async fn a_task_without_its_group_is_cancelled() {
    let due = at("2026-01-01T00:01:00Z");
    let f = fixture("2026-01-01T00:00:00Z", vec![task("t", "gone", MINUTE, due)]).await;
    assert_eq!(f.turn_at("2026-01-01T00:01:00Z").await, None);
    assert_eq!(f.task("t").await.status, TaskStatus::Cancelled);
    assert!(f.fires("t").await.is_empty());
}

#[tokio::test]
async fn paused_tasks_do_not_fire() {
    let due = at("2026-01-01T00:01:00Z");
    let mut paused = task("t", "a", MINUTE, due);
    paused.status = TaskStatus::Paused;
    let f = fixture("2026-01-01T00:00:00Z", vec![paused]).await;
    assert_eq!(f.turn_at("2026-01-01T05:01:00Z").await, None);
    assert!(f.fires("t").await.is_empty());
}

#[tokio::test]
async fn many_at_once_are_all_fired() {
    let due = at("2026-01-01T00:01:00Z");
    let f = fixture("2026-01-01T00:00:00Z", Vec::new()).await;
    f.store
        .write(move |tx| {
            for g in 0..10 {
                groups::register(tx, &group(&format!("g{g}")))?;
                for t in 0..100 {
                    tasks::insert(tx, &task(&format!("t{g}-{t}"), &format!("g{g}"), MINUTE, due))?;
                }
            }
            Ok(())
        })
        .await
        .unwrap();
    f.turn_at("2026-01-01T00:01:00Z").await;
    let claimed = f.store.read(|db| tasks::in_state(db, FireState::Claimed)).await.unwrap();
    assert_eq!(claimed.len(), 1000);
}

#[tokio::test]
async fn new_host_zone_moves_future_times_of_tasks_without_a_zone() {
    // Seven o'clock in Berlin, as the last host planned it.
    let due = at("2026-01-03T06:00:00Z");
    let cron = || Schedule::parse("cron", "0 7 * * *").unwrap();
    let zoned = Task { timezone: Some(Tz::Europe__Berlin), ..task("zoned", "a", cron(), due) };
    let missed = task("missed", "a", cron(), at("2026-01-02T06:00:00Z"));
    let every = task("every", "a", Schedule::parse("interval", "3600000").unwrap(), due);
    let f = fixture("2026-01-02T10:00:00Z", vec![task("t", "a", cron(), due), zoned, missed, every]).await;
    // Before the first look for due tasks, so that the old time is never shown.
    let start = || Scheduler::start(f.store.clone(), f.clock.clone(), Tz::America__New_York);
    let moved = start().await.unwrap();
    assert_eq!(f.task("t").await.next_due, Some(at("2026-01-02T12:00:00Z")));
    assert_eq!(f.task("zoned").await.next_due, Some(due));
    assert_eq!(f.task("every").await.next_due, Some(due));
    moved.turn(false).await.unwrap();
    assert_eq!(f.fires("missed").await.len(), 1, "what passed while no host ran is made up for");
    // The same zone again moves nothing.
    start().await.unwrap();
    assert_eq!(f.task("t").await.next_due, Some(at("2026-01-02T12:00:00Z")));
}

#[tokio::test]
async fn clock_set_back_fires_nothing_twice() {
    let due = at("2026-01-02T12:00:00Z");
    let daily = Schedule::parse("cron", "0 12 * * *").unwrap();
    let f = fixture("2026-01-02T10:00:00Z", vec![task("t", "a", daily, due)]).await;
    f.turn_at("2026-01-02T15:00:00Z").await;
    f.start("t", due).await;
    *f.clock.0.lock().unwrap() = at("2026-01-02T10:00:00Z");
    assert_eq!(f.scheduler.turn(true).await.unwrap(), Some(due));
    assert_eq!(f.turn_at("2026-01-02T12:00:00Z").await, Some(at("2026-01-03T12:00:00Z")));
    assert_eq!(f.fires("t").await, [(due, FireState::Running)]);
}

#[tokio::test]
async fn recover_interrupts_running_firings_and_keeps_waiting_ones() {
    let due = at("2026-01-01T00:01:00Z");
    let f = fixture("2026-01-01T00:00:00Z", vec![task("r", "a", MINUTE, due), task("w", "b", MINUTE, due)]).await;
    f.turn_at("2026-01-01T00:01:00Z").await;
    f.start("r", due).await;
    let now = at("2026-01-01T00:01:30Z");
    let found = f.store.write(move |tx| recover(tx, now)).await.unwrap();
    assert_eq!(found.iter().map(|f| f.task_id.as_str()).collect::<Vec<_>>(), ["r"]);
    assert_eq!(f.fires("r").await, [(due, FireState::Interrupted)]);
    assert_eq!(f.fires("w").await, [(due, FireState::Claimed)]);
}

#[tokio::test]
async fn real_timer_fires_on_time_and_sees_new_tasks() {
    let (_dir, store, mut wakes) = testing::store();
    store.write(|tx| groups::register(tx, &group("a"))).await.unwrap();
    let clock: SharedClock = Arc::new(SystemClock);
    let (wake, shutdown) = (Arc::new(Notify::new()), CancellationToken::new());
    let scheduler = Scheduler::start(store.clone(), clock.clone(), Tz::UTC).await.unwrap();
    let running = tokio::spawn(scheduler.run(wake.clone(), shutdown.clone()));
    let mut best = chrono::Duration::MAX;
    for n in 0..5 {
        let due = clock.now() + chrono::Duration::milliseconds(120);
        let new = task(&format!("t{n}"), "a", MINUTE, due);
        let id = new.id.clone();
        store.write(move |tx| tasks::insert(tx, &new)).await.unwrap();
        loop {
            match tokio::time::timeout(Duration::from_secs(10), wakes.recv()).await.unwrap().unwrap() {
                Wake::Scheduler => wake.notify_one(),
                Wake::Group(_) => break,
                _ => {}
            }
        }
        best = best.min(clock.now() - due);
        let fires = store.read(move |db| tasks::history(db, &id, 9)).await.unwrap();
        assert_eq!(fires.len(), 1);
        assert!(fires[0].claimed_at >= fires[0].due);
    }
    // The best of five, because the machine may be busy.
    assert!(best < chrono::Duration::milliseconds(50), "{best}");
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
}
