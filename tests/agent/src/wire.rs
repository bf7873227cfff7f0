//! Writes outputs as frames to stdout, with or without Parlor's additions.

use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

use parlor_protocol::{OUTPUT_END, OUTPUT_START};
use serde_json::{Map, Value, json};

use crate::directive::Reply;

pub struct Wire {
    /// The session id of outputs.
    pub session: String,
    /// True if outputs have no additions of Parlor.
    pub v1: bool,
    /// The usage that the turn's last output reports: tokens read, tokens written, US dollars.
    pub usage: Option<(u64, u64, f64)>,
    /// Size of pieces, and the pause between them.
    pub chunks: Option<(usize, Duration)>,
    consumed: Vec<String>,
    gathered: Vec<u8>,
}

/// Gathered outputs are written in pieces of this many bytes.
const GATHER: usize = 64 << 10;

impl Wire {
    /// A stdout with Parlor's additions.
    pub fn new(session: String) -> Self {
        Self { session, v1: false, usage: None, chunks: None, consumed: Vec::new(), gathered: Vec::new() }
    }

    /// Begins a turn that consumed these inputs.
    pub fn begin(&mut self, consumed: Vec<String>) {
        self.consumed = consumed;
    }

    /// Writes an output before the turn's last.
    pub fn open(&mut self, reply: &Reply) {
        if !matches!(reply, Reply::NoEnd) {
            self.output(reply, "open");
        }
    }

    /// Like [`open`](Self::open), but the output may wait until others are written with it.
    pub fn gather(&mut self, reply: &Reply) {
        let json = self.json(reply, "open");
        self.gathered.extend_from_slice(framed(&json).as_bytes());
        if self.gathered.len() >= GATHER {
            self.send_gathered();
        }
    }

    /// Writes the gathered outputs.
    pub fn send_gathered(&mut self) {
        write(&std::mem::take(&mut self.gathered));
    }

    /// Writes the turn's last output.
    pub fn end(&mut self, reply: &Reply) {
        if !matches!(reply, Reply::NoEnd) {
            self.output(reply, "done");
        }
    }

    /// Writes an output with its own session id.
    pub fn text_with_session(&mut self, text: &str, session: &str) {
        let kept = std::mem::replace(&mut self.session, session.to_owned());
        self.open(&Reply::Text(text.to_owned()));
        self.session = kept;
    }

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

/// Writes bytes to stdout, unbuffered. If that fails, the host is gone, and the agent exits.
pub fn write(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    if stdout.write_all(bytes).and_then(|()| stdout.flush()).is_err() {
        std::process::exit(1);
    }
}
