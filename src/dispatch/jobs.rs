//! The store's part of dispatch. Each job is one transaction, and knows nothing of the machine that asked for it.

use chrono::{DateTime, Utc};

use super::event::AskId;
use super::fallback;
use super::hold;
use super::look::{self, Look};
use super::slots::Load;
use super::start::Past;
use super::steps::{self, Step};
use crate::config::settings::Settings;
use crate::domain::event::{Event, TurnState};
use crate::domain::group::Group;
use crate::domain::ids::{ChatJid, DeliveryId, RunId, TaskId};
use crate::domain::message::{Batch, Inbound};
use crate::domain::run::Lane as LaneKind;
use crate::domain::words;
use crate::store::runs::{self, Run};
use crate::store::told::{self, Told};
use crate::store::{Connection, StoreError, Tx, TxResult, events, groups, inbound, outbox, tasks};

/// One transaction of the store.
#[derive(Debug, Clone)]
pub(super) enum Job {
    /// Looks for work.
    Look,
    /// Gives the waiting messages to a new run.
    TakeMessages(Box<Take>),
    /// Gives a task's firing to a new run. After the commit, the firing never starts again for its due time.
    TakeTask { of: Box<Take>, task: TaskId, due: DateTime<Utc>, in_group: bool },
    /// Gives the waiting messages to a live run. They are stored as given before the agent can see them.
    FollowUp { run: RunId, input: String, told: i64 },
    /// Takes back waiting messages; answers `/stop` if that was the cause.
    Stop(Box<Stop>),
    /// Answers `/status`.
    Status(Box<Status>),
    /// Stores an actor's steps.
    Commit(Vec<Step>, Then),
}

/// A new run that needs work.
#[derive(Debug, Clone)]
pub(super) struct Take {
    pub(super) row: Run,
    pub(super) group: Group,
}

/// A stop, by `/stop` or by the operator.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    /// Messages before this sequence number are taken back.
    pub(super) before: i64,
    /// Steps that take back the work of live runs.
    pub(super) steps: Vec<Step>,
    /// True if something ran.
    pub(super) ran: bool,
    pub(super) asked_by: AskedBy,
}

/// The author of a stop.
#[derive(Debug, Clone)]
pub(super) enum AskedBy {
    /// A message of the chat, and the id of its answer.
    Chat(Box<Inbound>, DeliveryId),
    /// Another part of the host.
    Host(AskId),
}

/// `/status`: the machine's lines, and the command.
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) lines: Vec<String>,
    pub(super) group: Group,
    pub(super) message: Inbound,
    pub(super) id: DeliveryId,
}

/// The next action, once the steps are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing.
    Nothing,
    /// The lane takes its next outputs.
    Outputs(LaneKind),
    /// The lane becomes free.
    Free(LaneKind),
    /// A question is answered with yes.
    Answer(AskId),
}

/// The start of a run with messages.
#[derive(Debug)]
pub(super) struct First {
    pub(super) batch: Batch,
    pub(super) past: Past,
    /// Texts that a broken-off turn already sent.
    pub(super) said: Vec<String>,
    pub(super) news: News,
}

/// Texts that were sent to a chat outside its agent's session.
#[derive(Debug)]
pub(super) struct News {
    pub(super) told: Vec<Told>,
    /// The outbox position up to which the prompt repeats them.
    pub(super) through: i64,
}

/// The store's answer to a job.
#[derive(Debug)]
pub(super) enum Answer {
    Looked(Result<Box<Look>, StoreError>),
    Messages(Result<Option<Box<First>>, StoreError>),
    /// For the lane that took the firing. None if it was taken back meanwhile.
    Task(LaneKind, Result<Option<Box<Past>>, StoreError>),
    FollowUp(Result<Option<Box<(Batch, News)>>, StoreError>),
    /// True if something ran or waited.
    Stopped(AskedBy, bool),
    Committed(Then),
}

