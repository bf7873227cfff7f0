//! A stand-in for Anthropic's cloud: it speaks the Messages API over a real socket, and a test decides its answers.
//! The agent that asks it is the real one.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::{engine, image};

/// A request for an answer.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The credentials, unchanged: `x-api-key`, or `authorization`.
    pub credentials: String,
    pub body: Value,
}

impl Asked {
    /// Returns texts and tools' results of the user's last message, without the agent's own reminders.
    pub fn last(&self) -> Vec<String> {
        let user = self.messages().rfind(|message| message["role"] == "user");
        user.map(texts).unwrap_or_default().into_iter().filter(|text| !text.starts_with("<system-reminder>")).collect()
    }

    /// Returns all texts of the conversation, joined.
    pub fn said(&self) -> String {
        self.messages().flat_map(texts).collect::<Vec<_>>().join("\n")
    }

    /// Returns the system prompt.
    pub fn system(&self) -> String {
        let own = texts(&json!({ "content": self.body["system"] }));
        let inside = self.messages().filter(|message| message["role"] == "system").flat_map(texts);
        own.into_iter().chain(inside).collect::<Vec<_>>().join("\n")
    }

    /// Returns true if the newest message has a tool's result.
    pub fn has_result(&self) -> bool {
        let user = self.messages().rfind(|message| message["role"] == "user");
        let blocks = user.and_then(|message| message["content"].as_array());
        blocks.is_some_and(|blocks| blocks.iter().any(|block| block["type"] == "tool_result"))
    }

    /// Returns true if the request belongs to the conversation, and is not one of the agent's small side requests.
    pub fn is_turn(&self) -> bool {
        self.body["tools"].as_array().is_some_and(|tools| !tools.is_empty())
    }

    fn messages(&self) -> impl DoubleEndedIterator<Item = &Value> {
        self.body["messages"].as_array().into_iter().flatten()
    }
}

fn texts(message: &Value) -> Vec<String> {
    match &message["content"] {
        Value::String(text) => vec![text.clone()],
        Value::Array(blocks) => blocks
            .iter()
            .map(|block| match (&block["text"], &block["content"]) {
                (Value::String(text), _) | (_, Value::String(text)) => text.clone(),
                (_, Value::Null) => String::new(),
                (_, other) => other.to_string(),
            })
            .filter(|text| !text.is_empty())
            .collect(),
        _ => Vec::new(),
    }
}

/// The cloud's answer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A text, which ends the turn.
    Say(String),
    /// A text, with a count of tokens that almost fills the context.
    SayWhenFull(String),
    /// A call of the shell tool with this command.
    Bash(String),
    /// A call of another tool with this input.
    Tool(&'static str, Value),
    /// A refusal: status, kind of error, further headers.
    Refuse(u16, &'static str, Vec<(&'static str, String)>),
}

/// Tokens of an answer, from which a turn's cost can be calculated.
const INPUT_TOKENS: u64 = 100;

type Script = Box<dyn Fn(&Asked) -> Answer + Send + Sync>;

/// A running stand-in.
pub struct Vendor {
    /// The URL for rooms.
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    script: Script,
    asked: Mutex<Vec<Asked>>,
}

impl Vendor {
    /// Listens where the engine's default network reaches this machine. The script decides each answer. It is called
    /// from one thread per request, and may wait.
    pub fn start(script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let address = gateway();
        let listener = TcpListener::bind((address.as_str(), 0)).or_else(|_| TcpListener::bind("0.0.0.0:0")).unwrap();
        let url = format!("http://{address}:{}", listener.local_addr().unwrap().port());
        let shared = Arc::new(Shared { script: Box::new(script), asked: Mutex::default() });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&serving);
                thread::spawn(move || shared.serve(&stream));
            }
        });
        Self { url, shared }
    }

    /// Returns the requests so far, without the agent's small side requests.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().iter().filter(|asked| asked.is_turn()).cloned().collect()
    }

    /// Returns the content of `.env` that leads the agent here.
    pub fn dot_env(&self) -> String {
        format!("ANTHROPIC_BASE_URL={}\nANTHROPIC_API_KEY={KEY}\n", self.url)
    }
}

/// The key of the tests' hosts.
pub const KEY: &str = "sk-ant-test-8d1f02c7e9";

/// Returns this machine's address in the default network of the engine that tests use: the gateway of its rooms.
fn gateway() -> String {
    let image = image::test_agent();
    let routes = engine::lines(&["run", "--rm", "--entrypoint", "/bin/busybox", image, "ip", "route"]);
    let default = routes.iter().find_map(|route| route.strip_prefix("default via "));
    default.and_then(|rest| rest.split_whitespace().next()).expect("a default route in the room").to_owned()
}

