//! The decisions of one group, as a state machine: two lanes, their runs and their timers. It has no clock, store or
//! engine. [`apply`](Machine::apply) takes an event and returns effects; slow work comes back as an event. The next
//! step is always found by a look into the store, so start, wake-up, retry and recovery are one path.
//!
//! The store does one job of a group at a time. The machine acts on a look only if it has asked for no change of the
//! store since the look began; otherwise it looks again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use ulid::Ulid;

use super::event::{Effect, Event};
use super::hold::Now;
use super::jobs::{Answer, AskedBy, Job, Then};
use super::lane::{Exit, Lane, LaneState};
use super::look::Look;
use super::slots::Ticket;
use super::steps::{Routes, Step};
use super::{Doing, GroupActivity, RunActivity};
use crate::config::settings::Settings;
use crate::domain::group::ContainerConfig;
use crate::domain::ids::{ChatJid, DeliveryId, RunId};
use crate::domain::run::Lane as LaneKind;

/// The wait after a look that failed.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);
pub(super) const LANES: [LaneKind; 2] = [LaneKind::Chat, LaneKind::Task];

/// Makes ids of deliveries and runs.
#[derive(Clone)]
pub(super) struct Ids(pub(super) Arc<dyn Fn() -> Ulid + Send + Sync>);

impl Ids {
    pub(super) fn delivery(&self) -> DeliveryId {
        DeliveryId((self.0)())
    }
    pub(super) fn run(&self) -> RunId {
        RunId((self.0)())
    }
}

/// Whether a look is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looking {
    No,
    Yes {
        /// The machine has asked for a change of the store since the look began, so it must not act on the result.
        stale: bool,
        /// Something has happened since that the look may have missed.
        again: bool,
    },
}

/// How far the host's shutdown is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shutdown {
    No,
    /// Nothing new starts.
    Soft,
    /// Live runs are ended.
    Hard,
}

/// A timer of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// A lane is held back by a failure or a pause, and is checked again then.
    Hold(LaneKind),
    /// The last look failed.
    Look,
    /// Messages wait for a quiet period in the chat.
    Quiet,
    /// A follow-up waits for messages that come right after it.
    FollowUp,
}

pub(super) struct Machine {
    pub(super) settings: Arc<Settings>,
    pub(super) jid: ChatJid,
    pub(super) ids: Ids,
    pub(super) routes: Routes,
    pub(super) chat: Lane,
    pub(super) task: Lane,
    pub(super) now: Now,
    looking: Looking,
    /// When to look again after a failed look.
    look_at: Option<Instant>,
    /// When the chat has been quiet for long enough.
    quiet_at: Option<Instant>,
    pub(super) shutdown: Shutdown,
    typing: bool,
    /// The group's settings at the last look.
    pub(super) config: Option<ContainerConfig>,
    effects: Vec<Effect>,
}

impl Machine {
    pub(super) fn new(settings: Arc<Settings>, jid: ChatJid, ids: Ids, routes: Routes, now: Now) -> Self {
        Self {
            settings,
            jid,
            ids,
            routes,
            chat: Lane::new(),
            task: Lane::new(),
            now,
            looking: Looking::No,
            look_at: None,
            quiet_at: None,
            shutdown: Shutdown::No,
            typing: false,
            config: None,
            effects: Vec::new(),
        }
    }

    /// Returns the effects of an event.
    pub(super) fn apply(&mut self, event: Event, now: Now) -> Vec<Effect> {
        self.now = now;
        match event {
            Event::Wake => self.look(),
            Event::Timer => {
                self.drop_expired_timers();
                self.look();
            }
            Event::Stop(ask) => self.stop_all(i64::MAX, AskedBy::Host(ask)),
            Event::StopRun(run, ask) => self.stop_run(run, ask),
            Event::GoOn => {
                self.go_on();
                self.look();
            }
            Event::Soft => self.shut(Shutdown::Soft),
            Event::Hard => self.shut(Shutdown::Hard),
            Event::Evicted(ticket) => self.evicted(ticket),
            Event::Slot(lane, ticket) => self.slot(lane, ticket),
            Event::Store(answer) => self.stored(answer),
            Event::Opened(lane, Ok(opened)) => self.opened(lane, opened),
            Event::Opened(lane, Err(error)) => self.not_opened(lane, error),
            Event::Outputs(lane, items) => self.outputs(lane, items),
            Event::Ended(lane, outcome) => self.ended(lane, outcome),
            Event::Cleared(lane) => self.cleared(lane),
        }
        std::mem::take(&mut self.effects)
    }

