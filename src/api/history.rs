//! `GET /v1/chats/{jid}/messages`: what was said in a chat, both ways.

use axum::Json as Out;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Id, Params, limit};
use super::problem::Problem;
use super::router::Api;
use crate::domain::clock::rfc3339;
use crate::domain::ids::ChatJid;
use crate::store::history::{self, Place, Said, Way};
use crate::store::{Connection, TxError, groups};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Those before this place: `before` of the page that came before it.
    before: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn list(
    State(api): State<Api>,
    Id(jid): Id<ChatJid>,
    Params(query): Params<Query>,
) -> Result<Out<Value>, Problem> {
    let limit = limit(query.limit)?;
    let place = query.before.as_deref().map(str::parse::<Place>).transpose().map_err(|()| {
        Problem::bad(
            "invalid_cursor",
            "`before` is not one that a page of messages gave: leave it out for the last ones",
        )
    })?;
    let read = move |db: &Connection| {
        let found = history::before(db, &jid, place, limit)?;
        if found.messages.is_empty() && groups::by_jid(db, &jid)?.is_none() {
            return Err(TxError::NotFound(format!("nothing is known of the chat {jid}")));
        }
        Ok(found)
    };
    let page = api.deps.store.read(read).await?;
    let before = page.messages.last().filter(|_| page.more).map(|said| said.place.to_string());
    Ok(Out(json!({ "messages": page.messages.iter().map(view).collect::<Vec<_>>(), "before": before })))
}

fn view(said: &Said) -> Value {
    let (way, what) = match said.place.way {
        Way::In => ("in", "role"),
        Way::Out => ("out", "kind"),
    };
    let mut view = json!({
        "direction": way,
        "time": rfc3339(said.place.at),
        "id": said.id,
        "text": said.text,
        "state": said.state,
    });
    view[what] = json!(said.kind);
    if let Some(sender) = &said.sender {
        view["sender"] = json!(sender);
    }
    if let Some(file) = &said.file {
        view["file"] = json!(file);
    }
    if let Some(files) = said.attachments.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok()) {
        view["attachments"] = files;
    }
    view
}
