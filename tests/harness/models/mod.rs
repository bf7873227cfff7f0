//! Stand-ins for vendors' model servers. They speak the real protocols over HTTP, check requests as the vendors do, and
//! answer as a test tells them.

// Each program that includes this module uses only a part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

mod anthropic;
mod gemini;
mod ollama;
mod openai;
pub mod responses;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

/// The only key that the servers accept.
pub const KEY: &str = "sk-test-0123456789abcdef";

/// A server's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Anthropic's Messages API.
    Anthropic,
    /// `OpenAI`'s chat completions, which most other servers speak, too.
    OpenAi,
    /// Google's Gemini API.
    Gemini,
    /// `OpenAI`'s newer Responses API.
    Responses,
    /// Ollama's own protocol.
    Ollama,
}

/// A model's answer.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A text.
    Text(String),
    /// A text, followed by calls of tools with their arguments.
    Calls(String, Vec<(String, Value)>),
    /// Like `Calls`, with the vendor's word for the end. Arguments that are a text are sent unchanged.
    Ended(String, String, Vec<(String, Value)>),
    /// A refusal: status, further headers, type of error, message.
    Refused(u16, Vec<(String, String)>, String, String),
    /// The stream begins, and then reports an error: its type, message.
    Fails(String, String),
    /// The stream begins, and then the connection breaks.
    BreaksOff,
}

impl Reply {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Calls one tool.
    pub fn call(tool: &str, args: Value) -> Self {
        Self::Calls(String::new(), vec![(tool.to_owned(), args)])
    }

    /// A text with the vendor's word for its end.
    pub fn ended(reason: &str, text: &str) -> Self {
        Self::Ended(reason.to_owned(), text.to_owned(), Vec::new())
    }

    /// Returns the vendor's word for the end; None leaves it to the protocol.
    fn reason(&self) -> Option<&str> {
        if let Self::Ended(reason, ..) = self { Some(reason) } else { None }
    }

    pub fn refused(status: u16, kind: &str, message: &str) -> Self {
        Self::Refused(status, Vec::new(), kind.to_owned(), message.to_owned())
    }

    /// A refusal that says when to try again.
    pub fn later(status: u16, seconds: u64, kind: &str) -> Self {
        let headers = vec![("retry-after".to_owned(), seconds.to_string())];
        Self::Refused(status, headers, kind.to_owned(), "not now".to_owned())
    }
}

/// A request that was accepted.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its number, from 0.
    pub number: usize,
    /// Its path.
    pub path: String,
    /// Its body, as it was sent.
    pub body: Value,
    /// The time at which its last byte arrived.
    pub at: Instant,
    /// The time at which the whole answer but its last frame had been sent; None for a refusal. It is taken before
    /// the last frame is sent, so that it is here when a client has the whole answer.
    pub answered: Option<Instant>,
}

impl Request {
    /// Returns the system prompt.
    pub fn system(&self) -> String {
        match &self.body["system"] {
            Value::String(text) => text.clone(),
            Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
            _ if !self.body["contents"].is_null() => text_of(&self.body["systemInstruction"]["parts"]),
            _ => [self.messages("system"), self.messages("developer")].concat().join("\n"),
        }
    }

    /// Returns the texts of a role's messages, in order, with tools' results for `user` and `tool`.
    pub fn messages(&self, role: &str) -> Vec<String> {
        let items = responses::conversation(&self.body);
        if !items.is_empty() {
            return items.into_iter().filter(|(whose, _)| whose == role).map(|(_, text)| text).collect();
        }
        self.all().iter().filter(|message| message["role"] == role).map(text_in).collect()
    }

    fn all(&self) -> Vec<Value> {
        ["messages", "contents"].iter().find_map(|key| self.body[key].as_array().cloned()).unwrap_or_default()
    }

    /// Returns true if the newest message has a tool's result.
    pub fn has_result(&self) -> bool {
        if let Some((role, _)) = responses::conversation(&self.body).pop() {
            return role == "tool";
        }
        let last = self.all().pop().unwrap_or_default();
        let parts = last["content"].as_array().or_else(|| last["parts"].as_array()).cloned().unwrap_or_default();
        let is_result = |part: &Value| part["type"] == "tool_result" || part["functionResponse"].is_object();
        last["role"] == "tool" || parts.iter().any(is_result)
    }

