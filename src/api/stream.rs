//! The body of an event stream: frames pulled from the store as fast as the client reads, and no faster.
//!
//! A long text is read from the store part by part as it is sent: what is held for a client is a page of small events or a
//! part of a long one, and what is on its way to the socket, together less than a MiB. See `long_texts` for what all
//! clients share.

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

/// Bytes that are escaped and sent in one piece.
const PIECE: usize = 64 << 10;

/// Everything one client's stream holds.
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
    /// Read, not yet sent; at most a page of the store.
    page: VecDeque<StoredEvent>,
    /// The text being sent.
    text: Option<OpenText>,
    begun: bool,
    over: bool,
}

/// A text in the middle of being sent.
struct OpenText {
    /// The part that was read.
    text: String,
    /// Bytes of it that were sent.
    sent: usize,
    /// What is not read yet.
    rest: Option<Rest>,
}

/// The rest of a long text.
struct Rest {
    event: i64,
    from: usize,
    bytes: usize,
}

/// Events after `cursor`, then those to come, until the client leaves or the host ends.
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
            // Tells the client that it is heard from here on.
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

    /// Reads the next part of a long text; false when it is not there any more. A client that comes back goes on before it.
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

    /// Reads the next page; a frame only when the stream must end.
    async fn read(&mut self, newest: i64) -> Option<Bytes> {
        let (cursor, chat) = (self.cursor, self.chat.clone());
        let read = self.store.read(move |db| Ok((events::after(db, cursor, chat.as_ref())?, events::bounds(db)?.0)));
        match read.await {
            // A client so slow that what it had yet to read has expired must know.
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
                tracing::warn!("an event stream ends: {error}");
                self.over = true;
                Some(Bytes::from_static(b": the store cannot be read at the moment\n\n"))
            }
        }
    }

    /// Sleeps until there is something to look at or to send.
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

    /// As much as fits into one piece: several small events, or a part of a long one.
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
        // Quiet is counted from the last frame.
        self.keep_alive.reset();
        out.freeze()
    }
}

/// Writes an event's frame, up to its text where it has one; `StoredEvent::json` joins the same way, in one string.
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
    /// Whether all that was read is sent, and there is more to read.
    fn is_read(&self) -> bool {
        self.rest.is_some() && self.sent == self.text.len()
    }

    /// Appends the next part, escaped; true when that was the last.
    fn append(&mut self, out: &mut BytesMut) -> bool {
        let mut end = self.text.len().min(self.sent.saturating_add(PIECE));
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let mut escaped = Vec::with_capacity(end - self.sent + 64);
        // A string into memory: cannot fail.
        if serde_json::to_writer(&mut escaped, &self.text[self.sent..end]).is_ok() {
            out.extend_from_slice(&escaped[1..escaped.len() - 1]);
        }
        self.sent = end;
        end == self.text.len()
    }
}

fn put(out: &mut BytesMut, text: std::fmt::Arguments<'_>) {
    use bytes::BufMut;
    // Memory takes everything.
    let _ = out.writer().write_fmt(text);
}

/// A frame of an event that is not stored, and so has no id.
fn frame(name: &str, event: &impl Serialize) -> Bytes {
    // Texts: cannot fail.
    let data = serde_json::to_string(event).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

/// An agent works for a chat at the moment, or does not any more.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentTypes<'a> {
    chat_jid: &'a ChatJid,
    on: bool,
    time: Time,
}

/// Events that the client had not read are gone: it reads the state anew.
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
    fn a_long_text_is_escaped_in_pieces_as_in_one() {
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
