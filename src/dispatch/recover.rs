//! Recovery after the host died or a group's actor panicked: all unfinished work waits again, except task firings,
//! which are reported as interrupted and not repeated.

use chrono::{DateTime, Utc};

use super::backoff;
use super::steps;
use crate::domain::delivery::NewDelivery;
use crate::domain::ids::{ChatJid, DeliveryId, RunId};
use crate::domain::run::RunState;
use crate::domain::task::FireState;
use crate::scheduler;
use crate::store::outbox::Route;
use crate::store::runs::{self, Run};
use crate::store::tasks::FireEnd;
use crate::store::{Tx, TxResult, groups, inbound, outbox, tasks};

/// The means of recovery beside the store.
pub struct Means<'a> {
    /// The time of the recovery.
    pub now: DateTime<Utc>,
    /// Makes ids of deliveries.
    pub id: &'a dyn Fn() -> DeliveryId,
    /// Decides how a chat's texts are delivered.
    pub route: &'a dyn Fn(&ChatJid) -> Route,
}

/// The result of recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Chats that have work.
    pub work: Vec<ChatJid>,
    /// The number of runs that had not ended.
    pub runs: usize,
    /// The number of messages that wait again.
    pub messages: usize,
    /// The number of firings that were interrupted.
    pub fires: usize,
}

/// At the start of the host: makes all unfinished work of the last host wait again.
pub fn recover(tx: &mut Tx<'_>, means: &Means<'_>) -> TxResult<Recovered> {
    let live = runs::interrupt_live(tx, means.now)?;
    let messages = inbound::reclaim_all(tx)?;
    let interrupted = scheduler::recover(tx, means.now)?;
    for fire in &interrupted {
        let Some(task) = tasks::get(tx, &fire.task_id)? else { continue };
        let text = format!(
            "Task {} was interrupted by a restart of Parlor. It is not repeated; `parlor tasks run {}` runs it again.",
            fire.task_id, fire.task_id
        );
        say(tx, means, &task.jid, text, fire.run_id)?;
    }
    let mut work = inbound::chats_with_work(tx)?;
    for fire in tasks::in_state(tx, FireState::Claimed)? {
        if let Some(group) = groups::by_folder(tx, &fire.folder)?
            && !work.contains(&group.jid)
        {
            work.push(group.jid);
        }
    }
    Ok(Recovered { work, runs: live.len(), messages, fires: interrupted.len() })
}

/// After a panic of a group's actor: makes its unfinished messages wait again. The try counts. Returns its runs.
pub(super) fn take_back(tx: &mut Tx<'_>, jid: &ChatJid, means: &Means<'_>) -> TxResult<Vec<Run>> {
    let now = means.now;
    let mut mine = runs::live(tx)?;
    mine.retain(|run| run.jid == *jid);
    for run in &mine {
        let error = Some("its group had to be restarted: a defect of Parlor, see the log of the host".to_owned());
        runs::put(tx, &Run { state: RunState::Interrupted, ended_at: Some(now), error, ..run.clone() })?;
        if let (Some(task), Some(due)) = (&run.task_id, run.due) {
            let end = FireEnd { state: FireState::Interrupted, result: None, error: Some("a defect of Parlor".into()) };
            tasks::end(tx, task, due, &end, now)?;
            let text = format!(
                "Task {task} was interrupted by a defect of Parlor. It is not repeated; `parlor tasks run {task}` runs it again."
            );
            say(tx, means, jid, text, Some(run.id))?;
        }
    }
    if inbound::reclaim(tx, jid, backoff::MAX_RETRIES, now)? {
        let text = "This could not be answered: Parlor has a defect that shows with it. It is kept: `parlor runs retry` tries again.";
        say(tx, means, jid, text.to_owned(), None)?;
    }
    Ok(mine)
}

fn say(tx: &mut Tx<'_>, means: &Means<'_>, jid: &ChatJid, text: String, run_id: Option<RunId>) -> TxResult<()> {
    let new = NewDelivery { run_id, ..steps::notice(jid, (means.id)(), text) };
    outbox::put(tx, &new, (means.route)(jid), false, means.now).map(drop)
}