impl Shared {
    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        // An agent that closes the connection in the middle is no failure of the cloud.
        while let Some((head, body)) = request(&mut reader) {
            if self.respond(stream, &head, &body).is_err() {
                return;
            }
        }
    }

    fn respond(&self, mut stream: &TcpStream, head: &[String], body: &[u8]) -> std::io::Result<()> {
        let line = head.first().map(String::as_str).unwrap_or_default();
        if !line.starts_with("POST /v1/messages") {
            return write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        }
        if line.contains("count_tokens") {
            return json_response(stream, 200, &[], &json!({ "input_tokens": INPUT_TOKENS }));
        }
        let header = |name: &str| {
            head.iter().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let credentials = header("x-api-key").or_else(|| header("authorization")).unwrap_or_default();
        let asked = Asked { credentials, body: serde_json::from_slice(body).unwrap_or_default() };
        self.asked.lock().unwrap().push(asked.clone());
        let (block, stop, tokens) = match (self.script)(&asked) {
            Answer::Refuse(status, kind, headers) => {
                let error =
                    json!({ "type": "error", "error": { "type": kind, "message": format!("scripted {status}") } });
                return json_response(stream, status, &headers, &error);
            }
            Answer::Say(text) => (json!({ "type": "text", "text": text }), "end_turn", INPUT_TOKENS),
            Answer::SayWhenFull(text) => (json!({ "type": "text", "text": text }), "end_turn", 990_000),
            Answer::Bash(command) => {
                let id = format!("toolu_{}", self.asked.lock().unwrap().len());
                let input = json!({ "command": command });
                (json!({ "type": "tool_use", "id": id, "name": "Bash", "input": input }), "tool_use", INPUT_TOKENS)
            }
            Answer::Tool(name, input) => {
                let id = format!("toolu_{}", self.asked.lock().unwrap().len());
                (json!({ "type": "tool_use", "id": id, "name": name, "input": input }), "tool_use", INPUT_TOKENS)
            }
        };
        if asked.body["stream"] == true {
            sse(stream, &asked, &block, stop, tokens)
        } else {
            json_response(stream, 200, &[], &message(&asked, std::slice::from_ref(&block), Some(stop), tokens))
        }
    }
}

fn request(reader: &mut impl BufRead) -> Option<(Vec<String>, Vec<u8>)> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    let length = head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn json_response(mut stream: &TcpStream, status: u16, headers: &[(&str, String)], body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    let headers = headers.iter().map(|(key, value)| format!("{key}: {value}\r\n")).collect::<Vec<_>>().concat();
    write!(
        stream,
        "HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// Ids are unique, because the agent treats messages with one id as parts of one message.
static NEXT: AtomicU64 = AtomicU64::new(1);

fn message(asked: &Asked, content: &[Value], stop: Option<&str>, tokens: u64) -> Value {
    json!({
        "id": format!("msg_{}", NEXT.fetch_add(1, Ordering::Relaxed)), "type": "message", "role": "assistant", "model": asked.body["model"], "content": content,
        "stop_reason": stop, "stop_sequence": null,
        "usage": { "input_tokens": tokens, "output_tokens": 20, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0 },
    })
}

/// Sends the answer as the vendor's stream of events.
fn sse(mut stream: &TcpStream, asked: &Asked, block: &Value, stop: &str, tokens: u64) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
    let mut event = |data: Value| {
        let kind = data["type"].as_str().unwrap_or_default().to_owned();
        write!(stream, "event: {kind}\ndata: {data}\n\n")
    };
    event(json!({ "type": "message_start", "message": message(asked, &[], None, tokens) }))?;
    let (empty, delta) = if block["type"] == "text" {
        (json!({ "type": "text", "text": "" }), json!({ "type": "text_delta", "text": block["text"] }))
    } else {
        let mut empty = block.clone();
        empty["input"] = json!({});
        (empty, json!({ "type": "input_json_delta", "partial_json": block["input"].to_string() }))
    };
    event(json!({ "type": "content_block_start", "index": 0, "content_block": empty }))?;
    event(json!({ "type": "content_block_delta", "index": 0, "delta": delta }))?;
    event(json!({ "type": "content_block_stop", "index": 0 }))?;
    event(
        json!({ "type": "message_delta", "delta": { "stop_reason": stop, "stop_sequence": null }, "usage": { "output_tokens": 20 } }),
    )?;
    event(json!({ "type": "message_stop" }))?;
    stream.shutdown(std::net::Shutdown::Write)
}
