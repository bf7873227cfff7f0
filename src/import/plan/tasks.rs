//! Decides which tasks are imported, with their history.

use chrono::{DateTime, Duration, Utc};
use chrono_tz::Tz;

use super::{PlannedGroup, Present, Rules, same, shown, time};
use crate::domain::ids::TaskId;
use crate::domain::schedule::Schedule;
use crate::domain::task::{ContextMode, Fire, FireState, Missed, Task, TaskStatus};
use crate::import::report::{Kind, Outcome, Report};
use crate::import::source::{RawRun, RawTask, Tables};

/// The largest size in bytes of a text in a task's history.
const MAX_RESULT: usize = 64 << 10;

pub(super) fn plan(
    tables: &Tables,
    groups: &mut [PlannedGroup],
    present: &Present,
    rules: &Rules<'_>,
    report: &mut Report,
) {
    for raw in &tables.tasks {
        let name = shown(&raw.id);
        let Some(planned) = groups.iter_mut().find(|planned| same(planned.group.folder.as_str(), &raw.folder)) else {
            report.leave(Kind::Task, name, format!("its group {:?} is not taken", shown(&raw.folder)));
            continue;
        };
        let mut notes = Vec::new();
        match task(raw, planned, rules, &mut notes) {
            Ok(task) => {
                // A task that exists here stays unchanged, so there is nothing to note.
                for note in notes.into_iter().filter(|_| !present.tasks.contains(task.id.as_str())) {
                    report.add(Kind::Task, Outcome::Changed, name.as_str(), 1, note);
                }
                planned.fires.extend(history(tables, raw, &task, report));
                planned.tasks.push(task);
            }
            Err(why) => report.leave(Kind::Task, name, why),
        }
    }
    let unknown = tables.runs.iter().filter(|run| !tables.tasks.iter().any(|task| task.id == run.task)).count() as u64;
    if unknown > 0 {
        report.add(Kind::Firing, Outcome::LeftOut, "history of tasks that are gone", unknown, "no task has it");
    }
}

fn task(raw: &RawTask, planned: &PlannedGroup, rules: &Rules<'_>, notes: &mut Vec<String>) -> Result<Task, String> {
    let id: TaskId = raw.id.parse().map_err(|error: crate::domain::ids::IdError| error.to_string())?;
    if planned.tasks.iter().any(|task| task.id == id) {
        return Err("an earlier row has this id".to_owned());
    }
    if raw.prompt.trim().is_empty() {
        return Err("it has no prompt".to_owned());
    }
    let mut odd = |why: String| notes.push(why);
    let mut status = match raw.status.as_str() {
        "active" => TaskStatus::Active,
        "paused" => TaskStatus::Paused,
        "completed" => TaskStatus::Completed,
        other => return Err(format!("its status {:?} is not known", shown(other))),
    };
    let next_run = raw.next_run.as_deref().filter(|text| !text.trim().is_empty());
    let mut next_due = next_run.and_then(time);
    let (schedule, note) = schedule(raw, next_due, rules.zone)?;
    note.into_iter().for_each(&mut odd);
    let context_mode = match raw.context_mode.as_deref() {
        None | Some("isolated") => ContextMode::Isolated,
        Some("group") => ContextMode::Group,
        Some(other) => {
            odd(format!("its context {:?} is not known: it is isolated", shown(other)));
            ContextMode::Isolated
        }
    };
    let created_at = raw.created_at.as_deref().and_then(time).unwrap_or_else(|| {
        odd("when it was made is not known: taken as now".to_owned());
        rules.now
    });
    if raw.jid != planned.group.jid.as_str() {
        odd(format!("its results go to its group's chat, not to {:?}", shown(&raw.jid)));
    }
    if status == TaskStatus::Completed {
        next_due = None;
    } else if next_due.is_none() {
        next_due = schedule.next_due(rules.now, created_at, rules.zone);
        if let Some(due) = next_due {
            odd(format!("it had no next time that can be read: it is due at {}", due.to_rfc3339()));
        } else {
            odd("it had no next time and its only one has passed: it is completed".to_owned());
            status = TaskStatus::Completed;
        }
    }
    Ok(Task {
        id,
        folder: planned.group.folder.clone(),
        jid: planned.group.jid.clone(),
        prompt: raw.prompt.replace('\0', "\u{fffd}"),
        schedule,
        timezone: None,
        context_mode,
        missed: Missed::Run,
        status,
        next_due,
        // NanoClaw counted an interval from the last run, so the next run is the anchor.
        anchor: next_due.unwrap_or(created_at),
        created_at,
    })
}

