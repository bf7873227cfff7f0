//! Routes that list, create, change and cancel scheduled tasks.

use axum::Json as Out;
use axum::extract::State;
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::{Id, Json, Limit, Params, Short};
use super::openapi::Created;
use super::problem::Problem;
use super::router::Api;
use super::time::Time;
use crate::domain::ids::{ChatJid, GroupFolder, RunId, TaskId};
use crate::domain::schedule::Schedule;
use crate::domain::task::{ContextMode, Fire, FireState, Missed, Task, TaskStatus};
use crate::ops::tasks::{self as ops, NewTask, TaskChange, TaskFields};
use crate::store::{Connection, Tx, TxError, TxResult, groups, short_ids, tasks};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Only tasks of this group.
    folder: Option<GroupFolder>,
    /// Completed and cancelled ones, too.
    #[serde(default)]
    all: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    /// The largest number of rows.
    #[serde(default)]
    limit: Limit,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewTask")]
pub(super) struct New {
    /// The group it belongs to.
    folder: GroupFolder,
    /// Its id; by default the host makes one.
    #[schemars(with = "Option<TaskId>")]
    id: Option<String>,
    /// The prompt for the agent; at most 64 KiB.
    #[schemars(regex(pattern = r"^[^\x00]*\S[^\x00]*$"))]
    prompt: String,
    #[schemars(with = "Kind")]
    schedule_type: String,
    /// Five cron fields, milliseconds (10,000 or more), or a time, local or with its offset.
    schedule_value: String,
    #[schemars(with = "Option<ContextMode>")]
    context_mode: Option<String>,
    /// An IANA name; by default the host's zone.
    timezone: Option<String>,
    #[schemars(with = "Option<Missed>")]
    missed: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "TaskChange")]
pub(super) struct Patch {
    /// The prompt for the agent; at most 64 KiB.
    #[schemars(regex(pattern = r"^[^\x00]*\S[^\x00]*$"))]
    prompt: Option<String>,
    /// Needs a `scheduleValue`, too.
    #[schemars(with = "Option<Kind>")]
    schedule_type: Option<String>,
    /// A value of the new type, or without one, of the task's present type.
    schedule_value: Option<String>,
    #[schemars(with = "Option<ContextMode>")]
    context_mode: Option<String>,
    /// An IANA name; empty for the host's zone.
    timezone: Option<String>,
    #[schemars(with = "Option<Missed>")]
    missed: Option<String>,
    status: Option<WantedStatus>,
}

/// The states that a person can set.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WantedStatus {
    Active,
    Paused,
    Cancelled,
}

/// Tasks.
#[derive(Serialize, JsonSchema)]
pub(super) struct Tasks {
    tasks: Vec<Shown>,
}

/// A scheduled task.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Task")]
pub(super) struct Shown {
    id: TaskId,
    folder: GroupFolder,
    /// The chat that gets its results.
    jid: ChatJid,
    /// The prompt for the agent.
    prompt: String,
    schedule_type: Kind,
    /// Five cron fields, milliseconds, or a time.
    schedule_value: String,
    /// An IANA name; null for the host's zone.
    timezone: Option<&'static str>,
    context_mode: ContextMode,
    missed: Missed,
    status: TaskStatus,
    /// When it fires next.
    next_due: Option<Time>,
    /// The same time on the clock of its zone.
    next_due_local: Option<String>,
    created_at: Time,
}

/// A kind of schedule.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ScheduleType")]
enum Kind {
    /// Five cron fields.
    Cron,
    /// A number of milliseconds.
    Interval,
    /// One time.
    Once,
}

/// Firings of a task, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct History {
    history: Vec<ShownFire>,
}

/// One firing of a task.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Firing")]
struct ShownFire {
    task_id: TaskId,
    /// When it was due.
    due: Time,
    state: FireState,
    run_id: Option<RunId>,
    /// When the host claimed it.
    claimed_at: Time,
    ended_at: Option<Time>,
    /// The last text that it sent, cut.
    result: Option<String>,
    /// Why it failed.
    error: Option<String>,
}

