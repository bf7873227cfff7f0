//! Routes that list runs, serve their logs, end a run, and retry failed messages.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Read;
use std::path::Path;

use axum::Json as Out;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::body::{Id, Json, Limit, Params, Short};
use super::openapi::{NoContent, Operation, Status};
use super::problem::Problem;
use super::router::Api;
use crate::container::run::run_log;
use crate::dispatch::Doing;
use crate::domain::ids::{GroupFolder, RunId};
use crate::domain::run::RunState;
use crate::store::runs::Run;
use crate::store::{Connection, groups, inbound, runs, short_ids};

/// The largest part of a log that is served; the end is kept, because it explains a failure.
const MAX_LOG: u64 = 32 << 20;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Only runs of this group.
    folder: Option<GroupFolder>,
    /// The largest number of rows.
    #[serde(default)]
    limit: Limit,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RunsToRetry")]
pub(super) struct Retry {
    /// The group whose failed messages are retried.
    folder: GroupFolder,
}

/// Runs, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Runs {
    runs: Vec<Shown>,
}

/// A run as it is shown.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Run")]
pub(super) struct Shown {
    #[serde(flatten)]
    run: Run,
    /// Its current activity; only while it is alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    doing: Option<Doing>,
}

/// The number of messages that are retried.
#[derive(Serialize, JsonSchema)]
pub(super) struct Retried {
    pub(super) retried: usize,
}

pub(super) async fn list(State(api): State<Api>, Params(query): Params<Query>) -> Result<Out<Runs>, Problem> {
    let limit = query.limit.rows()?;
    let list = move |db: &Connection| {
        let rows = runs::list(db, query.folder.as_ref(), limit)?;
        groups::expect_known(db, query.folder.as_ref(), rows.is_empty())?;
        Ok(rows)
    };
    let rows = api.deps.store.read(list).await?;
    let doing = doing(&api, &rows).await;
    Ok(Out(Runs { runs: rows.into_iter().map(|run| shown(run, &doing)).collect() }))
}

pub(super) async fn show(State(api): State<Api>, Id(Short(id)): Id<Short>) -> Result<Out<Shown>, Problem> {
    let run = find(&api, id).await?;
    let doing = doing(&api, std::slice::from_ref(&run)).await;
    Ok(Out(shown(run, &doing)))
}

/// The current activity of those runs that are alive.
async fn doing(api: &Api, rows: &[Run]) -> HashMap<RunId, Doing> {
    let live = |run: &&Run| matches!(run.state, RunState::Starting | RunState::Running);
    let folders: BTreeSet<GroupFolder> = rows.iter().filter(live).map(|run| run.folder.clone()).collect();
    let mut doing = HashMap::new();
    for folder in folders {
        let activity = api.deps.dispatch.activity(&folder).await;
        doing.extend(activity.runs.into_iter().map(|run| (run.run, run.doing)));
    }
    doing
}

fn shown(run: Run, doing: &HashMap<RunId, Doing>) -> Shown {
    let doing = doing.get(&run.id).copied();
    Shown { run, doing }
}

/// Finds a run by its id or the beginning of it.
async fn find(api: &Api, id: String) -> Result<Run, Problem> {
    let run = api.deps.store.read(move |db| runs::get(db, short_ids::run(db, &id)?)).await?;
    run.ok_or_else(|| Problem::not_found("there is no such run"))
}

pub(super) async fn stop(State(api): State<Api>, Id(Short(id)): Id<Short>) -> Result<NoContent, Problem> {
    let run = find(&api, id).await?;
    let id = run.id;
    let live = matches!(run.state, RunState::Starting | RunState::Running);
    if live && api.deps.dispatch.stop_run(&run.jid, id).await {
        return Ok(NoContent);
    }
    Err(Problem::new(StatusCode::CONFLICT, "not_running", format!("run {id} has ended: there is nothing to stop")))
}

pub(super) async fn retry(State(api): State<Api>, Json(body): Json<Retry>) -> Result<Out<Retried>, Problem> {
    let (retried, jid) = api
        .deps
        .store
        .write(move |tx| {
            let Some(group) = groups::by_folder(tx, &body.folder)? else {
                return Err(groups::missing(&body.folder));
            };
            groups::set_pause(tx, &group.folder, None)?;
            Ok((inbound::retry_failed(tx, &group.jid)?, group.jid))
        })
        .await?;
    // Also retries work that is in its back-off.
    api.deps.dispatch.go_on(&jid).await;
    Ok(Out(Retried { retried }))
}

pub(super) fn describe_log(operation: Operation) -> Operation {
    operation
        .answers(StatusCode::OK, "Its last 32 MiB")
        .content(StatusCode::OK, "text/plain", &json!({ "type": "string" }))
        .fails(&[Status::Conflict])
}

pub(super) async fn log(State(api): State<Api>, Id(Short(id)): Id<Short>) -> Result<Response, Problem> {
    let run = find(&api, id).await?;
    let (folder, id) = (api.deps.settings.home.runs(&run.folder), run.id);
    let text = tokio::task::spawn_blocking(move || {
        let (whole, live) = (run_log::path(&folder, id), run_log::live_path(&folder, id));
        // The run may end between the two reads. Its live file is then gone, and its finished log exists.
        read_log(&whole).or_else(|| read_log(&live)).or_else(|| read_log(&whole))
    })
    .await
    .ok()
    .flatten();
    // A live run may not have logged anything yet.
    let live = matches!(run.state, RunState::Starting | RunState::Running);
    let text = text.or_else(|| live.then(Vec::new));
    let Some(text) = text else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no_log",
            format!("run {id} has no log: it never came to a start, or its log was rotated away"),
        ));
    };
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

/// Reads the end of a log. The logs' folder is never mounted, so no container can have placed a link in it.
fn read_log(path: &Path) -> Option<Vec<u8>> {
    let mut file = fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    if length > MAX_LOG {
        use std::io::{Seek, SeekFrom};
        file.seek(SeekFrom::End(-(MAX_LOG as i64))).ok()?;
    }
    let mut bytes = Vec::new();
    file.take(MAX_LOG).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