/// The schedule, and a note if it was changed. A single time may be in a form that only NanoClaw understood; then its
/// recorded next time is used.
fn schedule(raw: &RawTask, next: Option<DateTime<Utc>>, zone: Tz) -> Result<(Schedule, Option<String>), String> {
    let parsed = Schedule::parse(&raw.schedule_type, &raw.schedule_value).map_err(|error| error.to_string());
    let at = match (&parsed, raw.schedule_type.as_str()) {
        (Err(_), "once") => next.or_else(|| time(&raw.schedule_value)),
        _ => None,
    };
    let Some(at) = at else { return parsed.map(|schedule| (schedule, None)) };
    let local = at.with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S").to_string();
    let note = format!("its time {:?} is written as {local} in {zone}", shown(&raw.schedule_value));
    Schedule::parse("once", &local).map(|schedule| (schedule, Some(note))).map_err(|error| error.to_string())
}

fn history(tables: &Tables, raw: &RawTask, task: &Task, report: &mut Report) -> Vec<Fire> {
    let mut fires: Vec<Fire> = Vec::new();
    for run in tables.runs.iter().filter(|run| run.task == raw.id) {
        match fire(run, task) {
            Some(fire) => fires.push(fire),
            None => report.leave(
                Kind::Firing,
                format!("{} at {:?}", task.id, shown(&run.run_at)),
                "its time cannot be read",
            ),
        }
    }
    // Versions without a history recorded the last run in the task.
    if fires.is_empty()
        && let Some(last) = raw.last_run.as_deref().filter(|text| !text.trim().is_empty())
    {
        let error = raw.last_result.as_deref().and_then(|text| text.strip_prefix("Error: ")).map(str::to_owned);
        let run = RawRun {
            task: raw.id.clone(),
            run_at: last.to_owned(),
            duration_ms: None,
            status: if error.is_some() { "error" } else { "success" }.to_owned(),
            result: raw.last_result.clone().filter(|_| error.is_none()),
            error,
        };
        match fire(&run, task) {
            Some(fire) => fires.push(fire),
            None => report.leave(Kind::Firing, format!("{} at {:?}", task.id, shown(last)), "its time cannot be read"),
        }
    }
    fires
}

/// NanoClaw recorded a run at its end.
fn fire(run: &RawRun, task: &Task) -> Option<Fire> {
    let ended = time(&run.run_at)?;
    let took = Duration::try_milliseconds(run.duration_ms.unwrap_or(0).max(0)).unwrap_or_default();
    let started = ended.checked_sub_signed(took).unwrap_or(ended);
    let cut = |text: &Option<String>| text.as_deref().filter(|t| !t.is_empty()).map(|text| cut(text, MAX_RESULT));
    Some(Fire {
        task_id: task.id.clone(),
        due: started,
        folder: task.folder.clone(),
        state: if run.status == "success" { FireState::Done } else { FireState::Failed },
        run_id: None,
        claimed_at: started,
        ended_at: Some(ended),
        result: cut(&run.result),
        error: cut(&run.error),
    })
}

/// Cuts a text to at most `max` bytes.
pub(super) fn cut(text: &str, max: usize) -> String {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
