//! The changes that an actor wants stored, as data. They are built without I/O, applied in one transaction, and
//! applied again unchanged if the store failed.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};

use super::jobs::Facts;
use crate::domain::delivery::{DeliveryKind, NewDelivery};
use crate::domain::event::{Event, TurnState};
use crate::domain::group::Pause;
use crate::domain::ids::{ChatJid, DeliveryId, GroupFolder, RunId, TaskId};
use crate::domain::message::{Inbound, InboundState};
use crate::domain::usage::Usage;
use crate::store::fallbacks::{self, Outage};
use crate::store::outbox::{self, Route};
use crate::store::runs::{self, Run};
use crate::store::tasks::{self, FireEnd};
use crate::store::{Tx, TxResult, events, groups, inbound, sessions, told, usage};

/// Decides how a chat's texts are delivered.
pub(super) type Routes = Arc<dyn Fn(&ChatJid) -> Route + Send + Sync>;

/// One change to store.
#[derive(Debug, Clone)]
pub enum Step {
    /// A text for a chat; `turn_open` marks it until its turn is settled.
    Say { new: NewDelivery, turn_open: bool },
    /// Messages get their final state.
    Settle { seqs: Vec<i64>, state: InboundState },
    /// Unsettled messages are taken back, and an event says so.
    Cancel { jid: ChatJid, seqs: Vec<i64> },
    /// Messages wait again; `counts` is true if the try counts.
    PutBack { seqs: Vec<i64>, counts: bool },
    /// Texts of these runs belong to no open turn any more.
    CloseTurn(Vec<RunId>),
    /// The chat's agent knows the texts of the outbox up to this place.
    Told { jid: ChatJid, seq: i64 },
    /// An event: a turn changed.
    Turn { jid: ChatJid, state: TurnState, through_seq: i64, reason: Option<String> },
    /// The session that the next run resumes.
    Session { folder: GroupFolder, provider: &'static str, id: String },
    /// The next run starts a new session with any provider.
    ForgetSession(GroupFolder),
    /// The next run of this provider starts a new session.
    LoseSession { folder: GroupFolder, provider: &'static str },
    /// Adds the usage of a turn.
    Usage { folder: GroupFolder, day: NaiveDate, used: Usage, unpriced: Option<String> },
    /// A provider cannot answer.
    Outage { folder: GroupFolder, outage: Outage },
    /// A provider answers again.
    OutageOver { folder: GroupFolder, choice: String },
    /// The chat was notified of a fallback; None for the group's own provider.
    StandIn { folder: GroupFolder, choice: Option<String> },
    /// The chat was notified that the day's budget is used up.
    BudgetTold { folder: GroupFolder, day: NaiveDate },
    /// The group is paused, or not any more.
    Pause { folder: GroupFolder, pause: Option<Pause> },
    /// A run's row, and its event.
    Run(Box<Run>),
    /// Removes a run whose room was cancelled before it opened; its work runs later as another run.
    Unrun(RunId),
    /// A task's firing ended.
    FireEnd { task: TaskId, due: DateTime<Utc>, jid: ChatJid, end: FireEnd },
    /// A task's firing never started and waits again.
    Unstart { task: TaskId, due: DateTime<Utc> },
}

impl Step {
    /// Applies the step in a transaction.
    pub(super) fn apply(&self, tx: &mut Tx<'_>, facts: &Facts<'_>) -> TxResult<()> {
        let now = facts.now;
        match self {
            // A reply that repeats a text that the agent sent with a tool is dropped.
            Self::Say { new, .. } if new.kind == DeliveryKind::Reply && outbox::is_said(tx, &new.jid, &new.text)? => {
                Ok(())
            }
            Self::Say { new, turn_open } => outbox::put(tx, new, (facts.routes)(&new.jid), *turn_open, now).map(drop),
            Self::Told { jid, seq } => told::set(tx, jid, *seq),
            Self::Settle { seqs, state } => inbound::settle(tx, seqs, *state),
            Self::Cancel { jid, seqs } => {
                let Some(through_seq) = inbound::cancel(tx, seqs)? else { return Ok(()) };
                let (state, reason) = (TurnState::Cancelled, Some("stopped".to_owned()));
                events::append(tx, &Event::Turn { chat_jid: jid.clone(), state, through_seq, reason }, now).map(drop)
            }
            Self::PutBack { seqs, counts } => inbound::put_back(tx, seqs, *counts),
            Self::CloseTurn(all) => all.iter().try_for_each(|run| outbox::close_turn(tx, *run)),
            Self::Turn { jid, state, through_seq, reason } => {
                let event = Event::Turn {
                    chat_jid: jid.clone(),
                    state: *state,
                    through_seq: *through_seq,
                    reason: reason.clone(),
                };
                events::append(tx, &event, now).map(drop)
            }
            Self::Session { folder, provider, id } => sessions::set(tx, folder, provider, id, now),
            Self::ForgetSession(folder) => sessions::forget(tx, folder).map(drop),
            Self::LoseSession { folder, provider } => sessions::forget_of(tx, folder, provider),
            Self::Usage { folder, day, used, unpriced } => usage::add(tx, folder, *day, used, unpriced.as_deref()),
            Self::Outage { folder, outage } => fallbacks::begin(tx, folder, outage),
            Self::OutageOver { folder, choice } => fallbacks::end(tx, folder, choice),
            Self::StandIn { folder, choice } => fallbacks::set_told(tx, folder, choice.as_deref()),
            Self::BudgetTold { folder, day } => usage::set_told(tx, folder, *day),
            Self::Pause { folder, pause } => groups::set_pause(tx, folder, pause.as_ref()),
            Self::Run(run) => {
                runs::put(tx, run)?;
                let event = Event::Run {
                    run_id: run.id,
                    chat_jid: run.jid.clone(),
                    state: run.state,
                    error: run.error.clone(),
                };
                events::append(tx, &event, now).map(drop)
            }
            Self::Unrun(run) => runs::forget(tx, *run),
            Self::FireEnd { task, due, jid, end } => {
                tasks::end(tx, task, *due, end, now)?;
                let change = match end.state {
                    crate::domain::task::FireState::Done => "done",
                    crate::domain::task::FireState::Cancelled => "cancelled",
                    _ => "failed",
                };
                let event = Event::Task { task_id: task.clone(), chat_jid: jid.clone(), change: change.into() };
                events::append(tx, &event, now).map(drop)
            }
            Self::Unstart { task, due } => tasks::unstart(tx, task, *due),
        }
    }
}

/// Returns a notice of the host for a chat.
pub(super) fn notice(jid: &ChatJid, id: DeliveryId, text: String) -> NewDelivery {
    let (sender, reply_to, file, run_id) = (None, None, None, None);
    NewDelivery { id, jid: jid.clone(), text, sender, reply_to, kind: DeliveryKind::Notice, run_id, file }
}

/// Returns the steps that answer a command and settle it.
pub(super) fn answer(jid: &ChatJid, message: &Inbound, id: DeliveryId, text: String) -> Vec<Step> {
    let new = NewDelivery { reply_to: Some(message.platform_id.clone()), ..notice(jid, id, text) };
    vec![
        Step::Say { new, turn_open: false },
        done(message),
        Step::Turn {
            jid: jid.clone(),
            state: TurnState::Done,
            through_seq: message.seq,
            // Marks a command, which ends alone; the end of a turn ends everything before it as well.
            reason: Some("command".into()),
        },
    ]
}

/// Returns the step that settles a message.
pub(super) fn done(message: &Inbound) -> Step {
    Step::Settle { seqs: vec![message.seq], state: InboundState::Done }
}
