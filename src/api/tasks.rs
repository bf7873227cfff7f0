//! Scheduled tasks, as the operator sees and sets them.

use axum::Json as Out;
use axum::extract::State;
use chrono_tz::Tz;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Id, Json, Params, Short, limit};
use super::problem::Problem;
use super::router::Api;
use crate::domain::clock::rfc3339;
use crate::domain::ids::{GroupFolder, TaskId};
use crate::domain::task::{Fire, Task};
use crate::ops::tasks::{self as ops, NewTask, TaskChange, TaskFields};
use crate::store::{Connection, Tx, TxError, TxResult, groups, short_ids, tasks};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    folder: Option<GroupFolder>,
    /// Completed and cancelled ones, too.
    #[serde(default)]
    all: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct New {
    folder: GroupFolder,
    id: Option<String>,
    prompt: String,
    schedule_type: String,
    schedule_value: String,
    context_mode: Option<String>,
    timezone: Option<String>,
    missed: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Patch {
    prompt: Option<String>,
    schedule_type: Option<String>,
    schedule_value: Option<String>,
    context_mode: Option<String>,
    timezone: Option<String>,
    missed: Option<String>,
    status: Option<WantedStatus>,
}

/// What a person can set a task's status to.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WantedStatus {
    Active,
    Paused,
    Cancelled,
}

fn view(task: &Task, host: Tz) -> Value {
    json!({
        "id": task.id,
        "folder": task.folder,
        "jid": task.jid,
        "prompt": task.prompt,
        "scheduleType": task.schedule.kind(),
        "scheduleValue": task.schedule.to_string(),
        "timezone": task.timezone.map(chrono_tz::Tz::name),
        "contextMode": task.context_mode,
        "missed": task.missed,
        "status": task.status,
        "nextDue": task.next_due.map(rfc3339),
        "nextDueLocal": task.next_due_local(host),
        "createdAt": rfc3339(task.created_at),
    })
}

fn view_fire(fire: &Fire) -> Value {
    json!({
        "taskId": fire.task_id,
        "due": rfc3339(fire.due),
        "state": fire.state,
        "runId": fire.run_id,
        "claimedAt": rfc3339(fire.claimed_at),
        "endedAt": fire.ended_at.map(rfc3339),
        "result": fire.result,
        "error": fire.error,
    })
}

/// A task by its id, or the beginning of it.
fn find(db: &Connection, id: &str) -> TxResult<Task> {
    let id = short_ids::task(db, id)?;
    tasks::get(db, &id)?.ok_or_else(|| TxError::NotFound(format!("there is no task {id}")))
}

pub(super) async fn list(State(api): State<Api>, Params(query): Params<Query>) -> Result<Out<Value>, Problem> {
    let list = move |db: &Connection| {
        let all = tasks::list(db, query.folder.as_ref(), query.all)?;
        groups::expect_known(db, query.folder.as_ref(), all.is_empty())?;
        Ok(all)
    };
    let all = api.deps.store.read(list).await?;
    let host = api.deps.settings.timezone;
    Ok(Out(json!({ "tasks": all.iter().map(|task| view(task, host)).collect::<Vec<_>>() })))
}

pub(super) async fn show(State(api): State<Api>, Id(Short(id)): Id<Short>) -> Result<Out<Value>, Problem> {
    let task = api.deps.store.read(move |db| find(db, &id)).await?;
    Ok(Out(view(&task, api.deps.settings.timezone)))
}

pub(super) async fn history(
    State(api): State<Api>,
    Id(Short(id)): Id<Short>,
    Params(query): Params<HistoryQuery>,
) -> Result<Out<Value>, Problem> {
    let limit = limit(query.limit)?;
    let fires = api
        .deps
        .store
        .read(move |db| {
            let task = find(db, &id)?;
            tasks::history(db, &task.id, limit)
        })
        .await?;
    Ok(Out(json!({ "history": fires.iter().map(view_fire).collect::<Vec<_>>() })))
}

