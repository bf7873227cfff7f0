//! One file per verb. Each handler works inside the transaction that also records the file as handled, and returns
//! the answer's details beside `ok`.

pub(super) mod cancel_task;
pub(super) mod file;
pub(super) mod message;
pub(super) mod pause_task;
pub(super) mod refresh_groups;
pub(super) mod register_group;
pub(super) mod resume_task;
pub(super) mod run_task_now;
pub(super) mod schedule_task;
pub(super) mod update_task;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value};
use ulid::Ulid;

use super::attach::Taken;
use super::authorize::Permitted;
use crate::channel::Registry;
use crate::domain::clock::rfc3339;
use crate::domain::ids::RunId;
use crate::domain::task::Task;
use crate::store::{Tx, TxResult};

/// Details of the answer for the agent.
pub(super) type Details = Map<String, Value>;

/// The facts that handlers need beside the command.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// The claim's id. Whatever the handler makes takes its id from it, so that it is made once.
    pub(super) claim: Ulid,
    /// The run to credit with the effect, if known.
    pub(super) run: Option<RunId>,
    /// The time of the transaction.
    pub(super) now: DateTime<Utc>,
    /// The host's time zone.
    pub(super) zone: Tz,
    /// Decides how texts are delivered.
    pub(super) channels: Registry,
    /// The file to send, if the command names one.
    pub(super) file: Option<Taken>,
}

/// The result of a handler.
pub(super) enum Effect {
    /// The request was carried out.
    Done(Details),
    /// The request was refused; changes up to then stay.
    Refused(String),
}

/// Carries out a permitted command.
pub(super) fn handle(tx: &mut Tx<'_>, permitted: Permitted, cx: &Context) -> TxResult<Effect> {
    let details = match permitted {
        Permitted::Message(command) => return message::handle(tx, command, cx),
        Permitted::File(command) => return file::handle(tx, command, cx),
        Permitted::ScheduleTask(command) => schedule_task::handle(tx, command, cx),
        Permitted::UpdateTask(command) => update_task::handle(tx, command, cx),
        Permitted::PauseTask(command) => pause_task::handle(tx, command, cx),
        Permitted::ResumeTask(command) => resume_task::handle(tx, command, cx),
        Permitted::CancelTask(command) => cancel_task::handle(tx, command, cx),
        Permitted::RunTaskNow(command) => run_task_now::handle(tx, command, cx),
        Permitted::RefreshGroups(command) => Ok(refresh_groups::handle(tx, &command)),
        Permitted::RegisterGroup(command) => register_group::handle(tx, command, cx),
    };
    details.map(Effect::Done)
}

/// Returns the details of a task for the agent.
fn of_task(task: &Task, host: Tz) -> Details {
    let mut details = Details::new();
    details.insert("taskId".into(), task.id.as_str().into());
    details.insert("status".into(), serde_json::to_value(task.status).unwrap_or_default());
    details.insert("nextRun".into(), task.next_due.map(rfc3339).into());
    if let Some(local) = task.next_due_local(host) {
        details.insert("nextRunLocal".into(), local.into());
    }
    details
}
