//! Outputs as frames on stdout, with or without Parlor's additions.

use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

use parlor_protocol::{OUTPUT_END, OUTPUT_START};
use serde_json::{Map, Value, json};

use crate::directive::Reply;

/// The agent's stdout.
pub struct Wire {
    /// The session id that outputs carry.
    pub session: String,
    /// Whether Parlor's additions are left out.
    pub v1: bool,
    /// What the turn's last output reports as used: tokens in, tokens out, US dollars.
    pub usage: Option<(u64, u64, f64)>,
    /// Size of pieces, and the pause between them.
    pub chunks: Option<(usize, Duration)>,
    consumed: Vec<String>,
    gathered: Vec<u8>,
}

/// Gathered outputs are written in pieces of this size.
const GATHER: usize = 64 << 10;

impl Wire {
    /// A stdout that speaks with Parlor's additions.
    pub fn new(session: String) -> Self {
        Self { session, v1: false, usage: None, chunks: None, consumed: Vec::new(), gathered: Vec::new() }
    }

    /// A new turn, which took these inputs in.
    pub fn begin(&mut self, consumed: Vec<String>) {
        self.consumed = consumed;
    }

    /// An output before the turn's last.
    pub fn open(&mut self, reply: &Reply) {
        if !matches!(reply, Reply::NoEnd) {
            self.output(reply, "open");
        }
    }

    /// An output before the turn's last that may wait for others to be written with it.
    pub fn gather(&mut self, reply: &Reply) {
        let json = self.json(reply, "open");
        self.gathered.extend_from_slice(framed(&json).as_bytes());
        if self.gathered.len() >= GATHER {
            self.send_gathered();
        }
    }

    /// Writes what was gathered.
    pub fn send_gathered(&mut self) {
        write(&std::mem::take(&mut self.gathered));
    }

    /// The turn's last output.
    pub fn end(&mut self, reply: &Reply) {
        if !matches!(reply, Reply::NoEnd) {
            self.output(reply, "done");
        }
    }

    /// One output with a text of its own session.
    pub fn text_with_session(&mut self, text: &str, session: &str) {
        let kept = std::mem::replace(&mut self.session, session.to_owned());
        self.open(&Reply::Text(text.to_owned()));
        self.session = kept;
    }

    /// A sign of life.
    pub fn heartbeat(&mut self) {
        self.frame(&json!({"status": "success", "result": null, "heartbeat": true}));
    }

    fn output(&mut self, reply: &Reply, turn: &str) {
        let json = self.json(reply, turn);
        self.frame(&json);
    }

    fn json(&mut self, reply: &Reply, turn: &str) -> Value {
        let mut json = Map::new();
        match reply {
            Reply::Text(text) => {
                json.insert("status".into(), "success".into());
                json.insert("result".into(), text.as_str().into());
            }
            Reply::Silent | Reply::NoEnd => {
                json.insert("status".into(), "success".into());
                json.insert("result".into(), Value::Null);
            }
            Reply::Error { kind, retry_at } => {
                json.insert("status".into(), "error".into());
                json.insert("result".into(), Value::Null);
                json.insert("error".into(), format!("told to fail ({kind})").into());
                if !self.v1 && kind != "-" {
                    json.insert("errorKind".into(), kind.as_str().into());
                }
                if let (false, Some(at)) = (self.v1, retry_at) {
                    json.insert("retryAt".into(), at.as_str().into());
                }
            }
        }
        if !matches!(reply, Reply::Error { .. }) {
            json.insert("newSessionId".into(), self.session.as_str().into());
        }
        if !self.v1 {
            json.insert("turn".into(), turn.into());
            if turn == "done" && !self.consumed.is_empty() {
                json.insert("consumed".into(), std::mem::take(&mut self.consumed).into());
            }
            if let Some((tokens_in, tokens_out, usd)) = self.usage.take_if(|_| turn == "done") {
                json.insert("usage".into(), json!({"input_tokens": tokens_in, "output_tokens": tokens_out}));
                json.insert("costUsd".into(), usd.into());
            }
        }
        Value::Object(json)
    }

    fn frame(&mut self, json: &Value) {
        let frame = framed(json);
        match self.chunks.take() {
            None => write(frame.as_bytes()),
            Some((size, pause)) => {
                for piece in frame.as_bytes().chunks(size.max(1)) {
                    write(piece);
                    sleep(pause);
                }
            }
        }
    }
}

fn framed(json: &Value) -> String {
    format!("{OUTPUT_START}\n{json}\n{OUTPUT_END}\n")
}

/// Bytes on stdout, unbuffered. A host that is gone ends the agent.
pub fn write(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    if stdout.write_all(bytes).and_then(|()| stdout.flush()).is_err() {
        std::process::exit(1);
    }
}
