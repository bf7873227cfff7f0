//! `GET /v1/chats/{jid}/messages`: the messages of a chat in both directions.

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
    /// Only messages before this place: the `before` of a previous page.
    before: Option<String>,
    /// Only messages stored since a previous answer: the `after` of that answer.
    after: Option<String>,
    /// The largest number of messages.
    #[serde(default)]
    limit: Limit,
}

/// Messages of a chat, newest first.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Messages")]
pub(super) struct Page {
    messages: Vec<Message>,
    /// The `before` parameter for the next older messages; null if there are none, and in an answer to `after`.
    before: Option<String>,
    /// The `after` parameter for messages that are stored from now on; null in an answer to `before`.
    after: Option<String>,
}

/// A message of a chat.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "direction", rename_all = "lowercase")]
enum Message {
    /// A message written in the chat.
    In {
        /// When it was stored.
        time: Time,
        /// The id that the sender's client gave the message.
        id: String,
        /// The display name of the author.
        sender: String,
        text: String,
        role: Role,
        state: InboundState,
        /// Files that came with it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<Attachment>,
    },
    /// A message of an agent or of Parlor.
    Out {
        /// When it was stored.
        time: Time,
        /// The id of the delivery.
        id: String,
        /// The name to show as the sender; by default the assistant's.
        #[serde(skip_serializing_if = "Option::is_none")]
        sender: Option<String>,
        text: String,
        kind: DeliveryKind,
        state: DeliveryState,
        /// The file sent with the message.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<FileInfo>,
    },
}

/// The range of messages that the client requests.
enum Wanted {
    /// The latest messages before a place, or of the whole chat.
    Before(Option<Place>),
    /// The first messages after a place.
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

/// The end of what is stored now. Returns an error for an unknown chat.
fn seen(db: &Connection, jid: &ChatJid) -> TxResult<Seen> {
    if !history::is_known(db, jid)? {
        return Err(TxError::NotFound(format!("nothing is known of the chat {jid}")));
    }
    history::seen(db)
}

fn cursor(store: &str, seen: Seen) -> String {
    format!("{store}-{seen}")
}

/// Returns None if a cursor belongs to another store.
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
