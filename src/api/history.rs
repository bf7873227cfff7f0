//! `GET /v1/chats/{jid}/messages`: what was said in a chat, both ways.

use axum::Json as Out;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::{Id, Limit, Params};
use super::problem::Problem;
use super::router::Api;
use super::time::Time;
use crate::domain::attachment::Attachment;
use crate::domain::delivery::{DeliveryKind, DeliveryState, FileInfo};
use crate::domain::ids::ChatJid;
use crate::domain::message::{InboundState, Role};
use crate::store::history::{self, More, Place, Said, Seen};
use crate::store::{Connection, TxError, TxResult};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Those before this place: `before` of the page that came before it.
    before: Option<String>,
    /// Those that were stored after an answer: its `after`.
    after: Option<String>,
    /// Messages at the most.
    #[serde(default)]
    limit: Limit,
}

/// Messages of a chat, newest first.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Messages")]
pub(super) struct Page {
    messages: Vec<Message>,
    /// The parameter for the messages before these; null where there are none, and in an answer to `after`.
    before: Option<String>,
    /// The parameter for the messages that are stored from now on; null in an answer to `before`.
    after: Option<String>,
}

/// A message of a chat.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "direction", rename_all = "lowercase")]
enum Message {
    /// Somebody wrote it.
    In {
        /// When it was stored.
        time: Time,
        /// The sender's name for it.
        id: String,
        /// The name of who wrote it.
        sender: String,
        text: String,
        role: Role,
        state: InboundState,
        /// Files that came with it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<Attachment>,
    },
    /// An agent, or Parlor.
    Out {
        /// When it was stored.
        time: Time,
        /// The delivery's id.
        id: String,
        /// A name to show as the sender; the assistant's without it.
        #[serde(skip_serializing_if = "Option::is_none")]
        sender: Option<String>,
        text: String,
        kind: DeliveryKind,
        state: DeliveryState,
        /// A file that went with it.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<FileInfo>,
    },
}

/// Which messages are asked for.
enum Wanted {
    /// The last ones before a place, or of all.
    Before(Option<Place>),
    /// The first ones after what was seen.
    After(Seen),
}

pub(super) async fn list(
    State(api): State<Api>,
    Id(jid): Id<ChatJid>,
    Params(query): Params<Query>,
) -> Result<Out<Page>, Problem> {
    let limit = query.limit.rows()?;
    let store = &api.deps.store;
    let page = match wanted(store.id(), &query)? {
        Some(Wanted::Before(place)) => {
            let read = move |db: &Connection| {
                let seen = seen(db, &jid)?;
                Ok((history::before(db, &jid, place, seen, limit)?, seen))
            };
            let (page, seen) = store.read(read).await?;
            let before = page.messages.last().filter(|_| page.more).map(|said| said.place.to_string());
            let after = place.is_none().then(|| cursor(store.id(), seen));
            Page { messages: page.messages.into_iter().map(Message::from).collect(), before, after }
        }
        Some(Wanted::After(from)) => {
            let read = move |db: &Connection| {
                seen(db, &jid)?;
                history::after(db, &jid, from, limit)
            };
            let (mut page, reached) = store.read(read).await?;
            page.sort_unstable_by_key(|said| std::cmp::Reverse(said.place));
            let after = Some(cursor(store.id(), reached));
            Page { messages: page.into_iter().map(Message::from).collect(), before: None, after }
        }
        None => {
            let seen = store.read(move |db| seen(db, &jid)).await?;
            return Err(Problem::resync(
                cursor(store.id(), seen),
                "`after` belongs to another store: read the messages anew, then follow from `cursor`",
            ));
        }
    };
    Ok(Out(page))
}

/// All that is stored so far; an error where nothing is known of the chat.
fn seen(db: &Connection, jid: &ChatJid) -> TxResult<Seen> {
    if !history::is_known(db, jid)? {
        return Err(TxError::NotFound(format!("nothing is known of the chat {jid}")));
    }
    history::seen(db)
}

fn cursor(store: &str, seen: Seen) -> String {
    format!("{store}-{seen}")
}

/// None where a cursor is of another store.
fn wanted(store: &str, query: &Query) -> Result<Option<Wanted>, Problem> {
    let bad = |name, else_| {
        let detail = format!("`{name}` is not one that a page of messages gave: leave it out for {else_}");
        Problem::bad("invalid_cursor", detail)
    };
    match (&query.before, &query.after) {
        (Some(_), Some(_)) => {
            Err(Problem::bad("invalid_query", "before and after exclude each other: give one of them"))
        }
        (before, None) => {
            let place = before.as_deref().map(str::parse).transpose().map_err(|()| bad("before", "the last ones"))?;
            Ok(Some(Wanted::Before(place)))
        }
        (None, Some(after)) => {
            let bad = || bad("after", "the last ones, and the cursor for what comes next");
            let mut parts = after.rsplitn(3, '-');
            let (Some(outgoing), Some(incoming), Some(of)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(bad());
            };
            let seen = format!("{incoming}-{outgoing}").parse().map_err(|()| bad())?;
            Ok((of == store).then_some(Wanted::After(seen)))
        }
    }
}

impl From<Said> for Message {
    fn from(said: Said) -> Self {
        let (time, id, text) = (Time(said.place.at), said.id, said.text);
        match said.more {
            More::In { sender, state, role, attachments } => {
                Self::In { time, id, sender, text, role, state, attachments }
            }
            More::Out { sender, state, kind, file } => Self::Out { time, id, sender, text, kind, state, file },
        }
    }
}