    /// Returns the text of the last message, with tools' results.
    pub fn last(&self) -> String {
        if let Some((_, text)) = responses::conversation(&self.body).pop() {
            return text;
        }
        self.all().last().map(text_in).unwrap_or_default()
    }

    /// Returns the names of the offered tools.
    pub fn tools(&self) -> Vec<String> {
        let mut tools = self.body["tools"].as_array().cloned().unwrap_or_default();
        let of_gemini = tools.iter().filter_map(|tool| tool["functionDeclarations"].as_array().cloned()).flatten();
        tools.extend(of_gemini.collect::<Vec<_>>());
        let name =
            |tool: &Value| tool["name"].as_str().or_else(|| tool["function"]["name"].as_str()).map(str::to_owned);
        tools.iter().filter_map(name).collect()
    }
}

fn text_in(message: &Value) -> String {
    if message["parts"].is_null() { text_of(&message["content"]) } else { text_of(&message["parts"]) }
}

fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().map(|part| match (part["text"].as_str(), &part["functionResponse"]["response"]) {
                (Some(text), _) => text.to_owned(),
                (None, Value::Null) => text_of(&part["content"]),
                (None, response) => response.to_string(),
            });
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

type Script = dyn Fn(&Request) -> Reply + Send + Sync;

/// A running server, which ends when it is dropped.
pub struct Server {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    protocol: Protocol,
    script: Box<Script>,
    requests: Mutex<Vec<Request>>,
    wrong: Mutex<Vec<String>>,
    over: AtomicBool,
}

