//! The body of an event stream: frames are read from the store only as fast as the client reads.
//!
//! A long text is read and sent in parts. A client costs less than 1 MiB of memory: a page of small events or a part
//! of a long text, and the bytes on their way to the socket. All clients share the cache in `long_texts`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Write;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::Stream;
use futures_util::stream;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{broadcast, watch};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::router::Api;
use super::time::Time;
use crate::domain::clock::SharedClock;
use crate::domain::ids::ChatJid;
use crate::domain::typing::Typing;
use crate::store::events::{self, StoredEvent};
use crate::store::{Store, StoreError};

/// Bytes that are escaped and sent at once.
const PIECE: usize = 64 << 10;

/// The state of one client's stream.
struct Follower {
    api: Api,
    store: Store,
    clock: SharedClock,
    chat: Option<ChatJid>,
    cursor: i64,
    committed: watch::Receiver<i64>,
    typing: Option<broadcast::Receiver<Typing>>,
    keep_alive: Interval,
    shutdown: CancellationToken,
    /// Events that are read but not sent; at most a page of the store.
    page: VecDeque<StoredEvent>,
    /// The text that is being sent.
    text: Option<OpenText>,
    begun: bool,
    over: bool,
}

/// A text that is partly sent.
struct OpenText {
    /// The part that was read last.
    text: String,
    /// Bytes of this part that were sent.
    sent: usize,
    /// The unread rest.
    rest: Option<Rest>,
}

/// The unread rest of a long text.
struct Rest {
    event: i64,
    from: usize,
    bytes: usize,
}

/// Streams the events after `cursor` and all later ones, until the client leaves or the host ends.
pub(super) fn follow(
    api: &Api,
    cursor: i64,
    chat: Option<ChatJid>,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + use<> {
    let deps = &api.deps;
    let mut keep_alive = tokio::time::interval(deps.limits.keep_alive);
    keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    keep_alive.reset();
    let follower = Follower {
        api: api.clone(),
        store: deps.store.clone(),
        clock: deps.clock.clone(),
        chat,
        cursor,
        committed: deps.store.events(),
        typing: Some(deps.dispatch.typing()),
        keep_alive,
        shutdown: api.shutdown.clone(),
        page: VecDeque::new(),
        text: None,
        begun: false,
        over: false,
    };
    stream::unfold(follower, |mut follower| async move { follower.next().await.map(|bytes| (Ok(bytes), follower)) })
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(OpenText { rest: Some(rest), .. }) = &self.text {
            self.api.long_texts.forget(rest.event);
        }
    }
}

impl Follower {
    async fn next(&mut self) -> Option<Bytes> {
        if !self.begun {
            // Confirms to the client that the subscription has begun.
            self.begun = true;
            return Some(Bytes::from_static(b": follows\n\n"));
        }
        loop {
            if self.over {
                return None;
            }
            if self.text.as_ref().is_some_and(OpenText::is_read) && !self.read_on().await {
                self.over = true;
                continue;
            }
            if self.text.is_some() || !self.page.is_empty() {
                return Some(self.piece());
            }
            let newest = *self.committed.borrow_and_update();
            if newest > self.cursor {
                if let Some(frame) = self.read(newest).await {
                    return Some(frame);
                }
                continue;
            }
            if let Some(frame) = self.wait().await {
                return Some(frame);
            }
        }
    }

