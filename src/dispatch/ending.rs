//! The end of a run. First its room's folders are cleared, so that its last IPC files come before its end. Then its
//! unanswered messages are settled, put back or given up in one transaction. Then its lane is free.

use parlor_protocol::ErrorKind;

use super::backoff;
use super::event::{Effect, Remains};
use super::failed_turn::{self, At, HeldBack};
use super::failure::{self, Failure};
use super::jobs::Then;
use super::lane::{Gone, LaneState, Leaving, Live, Starting};
use super::live::{Conversation, Effects, Given, Work};
use super::machine::{Ids, Machine};
use super::messages;
use super::steps::Step;
use crate::container::run::{Cause, EndReason, Outcome};
use crate::domain::delivery::DeliveryKind;
use crate::domain::event::TurnState;
use crate::domain::ids::GroupFolder;
use crate::domain::message::InboundState;
use crate::domain::run::{Lane as LaneKind, RunState};
use crate::domain::task::FireState;
use crate::store::runs::Run;

/// How a lane is held back after its run.
enum Hold {
    Not,
    For(HeldBack),
    Engine(String),
}

impl Machine {
    /// Handles the end of a live run.
    pub(super) fn ended(&mut self, lane: LaneKind, outcome: Option<Box<Outcome>>) {
        let Some(live) = self.lane_ref(lane).live() else { return };
        let container = outcome.is_none().then(|| live.row.container.clone());
        if container.is_some() {
            tracing::error!("run {} ended without an outcome: a defect of Parlor", live.row.id);
        }
        let how = Gone::Ended(outcome.unwrap_or_else(|| Box::new(Outcome::unknown())));
        self.leave(lane, how, container);
    }

    /// Handles a room that could not be opened, or was not needed any more.
    pub(super) fn not_opened(&mut self, lane: LaneKind, error: String) {
        let LaneState::Starting(starting) = self.lane_ref(lane).state() else { return };
        let how = starting.orders.ended.map_or(Gone::NotOpened(error), Gone::Unwanted);
        self.leave(lane, how, None);
    }

    fn leave(&mut self, lane: LaneKind, how: Gone, container: Option<String>) {
        self.lane(lane).turn(|state| match state {
            LaneState::Live(live) => {
                let Live { row, conversation, giving, .. } = *live;
                LaneState::Leaving(Box::new(Leaving { row, conversation, giving, how, cleared: false }))
            }
            LaneState::Starting(starting) => {
                let Starting { row, conversation, .. } = *starting;
                LaneState::Leaving(Box::new(Leaving { row, conversation, giving: None, how, cleared: false }))
            }
            other => other,
        });
        let Some(row) = self.lane_ref(lane).run() else { return };
        let remains = Remains { folder: row.folder.clone(), run: row.id, container };
        self.effect(Effect::Clear(lane, remains));
        self.show_typing();
    }

    /// Handles the end of clearing a room's folders.
    pub(super) fn cleared(&mut self, lane: LaneKind) {
        if let LaneState::Leaving(leaving) = self.lane(lane).state_mut() {
            leaving.cleared = true;
        }
        self.store_end(lane);
    }

    /// Stores the end of a run, once its room is cleared and the store has answered its last follow-up.
    pub(super) fn store_end(&mut self, lane: LaneKind) {
        let LaneState::Leaving(leaving) = self.lane_ref(lane).state() else { return };
        if !leaving.cleared || leaving.giving.is_some() {
            return;
        }
        let storing = LaneState::Storing(Box::new(leaving.row.clone()));
        let LaneState::Leaving(mut leaving) = self.lane(lane).enter(storing) else { return };
        leaving.row.ended_at = Some(self.now.wall);
        let mut steps = Vec::new();
        let hold = match std::mem::replace(&mut leaving.how, Gone::Unwanted(EndReason::Stopped)) {
            Gone::Unwanted(reason) => {
                steps.extend(Self::unwanted(&mut leaving.conversation, reason));
                steps.push(self.unwanted_row(leaving.row, reason));
                Hold::Not
            }
            Gone::NotOpened(error) => {
                tracing::warn!("cannot open a room for group {}: {error}", leaving.row.folder);
                let probes = self.lane_ref(lane).probes;
                steps.extend(not_started(&mut leaving.conversation, &error, probes, &self.ids));
                (leaving.row.state, leaving.row.error) = (RunState::EngineFailed, Some(error.clone()));
                steps.push(Step::Run(Box::new(leaving.row)));
                Hold::Engine(error)
            }
            Gone::Ended(outcome) => {
                let mut effects = Effects::default();
                let hold = self.end_effects(lane, &mut leaving.conversation, &outcome, &mut effects);
                let Leaving { mut row, conversation, .. } = *leaving;
                // A room that closed well after a failed turn still counts as failed.
                let failed = conversation.failed.filter(|_| outcome.state == RunState::Succeeded);
                row.state = if failed.is_some() { RunState::Failed } else { outcome.state };
                row.exit_code = outcome.exit_code;
                row.error = failed.or_else(|| outcome.error.clone());
                row.outputs = outcome.outputs;
                log_end(&row, &outcome);
                steps.extend(effects.steps);
                steps.push(Step::Run(Box::new(row)));
                hold
            }
        };
        self.commit(steps, Then::Free(lane));
        match hold {
            Hold::Not => {}
            Hold::For(held) => self.hold(lane, held),
            Hold::Engine(why) => self.hold_for_engine(lane, why),
        }
    }

