//! Actors on a real store and real folders, with an engine that does as it is told.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use super::*;
use crate::channel::local::Local;
use crate::container::engine::{Attached, Build, Capabilities, Client, EngineError, Exit, Lines, NamedImage};
use crate::container::spec::{RunSpec, User};
use crate::domain::clock::{Clock, SystemClock, from_ms};
use crate::domain::delivery::{DeliveryKind, NewDelivery};
use crate::domain::group::{ContainerConfig, Group};
use crate::domain::ids::DeliveryId;
use crate::domain::message::{NewMessage, Role};
use crate::domain::run::RunState;
use crate::ipc::{IpcDeps, IpcService};
use crate::store::outbox::Route;
use crate::store::runs::Run;
use crate::store::{Wake, inbound, outbox, runs};

const SOON: Duration = Duration::from_secs(20);

/// Test double: an engine without containers. Its agents read their input and answer once, when they may.
#[derive(Debug, Default)]
struct Scripted {
    /// Agents answer, with these frames.
    answers: AtomicBool,
    frames: Mutex<Vec<String>>,
    /// Every prompt that an agent was given.
    prompts: Arc<Mutex<Vec<String>>>,
    /// An image is being taken in, for ever.
    importing: watch::Sender<bool>,
}

fn refused<T>(action: &str) -> Result<T, EngineError> {
    Err(EngineError::Failed { engine: "scripted".into(), action: action.into(), reason: "a test double".into() })
}

/// Says when it is gone.
struct Importing<'a>(&'a watch::Sender<bool>);

impl Drop for Importing<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

#[async_trait]
impl ContainerEngine for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities { version: "1".into(), rootless: false, keep_id: false, unsupported: Vec::new() }
    }
    async fn probe(&self) -> Result<Capabilities, EngineError> {
        Ok(self.capabilities())
    }
    async fn start(&self, _: &RunSpec) -> Result<Attached, EngineError> {
        let ((stdin, input), (output, stdout)) = (duplex(1 << 16), duplex(1 << 16));
        let ended = CancellationToken::new();
        let mut frames = self.frames.lock().unwrap().clone();
        if frames.is_empty() {
            frames.push(r#"{"status":"success","result":"an answer","turn":"done"}"#.into());
        }
        if !self.answers.load(Ordering::Relaxed) {
            frames.clear();
        }
        tokio::spawn(agent(input, output, frames, self.prompts.clone(), ended.clone()));
        let (client, stderr) = (Box::new(Process(ended)), Box::new(tokio::io::empty()));
        Ok(Attached { stdin: Box::new(stdin), stdout: Box::new(stdout), stderr, client })
    }
    fn describe(&self, _: &RunSpec) -> Vec<String> {
        Vec::new()
    }
    fn refusal(&self, _: i32, _: &str) -> Option<EngineError> {
        None
    }
    async fn stop(&self, _: &str, _: Duration) -> Result<(), EngineError> {
        Ok(())
    }
    async fn kill(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }
    async fn exists(&self, _: &str) -> Result<bool, EngineError> {
        Ok(false)
    }
    async fn list(&self, _: &str, _: &str) -> Result<Vec<String>, EngineError> {
        Ok(Vec::new())
    }
    async fn remove(&self, _: &[String]) -> Result<(), EngineError> {
        Ok(())
    }
    async fn image_exists(&self, _: &str) -> Result<bool, EngineError> {
        Ok(false)
    }
    async fn images(&self) -> Result<Vec<NamedImage>, EngineError> {
        Ok(Vec::new())
    }
    async fn tag_image(&self, _: &str, _: &str) -> Result<(), EngineError> {
        Ok(())
    }
    async fn remove_image(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }
    async fn import_image(&self, _: &Path, _: &str, _: &[&str], _: &str) -> Result<(), EngineError> {
        let _importing = Importing(&self.importing);
        self.importing.send_replace(true);
        std::future::pending().await
    }
    async fn build_image(&self, _: &Build<'_>, _: Lines<'_>) -> Result<(), EngineError> {
        refused("build")
    }
}

