//! Makes and changes scheduled tasks.

use chrono::{DateTime, Duration, Utc};
use chrono_tz::Tz;
pub use parlor_protocol::limits::MAX_PROMPT;

use super::{Invalid, shorten};
use crate::domain::event::Event;
use crate::domain::group::Group;
use crate::domain::ids::TaskId;
use crate::domain::schedule::{Schedule, parse_zone};
use crate::domain::task::{ContextMode, Missed, Task, TaskStatus};
use crate::store::{Tx, TxError, TxResult, events, tasks};

/// The fields of a requested task, as they were written.
#[derive(Debug, Clone, Copy, Default)]
pub struct TaskFields<'a> {
    /// Its id; None for a new one of the caller.
    pub id: Option<&'a str>,
    /// The prompt for the agent.
    pub prompt: &'a str,
    /// `cron`, `interval` or `once`.
    pub schedule_type: &'a str,
    /// Five cron fields, milliseconds, or a local time.
    pub schedule_value: &'a str,
    /// `group` or `isolated`; None means `isolated`.
    pub context_mode: Option<&'a str>,
    /// An IANA time zone; the host's if None or empty.
    pub timezone: Option<&'a str>,
    /// `run` or `skip`; None means `run`.
    pub missed: Option<&'a str>,
}

/// A checked new task.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTask {
    id: Option<TaskId>,
    prompt: String,
    schedule: Schedule,
    timezone: Option<Tz>,
    context_mode: ContextMode,
    missed: Missed,
}

/// The changes to a task; None leaves a field unchanged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskChange {
    /// The new prompt.
    pub prompt: Option<String>,
    /// The new type, which needs a new value, too.
    pub schedule_type: Option<String>,
    /// The new value; of the task's type if no new type is given.
    pub schedule_value: Option<String>,
    /// The new zone; empty for the host's.
    pub timezone: Option<String>,
    /// `group` or `isolated`.
    pub context_mode: Option<String>,
    /// `run` or `skip`.
    pub missed: Option<String>,
}

impl NewTask {
    /// Checks the fields of a new task.
    pub fn parse(fields: &TaskFields<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            id: fields.id.map(str::parse).transpose().map_err(Invalid::of)?,
            prompt: prompt(fields.prompt)?,
            schedule: Schedule::parse(fields.schedule_type, fields.schedule_value).map_err(Invalid::of)?,
            timezone: zone(fields.timezone)?,
            context_mode: fields.context_mode.map(context_mode).transpose()?.unwrap_or_default(),
            missed: fields.missed.map(missed).transpose()?.unwrap_or_default(),
        })
    }
}

fn prompt(text: &str) -> Result<String, Invalid> {
    if text.trim().is_empty() {
        return Err(Invalid("the prompt is empty: say what the agent is to do when the task is due".into()));
    }
    if text.len() > MAX_PROMPT {
        return Err(Invalid(format!("the prompt has {} bytes: at most {MAX_PROMPT} are allowed", text.len())));
    }
    if text.contains('\0') {
        return Err(Invalid("the prompt holds a NUL character, which no program can be given: leave it out".into()));
    }
    Ok(text.to_owned())
}

fn zone(name: Option<&str>) -> Result<Option<Tz>, Invalid> {
    name.filter(|name| !name.trim().is_empty()).map(parse_zone).transpose().map_err(Invalid)
}

fn context_mode(text: &str) -> Result<ContextMode, Invalid> {
    match text {
        "group" => Ok(ContextMode::Group),
        "isolated" => Ok(ContextMode::Isolated),
        _ => Err(Invalid(format!("context mode {:?} is not known: use group or isolated", shorten(text)))),
    }
}

fn missed(text: &str) -> Result<Missed, Invalid> {
    match text {
        "run" => Ok(Missed::Run),
        "skip" => Ok(Missed::Skip),
        _ => Err(Invalid(format!("rule {:?} for missed times is not known: use run or skip", shorten(text)))),
    }
}

/// Makes a task for a group. `fresh` is its id if none was requested; `host` is the zone if none was given.
pub fn create(
    tx: &mut Tx<'_>,
    group: &Group,
    new: NewTask,
    fresh: TaskId,
    now: DateTime<Utc>,
    host: Tz,
) -> TxResult<Task> {
    let mut task = Task {
        id: new.id.unwrap_or(fresh),
        folder: group.folder.clone(),
        jid: group.jid.clone(),
        prompt: new.prompt,
        schedule: new.schedule,
        timezone: new.timezone,
        context_mode: new.context_mode,
        missed: new.missed,
        status: TaskStatus::Active,
        next_due: None,
        anchor: now,
        created_at: now,
    };
    plan(&mut task, now, host)?;
    tasks::insert(tx, &task)?;
    changed(tx, &task, "created", now)?;
    Ok(task)
}

