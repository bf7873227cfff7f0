//! Known chats, and what agents asked for and were refused.

use axum::Json as Out;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::{Limit, Params};
use super::problem::Problem;
use super::router::Api;
use super::time::Time;
use crate::domain::ids::{ChatJid, GroupFolder};
use crate::store::{groups, ipc_files};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Rows at the most.
    #[serde(default)]
    limit: Limit,
}

/// Known chats, the one that somebody wrote in last first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Chats {
    chats: Vec<Chat>,
}

/// A chat that somebody has written in, or a group's.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Chat {
    jid: ChatJid,
    /// Its group's name, else what its platform calls it.
    name: String,
    last_activity: Time,
    /// Whether it belongs to a group.
    is_registered: bool,
}

/// Refused requests of agents, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Refusals {
    refusals: Vec<Refusal>,
}

/// What an agent asked for and was refused.
#[derive(Serialize, JsonSchema)]
struct Refusal {
    /// The agent's group.
    folder: GroupFolder,
    /// The request.
    what: String,
    why: String,
    at: Time,
}

pub(super) async fn list(State(api): State<Api>) -> Result<Out<Chats>, Problem> {
    let chats = api.deps.store.read(groups::chats).await?.into_iter().map(|chat| Chat {
        jid: chat.jid,
        name: chat.name,
        last_activity: Time(chat.last_activity),
        is_registered: chat.is_registered,
    });
    Ok(Out(Chats { chats: chats.collect() }))
}

pub(super) async fn refusals(State(api): State<Api>, Params(query): Params<Query>) -> Result<Out<Refusals>, Problem> {
    let limit = query.limit.rows()?;
    let refusals = api.deps.store.read(move |db| ipc_files::refusals(db, limit)).await?;
    let refusals =
        refusals.into_iter().map(|r| Refusal { folder: r.folder, what: r.what, why: r.why, at: Time(r.at) }).collect();
    Ok(Out(Refusals { refusals }))
}
