//! A client of the local API over its Unix socket.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use serde_json::Value;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::UnixStream;
use ulid::Ulid;

use crate::api::{Offline, short_path};
use crate::config::settings::Settings;

/// A client of an installation's host. Each call opens its own connection.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    /// Answers reads if no host runs.
    offline: Option<Offline>,
    otherwise: Option<PathBuf>,
}

/// An installation, for messages: its folder, and why it was chosen if nobody named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    home: PathBuf,
    otherwise: Option<PathBuf>,
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.home.display())?;
        match &self.otherwise {
            Some(otherwise) => write!(
                f,
                ", the current folder, because it has a groups/ (in other folders the home is {}; --home names one)",
                otherwise.display()
            ),
            None => Ok(()),
        }
    }
}

/// A connection to the host, or to the API inside this process.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Reasons why a call failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No host listens on the socket.
    #[error("no host is running for {0}: start it with `parlor up`")]
    NoHost(Installation),
    /// The socket exists, but this user cannot connect.
    #[error("cannot reach the host at {path}: {error}; run this as the user who runs the host", path = .0.display(), error = .1)]
    Socket(PathBuf, io::Error),
    /// The host answered with a problem document.
    #[error("{detail}")]
    Problem {
        /// The HTTP status.
        status: u16,
        /// The stable `code`.
        code: String,
        /// The `detail` for people: the fault, its reason and the remedy.
        detail: String,
    },
    /// The connection broke, or the answer is not understood.
    #[error("the host did not answer: {0}; look at its log")]
    Broken(String),
}

/// The body of a request.
type Body = UnsyncBoxBody<Bytes, io::Error>;
/// Bytes of a file that are read at once.
const PIECE: usize = 256 << 10;

/// A form with JSON and files, produced piece by piece.
fn form(
    boundary: &str,
    message: &Value,
    files: Vec<(String, std::fs::File)>,
) -> impl futures_util::Stream<Item = io::Result<Frame<Bytes>>> + Send + use<> {
    let boundary = boundary.to_owned();
    let head = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"message\"\r\n\
         content-type: application/json\r\n\r\n{message}\r\n"
    );
    let files = files.into_iter().map(|(name, file)| (name, tokio::fs::File::from_std(file)));
    stream::try_unfold((Some(head), files, None), move |(head, mut files, open)| {
        let boundary = boundary.clone();
        async move {
            if let Some(head) = head {
                return Ok(Some((Frame::data(head.into()), (None, files, open))));
            }
            let Some(mut file) = open else {
                let Some((name, file)) = files.next() else { return Ok(None) };
                let head = part_head(&boundary, &name);
                return Ok(Some((Frame::data(head.into()), (None, files, Some(file)))));
            };
            let mut piece = Vec::with_capacity(PIECE);
            if AsyncReadExt::take(&mut file, PIECE as u64).read_to_end(&mut piece).await? > 0 {
                return Ok(Some((Frame::data(piece.into()), (None, files, Some(file)))));
            }
            let last = if files.len() == 0 { format!("\r\n--{boundary}--\r\n") } else { "\r\n".to_owned() };
            Ok(Some((Frame::data(last.into()), (None, files, None))))
        }
    })
}

fn part_head(boundary: &str, name: &str) -> String {
    // Escaped like in browsers' forms.
    let name = name.replace('"', "%22").replace(['\r', '\n', '\\'], "_");
    format!("--{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n")
}

/// The installation of a socket, for messages: `<home>/data/parlor.sock`.
fn home_of(socket: &Path) -> &Path {
    socket.parent().and_then(Path::parent).unwrap_or(socket)
}

impl From<hyper::Error> for ClientError {
    fn from(error: hyper::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl Client {
    /// A client for the host of this socket.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, otherwise: None, offline: None }
    }

    /// A client for the host of an installation.
    pub fn of(settings: &Settings) -> Self {
        Self { socket: settings.home.socket(), otherwise: settings.home_otherwise.clone(), offline: None }
    }

    /// A client that reads the installation itself.
    pub(super) fn offline(self, offline: Offline) -> Self {
        Self { offline: Some(offline), ..self }
    }

    /// The host's process id, if the system knows it. Returns an error if no host answers.
    pub(super) async fn host(&self) -> Result<Option<i32>, ClientError> {
        Ok(self.dial().await?.peer_cred().ok().and_then(|peer| peer.pid()))
    }

    /// Sends a GET request and parses the JSON answer.
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.call(Method::GET, path, None).await
    }