    fn end_effects(
        &mut self,
        lane: LaneKind,
        conversation: &mut Conversation,
        outcome: &Outcome,
        effects: &mut Effects,
    ) -> Hold {
        let probes = self.lane_ref(lane).probes;
        let error = explained(outcome, &conversation.folder);
        if matches!(conversation.work, Work::Task { .. }) {
            return self.task_end_effects(lane, conversation, outcome, effects);
        }
        let prompt_open = conversation.prompt_open();
        if outcome.state == RunState::Stopped {
            // Includes the messages that the store was giving to the run when it was stopped.
            effects.steps.push(messages::cancel(self.jid.clone(), &conversation.take_unsettled()));
            return Hold::Not;
        }
        let (rest, untouched) = conversation.take_rest(&outcome.taken);
        let seqs: Vec<i64> = rest.iter().map(|g| g.seq).collect();
        // Messages that the agent never saw are not part of its failure: the next run gets them at once.
        effects.steps.push(put_back(&untouched));
        let failure = match outcome.state {
            _ if rest.is_empty() => return Hold::Not,
            RunState::EngineFailed if !conversation.said => {
                effects.steps.push(Step::PutBack { seqs, counts: false });
                if probes == 0 {
                    let text = format!("The room could not be kept open: {error}. Nothing is lost; I go on trying.");
                    effects.steps.push(conversation.say(text, DeliveryKind::Notice, false, &self.ids));
                }
                return Hold::Engine(error);
            }
            RunState::Interrupted => {
                effects.steps.push(Step::PutBack { seqs, counts: false });
                return Hold::Not;
            }
            RunState::Succeeded if !prompt_open && !conversation.said => {
                effects.steps.push(Step::PutBack { seqs, counts: false });
                return Hold::Not;
            }
            RunState::Succeeded if conversation.said => {
                conversation.settle(&rest, InboundState::Done, TurnState::Done, None, effects);
                return Hold::Not;
            }
            RunState::Succeeded => "the agent ended without an answer".to_owned(),
            _ => error,
        };
        let kind = match outcome.cause {
            Cause::Memory | Cause::NoAgent => ErrorKind::Refused,
            Cause::NotStarted | Cause::Other => ErrorKind::Other,
        };
        let failure = Failure { kind, error: failure, retry_at: None };
        let (now, zone, mut probes) = (self.now.wall, self.settings.timezone, probes);
        let mut at = At { now, zone, ids: &self.ids, probes: &mut probes };
        let held = failed_turn::consequences(conversation, &rest, &failure, &mut at, effects);
        self.lane(lane).probes = probes;
        held.map_or(Hold::Not, Hold::For)
    }

