//! Reads the event stream on a separate thread, so that each event has its time of arrival.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::Connection;

#[derive(Debug, Clone)]
pub struct Event {
    pub id: Option<String>,
    pub name: String,
    pub data: Value,
    /// The time at which its last byte arrived.
    pub at: Instant,
    /// The same time as `CLOCK_MONOTONIC` nanoseconds.
    pub ns: i128,
}

impl Event {
    pub fn text(&self) -> &str {
        self.data["text"].as_str().unwrap_or_default()
    }

    pub fn is_message(&self, jid: &str) -> bool {
        self.name == "message" && self.data["chatJid"] == jid
    }

    /// Returns true if the event reports that the message's turn reached this state.
    pub fn is_turn(&self, jid: &str, state: &str, seq: i64) -> bool {
        self.name == "turn"
            && self.data["chatJid"] == jid
            && self.data["state"] == state
            && self.data["throughSeq"].as_i64().is_some_and(|through| {
                // A command's turn has no other messages.
                through == seq || (through > seq && self.data["reason"] != "command")
            })
    }
}

#[derive(Debug)]
pub struct Events {
    incoming: Receiver<Event>,
    /// All events so far, in order.
    pub seen: Vec<Event>,
    /// [`wait`](Self::wait) ignores events before this index.
    mark: usize,
    socket: UnixStream,
}

impl Events {
    /// Opens the stream at a cursor, or from now on. Returns when the host has begun to follow.
    pub fn open(socket: &Path, since: Option<&str>) -> Self {
        Self::follow(socket, &since.map_or("/v1/events".to_owned(), |since| format!("/v1/events?since={since}")))
    }

    /// Opens the stream of one chat from now on.
    pub fn of_chat(socket: &Path, jid: &str) -> Self {
        Self::follow(socket, &format!("/v1/events?chat={jid}"))
    }

    fn follow(socket: &Path, path: &str) -> Self {
        let mut connection = Connection::open(socket).unwrap();
        connection.send("GET", path, b"").unwrap();
        let (status, headers) = connection.head().unwrap();
        assert_eq!(status, 200, "{headers:?}");
        let socket = connection.socket().unwrap();
        let (outgoing, incoming) = channel();
        std::thread::spawn(move || read(connection, &outgoing));
        Self { incoming, seen: Vec::new(), mark: 0, socket }
    }

    /// Returns the next event; None after the time limit.
    pub fn next(&mut self, limit: Duration) -> Option<Event> {
        match self.incoming.recv_timeout(limit) {
            Ok(event) => {
                self.seen.push(event.clone());
                Some(event)
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Waits for a matching event among those since the last [`forget`](Self::forget).
    #[track_caller]
    pub fn wait(&mut self, what: &str, limit: Duration, fits: impl Fn(&Event) -> bool) -> Event {
        if let Some(event) = self.seen[self.mark..].iter().find(|e| fits(e)) {
            return event.clone();
        }
        let deadline = Instant::now() + limit;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())) {
                Some(event) if fits(&event) => return event,
                Some(_) => {}
                None => panic!("no {what} within {limit:?}; came: {}", self.summary()),
            }
        }
    }

    /// Waits for a matching text in a chat.
    #[track_caller]
    pub fn message(&mut self, jid: &str, limit: Duration, fits: impl Fn(&str) -> bool) -> Event {
        self.wait(&format!("text in {jid}"), limit, |e| e.is_message(jid) && fits(e.text()))
    }

    /// Waits until a message's turn is done.
    #[track_caller]
    pub fn turn_done(&mut self, jid: &str, seq: i64, limit: Duration) -> Event {
        self.wait(&format!("end of the turn with {seq} in {jid}"), limit, |e| {
            assert!(!e.is_turn(jid, "failed", seq), "the turn failed: {}", e.data);
            e.is_turn(jid, "done", seq)
        })
    }

    /// Ignores all events so far.
    pub fn forget(&mut self) {
        while self.next(Duration::ZERO).is_some() {}
        self.mark = self.seen.len();
    }

    /// Returns a chat's texts so far, in order.
    pub fn texts(&self, jid: &str) -> Vec<String> {
        self.seen.iter().filter(|e| e.is_message(jid)).map(|e| e.text().to_owned()).collect()
    }

    /// Returns the id of the last event that has one.
    pub fn cursor(&self) -> Option<String> {
        self.seen.iter().rev().find_map(|e| e.id.clone())
    }

    fn summary(&self) -> String {
        let one = |e: &Event| {
            let data: String = e.data.to_string().chars().take(200).collect();
            format!("\n  {} {data}", e.name)
        };
        self.seen[self.mark..].iter().rev().take(20).rev().map(one).collect()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // Ends the reading thread.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

fn read(mut connection: Connection, outgoing: &Sender<Event>) {
    let mut buffer: Vec<u8> = Vec::new();
    let mut searched = 0;
    while let Ok(Some(chunk)) = connection.chunk() {
        buffer.extend_from_slice(&chunk);
        let (at, ns) = (Instant::now(), super::monotonic_ns());
        loop {
            // The end of a frame may be split between two chunks.
            let from = searched;
            let Some(end) = memchr::memmem::find(&buffer[from..], b"\n\n") else {
                searched = buffer.len().saturating_sub(1);
                break;
            };
            let frame: Vec<u8> = buffer.drain(..from + end + 2).collect();
            searched = 0;
            if let Some(event) = parse(&frame, at, ns)
                && outgoing.send(event).is_err()
            {
                return;
            }
        }
    }
}

fn parse(frame: &[u8], at: Instant, ns: i128) -> Option<Event> {
    let frame = std::str::from_utf8(frame).unwrap();
    let mut event = Event { id: None, name: String::new(), data: Value::Null, at, ns };
    for line in frame.lines() {
        match line.split_once(": ") {
            Some(("id", id)) => event.id = Some(id.to_owned()),
            Some(("event", name)) => name.clone_into(&mut event.name),
            Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
            _ => {}
        }
    }
    (!event.name.is_empty()).then_some(event)
}