    /// Sends a request with a JSON body and parses the answer; an empty answer is null.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
        let bytes = self.bytes(method, path, body).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|e| ClientError::Broken(format!("its answer is not JSON ({e})")))
    }

    /// Sends a request and returns the bytes of the answer.
    pub async fn bytes(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Bytes, ClientError> {
        let response = self.send(method, path, body).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }

    /// Follows events after a cursor, or from now on; of one chat, or of all.
    pub async fn events(&self, since: Option<&str>, chat: Option<&str>) -> Result<EventStream, ClientError> {
        let mut path = "/v1/events".to_owned();
        let mut mark = '?';
        for (name, value) in [("since", since), ("chat", chat)] {
            if let Some(value) = value {
                path.push(mark);
                path.extend([name, "=", &segment(value)]);
                mark = '&';
            }
        }
        let response = self.send(Method::GET, &path, None).await?;
        let cursor = response.headers().get("parlor-cursor").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(EventStream { cursor, body: response.into_body(), buffer: Vec::new() })
    }

    /// Posts JSON and files as a form; the files are read while they are sent.
    pub async fn upload(
        &self,
        path: &str,
        message: &Value,
        files: Vec<(String, std::fs::File)>,
    ) -> Result<Value, ClientError> {
        let boundary = format!("parlor-{}", Ulid::new());
        let kind = format!("multipart/form-data; boundary={boundary}");
        let body = StreamBody::new(form(&boundary, message, files)).boxed_unsync();
        let response = self.exchange(Method::POST, path, &kind, body).await?;
        let bytes = response.into_body().collect().await?.to_bytes();
        serde_json::from_slice(&bytes).map_err(|e| ClientError::Broken(format!("its answer is not JSON ({e})")))
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response<Incoming>, ClientError> {
        let bytes = Bytes::from(body.map(Value::to_string).unwrap_or_default());
        let body = Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
        self.exchange(method, path, "application/json", body).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Body,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = self.connect(&method).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // The task ends with the answer, which also reports a broken connection.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "parlor")
            .header("content-type", kind)
            .body(body)
            .map_err(|e| ClientError::Broken(e.to_string()))?;
        let response = sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        Err(ClientError::Problem {
            status: status.as_u16(),
            code: problem["code"].as_str().unwrap_or("unknown").to_owned(),
            detail: problem["detail"].as_str().map_or_else(|| format!("the host answered {status}"), str::to_owned),
        })
    }

    async fn connect(&self, method: &Method) -> Result<Box<dyn Stream>, ClientError> {
        match &self.offline {
            None => Ok(Box::new(self.dial().await?)),
            Some(offline) if *method == Method::GET => Ok(Box::new(offline.connect())),
            Some(_) => Err(self.no_host()),
        }
    }

    fn no_host(&self) -> ClientError {
        let home = home_of(&self.socket).to_owned();
        ClientError::NoHost(Installation { home, otherwise: self.otherwise.clone() })
    }

    async fn dial(&self) -> Result<UnixStream, ClientError> {
        let connect = async {
            let (short, _folder) = short_path(&self.socket)?;
            UnixStream::connect(short).await
        };
        connect.await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => self.no_host(),
            _ => ClientError::Socket(self.socket.clone(), error),
        })
    }
}

/// Escapes one segment of a path or query.
pub(super) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' | b'@' => out.push(byte.into()),
            _ => out.extend(["%", &format!("{byte:02X}")]),
        }
    }
    out
}

/// An event from the host.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerEvent {
    /// Its cursor; None for events that are not stored.
    pub id: Option<String>,
    /// Its name: `message`, `turn`, `run`, `task`, `typing`, `resync`.
    pub name: String,
    /// Its data, as the API describes it.
    pub data: Value,
}

/// A stream of events.
#[derive(Debug)]
pub struct EventStream {
    cursor: Option<String>,
    body: Incoming,
    buffer: Vec<u8>,
}

impl EventStream {
    /// The place where the stream began; later events follow.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Returns the next event, or None if the host has ended the stream. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<ServerEvent>, ClientError> {
        let mut from = 0;
        loop {
            if let Some(at) = memmem::find(&self.buffer[from..], b"\n\n") {
                let rest = self.buffer.split_off(from + at + 2);
                let block = std::mem::replace(&mut self.buffer, rest);
                from = 0;
                if let Some(event) = parse(&block)? {
                    return Ok(Some(event));
                }
                continue;
            }
            from = self.buffer.len().saturating_sub(1);
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

/// Parses one block of lines. Returns None for comments.
fn parse(block: &[u8]) -> Result<Option<ServerEvent>, ClientError> {
    let broken = |what: String| ClientError::Broken(format!("its event stream is not understood ({what})"));
    let text = std::str::from_utf8(block).map_err(|e| broken(e.to_string()))?;
    let (mut id, mut name, mut data) = (None, None, None);
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("id", value)) => id = Some(value.to_owned()),
            Some(("event", value)) => name = Some(value.to_owned()),
            Some(("data", value)) => data = Some(serde_json::from_str(value).map_err(|e| broken(e.to_string()))?),
            _ => {}
        }
    }
    Ok(name.zip(data).map(|(name, data)| ServerEvent { id, name, data }))
}