    fn task_end_effects(
        &mut self,
        lane: LaneKind,
        conversation: &mut Conversation,
        outcome: &Outcome,
        effects: &mut Effects,
    ) -> Hold {
        if outcome.cause == Cause::NotStarted && outcome.outputs == 0 {
            let error = outcome.error.clone().unwrap_or_default();
            let probes = self.lane_ref(lane).probes;
            effects.steps.extend(not_started(conversation, &error, probes, &self.ids));
            return Hold::Engine(error);
        }
        if outcome.state != RunState::Succeeded {
            conversation.drop_session();
        }
        conversation.settle(&[], InboundState::Done, TurnState::Done, None, effects);
        if conversation.fire_ended && conversation.last_error.is_none() {
            return Hold::Not;
        }
        let (state, error) = fire_outcome(conversation, outcome);
        if let (FireState::Failed | FireState::Interrupted, Some(error), Work::Task { task, .. }) =
            (state, &error, &conversation.work)
        {
            let told = failure::sentence(error);
            let text =
                format!("Task {task} failed: {told} It is not repeated; `parlor tasks run {task}` runs it again.");
            effects.steps.push(conversation.say(text, DeliveryKind::Notice, false, &self.ids));
        }
        effects.steps.extend(Self::fire_end(conversation, state, error));
        Hold::Not
    }

    /// Handles a room that was cancelled before it was open: messages that `/stop` did not take back wait again.
    pub(super) fn unwanted(conversation: &mut Conversation, reason: EndReason) -> Vec<Step> {
        let mut steps = vec![put_back(&conversation.take_unsettled())];
        if reason == EndReason::Stopped {
            steps.extend(Self::fire_end(conversation, FireState::Cancelled, None));
        } else if let Work::Task { task, due } = &conversation.work {
            steps.push(Step::Unstart { task: task.clone(), due: *due });
        }
        steps
    }

    fn hold_for_engine(&mut self, lane: LaneKind, why: String) {
        self.effect(Effect::ForgetImages);
        let now = self.now.monotonic;
        let lane = self.lane(lane);
        lane.probes += 1;
        let wait = backoff::probe(lane.probes);
        lane.hold(now + wait, why);
    }
}

fn put_back(given: &[Given]) -> Step {
    Step::PutBack { seqs: given.iter().map(|one| one.seq).collect(), counts: false }
}

/// Handles an engine failure: the work waits again, no try is used up, and the chat is notified once.
fn not_started(conversation: &mut Conversation, error: &str, probes: u32, ids: &Ids) -> Vec<Step> {
    let mut steps = vec![put_back(&conversation.take_unsettled())];
    if let Work::Task { task, due } = &conversation.work {
        steps.push(Step::Unstart { task: task.clone(), due: *due });
    }
    if probes == 0 {
        let text = format!("The room cannot be opened: {error}. Nothing is lost; I go on trying.");
        steps.push(conversation.say(text, DeliveryKind::Notice, false, ids));
    }
    steps
}

/// Returns how a task's firing ended, and the error for its history.
fn fire_outcome(conversation: &Conversation, outcome: &Outcome) -> (FireState, Option<String>) {
    let why = outcome.error.is_some().then(|| explained(outcome, &conversation.folder));
    let error = conversation.last_error.clone().or(why);
    let silent = outcome.unsettled.prompt && outcome.outputs == 0;
    let answered = !outcome.unsettled.prompt && conversation.last_error.is_none();
    match (outcome.state, error) {
        // The answer was complete; only the linger was cut short.
        (RunState::Stopped | RunState::Interrupted, _) if answered => (FireState::Done, None),
        (RunState::Stopped, _) => (FireState::Cancelled, None),
        (RunState::Interrupted, error) => (FireState::Interrupted, error),
        (_, Some(error)) => (FireState::Failed, Some(error)),
        (_, None) if silent => (FireState::Failed, Some("the agent ended without an answer".to_owned())),
        (_, None) => (FireState::Done, None),
    }
}

/// Returns the error of a run, with the setting that would have helped.
fn explained(outcome: &Outcome, folder: &GroupFolder) -> String {
    let error = outcome.error.clone().unwrap_or_default();
    match outcome.cause {
        Cause::Memory => format!(
            "{error}. The operator can raise it: `parlor groups update {folder} --memory …`, or PARLOR_MEMORY for all groups"
        ),
        Cause::NoAgent | Cause::NotStarted | Cause::Other => error,
    }
}

/// Logs the end of a run, without any text of the chat. The error may quote the agent, so it is only in the run's
/// log.
fn log_end(row: &Run, outcome: &Outcome) {
    let seconds = outcome.duration.as_secs_f64();
    let state = format!("{:?}", row.state).to_lowercase();
    let code =
        outcome.exit_code.filter(|code| *code != 0).map(|code| format!(", exit code {code}")).unwrap_or_default();
    tracing::info!(
        "group {}: run {} ended after {seconds:.1} s: {state}, {} outputs{code}",
        row.folder,
        row.id,
        outcome.outputs
    );
}
