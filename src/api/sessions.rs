//! The sessions that groups' agents resume.

use axum::Json as Out;
use axum::extract::State;
use http::StatusCode;
use parlor_agent_runner::session_id;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Id, Json};
use super::problem::Problem;
use super::router::Api;
use crate::config::provider;
use crate::domain::clock::rfc3339;
use crate::domain::ids::GroupFolder;
use crate::store::sessions::Session;
use crate::store::{Connection, TxError, groups, sessions};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Body {
    session_id: String,
    /// Whose it is; without one, the next that answers may try it.
    provider: Option<String>,
}

fn shown(session: &Session) -> Value {
    json!({
        "folder": session.folder,
        "provider": Some(&session.provider).filter(|name| *name != sessions::ANY),
        "sessionId": session.id,
        "updatedAt": rfc3339(session.updated_at),
    })
}

pub(super) async fn list(State(api): State<Api>) -> Result<Out<Value>, Problem> {
    let all = api.deps.store.read(sessions::all).await?;
    let all: Vec<Value> = all.iter().map(shown).collect();
    Ok(Out(json!({ "sessions": all })))
}

/// The one that was used last.
pub(super) async fn show(State(api): State<Api>, Id(folder): Id<GroupFolder>) -> Result<Out<Value>, Problem> {
    let of = folder.clone();
    let get = move |db: &Connection| {
        let found = sessions::of_group(db, &of)?;
        groups::expect_known(db, Some(&of), found.is_empty())?;
        Ok(found)
    };
    let all = api.deps.store.read(get).await?;
    let Some(session) = all.first() else {
        return Err(Problem::not_found(format!("group {folder} has no session: its next run starts one")));
    };
    Ok(Out(shown(session)))
}

pub(super) async fn set(
    State(api): State<Api>,
    Id(folder): Id<GroupFolder>,
    Json(body): Json<Body>,
) -> Result<Out<Value>, Problem> {
    if !session_id::is_fit(&body.session_id) {
        return Err(Problem::bad("invalid_field", format!("sessionId must be {}", session_id::FIT)));
    }
    let provider = match &body.provider {
        Some(name) => provider::parse(name).map_err(|why| Problem::bad("invalid_field", why))?,
        None => sessions::ANY,
    };
    let now = api.deps.clock.now();
    let answer = json!({ "folder": folder, "provider": body.provider, "sessionId": body.session_id });
    api.deps
        .store
        .write(move |tx| {
            let Some(group) = groups::by_folder(tx, &folder)? else {
                return Err(groups::missing(&folder));
            };
            sessions::set(tx, &group.folder, provider, &body.session_id, now)
        })
        .await?;
    Ok(Out(answer))
}

pub(super) async fn forget(State(api): State<Api>, Id(folder): Id<GroupFolder>) -> Result<StatusCode, Problem> {
    api.deps
        .store
        .write(move |tx| {
            if sessions::forget(tx, &folder)? {
                return Ok(());
            }
            groups::expect_known(tx, Some(&folder), true)?;
            Err(TxError::NotFound(format!("group {folder} has no session")))
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
