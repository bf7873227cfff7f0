//! `POST /v1/chats/{jid}/messages`: the way in, as JSON, or as a form with files beside it. Answered after the commit.

use axum::Json as Out;
use axum::extract::{FromRequest, Request, State};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Id, Json};
use super::problem::Problem;
use super::router::Api;
use super::{loose, upload};
use crate::channel::ingest::Accepted;
use crate::domain::ids::ChatJid;
use crate::domain::message::{NewMessage, Quoted, Role};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Body {
    #[serde(deserialize_with = "loose::word")]
    sender: String,
    sender_name: Option<String>,
    text: String,
    #[serde(default, deserialize_with = "loose::optional_word")]
    id: Option<String>,
    #[serde(default, deserialize_with = "loose::time")]
    timestamp: Option<DateTime<Utc>>,
    reply_to: Option<ReplyTo>,
}

/// What a message answers: an id alone, or what else the client knows of it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "give an id, or {id, sender?, text?, assistant?}")]
enum ReplyTo {
    Id(String),
    Number(i64),
    Whole(Quoted),
}

impl From<ReplyTo> for Quoted {
    fn from(reply: ReplyTo) -> Self {
        match reply {
            ReplyTo::Id(id) => Self { id, ..Self::default() },
            ReplyTo::Number(id) => Self { id: id.to_string(), ..Self::default() },
            ReplyTo::Whole(quoted) => quoted,
        }
    }
}

pub(super) async fn accept(
    State(api): State<Api>,
    Id(jid): Id<ChatJid>,
    request: Request,
) -> Result<(StatusCode, Out<Value>), Problem> {
    local(&jid)?;
    let accepted = if let Some(boundary) = upload::boundary(request.headers())? {
        upload::accept(&api, jid, request, &boundary).await?
    } else {
        let Json(body) = Json::from_request(request, &api).await?;
        api.deps.ingest.accept(message(&api, jid, body)).await?
    };
    let Accepted { seq, role, attachments } = accepted;
    let mut answer = json!({ "seq": seq, "role": role });
    if !attachments.is_empty() {
        answer["attachments"] = json!(attachments);
    }
    // Whoever is not heard is to know whether the operator wants it so.
    if role == Role::Denied
        && let Some(why) = api.deps.ingest.senders_problem()
    {
        answer["why"] = json!(format!("sender-allowlist.json cannot be used: {why}"));
    }
    Ok((StatusCode::ACCEPTED, Out(answer)))
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

pub(super) fn message(api: &Api, jid: ChatJid, body: Body) -> NewMessage {
    NewMessage {
        jid,
        platform_id: body.id.unwrap_or_else(|| api.deps.clock.ulid().to_string()),
        sender_name: body.sender_name.unwrap_or_else(|| body.sender.clone()),
        sender: body.sender,
        text: body.text,
        attachments: Vec::new(),
        quoted: body.reply_to.map(Quoted::from),
        sent_at: body.timestamp.unwrap_or_else(|| api.deps.clock.now()),
    }
}
