//! The outputs of a live run, and the consequences of its end.

use std::time::Duration;

use parlor_protocol::ErrorKind;
use tokio::time::sleep;

use super::failure::{self, Facts, Failure, Verdict};
use super::group_actor::GroupActor;
use super::hold;
use super::lane::{LaneState, Live};
use super::live::{Effects, Given, Work};
use super::steps::Step;
use super::{spend, start};
use crate::container::run::{Cause, Item, Outcome};
use crate::domain::delivery::DeliveryKind;
use crate::domain::event::TurnState;
use crate::domain::group::Pause;
use crate::domain::ids::GroupFolder;
use crate::domain::message::InboundState;
use crate::domain::run::{Lane as LaneKind, RunState};
use crate::domain::task::FireState;
use crate::domain::usage;
use crate::store::StoreError;
use crate::store::runs::Run;

/// Unreadable outputs that the chat hears of; the rest is in the run's log.
const UNREADABLE_TOLD: u64 = 3;
/// Between two tries of a store that is out of order.
const STORE_RETRY: Duration = Duration::from_millis(500);

impl GroupActor {
    /// Stores what the agent put out, in order, in one transaction.
    pub(super) async fn outputs(&mut self, lane: LaneKind, items: Vec<Item>) {
        let (clock, settings) = (self.deps.clock.clone(), self.deps.settings.clone());
        let mut shares = Vec::new();
        let mut effects = Effects::default();
        let mut verdicts = Vec::new();
        let today = usage::day(clock.now(), self.deps.settings.timezone);
        for item in items {
            let Some(live) = self.lane(lane).live_mut() else { return };
            match item {
                Item::Unreadable { why, settled, open } => {
                    live.unreadable += 1;
                    live.talk.open = open;
                    // What answers nothing is a complaint like any other, of which the chat hears few.
                    if let Some(settled) = settled.filter(|settled| !settled.is_empty()) {
                        live.talk.unreadable(&why, &settled, open, &clock, &mut effects);
                    } else if live.unreadable <= UNREADABLE_TOLD {
                        let text = format!("Something the agent put out could not be read: {why}.");
                        let step = live.talk.say(text, DeliveryKind::Notice, false, &clock);
                        effects.steps.push(step);
                    }
                }
                Item::Output { output, settled, open, share } => {
                    let spent = spend::of_turn(&settings.prices, live.talk.provider, &output);
                    if let Some((used, unpriced)) = spent {
                        if used.cost_usd > 0.0 {
                            *live.row.cost_usd.get_or_insert(0.0) += used.cost_usd;
                        }
                        live.row.tokens += used.tokens();
                        let folder = live.talk.folder.clone();
                        effects.steps.push(Step::Usage { folder, day: today, used, unpriced });
                    }
                    live.talk.output(*output, settled.as_ref(), open, &clock, &mut effects);
                    shares.push(share);
                    let folder = live.talk.folder.clone();
                    let well = effects.failed.is_none() && settled.is_some();
                    if well {
                        live.answered(&clock, &mut effects);
                    }
                    if well && std::mem::take(&mut self.lane(lane).probes) > 0 {
                        effects.steps.push(Step::Pause { folder, pause: None });
                    }
                    if let Some((given, failure)) = effects.failed.take() {
                        let Some(live) = self.lane(lane).live_mut() else { return };
                        live.closing = true;
                        // An agent that reports the same failure again has nothing more to say of it.
                        let again = given.is_empty() && live.failed.is_some();
                        if !again {
                            verdicts.push(self.failed(lane, &given, &failure, &mut effects));
                        }
                    }
                }
            }
        }
        self.commit(effects.steps).await;
        drop(shares);
        let Some(live) = self.lane(lane).live_mut() else { return };
        live.slot.set_idle(!live.talk.open);
        for pause in verdicts.into_iter().flatten() {
            self.hold(lane, pause);
        }
        self.show_typing();
    }