/// The facts that jobs need beside the store.
pub(super) struct Facts<'a> {
    pub(super) jid: &'a ChatJid,
    pub(super) settings: &'a Settings,
    pub(super) routes: &'a steps::Routes,
    pub(super) now: DateTime<Utc>,
    /// Groups that wait for a container, and containers in use.
    pub(super) load: Load,
}

impl Job {
    /// Returns true if the job is retried until it succeeds, because the machine already relies on it.
    pub(super) fn must_be_done(&self) -> bool {
        matches!(self, Self::Stop(_) | Self::Status(_) | Self::Commit(..))
    }

    /// Drops a command that cannot be done from its job. Returns the rest of the job, which stores what the command
    /// took back from live runs, and the command's sequence number.
    pub(super) fn without_its_command(&self) -> Option<(Self, i64)> {
        let (mut steps, message) = match self {
            Self::Stop(stop) => match &stop.asked_by {
                AskedBy::Chat(message, _) => (stop.steps.clone(), &**message),
                AskedBy::Host(_) => return None,
            },
            Self::Status(status) => (Vec::new(), &status.message),
            _ => return None,
        };
        steps.push(steps::done(message));
        Some((Self::Commit(steps, Then::Nothing), message.seq))
    }

    /// Returns the answer to a job that failed.
    pub(super) fn failed(self, error: StoreError) -> Answer {
        match self {
            Self::Look => Answer::Looked(Err(error)),
            Self::TakeMessages(_) => Answer::Messages(Err(error)),
            Self::TakeTask { of, .. } => Answer::Task(of.row.lane, Err(error)),
            Self::FollowUp { .. } => Answer::FollowUp(Err(error)),
            Self::Stop(stop) => Answer::Stopped(stop.asked_by, stop.ran),
            Self::Status(_) => Answer::Committed(Then::Nothing),
            Self::Commit(_, then) => Answer::Committed(then),
        }
    }

    /// Returns the result of a look.
    pub(super) fn look(db: &Connection, facts: &Facts<'_>) -> TxResult<Answer> {
        Ok(Answer::Looked(Ok(Box::new(look::look(db, facts)?))))
    }

    /// Does the job in a transaction.
    pub(super) fn perform(&self, tx: &mut Tx<'_>, facts: &Facts<'_>) -> TxResult<Answer> {
        match self {
            Self::Look => Self::look(tx, facts),
            Self::TakeMessages(of) => Ok(Answer::Messages(Ok(take_messages(tx, facts, of)?.map(Box::new)))),
            Self::TakeTask { of, task, due, in_group } => {
                let Take { row, group } = &**of;
                if !tasks::start(tx, task, *due, row.id)? {
                    return Ok(Answer::Task(row.lane, Ok(None)));
                }
                let past = Past::of(tx, group, *in_group)?;
                runs::put(tx, row)?;
                let event = Event::Task { task_id: task.clone(), chat_jid: row.jid.clone(), change: "fired".into() };
                events::append(tx, &event, facts.now)?;
                Ok(Answer::Task(row.lane, Ok(Some(Box::new(past)))))
            }
            Self::FollowUp { run, input, told } => {
                let Some(batch) = inbound::take_batch(tx, facts.jid, *run, input)? else {
                    return Ok(Answer::FollowUp(Ok(None)));
                };
                turn_started(tx, facts, &batch)?;
                let news = news(tx, facts.jid, *told)?;
                Ok(Answer::FollowUp(Ok(Some(Box::new((batch, news))))))
            }
            Self::Stop(stop) => perform_stop(tx, facts, stop),
            Self::Status(status) => {
                let text = status_text(tx, facts, status)?;
                for step in steps::answer(facts.jid, &status.message, status.id, text) {
                    step.apply(tx, facts)?;
                }
                Ok(Answer::Committed(Then::Nothing))
            }
            Self::Commit(steps, then) => {
                steps.iter().try_for_each(|step| step.apply(tx, facts))?;
                Ok(Answer::Committed(*then))
            }
        }
    }
}

