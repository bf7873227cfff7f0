//! Known chats, and what agents asked for and were refused.

use axum::Json as Out;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Params, limit};
use super::problem::Problem;
use super::router::Api;
use crate::domain::clock::rfc3339;
use crate::store::{groups, ipc_files};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    limit: Option<u32>,
}

pub(super) async fn list(State(api): State<Api>) -> Result<Out<Value>, Problem> {
    let chats = api.deps.store.read(groups::chats).await?;
    let chats: Vec<Value> = chats
        .into_iter()
        .map(|chat| {
            json!({
                "jid": chat.jid,
                "name": chat.name,
                "lastActivity": rfc3339(chat.last_activity),
                "isRegistered": chat.is_registered,
            })
        })
        .collect();
    Ok(Out(json!({ "chats": chats })))
}

pub(super) async fn refusals(State(api): State<Api>, Params(query): Params<Query>) -> Result<Out<Value>, Problem> {
    let limit = limit(query.limit)?;
    let refusals = api.deps.store.read(move |db| ipc_files::refusals(db, limit)).await?;
    let refusals: Vec<Value> = refusals
        .into_iter()
        .map(|r| json!({ "folder": r.folder, "what": r.what, "why": r.why, "at": rfc3339(r.at) }))
        .collect();
    Ok(Out(json!({ "refusals": refusals })))
}
