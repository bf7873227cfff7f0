//! The IPC service with real files, a real store, real floods.

mod attacks;
mod commands;
mod crashes;
mod files;
mod floods;
mod snapshots;
mod waking;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use super::*;
use crate::domain::clock::SystemClock;
use crate::domain::delivery::Delivery;
use crate::domain::group::{ContainerConfig, Group};
use crate::domain::task::Task;
use crate::store::ipc_files::Refusal;
use crate::store::{Wake, groups, ipc_files, outbox, tasks};

/// An installation with the groups `main`, `a` and `b`.
struct Host {
    root: tempfile::TempDir,
    store: Store,
    /// The wake-ups of the store.
    wakes: mpsc::UnboundedReceiver<Wake>,
    rates: Rates,
}

/// The running service.
struct Served {
    handle: IpcHandle,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

pub(super) fn group(folder: &str) -> Group {
    Group {
        folder: folder.parse().unwrap(),
        jid: format!("web:{folder}").parse().unwrap(),
        name: folder.into(),
        trigger: None,
        requires_trigger: folder != "main",
        is_main: folder == "main",
        container_config: ContainerConfig::default(),
        created_at: chrono::Utc::now(),
        paused: None,
    }
}

fn run() -> RunId {
    RunId(Ulid::new())
}

/// Installs a global subscriber. Without one, a log line that first runs while a test begins to listen may count as
/// disabled for ever.
fn always_listen() {
    static LISTEN: std::sync::Once = std::sync::Once::new();
    LISTEN.call_once(|| {
        // Another test may have installed one, which is as good.
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::fmt().with_writer(io::sink).finish());
    });
}

async fn host() -> Host {
    always_listen();
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("data")).unwrap();
    let (wake, wakes) = mpsc::unbounded_channel();
    let store = Store::open(&root.path().join("data/parlor.db"), wake).unwrap();
    for folder in ["main", "a", "b"] {
        store.write(move |tx| groups::register(tx, &group(folder))).await.unwrap();
    }
    Host { root, store, wakes, rates: Rates::default() }
}

impl Host {
    fn deps(&self) -> IpcDeps {
        IpcDeps {
            store: self.store.clone(),
            clock: Arc::new(SystemClock),
            home: Home::new(self.root.path().to_owned()),
            secret_keys: vec!["KEY".into()],
            timezone: Tz::UTC,
            channels: Registry::default(),
            max_file: 1 << 20,
            rates: self.rates,
            room_owner: None,
        }
    }

    fn serve(&self) -> Served {
        let (handle, service) = IpcService::new(self.deps()).unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(service.run(shutdown.clone()));
        Served { handle, shutdown, task }
    }

    fn data(&self, path: &str) -> PathBuf {
        self.root.path().join("data").join(path)
    }

    fn ipc(&self, folder: &str, path: &str) -> PathBuf {
        self.data("ipc").join(folder).join(path)
    }

    /// Drops a file as an agent does.
    fn put(&self, folder: &str, side: &str, name: &str, content: &Value) {
        self.put_bytes(folder, side, name, content.to_string().as_bytes());
    }

    fn put_bytes(&self, folder: &str, side: &str, name: &str, bytes: &[u8]) {
        let path = self.ipc(folder, side).join(name);
        let temporary = path.with_extension("json.tmp");
        fs::write(&temporary, bytes).unwrap();
        fs::rename(&temporary, &path).unwrap();
    }

    /// Drops a task file with an id and returns the answer.
    async fn ask(&self, folder: &str, mut content: Value) -> Value {
        let id = Ulid::new().to_string();
        content["id"] = id.clone().into();
        self.put(folder, "tasks", &format!("{id}.json"), &content);
        self.answer(folder, &id).await
    }

    async fn answer(&self, folder: &str, id: &str) -> Value {
        let path = self.ipc(folder, "results").join(format!("{id}.json"));
        until("an answer", || path.exists()).await;
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    async fn deliveries(&self) -> Vec<Delivery> {
        let mut all = self.store.read(|db| outbox::list(db, true, 100_000)).await.unwrap();
        all.reverse();
        all
    }

    async fn texts(&self) -> Vec<String> {
        self.deliveries().await.into_iter().map(|d| d.new.text).collect()
    }

    /// Waits until the outbox has this many rows.
    async fn until_texts(&self, count: usize) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let texts = self.texts().await;
            if texts.len() >= count {
                return texts;
            }
            assert!(Instant::now() < end, "only {texts:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn refusals(&self) -> Vec<Refusal> {
        self.store.read(|db| ipc_files::refusals(db, 1_000)).await.unwrap()
    }

    async fn tasks(&self) -> Vec<Task> {
        self.store.read(|db| tasks::list(db, None, true)).await.unwrap()
    }

    async fn until_no_claims(&self) {
        let claimed = self.data("claimed");
        until("claimed files to go", || fs::read_dir(&claimed).unwrap().count() == 0).await;
    }
}

impl Served {
    async fn open(&self, group: &Group, run: RunId) -> io::Result<()> {
        self.handle.open_room(group, run, Lane::Chat, &Redactor::default()).await
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

fn message(chat: &str, text: &str) -> Value {
    json!({"type": "message", "chatJid": chat, "text": text})
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut all: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    all.sort();
    all
}
