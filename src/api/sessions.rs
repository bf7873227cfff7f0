//! Routes for the sessions that groups' agents resume.

use axum::Json as Out;
use axum::extract::State;
use parlor_protocol::session_id;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::{Id, Json};
use super::openapi::NoContent;
use super::problem::Problem;
use super::router::Api;
use super::time::Time;
use crate::config::provider;
use crate::domain::ids::GroupFolder;
use crate::store::sessions::Session;
use crate::store::{Connection, TxError, groups, sessions};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "SessionToSet")]
pub(super) struct Body {
    /// The provider's name for it: one line of at most 512 bytes.
    #[schemars(
        length(max = 512),
        regex(pattern = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029-][^\x00-\x1f\x7f-\x9f\u2028\u2029]*$")
    )]
    session_id: String,
    /// The provider of the session; without it, the next provider that answers may try it.
    provider: Option<String>,
}

/// Sessions that agents resume.
#[derive(Serialize, JsonSchema)]
pub(super) struct All {
    sessions: Vec<Shown>,
}

/// A session that a group's agent resumes.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Session")]
pub(super) struct Shown {
    folder: GroupFolder,
    /// The provider of the session; null if the next provider that answers may try it.
    provider: Option<String>,
    /// The provider's name for it.
    session_id: String,
    updated_at: Time,
}

/// A session that was set.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetSession {
    folder: GroupFolder,
    provider: Option<String>,
    session_id: String,
}

impl From<Session> for Shown {
    fn from(session: Session) -> Self {
        Self {
            folder: session.folder,
            provider: Some(session.provider).filter(|name| *name != sessions::ANY),
            session_id: session.id,
            updated_at: Time(session.updated_at),
        }
    }
}

pub(super) async fn list(State(api): State<Api>) -> Result<Out<All>, Problem> {
    let all = api.deps.store.read(sessions::all).await?;
    Ok(Out(All { sessions: all.into_iter().map(Shown::from).collect() }))
}

/// Shows the session that was used last.
pub(super) async fn show(State(api): State<Api>, Id(folder): Id<GroupFolder>) -> Result<Out<Shown>, Problem> {
    let of = folder.clone();
    let get = move |db: &Connection| {
        let found = sessions::of_group(db, &of)?;
        groups::expect_known(db, Some(&of), found.is_empty())?;
        Ok(found)
    };
    let all = api.deps.store.read(get).await?;
    let Some(session) = all.into_iter().next() else {
        return Err(Problem::not_found(format!("group {folder} has no session: its next run starts one")));
    };
    Ok(Out(session.into()))
}

pub(super) async fn set(
    State(api): State<Api>,
    Id(folder): Id<GroupFolder>,
    Json(body): Json<Body>,
) -> Result<Out<SetSession>, Problem> {
    if !session_id::is_fit(&body.session_id) {
        return Err(Problem::bad("invalid_field", format!("sessionId must be {}", session_id::FIT)));
    }
    let provider = match &body.provider {
        Some(name) => provider::parse(name).map_err(|why| Problem::bad("invalid_field", why))?,
        None => sessions::ANY,
    };
    let now = api.deps.clock.now();
    let answer =
        SetSession { folder: folder.clone(), provider: body.provider.clone(), session_id: body.session_id.clone() };
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

pub(super) async fn forget(State(api): State<Api>, Id(folder): Id<GroupFolder>) -> Result<NoContent, Problem> {
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
    Ok(NoContent)
}
