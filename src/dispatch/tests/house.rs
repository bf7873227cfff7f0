//! A real store and real folders around one actor. The engine is a double that follows a script.

use std::path::Path;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;

use super::*;
use crate::channel::local::Local;
use crate::container::engine::image_store::{Build, ImageStore, Lines, NamedImage};
use crate::container::engine::spec::{RunSpec, User};
use crate::container::engine::{Attached, Capabilities, Client, EngineError, Exit};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::message::{NewMessage, Role};
use crate::ipc::{IpcDeps, IpcService};

/// Test double: an engine without containers. Its agents read their input and answer once, if `answers` is set.
#[derive(Debug, Default)]
pub(super) struct Scripted {
    /// True if agents answer; they then print the script's frames.
    pub(super) answers: AtomicBool,
    pub(super) frames: Mutex<Vec<String>>,
    /// Every prompt that an agent got.
    pub(super) prompts: Arc<Mutex<Vec<String>>>,
    /// True while an image import, which never ends, is under way.
    pub(super) importing: watch::Sender<bool>,
    /// True if the client is slow: it makes its container after the first look for it.
    pub(super) slow: AtomicBool,
    /// True if a slow client has made its container.
    pub(super) there: AtomicBool,
}

fn refused<T>(action: &str) -> Result<T, EngineError> {
    Err(EngineError::Failed { engine: "scripted".into(), action: action.into(), reason: "a test double".into() })
}

/// Notes the end of an import when dropped.
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
    async fn stop(&self, _: &str, _: Duration) -> Result<(), EngineError> {
        Ok(())
    }
    async fn kill(&self, _: &str) -> Result<(), EngineError> {
        self.there.store(false, Ordering::Relaxed);
        Ok(())
    }
    async fn exists(&self, _: &str) -> Result<bool, EngineError> {
        let there = self.there.load(Ordering::Relaxed);
        if self.slow.swap(false, Ordering::Relaxed) {
            self.there.store(true, Ordering::Relaxed);
        }
        Ok(there)
    }
    async fn list(&self, _: &str, _: &str) -> Result<Vec<String>, EngineError> {
        Ok(Vec::new())
    }
    async fn remove(&self, _: &[String]) -> Result<(), EngineError> {
        Ok(())
    }
    fn images(&self) -> &dyn ImageStore {
        self
    }
}

#[async_trait]
impl ImageStore for Scripted {
    async fn exists(&self, _: &str) -> Result<bool, EngineError> {
        Ok(false)
    }
    async fn list(&self) -> Result<Vec<NamedImage>, EngineError> {
        Ok(Vec::new())
    }
    async fn tag(&self, _: &str, _: &str) -> Result<(), EngineError> {
        Ok(())
    }
    async fn remove(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }
    async fn import(&self, _: &Path, _: &str, _: &[&str], _: &str) -> Result<(), EngineError> {
        let _importing = Importing(&self.importing);
        self.importing.send_replace(true);
        std::future::pending().await
    }
    async fn build(&self, _: &Build<'_>, _: Lines<'_>) -> Result<(), EngineError> {
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

/// A container's client, which ends when cancelled.
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

/// Test double: a clock that panics once after the test has set its flag.
#[derive(Debug, Default)]
pub(super) struct Fragile(pub(super) AtomicBool);

impl Clock for Fragile {
    fn now(&self) -> DateTime<Utc> {
        assert!(!self.0.swap(false, Ordering::Relaxed), "scripted");
        SystemClock.now()
    }
    fn ulid(&self) -> Ulid {
        SystemClock.ulid()
    }
}

pub(super) struct House {
    pub(super) dir: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) engine: Arc<Scripted>,
    pub(super) clock: Arc<Fragile>,
    pub(super) shutdown: Shutdown,
    pub(super) dispatch: DispatchHandle,
    pub(super) services: CancellationToken,
}

impl Drop for House {
    fn drop(&mut self) {
        self.services.cancel();
    }
}

impl House {
    /// Builds a house with the groups `a` and `b`. Rooms use an image that exists, or one that must be made.
    pub(super) async fn build(image: Option<&str>) -> Self {
        Self::with(image, |_| {}).await
    }

    pub(super) async fn with(image: Option<&str>, change: impl FnOnce(&mut Settings)) -> Self {
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

    pub(super) async fn say(&self, folder: &str, text: &str) {
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

    /// Returns the states and tries of a chat's messages, in order.
    pub(super) async fn messages(&self, folder: &str) -> Vec<String> {
        let jid = jid(folder);
        let rows = self.store.read(move |db| {
            let mut s = db.prepare("SELECT state || ' ' || tries FROM inbound WHERE jid = ?1 ORDER BY seq")?;
            let rows = s.query_map([jid], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        });
        rows.await.unwrap()
    }

    pub(super) async fn runs(&self, folder: &str) -> Vec<Run> {
        let folder = folder.parse().unwrap();
        self.store.read(move |db| runs::list(db, Some(&folder), 10)).await.unwrap()
    }

    pub(super) async fn eventually<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let end = Instant::now() + SOON;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(Instant::now() < end, "{what} within {SOON:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns the texts sent to a chat.
    pub(super) async fn texts(&self, folder: &str) -> Vec<String> {
        let jid = jid(folder);
        let rows = self.store.read(move |db| {
            let mut s = db.prepare("SELECT text FROM outbox WHERE jid = ?1 ORDER BY id")?;
            let rows = s.query_map([jid], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        });
        rows.await.unwrap()
    }

    /// Makes agents print these frames from now on.
    pub(super) fn script(&self, frames: &[&str]) {
        *self.engine.frames.lock().unwrap() = frames.iter().map(|frame| (*frame).to_owned()).collect();
    }

    pub(super) async fn group(&self, folder: &str) -> Group {
        let folder = folder.parse().unwrap();
        self.store.read(move |db| groups::by_folder(db, &folder)).await.unwrap().unwrap()
    }

    /// Waits until an image import has begun, or has ended.
    pub(super) async fn importing(&self, is: bool) {
        let mut importing = self.engine.importing.subscribe();
        tokio::time::timeout(SOON, importing.wait_for(|now| *now == is)).await.unwrap().unwrap();
    }

    pub(super) async fn doing(&self, folder: &str) -> Vec<Doing> {
        let activity = self.dispatch.activity(&folder.parse().unwrap()).await;
        activity.runs.iter().map(|run| run.doing).collect()
    }
}

pub(in crate::dispatch) fn jid(folder: &str) -> ChatJid {
    format!("web:{folder}").parse().unwrap()
}

pub(in crate::dispatch) fn group(folder: &str) -> Group {
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