    /// Reads the next part of a long text. Returns false if it is gone; a client that reconnects continues before
    /// this event.
    async fn read_on(&mut self) -> bool {
        let Some(OpenText { rest: Some(rest), .. }) = &self.text else { return true };
        let (event, from, bytes) = (rest.event, rest.from, rest.bytes);
        match self.api.long_texts.part(&self.store, event, from).await {
            Ok(Some(text)) if !text.is_empty() => {
                let from = from + text.len();
                let rest = (from < bytes).then_some(Rest { event, from, bytes });
                self.text = Some(OpenText { text, sent: 0, rest });
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Reads the next page. Returns a frame only if the stream must end.
    async fn read(&mut self, newest: i64) -> Option<Bytes> {
        let (cursor, chat) = (self.cursor, self.chat.clone());
        let read = self.store.read(move |db| Ok((events::after(db, cursor, chat.as_ref())?, events::bounds(db)?.0)));
        match read.await {
            // A client so slow that unread events have expired is notified.
            Ok((_, oldest)) if oldest.is_none_or(|oldest| oldest > cursor + 1) => {
                self.over = true;
                Some(resync(self.clock.now()))
            }
            Ok((page, _)) => {
                self.cursor = page.last().map_or(newest, |event| event.seq);
                self.page = page.into();
                None
            }
            Err(StoreError::Closed) => {
                self.over = true;
                Some(Bytes::from_static(b": the host ends\n\n"))
            }
            Err(error) => {
                tracing::warn!("cannot read events for a stream, closing it: {error}");
                self.over = true;
                Some(Bytes::from_static(b": the store cannot be read at the moment\n\n"))
            }
        }
    }

    /// Waits until there is something to read or to send.
    async fn wait(&mut self) -> Option<Bytes> {
        let typing = async {
            match &mut self.typing {
                Some(typing) => typing.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => self.over = true,
            changed = self.committed.changed() => self.over = changed.is_err(),
            typing = typing => match typing {
                Ok(typing) if self.chat.as_ref().is_none_or(|chat| *chat == typing.jid) => {
                    return Some(frame_typing(&typing, self.clock.now()));
                }
                Err(broadcast::error::RecvError::Closed) => self.typing = None,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            },
            _ = self.keep_alive.tick() => return Some(Bytes::from_static(b": \n\n")),
        }
        None
    }

    /// The next piece to send: several small events, or a part of a long text.
    fn piece(&mut self) -> Bytes {
        let mut out = BytesMut::with_capacity(512);
        while out.len() < PIECE {
            if let Some(open) = &mut self.text {
                if open.append(&mut out) {
                    if open.rest.is_some() {
                        break;
                    }
                    self.text = None;
                    out.extend_from_slice(b"\"}\n\n");
                }
                continue;
            }
            let Some(event) = self.page.pop_front() else { break };
            self.text = begin(self.store.id(), event, &mut out);
        }
        // The keep-alive interval counts from the last frame.
        self.keep_alive.reset();
        out.freeze()
    }
}

/// Writes an event's frame up to its long text, if any; `StoredEvent::json` makes the same JSON in one string.
fn begin(store: &str, event: StoredEvent, out: &mut BytesMut) -> Option<OpenText> {
    put(out, format_args!("id: {store}-{}\nevent: {}\ndata: {}", event.seq, event.name, event.head()));
    let rest = event.long.map(|bytes| Rest { event: event.seq, from: 0, bytes: usize::try_from(bytes).unwrap_or(0) });
    let Some(text) = event.text.or_else(|| rest.as_ref().map(|_| String::new())) else {
        out.extend_from_slice(b"}\n\n");
        return None;
    };
    out.extend_from_slice(b",\"text\":\"");
    Some(OpenText { text, sent: 0, rest })
}

impl OpenText {
    /// True if the current part is sent and there is more to read.
    fn is_read(&self) -> bool {
        self.rest.is_some() && self.sent == self.text.len()
    }

    /// Appends the next piece, escaped. Returns true after the last one.
    fn append(&mut self, out: &mut BytesMut) -> bool {
        let mut end = self.text.len().min(self.sent.saturating_add(PIECE));
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let mut escaped = Vec::with_capacity(end - self.sent + 64);
        // Serializing a string into memory cannot fail.
        if serde_json::to_writer(&mut escaped, &self.text[self.sent..end]).is_ok() {
            out.extend_from_slice(&escaped[1..escaped.len() - 1]);
        }
        self.sent = end;
        end == self.text.len()
    }
}

fn put(out: &mut BytesMut, text: std::fmt::Arguments<'_>) {
    use bytes::BufMut;
    // Writing into memory cannot fail.
    let _ = out.writer().write_fmt(text);
}

/// A frame of an event that is not stored and therefore has no id.
fn frame(name: &str, event: &impl Serialize) -> Bytes {
    // Serializing texts cannot fail.
    let data = serde_json::to_string(event).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

/// An agent begins or stops working for a chat.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentTypes<'a> {
    chat_jid: &'a ChatJid,
    on: bool,
    time: Time,
}

/// Unread events have expired: the client must read the state again.
#[derive(Serialize, JsonSchema)]
pub(super) struct Resync {
    time: Time,
}

fn resync(now: DateTime<Utc>) -> Bytes {
    frame("resync", &Resync { time: Time(now) })
}

fn frame_typing(typing: &Typing, now: DateTime<Utc>) -> Bytes {
    frame("typing", &AgentTypes { chat_jid: &typing.jid, on: typing.on, time: Time(now) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_escaped_in_pieces_equals_one_piece() {
        let text = "é\n\"\\\u{1}😀 ".repeat(60_000);
        let event = StoredEvent {
            seq: 7,
            name: "message".into(),
            jid: "web:a".into(),
            body: r#"{"chatJid":"web:a"}"#.into(),
            text: Some(text),
            long: None,
            at: chrono::DateTime::UNIX_EPOCH,
        };
        let whole = format!("id: s-7\nevent: message\ndata: {}\n\n", event.json());
        let mut out = BytesMut::new();
        let mut open = begin("s", event, &mut out).unwrap();
        while !open.append(&mut out) {}
        out.extend_from_slice(b"\"}\n\n");
        assert!(out == whole.as_bytes());
        assert_eq!(whole.matches('\n').count(), 4);
    }
}