    /// A turn failed: adds what follows to the effects; returns how the lane is held back.
    fn failed(
        &mut self,
        lane: LaneKind,
        given: &[Given],
        failure: &Failure,
        effects: &mut Effects,
    ) -> Option<HeldBack> {
        let clock = self.deps.clock.clone();
        let probes = self.lane(lane).probes;
        let zone = self.deps.settings.timezone;
        let live = self.lane(lane).live_mut()?;
        live.failed.get_or_insert_with(|| failure.error.clone());
        tracing::info!("group {}: a turn of run {} failed ({:?})", live.talk.folder, live.talk.run, failure.kind);
        live.talk.drop_session();
        if live.hand_over(given, failure, (&clock, zone), effects) {
            return None;
        }
        if let Work::Task { task, due } = &live.talk.work {
            let nothing_said = !live.talk.said && live.talk.last_text.is_none() && !live.talk.fire_ended;
            let unusable = matches!(failure.kind, ErrorKind::SessionMissing | ErrorKind::SessionRefused);
            let lost = unusable && live.talk.had_session && live.talk.keeps_session;
            if lost && nothing_said {
                // Once again, without the session.
                effects.steps.push(live.talk.lose_session());
                effects.steps.push(Step::Unstart { task: task.clone(), due: *due });
                live.talk.fire_ended = true;
            } else {
                live.talk.last_error = Some(failure.error.clone());
            }
            return None;
        }
        let facts = Facts {
            folder: &live.talk.folder,
            said: live.talk.said,
            tries: given.iter().map(|g| g.tries).max().unwrap_or(0),
            had_session: live.talk.had_session,
            probes,
            now: clock.now(),
            zone,
        };
        let verdict = failure::decide(failure, facts);
        self.apply_verdict(lane, given, verdict, &failure.error, effects)
    }

    fn apply_verdict(
        &mut self,
        lane: LaneKind,
        given: &[Given],
        verdict: Verdict,
        error: &str,
        effects: &mut Effects,
    ) -> Option<HeldBack> {
        let clock = self.deps.clock.clone();
        let live = self.lane(lane).live_mut()?;
        let reason = Some(error.to_owned());
        match verdict {
            Verdict::Done { notice } => {
                effects.steps.push(live.talk.say(notice, DeliveryKind::Notice, false, &clock));
                live.talk.settle(given, InboundState::Done, TurnState::Failed, reason, effects);
                None
            }
            Verdict::GiveUp { notice } => {
                effects.steps.push(live.talk.say(notice, DeliveryKind::Notice, false, &clock));
                live.talk.settle(given, InboundState::Failed, TurnState::Failed, reason, effects);
                None
            }
            Verdict::Retry { after, counts, pause, forget_session, notice } => {
                let seqs = given.iter().map(|g| g.seq).collect();
                effects.steps.push(Step::PutBack { seqs, counts });
                if let Some(notice) = notice {
                    effects.steps.push(live.talk.say(notice, DeliveryKind::Notice, false, &clock));
                }
                let folder = live.talk.folder.clone();
                if forget_session {
                    effects.steps.push(live.talk.lose_session());
                }
                if let Some(reason) = pause {
                    let until = hold::after(clock.now(), after);
                    effects.steps.push(Step::Pause { folder, pause: Some(Pause { until, reason: reason.clone() }) });
                    self.lane(lane).probes += 1;
                    return Some(HeldBack { wait: after, why: reason, is_pause: true });
                }
                (after > Duration::ZERO).then(|| HeldBack { wait: after, why: error.to_owned(), is_pause: false })
            }
        }
    }