fn view(task: Task, host: Tz) -> Shown {
    Shown {
        schedule_type: match task.schedule {
            Schedule::Cron(_) => Kind::Cron,
            Schedule::Interval(_) => Kind::Interval,
            Schedule::Once(_) => Kind::Once,
        },
        schedule_value: task.schedule.to_string(),
        timezone: task.timezone.map(Tz::name),
        next_due_local: task.next_due_local(host),
        id: task.id,
        folder: task.folder,
        jid: task.jid,
        prompt: task.prompt,
        context_mode: task.context_mode,
        missed: task.missed,
        status: task.status,
        next_due: task.next_due.map(Time),
        created_at: Time(task.created_at),
    }
}

fn view_fire(fire: Fire) -> ShownFire {
    ShownFire {
        task_id: fire.task_id,
        due: Time(fire.due),
        state: fire.state,
        run_id: fire.run_id,
        claimed_at: Time(fire.claimed_at),
        ended_at: fire.ended_at.map(Time),
        result: fire.result,
        error: fire.error,
    }
}

/// Finds a task by its id or the beginning of it.
fn find(db: &Connection, id: &str) -> TxResult<Task> {
    let id = short_ids::task(db, id)?;
    tasks::get(db, &id)?.ok_or_else(|| TxError::NotFound(format!("there is no task {id}")))
}

pub(super) async fn list(State(api): State<Api>, Params(query): Params<Query>) -> Result<Out<Tasks>, Problem> {
    let list = move |db: &Connection| {
        let all = tasks::list(db, query.folder.as_ref(), query.all)?;
        groups::expect_known(db, query.folder.as_ref(), all.is_empty())?;
        Ok(all)
    };
    let all = api.deps.store.read(list).await?;
    let host = api.deps.settings.timezone;
    Ok(Out(Tasks { tasks: all.into_iter().map(|task| view(task, host)).collect() }))
}

pub(super) async fn show(State(api): State<Api>, Id(Short(id)): Id<Short>) -> Result<Out<Shown>, Problem> {
    let task = api.deps.store.read(move |db| find(db, &id)).await?;
    Ok(Out(view(task, api.deps.settings.timezone)))
}

pub(super) async fn history(
    State(api): State<Api>,
    Id(Short(id)): Id<Short>,
    Params(query): Params<HistoryQuery>,
) -> Result<Out<History>, Problem> {
    let limit = query.limit.rows()?;
    let fires = api
        .deps
        .store
        .read(move |db| {
            let task = find(db, &id)?;
            tasks::history(db, &task.id, limit)
        })
        .await?;
    Ok(Out(History { history: fires.into_iter().map(view_fire).collect() }))
}

pub(super) async fn create(State(api): State<Api>, Json(new): Json<New>) -> Result<Created<Shown>, Problem> {
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
    Ok(Created(view(task, api.deps.settings.timezone)))
}

pub(super) async fn update(
    State(api): State<Api>,
    Id(Short(id)): Id<Short>,
    Json(patch): Json<Patch>,
) -> Result<Out<Shown>, Problem> {
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

pub(super) async fn cancel(State(api): State<Api>, Id(Short(id)): Id<Short>) -> Result<Out<Shown>, Problem> {
    let now = api.deps.clock.now();
    write(&api, move |tx| ops::cancel(tx, &find(tx, &id)?.id, now)).await
}

pub(super) async fn run(State(api): State<Api>, Id(Short(id)): Id<Short>) -> Result<Out<Shown>, Problem> {
    let now = api.deps.clock.now();
    write(&api, move |tx| ops::run_now(tx, &find(tx, &id)?.id, now)).await
}

pub(super) async fn pause(State(api): State<Api>, Id(Short(id)): Id<Short>) -> Result<Out<Shown>, Problem> {
    let now = api.deps.clock.now();
    write(&api, move |tx| ops::pause(tx, &find(tx, &id)?.id, now)).await
}

pub(super) async fn resume(State(api): State<Api>, Id(Short(id)): Id<Short>) -> Result<Out<Shown>, Problem> {
    let (now, host) = (api.deps.clock.now(), api.deps.settings.timezone);
    write(&api, move |tx| ops::resume(tx, &find(tx, &id)?.id, now, host)).await
}

async fn write(
    api: &Api,
    work: impl FnOnce(&mut Tx<'_>) -> TxResult<Task> + Send + 'static,
) -> Result<Out<Shown>, Problem> {
    let task = api.deps.store.write(work).await?;
    Ok(Out(view(task, api.deps.settings.timezone)))
}