async fn agent(
    mut input: DuplexStream,
    mut output: DuplexStream,
    frames: Vec<String>,
    prompts: Arc<Mutex<Vec<String>>>,
    ended: CancellationToken,
) {
    let mut prompt = String::new();
    input.read_to_string(&mut prompt).await.unwrap();
    prompts.lock().unwrap().push(prompt);
    let fails = frames.iter().any(|frame| frame.contains("error"));
    for frame in frames {
        let frame = format!("---NANOCLAW_OUTPUT_START---\n{frame}\n---NANOCLAW_OUTPUT_END---\n");
        output.write_all(frame.as_bytes()).await.unwrap();
    }
    if fails {
        ended.cancel();
    }
    ended.cancelled().await;
}

/// The client of a container that ends when it is let go.
struct Process(CancellationToken);

#[async_trait]
impl Client for Process {
    async fn wait(&mut self) -> std::io::Result<Exit> {
        self.0.cancelled().await;
        Ok(Exit::Code(0))
    }
    fn abandon(&mut self) {
        self.0.cancel();
    }
}

/// Test double: a clock that panics once when it is told to.
#[derive(Debug, Default)]
struct Fragile(AtomicBool);

impl Clock for Fragile {
    fn now(&self) -> DateTime<Utc> {
        assert!(!self.0.swap(false, Ordering::Relaxed), "scripted");
        SystemClock.now()
    }
    fn ulid(&self) -> Ulid {
        SystemClock.ulid()
    }
}

struct House {
    dir: tempfile::TempDir,
    store: Store,
    engine: Arc<Scripted>,
    clock: Arc<Fragile>,
    shutdown: Shutdown,
    dispatch: DispatchHandle,
    services: CancellationToken,
}

impl Drop for House {
    fn drop(&mut self) {
        self.services.cancel();
    }
}

impl House {
    /// A house with the groups `a` and `b`; rooms are of an image that is there, or of one that has to be made.
    async fn build(image: Option<&str>) -> Self {
        Self::with(image, |_| {}).await
    }

    async fn with(image: Option<&str>, change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = crate::api::tests::settings(dir.path());
        settings.image = image.map(str::to_owned);
        settings.provider = "guide".into();
        change(&mut settings);
        let home = settings.home.clone();
        std::fs::create_dir_all(home.data()).unwrap();
        let (wakes, mut woken) = mpsc::unbounded_channel();
        let store = Store::open(&home.database(), wakes).unwrap();
        let engine = Arc::new(Scripted { answers: AtomicBool::new(true), ..Scripted::default() });
        let clock = Arc::new(Fragile::default());
        let registry = Registry::new(vec![Arc::new(Local::web(store.clone(), clock.clone()))]);
        let (ipc, service) = IpcService::new(IpcDeps {
            home,
            secret_keys: Vec::new(),
            store: store.clone(),
            clock: Arc::new(SystemClock),
            channels: registry.clone(),
            timezone: chrono_tz::UTC,
            max_file: 1 << 20,
            rates: crate::ipc::Rates::default(),
            room_owner: None,
        })
        .unwrap();
        let services = CancellationToken::new();
        tokio::spawn(service.run(services.clone()));
        let shutdown = Shutdown::default();
        let user = User { uid: 1000, gid: 1000, keep_id: false };
        let dispatch = DispatchHandle::new(Deps {
            store: store.clone(),
            clock: clock.clone(),
            engine: engine.clone(),
            registry,
            rooms: Rooms::new(&settings, "docker", user, None, "instance".into()),
            slots: Slots::new(settings.max_containers),
            settings: Arc::new(settings),
            ipc,
            typing: broadcast::channel(16).0,
            shutdown: shutdown.clone(),
        });
        let router = dispatch.clone();
        tokio::spawn(async move {
            while let Some(wake) = woken.recv().await {
                if let Wake::Group(jid) = wake {
                    router.wake(&jid);
                }
            }
        });
        for folder in ["a", "b"] {
            store.write(move |tx| groups::register(tx, &group(folder))).await.unwrap();
        }
        Self { dir, store, engine, clock, shutdown, dispatch, services }
    }

