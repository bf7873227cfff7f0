//! Stores the rows of an import in one transaction.

use chrono::{DateTime, Utc};

use super::plan::{Plan, PlannedGroup};
use super::report::{Kind, Outcome, Report};
use crate::domain::message::{InboundState, Role};
use crate::domain::words;
use crate::store::{Tx, TxError, TxResult, groups, import, tasks};

/// Stores all rows that are not here yet. `files` names the folders whose files were all copied.
pub fn apply(tx: &mut Tx<'_>, plan: &Plan, files: &[String], now: DateTime<Utc>) -> TxResult<Report> {
    let mut report = Report::default();
    // Before groups: registering a group keeps its chat's last activity and sets the chat's name.
    let mut chats = [0, 0];
    for (jid, name, last_activity) in &plan.chats {
        chats[usize::from(!import::chat(tx, jid, name, *last_activity)?)] += 1;
    }
    count(&mut report, Kind::Chat, "chats", chats, "with their names and last activity");
    for planned in &plan.groups {
        let name = format!("{} ({})", planned.group.folder, planned.group.jid);
        if planned.is_here {
            report.add(Kind::Group, Outcome::Present, name, 1, "it is registered here already");
        } else {
            match groups::register(tx, &planned.group) {
                Ok(()) => report.add(Kind::Group, Outcome::Taken, name, 1, about(planned)),
                Err(TxError::Conflict(why)) => {
                    report.leave(Kind::Group, name, why);
                    continue;
                }
                Err(error) => return Err(error),
            }
        }
        session(tx, planned, now, &mut report)?;
        all_tasks(tx, planned, &mut report)?;
        messages(tx, planned, now, &mut report)?;
    }
    for folder in files {
        import::files_taken(tx, folder)?;
    }
    Ok(report)
}

fn about(planned: &PlannedGroup) -> String {
    let group = &planned.group;
    let mut words = Vec::new();
    if group.is_main {
        words.push("main".to_owned());
    }
    words.push(match (&group.trigger, group.requires_trigger) {
        (_, false) => "answers everything".to_owned(),
        (Some(trigger), true) => format!("answers to {trigger}"),
        (None, true) => "answers to the default trigger".to_owned(),
    });
    if !group.container_config.additional_mounts.is_empty() {
        words.push(words::count(group.container_config.additional_mounts.len() as u64, "extra mount"));
    }
    words.join(", ")
}

fn session(tx: &mut Tx<'_>, planned: &PlannedGroup, now: DateTime<Utc>, report: &mut Report) -> TxResult<()> {
    let Some(session) = &planned.session else { return Ok(()) };
    let folder = &planned.group.folder;
    if import::session(tx, folder, session, now)? {
        report.add(Kind::Session, Outcome::Taken, folder.to_string(), 1, session.as_str());
    } else {
        report.add(Kind::Session, Outcome::Present, folder.to_string(), 1, "the group's own goes on");
    }
    Ok(())
}

fn all_tasks(tx: &mut Tx<'_>, planned: &PlannedGroup, report: &mut Report) -> TxResult<()> {
    let mut fires = [0, 0];
    for task in &planned.tasks {
        let id = task.id.to_string();
        let known = tasks::get(tx, &task.id)?;
        match known {
            Some(known) if known.folder == task.folder => {
                report.add(Kind::Task, Outcome::Present, id, 1, "it is here already");
            }
            Some(known) => {
                report.leave(Kind::Task, id, format!("a task of group {} has this id here", known.folder));
                continue;
            }
            None => match tasks::insert(tx, task) {
                Ok(()) => {
                    let due = task.next_due.map_or_else(String::new, |due| format!(", due at {}", due.to_rfc3339()));
                    let about = format!("{} {}{due}", task.schedule.kind(), task.schedule);
                    report.add(Kind::Task, Outcome::Taken, id, 1, about);
                }
                Err(TxError::Conflict(why)) => {
                    report.leave(Kind::Task, id, why);
                    continue;
                }
                Err(error) => return Err(error),
            },
        }
        for fire in planned.fires.iter().filter(|fire| fire.task_id == task.id) {
            fires[usize::from(!import::fire(tx, fire)?)] += 1;
        }
    }
    count(report, Kind::Firing, planned.group.folder.as_str(), fires, "of the tasks' history");
    Ok(())
}

fn messages(tx: &mut Tx<'_>, planned: &PlannedGroup, now: DateTime<Utc>, report: &mut Report) -> TxResult<()> {
    let (mut done, mut context, mut waiting, mut present) = (0, 0, 0, 0);
    for (new, role, state) in &planned.messages {
        match (import::message(tx, new, *role, *state, now)?, state, role) {
            (false, ..) => present += 1,
            (true, InboundState::Pending, Role::Trigger | Role::Command) => waiting += 1,
            (true, InboundState::Pending, _) => context += 1,
            (true, ..) => done += 1,
        }
    }
    let about = format!("{done} answered before, {context} of context for the next answer, {waiting} to be answered");
    let folder = planned.group.folder.as_str();
    count(report, Kind::Message, folder, [done + context + waiting, present], &about);
    if waiting > 0 {
        report.advise(format!(
            "{} not answered yet in {folder}: `parlor up` sees to that (`/stop` in the chat takes back what waits)",
            words::are(waiting, "message"),
        ));
    }
    Ok(())
}

fn count(report: &mut Report, kind: Kind, name: &str, [taken, present]: [u64; 2], about: &str) {
    if taken > 0 {
        report.add(kind, Outcome::Taken, name, taken, about);
    }
    if present > 0 {
        report.add(kind, Outcome::Present, name, present, "they are here already");
    }
}
