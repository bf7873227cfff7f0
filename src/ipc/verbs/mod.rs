//! The verbs: the requests that agents can make, one file for each, with all that the host knows of it: its rule, its
//! words, its work and its tests.
//!
//! To add a verb: its type in the protocol (`container/protocol/src/requests.rs`), a file here that implements [`Verb`]
//! for that type, and its line in [`of`]. `ARCHITECTURE.md` names the files for the agent's side.

mod cancel_task;
mod file;
mod message;
mod pause_task;
mod refresh_groups;
mod register_group;
mod resume_task;
mod rules;
mod run_task_now;
mod schedule_task;
#[cfg(test)]
mod testing;
mod update_task;

use std::fmt::Debug;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use parlor_protocol::{MessageFile, TaskFile};
use rusqlite::Connection;
use serde_json::{Map, Value};
use ulid::Ulid;

use super::attach::Taken;
use super::authorize::{Authorized, Denied, grant};
use super::command::Command;
use crate::channel::Registry;
use crate::domain::clock::rfc3339;
use crate::domain::group::Group;
use crate::domain::ids::RunId;
use crate::domain::task::Task;
use crate::store::{Tx, TxResult};

/// A request as an agent wrote it.
pub(super) trait Verb: Debug + Sized {
    /// The request once its rule has agreed: checked and typed.
    type Command: Debug;

    /// The request in a few words, for records and logs. Data in it is [`quoted`].
    fn words(&self) -> String;

    /// Decides whether a group may ask for this. Reads the store and changes nothing.
    fn rule(&self, db: &Connection, who: &Group) -> Result<Self::Command, Denied>;

    /// Does it, in the transaction that also records the file as handled.
    fn handle(tx: &mut Tx<'_>, command: Authorized<Self>, cx: &Context) -> TxResult<Effect>;
}

/// The verb of a request.
pub(super) fn of(command: &Command) -> &dyn AnyVerb {
    match command {
        Command::Message(file) => match file {
            MessageFile::Message(asked) => asked,
            MessageFile::File(asked) => asked,
        },
        Command::Task(file) => match file {
            TaskFile::ScheduleTask(asked) => asked,
            TaskFile::PauseTask(asked) => asked,
            TaskFile::ResumeTask(asked) => asked,
            TaskFile::CancelTask(asked) => asked,
            TaskFile::RunTaskNow(asked) => asked,
            TaskFile::UpdateTask(asked) => asked,
            TaskFile::RefreshGroups(asked) => asked,
            TaskFile::RegisterGroup(asked) => asked,
        },
        Command::RegisterMain => &register_group::RegisterMain,
    }
}

/// A [`Verb`] for callers that treat all of them alike.
pub(super) trait AnyVerb {
    /// See [`Verb::words`].
    fn words(&self) -> String;

    /// Asks the rule; the permit is the only way to the handler.
    fn permit(&self, db: &Connection, who: &Group) -> Result<Permit, Denied>;
}

/// Does what was permitted, once.
pub(super) type Permit = Box<dyn FnOnce(&mut Tx<'_>, &Context) -> TxResult<Effect>>;

impl<V: Verb<Command: 'static> + 'static> AnyVerb for V {
    fn words(&self) -> String {
        Verb::words(self)
    }

    fn permit(&self, db: &Connection, who: &Group) -> Result<Permit, Denied> {
        let granted = grant(db, who, self)?;
        Ok(Box::new(move |tx, cx| V::handle(tx, granted, cx)))
    }
}

/// The facts that handlers know beside the command.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// The claim's id: whatever is made takes its id from it, so that it is made once.
    pub(super) claim: Ulid,
    /// The run whose words these are, as far as that is known.
    pub(super) run: Option<RunId>,
    pub(super) now: DateTime<Utc>,
    /// The host's zone.
    pub(super) zone: Tz,
    /// Says how texts leave.
    pub(super) channels: Registry,
    /// The file to send, where the command names one.
    pub(super) file: Option<Taken>,
}

/// The facts that an agent learns beside `ok`.
pub(super) type Details = Map<String, Value>;

/// How a handler ended.
#[derive(Debug)]
pub(super) enum Effect {
    /// The request is done.
    Done(Details),
    /// The request is refused; the handler's writes about that stay.
    Refused(String),
}

/// Data in the words of a request: quoted, and cut.
fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(100).collect::<String>())
}

/// An agent learns a task's id, state and next run.
fn of_task(task: &Task, host: Tz) -> Effect {
    let mut details = Details::new();
    details.insert("taskId".into(), task.id.as_str().into());
    details.insert("status".into(), serde_json::to_value(task.status).unwrap_or_default());
    details.insert("nextRun".into(), task.next_due.map(rfc3339).into());
    if let Some(local) = task.next_due_local(host) {
        details.insert("nextRunLocal".into(), local.into());
    }
    Effect::Done(details)
}
