//! The API over real sockets, on a real store. Engine and dispatcher are test doubles.

mod described;
mod doubles;
mod events;
mod history;
mod hostile;
mod intake;
mod operator;
mod schema;
mod upload;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use self::doubles::settings;
use self::doubles::{FakeEngine, FakeWork};
use super::{ApiDeps, Limits, Listeners, serve};
use crate::channel::intake::attach::Attachments;
use crate::channel::intake::ingest::{Ingest, Policy};
use crate::config::allowlists::{self, Watched};
use crate::config::settings::Settings;
use crate::domain::clock::SystemClock;
use crate::domain::delivery::{DeliveryKind, NewDelivery};
use crate::domain::group::{ContainerConfig, Group};
use crate::domain::ids::DeliveryId;
use crate::domain::typing::Typing;
use crate::policy::senders::SenderRules;
use crate::store::outbox::{self, Route};
use crate::store::{Store, Wake, groups};

/// A served API, and its parts that tests use.
pub(crate) struct Served {
    /// The folder of the installation, if the test did not bring its own.
    dir: Option<tempfile::TempDir>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) store: Store,
    pub(crate) wakes: Option<mpsc::UnboundedReceiver<Wake>>,
    typing: broadcast::Sender<Typing>,
    ready: watch::Sender<bool>,
    tcp: Option<std::net::SocketAddr>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

const TOKEN: &str = "a-token-for-tests";

pub(crate) async fn start() -> Served {
    start_with(|_| {}, Limits::default()).await
}

async fn start_with(change: impl FnOnce(&mut Settings), limits: Limits) -> Served {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    let mut settings = settings(dir.path());
    change(&mut settings);
    Served { dir: Some(dir), ..serve_settings(settings, limits).await }
}

/// Serves an existing installation.
pub(crate) async fn serve_settings(settings: Settings, limits: Limits) -> Served {
    let settings = Arc::new(settings);
    let (wake, wakes) = mpsc::unbounded_channel();
    let store = Store::open(&settings.home.database(), wake).unwrap();
    let (typing, _) = broadcast::channel(16);
    let (ready, is_ready) = watch::channel(true);
    let senders = Arc::new(Watched::new(settings.config_dir.join(allowlists::SENDERS), SenderRules::from_file));
    let listeners = Listeners::bind(&settings).await.unwrap();
    let tcp = listeners.tcp_address();
    let (groups, max) = (settings.home.groups(), settings.max_attachment_bytes as u64);
    let files = Attachments::new(&store, Arc::new(SystemClock), groups, None, max);
    let deps = ApiDeps {
        store: store.clone(),
        clock: Arc::new(SystemClock),
        settings: settings.clone(),
        ingest: Ingest::new(store.clone(), Arc::new(SystemClock), Policy::of(&settings), senders, files),
        dispatch: Arc::new(FakeWork { typing: typing.clone() }),
        ready: is_ready,
        engine: Some(Arc::new(FakeEngine)),
        metrics: metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle(),
        limits,
        owner: None,
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(deps, listeners, stop.clone()));
    Served { dir: None, settings, store, wakes: Some(wakes), typing, ready, tcp, stop, task }
}

impl Served {
    pub(crate) fn socket(&self) -> std::path::PathBuf {
        self.settings.home.socket()
    }

    /// Registers a group directly in the store.
    pub(crate) async fn group(&self, jid: &str, folder: &str) {
        let group = Group {
            folder: folder.parse().unwrap(),
            jid: jid.parse().unwrap(),
            name: folder.into(),
            trigger: None,
            requires_trigger: false,
            is_main: false,
            container_config: ContainerConfig::default(),
            created_at: chrono::Utc::now(),
            paused: None,
        };
        self.store.write(move |tx| groups::register(tx, &group)).await.unwrap();
    }

    /// Commits a text to a local chat, as a run's output does.
    pub(crate) async fn say(&self, jid: &str, text: &str) {
        let new = NewDelivery {
            id: DeliveryId(ulid::Ulid::new()),
            jid: jid.parse().unwrap(),
            text: text.into(),
            sender: None,
            reply_to: None,
            file: None,
            kind: DeliveryKind::Reply,
            run_id: None,
        };
        let now = chrono::Utc::now();
        self.store.write(move |tx| outbox::put(tx, &new, Route::Local, false, now)).await.unwrap();
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let stream = UnixStream::connect(self.socket()).await.unwrap();
        let body: String = body.map(|b| b.to_string()).unwrap_or_default();
        let headers = [("host", "local"), ("content-type", "application/json")];
        let answer = request(stream, method, path, &headers, body.into()).await;
        described::hold(method, path, &answer);
        answer
    }

    async fn call_tcp(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let stream = TcpStream::connect(self.tcp.unwrap()).await.unwrap();
        request(stream, "GET", path, headers, Bytes::new()).await
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.task).await.expect("the API ends").unwrap();
    }
}

/// A complete answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    /// Checks that the answer is a problem document with this status and code, and returns its detail.
    fn problem(&self, status: u16, code: &str) -> String {
        let json = self.json();
        assert_eq!((self.status, json["code"].as_str()), (status, Some(code)), "{json}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(json["status"], status);
        json["detail"].as_str().unwrap().to_owned()
    }
}

async fn send<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> http::Response<Incoming> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    sender.send_request(request.body(Full::new(body)).unwrap()).await.unwrap()
}

async fn request<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Answer {
    let (parts, body) = send(stream, method, path, headers, body).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}

/// An event stream, read as a client would.
struct Events {
    body: Incoming,
    buffer: Vec<u8>,
    headers: http::HeaderMap,
}

/// One event: id, name, data.
type Seen = (Option<String>, String, Value);

impl Events {
    async fn open(socket: &Path, query: &str, headers: &[(&str, &str)]) -> Self {
        let stream = UnixStream::connect(socket).await.unwrap();
        let mut all = vec![("host", "local")];
        all.extend(headers);
        let response = send(stream, "GET", &format!("/v1/events{query}"), &all, Bytes::new()).await;
        assert_eq!(response.status(), 200);
        let (parts, body) = response.into_parts();
        Self { body, buffer: Vec::new(), headers: parts.headers }
    }

    /// Returns the next block of lines, comments included, or None at the end.
    async fn block(&mut self) -> Option<String> {
        let mut from = 0;
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer[from..], b"\n\n") {
                let rest = self.buffer.split_off(from + at + 2);
                let block = std::mem::replace(&mut self.buffer, rest);
                return Some(String::from_utf8(block).unwrap());
            }
            from = self.buffer.len().saturating_sub(1);
            let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame()).await.expect("an event");
            self.buffer.extend_from_slice(&frame?.unwrap().into_data().unwrap());
        }
    }

    async fn next(&mut self) -> Option<Seen> {
        loop {
            let block = self.block().await?;
            if block.starts_with(':') {
                continue;
            }
            let field = |name: &str| block.lines().find_map(|l| l.strip_prefix(name).map(str::to_owned));
            let data = serde_json::from_str(&field("data: ").unwrap()).unwrap();
            let name = field("event: ").unwrap();
            described::event(&name, &data);
            return Some((field("id: "), name, data));
        }
    }
}
