//! `POST /v1/chats/{jid}/messages`: the way in. Answered after the commit.

use axum::Json as Out;
use axum::extract::State;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Id, Json};
use super::problem::Problem;
use super::router::Api;
use crate::channel::ingest::Accepted;
use crate::domain::ids::ChatJid;
use crate::domain::message::NewMessage;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Body {
    sender: String,
    sender_name: Option<String>,
    text: String,
    id: Option<String>,
    timestamp: Option<DateTime<Utc>>,
}

pub(super) async fn accept(
    State(api): State<Api>,
    Id(jid): Id<ChatJid>,
    Json(body): Json<Body>,
) -> Result<(StatusCode, Out<Value>), Problem> {
    local(&jid)?;
    let Accepted { seq, role } = api.deps.ingest.accept(message(&api, jid, body)).await?;
    Ok((StatusCode::ACCEPTED, Out(json!({ "seq": seq, "role": role }))))
}

/// Whether a chat is this API's own; other platforms' chats are fed by their channels alone.
fn local(jid: &ChatJid) -> Result<(), Problem> {
    match jid.channel() {
        "web" | "tty" => Ok(()),
        _ => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "chat_of_another_channel",
            format!("{jid} is not a chat of this API: its chats are called web:<name> or tty:<name>"),
        )),
    }
}

fn message(api: &Api, jid: ChatJid, body: Body) -> NewMessage {
    NewMessage {
        jid,
        platform_id: body.id.unwrap_or_else(|| api.deps.clock.ulid().to_string()),
        sender_name: body.sender_name.unwrap_or_else(|| body.sender.clone()),
        sender: body.sender,
        text: body.text,
        sent_at: body.timestamp.unwrap_or_else(|| api.deps.clock.now()),
    }
}
