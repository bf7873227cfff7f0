//! A double of a platform: a real TCP server that fails as scripted, and a channel that talks HTTP to it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use parlor::channel::{Capabilities, Channel, DeliverError, Part, PartKey, Receipt, Target};
use parlor::domain::ids::ChatJid;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The server's reaction to a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Shows the message.
    Shows,
    /// Shows the message, but breaks the connection before the answer.
    ShowsAndBreaks,
    /// Breaks the connection at once.
    Breaks,
    /// 429 with `Retry-After` in seconds.
    TooMany(u32),
    /// 503.
    Unavailable,
    /// 403.
    Forbidden,
}

#[derive(Debug, Default)]
struct State {
    script: VecDeque<Answer>,
    /// Chat, idempotency key, and text of each shown message.
    shown: Vec<(String, String, String)>,
    requests: usize,
}

/// The server double.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    takes_keys: bool,
    state: Mutex<State>,
}

impl Server {
    /// Starts a server; with `takes_keys` it shows each idempotency key only once.
    pub fn start(takes_keys: bool, script: Vec<Answer>) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = Mutex::new(State { script: script.into(), ..State::default() });
        let server = Arc::new(Self { address: listener.local_addr().unwrap(), takes_keys, state });
        let served = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // One request at a time, in order: the script's answers belong to certain requests.
                let _ = served.serve(stream);
            }
        });
        server
    }

    /// A server that runs in another process.
    pub fn elsewhere(address: SocketAddr, takes_keys: bool) -> Arc<Self> {
        Arc::new(Self { address, takes_keys, state: Mutex::default() })
    }

    /// Returns a chat's shown messages with their idempotency keys.
    pub fn keyed(&self, chat: &str) -> Vec<(String, String)> {
        let state = self.state.lock().unwrap();
        state.shown.iter().filter(|(c, _, _)| c == chat).map(|(_, key, text)| (key.clone(), text.clone())).collect()
    }

    /// Returns a chat's shown messages.
    pub fn shown(&self, chat: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.shown.iter().filter(|(c, _, _)| c == chat).map(|(_, _, text)| text.clone()).collect()
    }

    /// Returns the number of requests so far.
    pub fn requests(&self) -> usize {
        self.state.lock().unwrap().requests
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body: Value = serde_json::from_slice(&body)?;
        let answer = self.answer(&body);
        match answer {
            Answer::Shows => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            Answer::TooMany(seconds) => stream.write_all(
                format!("HTTP/1.1 429 Too Many Requests\r\nretry-after: {seconds}\r\ncontent-length: 0\r\n\r\n")
                    .as_bytes(),
            ),
            Answer::Unavailable => stream.write_all(b"HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n"),
            Answer::Forbidden => stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"),
            Answer::Breaks | Answer::ShowsAndBreaks => Ok(()),
        }
    }

    fn answer(&self, body: &Value) -> Answer {
        let mut state = self.state.lock().unwrap();
        state.requests += 1;
        let answer = state.script.pop_front().unwrap_or(Answer::Shows);
        if matches!(answer, Answer::Shows | Answer::ShowsAndBreaks) {
            let field = |name: &str| body[name].as_str().unwrap().to_owned();
            let message = (field("chat"), field("key"), field("text"));
            let known = self.takes_keys && state.shown.iter().any(|(_, key, _)| *key == message.1);
            if !known {
                state.shown.push(message);
            }
        }
        answer
    }
}

/// The channel double.
#[derive(Debug)]
pub struct Courier {
    pub server: Arc<Server>,
    pub max_length: Option<usize>,
}

#[async_trait]
impl Channel for Courier {
    fn name(&self) -> &'static str {
        "courier"
    }

    fn owns(&self, jid: &ChatJid) -> bool {
        jid.channel() == "courier"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { max_length: self.max_length, files: false, typing: false, local: false }
    }

    async fn deliver(&self, key: PartKey, target: &Target, part: &Part) -> Result<Receipt, DeliverError> {
        let Part::Text(text) = part else {
            return Err(DeliverError::Permanent { reason: "takes no files".into() });
        };
        let key = key.to_string();
        let body = json!({ "chat": target.chat, "key": key, "text": text }).to_string();
        match self.post(&body).await {
            Ok((200, _)) => Ok(Receipt { platform_id: Some(key) }),
            Ok((403, _)) => Err(DeliverError::Permanent { reason: "403 Forbidden".into() }),
            Ok((status, after)) => {
                Err(DeliverError::Retryable { reason: format!("the server answers {status}"), after })
            }
            Err(error) => Err(DeliverError::Retryable { reason: error.to_string(), after: None }),
        }
    }
}

impl Courier {
    /// Posts a body; returns the status and the time to wait.
    async fn post(&self, body: &str) -> std::io::Result<(u16, Option<Duration>)> {
        let mut stream = tokio::net::TcpStream::connect(self.server.address).await?;
        let request = format!("POST / HTTP/1.1\r\nhost: courier\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other("the connection broke"))?;
        let after = answer.lines().find_map(|line| line.strip_prefix("retry-after: ")?.parse().ok());
        Ok((status, after.map(Duration::from_secs)))
    }
}