    /// Returns true if there is nothing to do and nothing to wait for.
    pub(super) fn is_idle(&self) -> bool {
        self.chat.is_free() && self.task.is_free() && self.looking == Looking::No && self.next_timer().is_none()
    }

    /// Returns the lane of a run that has not ended.
    pub(super) fn lane_of(&self, run: RunId) -> Option<LaneKind> {
        LANES.into_iter().find(|lane| {
            let lane = self.lane_ref(*lane);
            lane.run().is_some_and(|row| row.id == run) && !matches!(lane.state(), LaneState::Storing(_))
        })
    }

    pub(super) fn timers(&self) -> impl Iterator<Item = (Timer, Instant)> {
        let follow_up_at = self.chat.live().and_then(|live| live.follow_up_at);
        let all = [
            (Timer::Hold(LaneKind::Chat), self.chat.timer()),
            (Timer::Hold(LaneKind::Task), self.task.timer()),
            (Timer::Look, self.look_at),
            (Timer::Quiet, self.quiet_at),
            (Timer::FollowUp, follow_up_at),
        ];
        let closing = self.shutdown > Shutdown::No;
        all.into_iter().filter_map(move |(timer, at)| Some((timer, at.filter(|_| !closing)?)))
    }

    /// Returns when [`Event::Timer`] is due. A time in the past counts, because handling other events may have taken
    /// longer than the wait.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers().map(|(_, at)| at).min()
    }

    /// Removes timers that are over, so that each fires once.
    fn drop_expired_timers(&mut self) {
        let both = self.now;
        self.chat.held_back(both);
        self.task.held_back(both);
        let now = both.monotonic;
        self.look_at = self.look_at.filter(|at| *at > now);
        self.quiet_at = self.quiet_at.filter(|at| *at > now);
        if let Some(live) = self.chat.live_mut() {
            live.follow_up_at = live.follow_up_at.filter(|at| *at > now);
        }
    }

    /// Adds an effect.
    pub(super) fn effect(&mut self, effect: Effect) {
        if let Effect::Store(job) = &effect
            && !matches!(job, Job::Look)
            && let Looking::Yes { stale, .. } = &mut self.looking
        {
            *stale = true;
        }
        self.effects.push(effect);
    }

    /// Looks for work, now or after the current look.
    pub(super) fn look(&mut self) {
        match &mut self.looking {
            Looking::Yes { again, .. } => *again = true,
            Looking::No => {
                self.looking = Looking::Yes { stale: false, again: false };
                self.effect(Effect::Store(Job::Look));
            }
        }
    }

    pub(super) fn look_later(&mut self) {
        self.look_at = Some(self.now.monotonic + LOOK_AGAIN);
    }

    /// Stores steps in one transaction.
    pub(super) fn commit(&mut self, steps: Vec<Step>, then: Then) {
        if !steps.is_empty() || then != Then::Nothing {
            self.effect(Effect::Store(Job::Commit(steps, then)));
        }
    }

    fn stored(&mut self, answer: Answer) {
        match answer {
            Answer::Looked(look) => self.looked(look),
            Answer::Messages(first) => self.took_messages(first),
            Answer::Task(lane, past) => self.took_task(lane, past),
            Answer::FollowUp(taken) => self.took_follow_up(taken),
            Answer::Stopped(AskedBy::Chat(..), did) => {
                tracing::info!("{}: /stop ({})", self.jid, if did { "stopped" } else { "nothing ran" });
            }
            Answer::Stopped(AskedBy::Host(ask), did) => self.effect(Effect::Answer(ask, did)),
            Answer::Committed(Then::Nothing) => {}
            Answer::Committed(Then::Outputs(lane)) => self.outputs_stored(lane),
            Answer::Committed(Then::Answer(ask)) => self.effect(Effect::Answer(ask, true)),
            Answer::Committed(Then::Free(lane)) => {
                self.free(lane);
                self.show_typing();
                self.look();
            }
        }
    }

    /// Frees the lane and its slot.
    pub(super) fn free(&mut self, lane: LaneKind) {
        self.lane(lane).enter(LaneState::Free);
        self.effect(Effect::FreeSlot(lane));
    }

    fn looked(&mut self, look: Result<Box<Look>, crate::store::StoreError>) {
        let Looking::Yes { stale, again } = std::mem::replace(&mut self.looking, Looking::No) else { return };
        match look {
            Err(error) => {
                tracing::warn!("cannot look for work of {}: {error}", self.jid);
                for lane in LANES {
                    self.stop_waiting_if_ready(lane);
                }
                self.look_later();
            }
            Ok(_) if stale => self.look(),
            Ok(look) => {
                self.act(&look);
                if again {
                    self.look();
                }
            }
        }
    }

    /// Does what the look shows to be due.
    fn act(&mut self, look: &Look) {
        self.stop_strays(look.group.as_ref());
        let Some(group) = &look.group else { return };
        if self.shutdown == Shutdown::Hard {
            return;
        }
        if let Some(message) = look.commands.first() {
            self.command(group, message);
            // The command changed something, so look again.
            return self.look();
        }
        if self.shutdown > Shutdown::No {
            return;
        }
        // The time may have passed while the store looked: then the next look, at once, finds what has waited enough.
        let quiet = look.settles_at.map(|at| (at - self.now.wall).to_std().unwrap_or_default());
        self.quiet_at = quiet.map(|wait| self.now.monotonic + wait);
        self.heed(group);
        self.keep_to_budget(group, look);
        self.advance_chat(group, look);
        self.advance_task(group, look);
    }

    /// A slot is there. Its work is looked up now, because it may have changed during the wait.
    fn slot(&mut self, lane: LaneKind, ticket: Ticket) {
        if !matches!(self.lane_ref(lane).state(), LaneState::Waiting) {
            return;
        }
        self.lane(lane).enter(LaneState::Ready(ticket));
        self.look();
    }

    pub(super) fn lane(&mut self, lane: LaneKind) -> &mut Lane {
        match lane {
            LaneKind::Chat => &mut self.chat,
            LaneKind::Task => &mut self.task,
        }
    }

    pub(super) fn lane_ref(&self, lane: LaneKind) -> &Lane {
        match lane {
            LaneKind::Chat => &self.chat,
            LaneKind::Task => &self.task,
        }
    }

    pub(super) fn activity(&self, now: Now) -> GroupActivity {
        let lanes = [&self.chat, &self.task];
        let activity = |lane: &&Lane| {
            // Its end may be in the store already.
            let row = lane.run().filter(|_| !matches!(lane.state(), LaneState::Storing(_)))?;
            let doing = match lane.state() {
                LaneState::Starting(_) => Doing::Opening,
                LaneState::Live(live) if live.is_idle() => Doing::Idle,
                LaneState::Leaving(leaving) if !leaving.conversation.open => Doing::Idle,
                _ => Doing::Working,
            };
            Some(RunActivity { run: row.id, lane: row.lane, doing })
        };
        GroupActivity {
            runs: lanes.iter().filter_map(activity).collect(),
            waiting: lanes.iter().find_map(|lane| lane.why_waiting(now, self.settings.timezone)),
        }
    }

    /// Shows typing while any lane has an open turn.
    pub(super) fn show_typing(&mut self) {
        let works = |lane: &Lane| lane.live().is_some_and(|live| live.conversation.open && live.exit < Exit::Ended);
        let on = works(&self.chat) || works(&self.task);
        if on != self.typing {
            self.typing = on;
            self.effect(Effect::Typing(on));
        }
    }
}
