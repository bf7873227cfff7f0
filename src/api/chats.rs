//! Known chats, and requests of agents that were refused.

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
    /// The largest number of rows.
    #[serde(default)]
    limit: Limit,
}

/// Known chats, the most recently active first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Chats {
    chats: Vec<Chat>,
}

/// A chat with messages or with a group.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Chat {
    jid: ChatJid,
    /// The name of its group; without a group, the platform's name for the chat.
    name: String,
    last_activity: Time,
    /// Whether a group is registered for it.
    is_registered: bool,
}

/// Refused requests of agents, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Refusals {
    refusals: Vec<Refusal>,
}

/// A request of an agent that was refused.
#[derive(Serialize, JsonSchema)]
struct Refusal {
    /// The agent's group.
    folder: GroupFolder,
    /// The request that was refused.
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
