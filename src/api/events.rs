//! `GET /v1/events`: checks the request and finds the start of the client's stream.

use std::str::FromStr;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Params;
use super::openapi::{Operation, Status};
use super::problem::Problem;
use super::router::Api;
use super::stream::{self, AgentTypes, Resync};
use crate::domain::event::{Event, Message, MessageIn};
use crate::domain::ids::ChatJid;
use crate::store::events;

/// Response header with the start of a new stream, for clients that want to resume before their first event.
const CURSOR: HeaderName = HeaderName::from_static("parlor-cursor");

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// The id of the last event that the client saw, or `0` for all kept events. Without it, the stream begins now.
    since: Option<String>,
    /// Only events of this chat.
    chat: Option<ChatJid>,
}

/// Describes the stream. OpenAPI cannot describe single events, so each event's data has a schema under the event's
/// name.
pub(super) fn describe(mut operation: Operation) -> Operation {
    let text = json!({ "type": "string", "description": "Absent where it is not kept any more" });
    let time = json!({ "type": "string", "format": "date-time", "description": "When the event was stored" });
    let joined = |event: Value, more: Value| json!({ "allOf": [event], "properties": more, "required": ["time"] });
    let message_in = joined(operation.given::<MessageIn<'_>>(), json!({ "text": text, "time": time }));
    let message = joined(operation.given::<Message<'_>>(), json!({ "text": text, "time": time }));
    let other = joined(operation.given::<Event>(), json!({ "time": time }));
    let events = json!({
        "message_in": message_in,
        "message": message,
        "turn": other,
        "run": other,
        "task": other,
        "typing": operation.given::<AgentTypes<'_>>(),
        "resync": operation.given::<Resync>(),
    });
    let schema = json!({
        "type": "string",
        "description": "Server-sent events without end: `id`, `event` and `data`, whose schemas are in `x-events` by the \
            name of the event",
        "x-events": events,
    });
    operation
        .takes_header("Last-Event-ID", "The id of the last event that was seen; goes before `since`")
        .answers(StatusCode::OK, "Events from here on, until the client leaves or the host ends")
        .content(StatusCode::OK, "text/event-stream", &schema)
        .header(StatusCode::OK, "Parlor-Cursor", "Where the stream begins")
        .fails(&[Status::Gone])
}

pub(super) async fn stream(
    State(api): State<Api>,
    Params(query): Params<Query>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // A reconnecting browser sends the last event id, and also the address of its first request.
    let given = match headers.get("last-event-id") {
        Some(value) => Some(value.to_str().map_err(|_| malformed("…"))?.to_owned()),
        None => query.since,
    };
    let store = &api.deps.store;
    let (oldest, newest) = store.read(events::bounds).await?;
    let kept = oldest.map_or(newest, |oldest| oldest - 1);
    // `0`: all kept events.
    let begin = || Cursor { store: store.id().to_owned(), seq: kept };
    let since = given.as_deref().map(|text| if text == "0" { Ok(begin()) } else { text.parse() }).transpose()?;
    let seq = match since {
        None => newest,
        Some(cursor) => {
            if cursor.store != store.id() || !(kept..=newest).contains(&cursor.seq) {
                return Err(Problem::resync(
                    format!("{}-{newest}", store.id()),
                    "events after this cursor are not kept any more, or it belongs to another store: \
                     read the state anew, then follow from `cursor`",
                ));
            }
            cursor.seq
        }
    };
    let body = Body::from_stream(stream::follow(&api, seq, query.chat));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(cursor) = HeaderValue::try_from(format!("{}-{seq}", store.id())) {
        headers.insert(CURSOR, cursor);
    }
    Ok(response)
}

/// A place in the event stream, written `<store>-<seq>`.
struct Cursor {
    store: String,
    seq: i64,
}

impl FromStr for Cursor {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let (store, seq) = text.rsplit_once('-').ok_or_else(|| malformed(text))?;
        let seq = seq.parse().ok().filter(|seq| *seq >= 0).ok_or_else(|| malformed(text))?;
        Ok(Self { store: store.to_owned(), seq })
    }
}

fn malformed(text: &str) -> Problem {
    let text: String = text.chars().take(80).collect();
    Problem::bad(
        "invalid_cursor",
        format!("{text:?} is not a cursor: use the id of an event, or leave it out to begin now"),
    )
}