/// Changes a task. A changed schedule or zone counts from now.
pub fn update(tx: &mut Tx<'_>, id: &TaskId, change: &TaskChange, now: DateTime<Utc>, host: Tz) -> TxResult<Task> {
    let mut task = live(tx, id)?;
    let rescheduled = change.schedule_type.is_some() || change.schedule_value.is_some() || change.timezone.is_some();
    apply(&mut task, change).map_err(|e| TxError::Conflict(e.0))?;
    if rescheduled {
        task.anchor = now;
        plan(&mut task, now, host)?;
    }
    tasks::update(tx, &task)?;
    changed(tx, &task, "updated", now)?;
    Ok(task)
}

fn apply(task: &mut Task, change: &TaskChange) -> Result<(), Invalid> {
    if let Some(text) = &change.prompt {
        task.prompt = prompt(text)?;
    }
    match (&change.schedule_type, &change.schedule_value) {
        (None, None) => {}
        (kind, Some(value)) => {
            let kind = kind.as_deref().unwrap_or(task.schedule.kind());
            task.schedule = Schedule::parse(kind, value).map_err(Invalid::of)?;
        }
        (Some(kind), None) if kind == task.schedule.kind() => {}
        (Some(kind), None) => {
            let kind = shorten(kind);
            return Err(Invalid(format!("schedule type {kind:?} needs a schedule_value of its own: give both")));
        }
    }
    if let Some(name) = &change.timezone {
        task.timezone = zone(Some(name))?;
    }
    if let Some(mode) = &change.context_mode {
        task.context_mode = context_mode(mode)?;
    }
    if let Some(rule) = &change.missed {
        task.missed = missed(rule)?;
    }
    Ok(())
}

/// Stops a task from firing until it is resumed, and takes back a firing that waits.
pub fn pause(tx: &mut Tx<'_>, id: &TaskId, now: DateTime<Utc>) -> TxResult<Task> {
    let mut task = live(tx, id)?;
    task.status = TaskStatus::Paused;
    tasks::update(tx, &task)?;
    changed(tx, &task, "paused", now)?;
    Ok(task)
}

/// Lets a paused task fire again from now on. Times that passed meanwhile are not repeated.
pub fn resume(tx: &mut Tx<'_>, id: &TaskId, now: DateTime<Utc>, host: Tz) -> TxResult<Task> {
    let mut task = live(tx, id)?;
    if task.status == TaskStatus::Paused {
        task.status = TaskStatus::Active;
        plan(&mut task, now, host)?;
        tasks::update(tx, &task)?;
        changed(tx, &task, "resumed", now)?;
    }
    Ok(task)
}

/// Ends a task for good, and takes back a firing that waits.
pub fn cancel(tx: &mut Tx<'_>, id: &TaskId, now: DateTime<Utc>) -> TxResult<Task> {
    let mut task = match tasks::get(tx, id)? {
        // The task's last firing is due, but still waits to start.
        Some(task) if task.status == TaskStatus::Completed && tasks::waits(tx, &task)? => task,
        _ => live(tx, id)?,
    };
    task.status = TaskStatus::Cancelled;
    task.next_due = None;
    tasks::update(tx, &task)?;
    changed(tx, &task, "cancelled", now)?;
    Ok(task)
}

/// Fires a task once, now, beside its schedule. A completed task runs once more; a task that already waits to start
/// is refused.
pub fn run_now(tx: &mut Tx<'_>, id: &TaskId, now: DateTime<Utc>) -> TxResult<Task> {
    let task = match tasks::get(tx, id)? {
        Some(task) if task.status == TaskStatus::Completed => task,
        _ => live(tx, id)?,
    };
    if tasks::claimed(tx, &task.folder)?.iter().any(|(fire, _)| fire.task_id == task.id) {
        return Err(TxError::Conflict(format!("task {id} waits for its turn already")));
    }
    let mut due = now;
    // The key is (task, millisecond), which an earlier firing may have.
    while !tasks::claim(tx, &task, due, now)? {
        due += Duration::milliseconds(1);
    }
    changed(tx, &task, "fired", now)?;
    Ok(task)
}

/// Returns a task that has not ended.
fn live(tx: &Tx<'_>, id: &TaskId) -> TxResult<Task> {
    let task = tasks::get(tx, id)?.ok_or_else(|| TxError::NotFound(format!("there is no task {id}")))?;
    let ended = match task.status {
        TaskStatus::Active | TaskStatus::Paused => return Ok(task),
        TaskStatus::Completed => "is completed",
        TaskStatus::Cancelled => "was cancelled",
    };
    Err(TxError::Conflict(format!("task {id} {ended}: make a new one")))
}

/// Sets the next due time.
fn plan(task: &mut Task, now: DateTime<Utc>, host: Tz) -> TxResult<()> {
    let zone = task.timezone.unwrap_or(host);
    task.next_due = task.schedule.first_due(now, task.anchor, zone).map_err(|e| TxError::Conflict(e.to_string()))?;
    Ok(())
}

fn changed(tx: &mut Tx<'_>, task: &Task, change: &str, now: DateTime<Utc>) -> TxResult<()> {
    let event = Event::Task { task_id: task.id.clone(), chat_jid: task.jid.clone(), change: change.into() };
    events::append(tx, &event, now)?;
    Ok(())
}