fn take_messages(tx: &mut Tx<'_>, facts: &Facts<'_>, of: &Take) -> TxResult<Option<First>> {
    let Take { row, group } = of;
    let Some(batch) = inbound::take_batch(tx, facts.jid, row.id, "")? else { return Ok(None) };
    if group.paused.is_some() {
        groups::set_pause(tx, &group.folder, None)?;
    }
    let past = Past::of(tx, group, true)?;
    let mut said = Vec::new();
    let mut earlier: Vec<RunId> = batch.messages.iter().filter_map(|m| m.run_id).collect();
    earlier.dedup();
    for old in earlier {
        said.extend(outbox::said_in_open_turn(tx, old)?);
        // If this try fails, too, the next one finds the texts under this run.
        outbox::take_over_turn(tx, old, row.id)?;
    }
    runs::put(tx, row)?;
    let news = news(tx, facts.jid, 0)?;
    turn_started(tx, facts, &batch)?;
    Ok(Some(First { batch, past, said, news }))
}

fn news(tx: &Tx<'_>, jid: &ChatJid, known: i64) -> TxResult<News> {
    Ok(News { told: told::news(tx, jid, known)?, through: told::newest(tx, jid)? })
}

fn turn_started(tx: &mut Tx<'_>, facts: &Facts<'_>, batch: &Batch) -> TxResult<()> {
    let (state, through_seq) = (TurnState::Started, batch.through());
    let event = Event::Turn { chat_jid: facts.jid.clone(), state, through_seq, reason: None };
    events::append(tx, &event, facts.now).map(drop)
}

fn perform_stop(tx: &mut Tx<'_>, facts: &Facts<'_>, stop: &Stop) -> TxResult<Answer> {
    let last = inbound::cancel_before(tx, facts.jid, stop.before)?;
    if let Some(group) = groups::by_jid(tx, facts.jid)?
        && group.paused.is_some()
    {
        // No lane waits for the end of this pause any more; the next message finds the trouble by itself.
        groups::set_pause(tx, &group.folder, None)?;
    }
    if let Some(through_seq) = last {
        let (state, reason) = (TurnState::Cancelled, Some("/stop".into()));
        events::append(tx, &Event::Turn { chat_jid: facts.jid.clone(), state, through_seq, reason }, facts.now)?;
    }
    stop.steps.iter().try_for_each(|step| step.apply(tx, facts))?;
    let did = stop.ran || last.is_some();
    if let AskedBy::Chat(message, id) = &stop.asked_by {
        let text = if did { "Stopped." } else { "Nothing is running." };
        for step in steps::answer(facts.jid, message, *id, text.to_owned()) {
            step.apply(tx, facts)?;
        }
    }
    Ok(Answer::Stopped(stop.asked_by.clone(), did))
}

fn status_text(db: &Connection, facts: &Facts<'_>, status: &Status) -> TxResult<String> {
    let (mut lines, zone) = (status.lines.clone(), facts.settings.timezone);
    // The command itself also waits.
    let waiting = (inbound::count_waiting(db, facts.jid)? - 1).max(0).unsigned_abs();
    let tasks = tasks::list(db, Some(&status.group.folder), false)?.len() as u64;
    lines.push(format!("{}, {}.", words::count(waiting, "waiting message"), words::count(tasks, "scheduled task")));
    lines.extend(fallback::stand_ins(db, &status.group, facts.now, zone)?);
    let Load { waiting, used } = facts.load;
    let groups = words::count(waiting as u64, "group");
    let wait = if waiting == 1 { "waits" } else { "wait" };
    lines.push(format!("{used} of {} containers in use, {groups} {wait}.", facts.settings.max_containers));
    if let Some(pause) = &status.group.paused
        && pause.until > facts.now
    {
        lines.push(format!("Paused {}: {}", hold::until(pause.until, facts.now, zone), pause.reason));
    }
    Ok(lines.join("\n"))
}