pub(super) async fn create(State(api): State<Api>, Json(new): Json<New>) -> Result<(StatusCode, Out<Value>), Problem> {
    let task = NewTask::parse(&TaskFields {
        id: new.id.as_deref(),
        prompt: &new.prompt,
        schedule_type: &new.schedule_type,
        schedule_value: &new.schedule_value,
        context_mode: new.context_mode.as_deref(),
        timezone: new.timezone.as_deref(),
        missed: new.missed.as_deref(),
    })
    .map_err(|e| Problem::bad("invalid_field", e.0))?;
    let fresh: TaskId = api
        .deps
        .clock
        .ulid()
        .to_string()
        .parse()
        .map_err(|e: crate::domain::ids::IdError| Problem::bad("invalid_field", e.to_string()))?;
    let (now, host) = (api.deps.clock.now(), api.deps.settings.timezone);
    let folder = new.folder;
    let task = api
        .deps
        .store
        .write(move |tx| {
            let Some(group) = groups::by_folder(tx, &folder)? else {
                return Err(groups::missing(&folder));
            };
            ops::create(tx, &group, task, fresh, now, host)
        })
        .await?;
    Ok((StatusCode::CREATED, Out(view(&task, api.deps.settings.timezone))))
}

pub(super) async fn update(
    State(api): State<Api>,
    Id(Short(id)): Id<Short>,
    Json(patch): Json<Patch>,
) -> Result<Out<Value>, Problem> {
    let (now, host) = (api.deps.clock.now(), api.deps.settings.timezone);
    let status = patch.status;
    let change = TaskChange {
        prompt: patch.prompt,
        schedule_type: patch.schedule_type,
        schedule_value: patch.schedule_value,
        timezone: patch.timezone,
        context_mode: patch.context_mode,
        missed: patch.missed,
    };
    write(&api, move |tx| {
        let mut task = find(tx, &id)?;
        let id = task.id.clone();
        if change != TaskChange::default() {
            task = ops::update(tx, &id, &change, now, host)?;
        }
        Ok(match status {
            None => task,
            Some(WantedStatus::Active) => ops::resume(tx, &id, now, host)?,
            Some(WantedStatus::Paused) => ops::pause(tx, &id, now)?,
            Some(WantedStatus::Cancelled) => ops::cancel(tx, &id, now)?,
        })
    })
    .await
}

pub(super) async fn cancel(State(api): State<Api>, Id(Short(id)): Id<Short>) -> Result<Out<Value>, Problem> {
    let now = api.deps.clock.now();
    write(&api, move |tx| ops::cancel(tx, &find(tx, &id)?.id, now)).await
}

pub(super) async fn run(State(api): State<Api>, Id(Short(id)): Id<Short>) -> Result<Out<Value>, Problem> {
    let now = api.deps.clock.now();
    write(&api, move |tx| ops::run_now(tx, &find(tx, &id)?.id, now)).await
}

pub(super) async fn pause(State(api): State<Api>, Id(Short(id)): Id<Short>) -> Result<Out<Value>, Problem> {
    let now = api.deps.clock.now();
    write(&api, move |tx| ops::pause(tx, &find(tx, &id)?.id, now)).await
}

pub(super) async fn resume(State(api): State<Api>, Id(Short(id)): Id<Short>) -> Result<Out<Value>, Problem> {
    let (now, host) = (api.deps.clock.now(), api.deps.settings.timezone);
    write(&api, move |tx| ops::resume(tx, &find(tx, &id)?.id, now, host)).await
}

async fn write(
    api: &Api,
    work: impl FnOnce(&mut Tx<'_>) -> TxResult<Task> + Send + 'static,
) -> Result<Out<Value>, Problem> {
    let task = api.deps.store.write(work).await?;
    Ok(Out(view(&task, api.deps.settings.timezone)))
}
