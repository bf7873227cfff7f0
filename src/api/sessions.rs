//! The sessions that groups' agents resume.

use axum::Json as Out;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Id, Json};
use super::problem::Problem;
use super::router::Api;
use crate::domain::clock::rfc3339;
use crate::domain::ids::GroupFolder;
use crate::store::{Connection, TxError, groups, sessions};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Body {
    session_id: String,
}

pub(super) async fn list(State(api): State<Api>) -> Result<Out<Value>, Problem> {
    let all = api.deps.store.read(sessions::all).await?;
    let all: Vec<Value> = all
        .into_iter()
        .map(|(folder, id, at)| json!({ "folder": folder, "sessionId": id, "updatedAt": rfc3339(at) }))
        .collect();
    Ok(Out(json!({ "sessions": all })))
}

pub(super) async fn show(State(api): State<Api>, Id(folder): Id<GroupFolder>) -> Result<Out<Value>, Problem> {
    let of = folder.clone();
    let get = move |db: &Connection| {
        let found = sessions::get(db, &of)?;
        groups::expect_known(db, Some(&of), found.is_none())?;
        Ok(found)
    };
    let Some(id) = api.deps.store.read(get).await? else {
        return Err(Problem::not_found(format!("group {folder} has no session: its next run starts one")));
    };
    Ok(Out(json!({ "folder": folder, "sessionId": id })))
}

pub(super) async fn set(
    State(api): State<Api>,
    Id(folder): Id<GroupFolder>,
    Json(body): Json<Body>,
) -> Result<Out<Value>, Problem> {
    let id = &body.session_id;
    if id.is_empty() || id.len() > 256 || id.starts_with('-') || id.chars().any(|c| c.is_control() || c.is_whitespace())
    {
        return Err(Problem::bad(
            "invalid_field",
            "sessionId must be one word of 1 to 256 bytes that does not begin with `-`",
        ));
    }
    let now = api.deps.clock.now();
    let answer = json!({ "folder": folder, "sessionId": body.session_id });
    api.deps
        .store
        .write(move |tx| {
            let Some(group) = groups::by_folder(tx, &folder)? else {
                return Err(groups::missing(&folder));
            };
            sessions::set(tx, &group.folder, &body.session_id, now)
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
