//! `POST /v1/chats/{jid}/messages`: takes a message as JSON, or as a form with files. Answers after the commit.

use axum::extract::{FromRequest, Request, State};
use chrono::{DateTime, Utc};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::{Id, Json};
use super::problem::Problem;
use super::router::Api;
use super::{loose, openapi, upload};
use crate::channel::intake::ingest::Accepted;
use crate::domain::attachment::Attachment;
use crate::domain::ids::ChatJid;
use crate::domain::message::{NewMessage, Quoted, Role};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewMessage")]
pub(super) struct Body {
    /// The id of the author.
    #[serde(deserialize_with = "loose::word")]
    #[schemars(with = "loose::Word")]
    sender: String,
    /// The display name of the author.
    sender_name: Option<String>,
    /// At most 1 MiB; may be empty only if files come with it.
    text: String,
    /// The client's id for the message. A second message with the same id changes nothing. Without an id, each
    /// request is a new message.
    #[serde(default, deserialize_with = "loose::optional_word")]
    #[schemars(with = "Option<loose::Word>")]
    id: Option<String>,
    /// When it was written; by default now.
    #[serde(default, deserialize_with = "loose::time")]
    #[schemars(with = "Option<loose::Time>")]
    timestamp: Option<DateTime<Utc>>,
    reply_to: Option<ReplyTo>,
}

/// The message that this one answers: its id, or an object with more details.
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

/// A message after its commit.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AcceptedMessage")]
pub(super) struct Answer {
    /// Its sequence number: a later message has a greater one.
    seq: i64,
    role: Role,
    /// The result for each file that came with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attachment>,
    /// Why nobody can trigger the agent: the list of senders cannot be used.
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
    // Lets the client distinguish a broken sender list from a deliberate denial.
    let broken = (role == Role::Denied).then(|| api.deps.ingest.senders_problem()).flatten();
    let why = broken.map(|why| format!("sender-allowlist.json cannot be used: {why}"));
    Ok(openapi::Accepted(Answer { seq, role, attachments, why }))
}

/// Refuses chats of other platforms: only their own channels may store messages there.
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
