//! `POST /v1/chats/{jid}/messages`: the way in, as JSON, or as a form with files beside it. Answered after the commit.

use axum::extract::{FromRequest, Request, State};
use chrono::{DateTime, Utc};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::{Id, Json};
use super::problem::Problem;
use super::router::Api;
use super::{loose, openapi, upload};
use crate::channel::ingest::Accepted;
use crate::domain::attachment::Attachment;
use crate::domain::ids::ChatJid;
use crate::domain::message::{NewMessage, Quoted, Role};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewMessage")]
pub(super) struct Body {
    /// The id of who wrote it.
    #[serde(deserialize_with = "loose::word")]
    #[schemars(with = "loose::Word")]
    sender: String,
    /// The name of who wrote it, as people see it.
    sender_name: Option<String>,
    /// At most 1 MiB; empty only where files come with it.
    text: String,
    /// The sender's name for the message: the same one again changes nothing. Without one, each is a new message.
    #[serde(default, deserialize_with = "loose::optional_word")]
    #[schemars(with = "Option<loose::Word>")]
    id: Option<String>,
    /// When it was written; now, without it.
    #[serde(default, deserialize_with = "loose::time")]
    #[schemars(with = "Option<loose::Time>")]
    timestamp: Option<DateTime<Utc>>,
    reply_to: Option<ReplyTo>,
}

/// What a message answers: an id alone, or what else the client knows of it.
#[derive(Deserialize, JsonSchema)]
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

/// A message that is on the disk.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AcceptedMessage")]
pub(super) struct Answer {
    /// Its number: a later message has a greater one.
    seq: i64,
    role: Role,
    /// What became of the files that came with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attachment>,
    /// Why nobody may trigger: the list of senders is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

pub(super) async fn accept(
    State(api): State<Api>,
    Id(jid): Id<ChatJid>,
    request: Request,
) -> Result<openapi::Accepted<Answer>, Problem> {
    local(&jid)?;
    let accepted = if let Some(boundary) = upload::boundary(request.headers())? {
        upload::accept(&api, jid, request, &boundary).await?
    } else {
        let Json(body) = Json::from_request(request, &api).await?;
        api.deps.ingest.accept(message(&api, jid, body)).await?
    };
    let Accepted { seq, role, attachments } = accepted;
    // Whoever is not heard is to know whether the operator wants it so.
    let broken = (role == Role::Denied).then(|| api.deps.ingest.senders_problem()).flatten();
    let why = broken.map(|why| format!("sender-allowlist.json cannot be used: {why}"));
    Ok(openapi::Accepted(Answer { seq, role, attachments, why }))
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