    async fn say(&self, folder: &str, text: &str) {
        let role = if text.starts_with('/') { Role::Command } else { Role::Trigger };
        let new = NewMessage {
            jid: jid(folder),
            platform_id: Ulid::new().to_string(),
            sender: "ann".into(),
            sender_name: "Ann".into(),
            text: text.into(),
            attachments: Vec::new(),
            quoted: None,
            sent_at: from_ms(1),
        };
        self.store.write(move |tx| inbound::insert(tx, &new, role, Utc::now())).await.unwrap();
    }

    /// States and tries of the messages of a chat, in order.
    async fn messages(&self, folder: &str) -> Vec<String> {
        let jid = jid(folder);
        let rows = self.store.read(move |db| {
            let mut s = db.prepare("SELECT state || ' ' || tries FROM inbound WHERE jid = ?1 ORDER BY seq")?;
            let rows = s.query_map([jid], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        });
        rows.await.unwrap()
    }

    async fn runs(&self, folder: &str) -> Vec<Run> {
        let folder = folder.parse().unwrap();
        self.store.read(move |db| runs::list(db, Some(&folder), 10)).await.unwrap()
    }

    async fn eventually<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let end = Instant::now() + SOON;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(Instant::now() < end, "{what} within {SOON:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What a chat was told.
    async fn texts(&self, folder: &str) -> Vec<String> {
        let jid = jid(folder);
        let rows = self.store.read(move |db| {
            let mut s = db.prepare("SELECT text FROM outbox WHERE jid = ?1 ORDER BY id")?;
            let rows = s.query_map([jid], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        });
        rows.await.unwrap()
    }

    /// Has the agent put these out from now on.
    fn script(&self, frames: &[&str]) {
        *self.engine.frames.lock().unwrap() = frames.iter().map(|frame| (*frame).to_owned()).collect();
    }

    async fn group(&self, folder: &str) -> Group {
        let folder = folder.parse().unwrap();
        self.store.read(move |db| groups::by_folder(db, &folder)).await.unwrap().unwrap()
    }

    /// Waits until an image is being taken in, or is not any more.
    async fn importing(&self, is: bool) {
        let mut importing = self.engine.importing.subscribe();
        tokio::time::timeout(SOON, importing.wait_for(|now| *now == is)).await.unwrap().unwrap();
    }

    async fn doing(&self, folder: &str) -> Vec<Doing> {
        let activity = self.dispatch.activity(&folder.parse().unwrap()).await;
        activity.runs.iter().map(|run| run.doing).collect()
    }
}

fn jid(folder: &str) -> ChatJid {
    format!("web:{folder}").parse().unwrap()
}

fn group(folder: &str) -> Group {
    Group {
        folder: folder.parse().unwrap(),
        jid: jid(folder),
        name: folder.into(),
        trigger: None,
        requires_trigger: false,
        is_main: false,
        container_config: ContainerConfig::default(),
        created_at: from_ms(0),
        paused: None,
    }
}

#[tokio::test]
async fn a_room_that_opens_hears_what_its_chat_and_the_operator_ask() {
    let asks = ["stop", "stop by the operator", "end of the run", "removal", "shutdown"];
    for ask in asks {
        let house = House::build(None).await;
        house.say("a", "hello").await;
        house.importing(true).await;
        assert_eq!(house.doing("a").await, [Doing::Opening], "{ask}");
        let run = house.runs("a").await.remove(0);
        match ask {
            "stop" => house.say("a", "/stop").await,
            "stop by the operator" => assert!(house.dispatch.stop(&"a".parse().unwrap()).await),
            "end of the run" => assert!(house.dispatch.stop_run(&jid("a"), run.id).await),
            "removal" => {
                house.store.write(|tx| groups::remove(tx, &"a".parse().unwrap(), Utc::now())).await.unwrap();
            }
            _ => {
                house.shutdown.begin(SOON);
                house.dispatch.finished().await;
            }
        }
        // The engine's work on the image ends with the last one who waits for it.
        house.importing(false).await;
        let ended = house
            .eventually("the end of the run", async || {
                let mut runs = house.runs("a").await;
                runs.iter().all(|run| run.state != RunState::Starting).then(|| runs.pop())
            })
            .await;
        let (state, message) = match ask {
            // It never was: the message's next run is its first.
            "shutdown" => (None, "pending 0"),
            "removal" => (Some(RunState::Stopped), "failed 0"),
            _ => (Some(RunState::Stopped), "cancelled 0"),
        };
        assert_eq!(
            (ended.map(|run| run.state), house.messages("a").await.remove(0).as_str()),
            (state, message),
            "{ask}"
        );
        let left = |name: &str| std::fs::read_dir(house.dir.path().join("data").join(name)).map_or(0, Iterator::count);
        house.eventually("nothing is left of it", async || (left("inputs") == 0).then_some(())).await;
        let names: Vec<_> = std::fs::read_dir(house.dir.path().join("data")).unwrap().collect();
        assert!(!names.iter().any(|name| name.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tar")));
        assert_eq!(house.doing("a").await, [], "{ask}");
    }
}

#[tokio::test]
async fn an_image_that_two_wait_for_is_made_once_and_until_the_last_one_goes() {
    let house = House::build(None).await;
    let engine: Arc<dyn ContainerEngine> = house.engine.clone();
    let wait = || {
        let (rooms, engine) = (house.dispatch.shared.deps.rooms.clone(), engine.clone());
        tokio::spawn(async move { rooms.image_in_advance(&engine, "guide").await })
    };
    let first = wait();
    house.importing(true).await;
    let second = wait();
    // On the one thread of this test it has begun to wait after this.
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert!(*house.engine.importing.borrow(), "the other one still waits for it");
    second.abort();
    house.importing(false).await;
}

#[tokio::test]
async fn an_actor_that_panics_is_made_anew_with_its_messages_and_others_notice_nothing() {
    let house = House::build(Some("an-image")).await;
    house.say("b", "hello").await;
    house.eventually("b is answered", async || (house.doing("b").await == [Doing::Idle]).then_some(())).await;
    let beside = house.runs("b").await;
    house.engine.answers.store(false, Ordering::Relaxed);
    house.say("a", "hello").await;
    house.eventually("a works", async || (house.doing("a").await == [Doing::Working]).then_some(())).await;
    house.engine.answers.store(true, Ordering::Relaxed);
    house.clock.0.store(true, Ordering::Relaxed);
    house.dispatch.wake(&jid("a"));
    house.eventually("a is answered", async || (house.messages("a").await == ["done 1"]).then_some(())).await;
    let states: Vec<RunState> = house.runs("a").await.iter().map(|run| run.state).collect();
    assert_eq!(states, [RunState::Running, RunState::Interrupted]);
    assert_eq!((house.doing("b").await, house.runs("b").await), (vec![Doing::Idle], beside));
    house.say("a", "again").await;
    house.eventually("it goes on", async || (house.messages("a").await.len() == 2).then_some(())).await;
}

const QUOTA: &str = r#"{"status":"error","error":"no more","errorKind":"quota","turn":"done"}"#;

#[tokio::test]
async fn one_failed_turn_is_told_once_and_its_run_has_failed() {
    let house = House::build(Some("an-image")).await;
    house.script(&[QUOTA, QUOTA]);
    house.say("a", "hello").await;
    let run = house
        .eventually("the run ends", async || house.runs("a").await.into_iter().find(|run| run.ended_at.is_some()))
        .await;
    assert_eq!(house.messages("a").await, ["failed 0"]);
    assert_eq!(house.texts("a").await, ["The agent's quota is used up: no more"]);
    assert_eq!((run.state, run.error.as_deref()), (RunState::Failed, Some("no more")));
}

#[tokio::test]
async fn a_pause_ends_with_what_is_done_about_it() {
    for by in ["/new", "settings", "retry"] {
        let house = House::build(Some("an-image")).await;
        house.script(&[r#"{"status":"error","error":"slow down","errorKind":"quota","retryAt":"9999-01-01T00:00:00Z","turn":"done"}"#]);
        house.say("a", "hello").await;
        house.eventually("it is paused", async || house.group("a").await.paused).await;
        let until = house.group("a").await.paused.unwrap().until;
        assert!(until - Utc::now() <= chrono::TimeDelta::days(7), "{until}");
        house.eventually("its room is gone", async || house.doing("a").await.is_empty().then_some(())).await;
        let waiting = house.dispatch.activity(&"a".parse().unwrap()).await.waiting.unwrap();
        assert!(waiting.starts_with("waits until ") && waiting.contains("quota is used up: slow down"), "{waiting}");
        house.script(&[]);
        match by {
            "/new" => house.say("a", "/new").await,
            "settings" => {
                let mut group = house.group("a").await;
                group.container_config.memory = Some("1g".into());
                house.store.write(move |tx| groups::update(tx, &group)).await.unwrap();
            }
            _ => {
                house.store.write(|tx| groups::set_pause(tx, &"a".parse().unwrap(), None)).await.unwrap();
                house.dispatch.go_on(&jid("a")).await;
            }
        }
        house.eventually(by, async || (house.messages("a").await[0] == "done 0").then_some(())).await;
        assert!(house.group("a").await.paused.is_none());
    }
}

#[tokio::test]
async fn messages_of_one_thought_are_one_turn_and_commands_do_not_wait() {
    let house = House::with(Some("an-image"), |settings| settings.settle = Duration::from_secs(2)).await;
    for text in ["one", "two", "/status", "three"] {
        house.say("a", text).await;
    }
    house
        .eventually("the command is done", async || {
            let messages = house.messages("a").await;
            assert!(messages[2] == "done 0" || messages[0] == "pending 0", "{messages:?}");
            (messages[2] == "done 0").then_some(())
        })
        .await;
    house
        .eventually("they are answered", async || {
            let messages = house.messages("a").await;
            messages.iter().all(|message| message == "done 0").then_some(())
        })
        .await;
    let prompts = house.engine.prompts.lock().unwrap().clone();
    assert_eq!(prompts.len(), 1, "{prompts:?}");
    assert!(["one", "two", "three"].iter().all(|word| prompts[0].contains(&format!(">{word}<"))), "{prompts:?}");
}

#[tokio::test]
async fn what_a_chats_own_agent_said_is_not_searched_again_in_each_turn() {
    let house = House::build(Some("an-image")).await;
    let earlier = NewDelivery {
        id: DeliveryId(Ulid::new()),
        jid: jid("a"),
        text: "an earlier answer".into(),
        sender: None,
        reply_to: None,
        file: None,
        kind: DeliveryKind::Reply,
        run_id: Some(RunId(Ulid::new())),
    };
    house.store.write(move |tx| outbox::put(tx, &earlier, Route::Local, false, from_ms(1))).await.unwrap();
    house.script(&[r#"{"status":"success","result":"hello","turn":"done"}"#]);
    house.say("a", "hello").await;
    house.eventually("it is done", async || (house.messages("a").await == ["done 0"]).then_some(())).await;
    let told = house.store.read(|db| Ok(db.query_row("SELECT seq FROM told", [], |row| row.get::<_, i64>(0))?));
    assert_eq!(told.await.unwrap(), 1, "the agent's own words up to its turn are known");
}