    /// A run is gone: what it did not answer is settled, put back or given up.
    pub(super) async fn ended(&mut self, lane: LaneKind, outcome: Outcome) {
        let Some((folder, run)) = self.lane(lane).live().map(|l| (l.talk.folder.clone(), l.talk.run)) else { return };
        // What it asked for by file comes before its end; also when the group is gone meanwhile.
        start::clean_up(&self.deps, &folder, run).await;
        let mut effects = Effects::default();
        let hold = self.end_effects(lane, &outcome, &mut effects);
        let now = self.deps.clock.now();
        if let Some(live) = self.lane(lane).live_mut() {
            // A room that closed well after a failed turn is no success.
            let failed = live.failed.take().filter(|_| outcome.state == RunState::Succeeded);
            live.row.state = if failed.is_some() { RunState::Failed } else { outcome.state };
            live.row.ended_at = Some(now);
            live.row.exit_code = outcome.exit_code;
            live.row.error = failed.or_else(|| outcome.error.clone());
            live.row.outputs = outcome.outputs;
            effects.steps.push(Step::Run(Box::new(live.row.clone())));
        }
        self.commit(effects.steps).await;
        match hold {
            Hold::Not => {}
            Hold::For(held) => self.hold(lane, held),
            Hold::Engine(why) => self.hold_for_engine(lane, why),
        }
        if let Some((row, _)) = self.lane(lane).work() {
            log_end(row, &outcome);
        }
        // Frees the slot.
        self.lane(lane).enter(LaneState::Free);
        self.show_typing();
    }

    fn end_effects(&mut self, lane: LaneKind, outcome: &Outcome, effects: &mut Effects) -> Hold {
        let probes = self.lane(lane).probes;
        let Some(live) = self.lane(lane).live_mut() else { return Hold::Not };
        let error = explained(outcome, &live.talk.folder);
        if matches!(live.talk.work, Work::Task { .. }) {
            return self.task_end_effects(lane, outcome, probes, effects);
        }
        let prompt_open = live.talk.prompt_open();
        let (rest, untouched) = live.talk.take_rest(&outcome.taken);
        let seqs: Vec<i64> = rest.iter().map(|g| g.seq).collect();
        // However the run ended, what the agent never saw is not its failure: it starts the next run at once.
        let again: Vec<i64> = untouched.iter().map(|g| g.seq).collect();
        effects.steps.push(match outcome.state {
            RunState::Stopped => Step::Settle { seqs: again, state: InboundState::Cancelled },
            _ => Step::PutBack { seqs: again, counts: false },
        });
        let failure = match outcome.state {
            _ if rest.is_empty() => return Hold::Not,
            RunState::Stopped => {
                effects.steps.push(Step::Settle { seqs, state: InboundState::Cancelled });
                return Hold::Not;
            }
            RunState::EngineFailed if !live.talk.said && outcome.cause == Cause::Other => {
                let steps = vec![Step::PutBack { seqs, counts: false }];
                effects.steps.extend(steps);
                if probes == 0 {
                    let text = format!("The room could not be kept open: {error}. Nothing is lost; I go on trying.");
                    let clock = self.deps.clock.clone();
                    if let Some(live) = self.lane(lane).live_mut() {
                        effects.steps.push(live.talk.say(text, DeliveryKind::Notice, false, &clock));
                    }
                }
                return Hold::Engine(error);
            }
            RunState::Interrupted => {
                effects.steps.push(Step::PutBack { seqs, counts: false });
                return Hold::Not;
            }
            RunState::Succeeded if !prompt_open && !live.talk.said => {
                effects.steps.push(Step::PutBack { seqs, counts: false });
                return Hold::Not;
            }
            RunState::Succeeded if live.talk.said => {
                live.talk.settle(&rest, InboundState::Done, TurnState::Done, None, effects);
                return Hold::Not;
            }
            RunState::Succeeded => "the agent ended without an answer".to_owned(),
            _ => error,
        };
        let kind = if outcome.cause == Cause::Other { ErrorKind::Other } else { ErrorKind::Refused };
        let failure = Failure { kind, error: failure, retry_at: None };
        self.failed(lane, &rest, &failure, effects).map_or(Hold::Not, Hold::For)
    }