impl Server {
    /// Starts a server that answers each request as the script decides.
    pub fn start(protocol: Protocol, script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        // Containers do not connect from the loopback.
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            protocol,
            script: Box::new(script),
            requests: Mutex::default(),
            wrong: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if ours.over.load(Ordering::Relaxed) {
                    return;
                }
                let (shared, Ok(stream)) = (Arc::clone(&ours), stream) else { continue };
                thread::spawn(move || while serve(&stream, &shared).is_some() {});
            }
        });
        Self { port, shared }
    }

    /// Starts a server that gives these answers in order, and repeats the last one.
    pub fn saying(protocol: Protocol, replies: Vec<Reply>) -> Self {
        Self::start(protocol, move |request| replies[request.number.min(replies.len() - 1)].clone())
    }

    /// Returns its address for programs of this machine.
    pub fn local(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns its address for containers, which reach this machine by its own address.
    pub fn outside(&self) -> String {
        format!("http://{}:{}", own_address(), self.port)
    }

    /// Returns the content of `.env` that leads an agent here.
    pub fn dot_env(&self) -> String {
        match self.shared.protocol {
            Protocol::Anthropic => format!("ANTHROPIC_API_KEY={KEY}\nANTHROPIC_BASE_URL={}\n", self.outside()),
            Protocol::Ollama => format!("OLLAMA_HOST={}\n", self.outside()),
            Protocol::Gemini => format!("GEMINI_API_KEY={KEY}\nGEMINI_BASE_URL={}/v1beta\n", self.outside()),
            Protocol::OpenAi | Protocol::Responses => {
                format!("OPENAI_API_KEY={KEY}\nOPENAI_BASE_URL={}/v1\n", self.outside())
            }
        }
    }

    /// Returns the same as the secrets of a run on this machine.
    pub fn secrets(&self) -> Value {
        match self.shared.protocol {
            Protocol::Anthropic => json!({"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": self.local()}),
            Protocol::Ollama => json!({"OLLAMA_HOST": self.local()}),
            Protocol::Gemini => json!({"GEMINI_API_KEY": KEY, "GEMINI_BASE_URL": format!("{}/v1beta", self.local())}),
            Protocol::OpenAi | Protocol::Responses => {
                json!({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": format!("{}/v1", self.local())})
            }
        }
    }

    /// Returns the requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Returns the newest request.
    pub fn newest(&self) -> Request {
        self.requests().pop().expect("there was no request")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let wrong = std::mem::take(&mut *self.shared.wrong.lock().unwrap());
        if !thread::panicking() {
            assert!(wrong.is_empty(), "requests that a vendor would refuse: {wrong:#?}");
        }
    }
}

/// Returns the address of this machine's way out; nothing is sent to find it.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.connect((Ipv4Addr::new(192, 0, 2, 254), 9)).expect("this machine needs an address that containers reach");
    socket.local_addr().unwrap().ip()
}

/// Answers one request of a connection; returns None if the connection has to be closed.
fn serve(stream: &TcpStream, shared: &Shared) -> Option<()> {
    // Vendors send each event at once.
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let (mut headers, mut line) = (Vec::new(), String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let mut body = vec![0; header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let at = Instant::now();
    let path = first.split(' ').nth(1)?.to_owned();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if path.ends_with("/models") {
        return respond(stream, 200, &[], &json!({"object": "list", "data": [{"id": "first-model"}, {"id": "other"}]}));
    }
    if shared.protocol == Protocol::Ollama
        && let Some(answer) = ollama::aside(&path)
    {
        return respond(stream, 200, &[], &answer);
    }
    if shared.protocol == Protocol::Gemini
        && let Some(answer) = gemini::aside(&path)
    {
        return respond(stream, 200, &[], &answer);
    }
    let checked = match shared.protocol {
        Protocol::Anthropic => anthropic::check(&path, &header, &body),
        Protocol::OpenAi => openai::check(&path, &header, &body),
        Protocol::Gemini => gemini::check(&path, &header, &body),
        Protocol::Responses => responses::check(&path, &header, &body),
        Protocol::Ollama => ollama::check(&path, &body),
    };
    let error = |status: u16, kind: &str, message: &str, wait: Option<&str>| match shared.protocol {
        Protocol::Anthropic => anthropic::error(kind, message),
        Protocol::OpenAi => openai::error(kind, message),
        Protocol::Gemini => gemini::error(status, kind, message, wait),
        Protocol::Responses => responses::error(kind, message),
        Protocol::Ollama => json!({"error": message}),
    };
    if let Err((status, kind, message)) = checked {
        if status == 400 && kind != gemini::BAD_KEY {
            shared.wrong.lock().unwrap().push(format!("{message}: {body}"));
        }
        return respond(stream, status, &[], &error(status, kind, &message, None));
    }
    let mut requests = shared.requests.lock().unwrap();
    let request = Request { number: requests.len(), path, body, at, answered: None };
    requests.push(request.clone());
    drop(requests);
    let reply = (shared.script)(&request);
    if let Reply::Refused(status, headers, kind, message) = &reply {
        let wait = headers.iter().find(|(name, _)| name == "retry-after").map(|(_, seconds)| seconds.as_str());
        return respond(stream, *status, headers, &error(*status, kind, message, wait));
    }
    let (frames, whole) = match shared.protocol {
        Protocol::Anthropic => anthropic::frames(&request.body, &reply),
        Protocol::OpenAi => openai::frames(&request.body, &reply),
        Protocol::Gemini => gemini::frames(&request.body, &reply),
        Protocol::Responses => responses::frames(&request.body, &reply),
        Protocol::Ollama => ollama::frames(&request.body, &reply),
    };
    send_stream(stream, &frames, whole, || {
        if let Some(kept) = shared.requests.lock().unwrap().get_mut(request.number) {
            kept.answered = Some(Instant::now());
        }
    })
}

fn respond(mut stream: &TcpStream, status: u16, headers: &[(String, String)], body: &Value) -> Option<()> {
    let body = body.to_string();
    let extra: String = headers.iter().flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect();
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\n{extra}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).ok()
}

/// Sends server-sent events in separate chunks, like a model's server. Calls `before_last` before the last event.
fn send_stream(mut stream: &TcpStream, frames: &[String], whole: bool, before_last: impl FnOnce()) -> Option<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    let mut send = |frame: &String| stream.write_all(format!("{:x}\r\n{frame}\r\n", frame.len()).as_bytes()).ok();
    let (last, others) = frames.split_last()?;
    others.iter().try_for_each(&mut send)?;
    before_last();
    send(last)?;
    if !whole {
        let _ = stream.shutdown(Shutdown::Both);
        return None;
    }
    stream.write_all(b"0\r\n\r\n").ok()
}

/// Returns a call's arguments as text.
fn arguments(args: &Value) -> String {
    args.as_str().map_or_else(|| args.to_string(), str::to_owned)
}

/// Estimates the tokens that a vendor would count.
fn tokens(value: &Value) -> usize {
    value.to_string().len() / 4
}