    fn task_end_effects(&mut self, lane: LaneKind, outcome: &Outcome, probes: u32, effects: &mut Effects) -> Hold {
        let clock = self.deps.clock.clone();
        let never_ran = outcome.outputs == 0 && matches!(outcome.exit_code, Some(125..=127));
        if outcome.state == RunState::EngineFailed && outcome.cause == Cause::Other && never_ran {
            let error = outcome.error.clone().unwrap_or_default();
            if let Some(talk) = self.lane(lane).talk_mut() {
                effects.steps.extend(Self::not_started(talk, &error, probes, &clock));
            }
            return Hold::Engine(error);
        }
        let Some(live) = self.lane(lane).live_mut() else { return Hold::Not };
        if outcome.state != RunState::Succeeded {
            live.talk.drop_session();
        }
        live.talk.settle(&[], InboundState::Done, TurnState::Done, None, effects);
        if live.talk.fire_ended && live.talk.last_error.is_none() {
            return Hold::Not;
        }
        let why = outcome.error.is_some().then(|| explained(outcome, &live.talk.folder));
        let error = live.talk.last_error.clone().or(why);
        let silent = outcome.unsettled.prompt && outcome.outputs == 0;
        let answered = !outcome.unsettled.prompt && live.talk.last_error.is_none();
        let (state, error) = match (outcome.state, error) {
            // Only its linger was cut short.
            (RunState::Stopped | RunState::Interrupted, _) if answered => (FireState::Done, None),
            (RunState::Stopped, _) => (FireState::Cancelled, None),
            (RunState::Interrupted, error) => (FireState::Interrupted, error),
            (_, Some(error)) => (FireState::Failed, Some(error)),
            (_, None) if silent => (FireState::Failed, Some("the agent ended without an answer".to_owned())),
            (_, None) => (FireState::Done, None),
        };
        if let (FireState::Failed | FireState::Interrupted, Some(error), Work::Task { task, .. }) =
            (state, &error, &live.talk.work)
        {
            let told = failure::sentence(error);
            let text =
                format!("Task {task} failed: {told} It is not repeated; `parlor tasks run {task}` runs it again.");
            effects.steps.push(live.talk.say(text, DeliveryKind::Notice, false, &clock));
        }
        effects.steps.extend(Self::fire_end(&live.talk, state, error));
        Hold::Not
    }

    /// Stores steps together; while the store is out of order it waits and tries again, and nothing is lost meanwhile:
    /// what the agent says next stays in the pipe.
    pub(super) async fn commit(&self, steps: Vec<Step>) {
        if steps.is_empty() {
            return;
        }
        let steps = std::sync::Arc::new(steps);
        let mut told = false;
        loop {
            let (work, now) = (steps.clone(), self.deps.clock.now());
            let result = self.deps.store.write(move |tx| work.iter().try_for_each(|step| step.apply(tx, now))).await;
            match result {
                Ok(()) => return,
                Err(error) if error.is_temporary() && !self.deps.shutdown.hard.is_cancelled() => {
                    if !told {
                        tracing::error!("{}: {error}", self.jid);
                        told = true;
                    }
                    sleep(STORE_RETRY).await;
                }
                // With this batch nothing is as it should be: the actor is made anew.
                Err(StoreError::Panicked { reason }) => std::panic::resume_unwind(Box::new(reason)),
                Err(error) => {
                    tracing::error!("{}: not stored: {error}", self.jid);
                    return;
                }
            }
        }
    }

    /// Typing is shown while any lane has an open turn.
    pub(super) fn show_typing(&mut self) {
        let on = [&self.chat, &self.task].iter().filter_map(|l| l.live()).any(|l: &Live| l.talk.open && !l.ending);
        if on != self.typing {
            self.typing = on;
            // Nobody may be listening.
            let _ = self.deps.typing.send(super::Typing { jid: self.jid.clone(), on });
        }
    }
}

enum Hold {
    Not,
    For(HeldBack),
    Engine(String),
}

/// How a lane is held back after a failure.
pub(super) struct HeldBack {
    pub(super) wait: Duration,
    pub(super) why: String,
    /// The store holds the group's pause as well.
    pub(super) is_pause: bool,
}

/// The error of a run, with the setting that would have helped.
fn explained(outcome: &Outcome, folder: &GroupFolder) -> String {
    let error = outcome.error.clone().unwrap_or_default();
    match outcome.cause {
        Cause::Memory => format!(
            "{error}. The operator can raise it: `parlor groups update {folder} --memory …`, or PARLOR_MEMORY for all groups"
        ),
        Cause::NoAgent | Cause::Other => error,
    }
}

/// A line for the operator, without anything that was said. The error may quote the agent: its place is the run's log.
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
