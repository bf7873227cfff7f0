//! A lane of a group, as a state machine. Every state can be asked to end, and hears of it at once:
//!
//! ```text
//!        asks for a slot            gets it and takes work           room open
//!  Free ─────────────────▶ Waiting       ┌─────────────▶ Starting ─────────────▶ Live
//!   ▲ ◀── slot, or none needed ──┘       │                   │                     │
//!   ├────────────────────────────────────┘                   │                     │
//!   └──────────────────────────── failed, or cancelled ──────┴─────── ended ───────┘
//! ```

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::fallback::Answering;
use super::hold::{Hold, Now};
use super::live::Conversation;
use super::slots::{Slot, Ticket};
use super::start::{NotOpened, Sees, Started};
use crate::container::run::{EndReason, RunEvent, RunHandle};
use crate::domain::run::RunState;
use crate::store::runs::Run;

/// See the module.
#[derive(Debug)]
pub(super) struct Lane {
    state: LaneState,
    /// Nothing starts while it lasts.
    hold: Option<Hold>,
    /// Engine or vendor failures in a row.
    pub(super) probes: u32,
    /// It is held because the day's budget is used up.
    pub(super) over_budget: bool,
    /// What the last run worked for, so that messages and tasks take turns.
    pub(super) last_was_messages: bool,
}

#[derive(Debug)]
pub(super) enum LaneState {
    Free,
    Waiting(oneshot::Receiver<Slot>),
    Starting(Box<Opening>),
    Live(Box<Live>),
}

impl LaneState {
    fn may_become(&self, next: &Self) -> bool {
        matches!(
            (self, next),
            (Self::Free, Self::Waiting(_) | Self::Starting(_))
                | (Self::Waiting(_) | Self::Live(_), Self::Free)
                | (Self::Starting(_), Self::Live(_) | Self::Free)
        )
    }
}

/// A room on its way.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) row: Run,
    pub(super) talk: Conversation,
    pub(super) slot: Slot,
    /// The task that opens it.
    pub(super) opened: JoinHandle<Result<Started, NotOpened>>,
    /// Heard by that task wherever it may have to wait long.
    pub(super) cancel: CancellationToken,
    /// With its group's actor gone nobody wants the room.
    #[expect(dead_code, reason = "what counts is its end")]
    wanted: DropGuard,
    /// It is not wanted any more. A room that opens all the same is ended for this reason.
    pub(super) ended: Option<EndReason>,
    /// The room is asked to close after what it starts with.
    pub(super) closing: bool,
}

impl Opening {
    /// A room that a task opens; `cancel` is what the task hears.
    pub(super) fn new(
        row: Run,
        talk: Conversation,
        slot: Slot,
        opened: JoinHandle<Result<Started, NotOpened>>,
        cancel: CancellationToken,
    ) -> Self {
        let wanted = cancel.clone().drop_guard();
        Self { row, talk, slot, opened, cancel, wanted, ended: None, closing: false }
    }

    fn end(&mut self, reason: EndReason) {
        if self.ended.is_none() {
            self.ended = Some(reason);
            self.cancel.cancel();
        }
    }
}

/// A live run.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) row: Run,
    pub(super) talk: Conversation,
    pub(super) handle: RunHandle,
    pub(super) events: mpsc::Receiver<RunEvent>,
    pub(super) slot: Slot,
    pub(super) sees: Sees,
    /// When the last follow-up was given.
    pub(super) last_follow_up: Option<Instant>,
    /// When what waits for company is given.
    pub(super) follow_up_at: Option<Instant>,
    /// It was asked to exit: follow-ups wait for the next run.
    pub(super) closing: bool,
    /// The host ends it.
    pub(super) ending: bool,
    /// Who answers.
    pub(super) answering: Answering,
    /// Outputs that could not be read.
    pub(super) unreadable: u64,
    /// Why a turn of it failed; the room is asked to close with it.
    pub(super) failed: Option<String>,
}

/// Follow-ups into an open turn are at least this far apart: what is written in between goes together. A turn that ends
/// earlier takes what waits at once.
const COMPANY: Duration = Duration::from_millis(5);

impl Live {
    /// Returns true if a follow-up should wait for more; it is looked at again when the time is over.
    pub(super) fn waits_for_company(&mut self, now: Instant) -> bool {
        let at = self.last_follow_up.map(|last| last + COMPANY).filter(|at| *at > now && self.talk.open);
        self.follow_up_at = at;
        at.is_some()
    }

    pub(super) fn close(&mut self) {
        if !self.closing {
            self.closing = true;
            self.handle.close();
        }
    }

    /// Ends it now. What comes from now on is the next run's.
    pub(super) fn end(&mut self, reason: EndReason) {
        if !self.ending {
            self.ending = true;
            self.closing = true;
            self.handle.end(reason);
        }
    }
}

impl Lane {
    pub(super) fn new() -> Self {
        Self { state: LaneState::Free, hold: None, probes: 0, over_budget: false, last_was_messages: false }
    }

    pub(super) fn live(&self) -> Option<&Live> {
        match &self.state {
            LaneState::Live(live) => Some(live),
            _ => None,
        }
    }

    pub(super) fn live_mut(&mut self) -> Option<&mut Live> {
        match &mut self.state {
            LaneState::Live(live) => Some(live),
            _ => None,
        }
    }

    pub(super) fn state(&self) -> &LaneState {
        &self.state
    }

    /// Goes on to the next state; what it leaves is dropped.
    pub(super) fn enter(&mut self, next: LaneState) {
        assert!(self.state.may_become(&next), "a lane goes from {:?} to {next:?}", self.state);
        self.state = next;
    }

    pub(super) fn opening_mut(&mut self) -> Option<&mut Opening> {
        match &mut self.state {
            LaneState::Starting(opening) => Some(opening),
            _ => None,
        }
    }

    /// The room is open.
    pub(super) fn open(&mut self, started: Started, now: DateTime<Utc>) {
        let Some(opening) = self.opening_mut() else { return };
        opening.row.started_at = now;
        opening.row.state = RunState::Running;
        let Started { handle, events, provider, answering, session } = started;
        (opening.talk.provider, opening.talk.had_session) = (provider, session.is_some());
        opening.row.session_id = session;
        let (row, ended, closing) = (opening.row.clone(), opening.ended, opening.closing);
        let LaneState::Starting(opening) = std::mem::replace(&mut self.state, LaneState::Free) else { return };
        let Opening { talk, slot, .. } = *opening;
        let mut live = Live {
            row,
            talk,
            handle,
            events,
            slot,
            sees: Sees::of(provider),
            answering,
            last_follow_up: None,
            follow_up_at: None,
            closing: false,
            ending: false,
            unreadable: 0,
            failed: None,
        };
        if closing {
            live.close();
        }
        if let Some(reason) = ended {
            live.end(reason);
        }
        self.state = LaneState::Live(Box::new(live));
    }

    /// Returns what runs or is about to: its row, and whom it works for.
    pub(super) fn work(&self) -> Option<(&Run, &Conversation)> {
        match &self.state {
            LaneState::Starting(opening) => Some((&opening.row, &opening.talk)),
            LaneState::Live(live) => Some((&live.row, &live.talk)),
            _ => None,
        }
    }

    pub(super) fn talk_mut(&mut self) -> Option<&mut Conversation> {
        match &mut self.state {
            LaneState::Starting(opening) => Some(&mut opening.talk),
            LaneState::Live(live) => Some(&mut live.talk),
            _ => None,
        }
    }

    pub(super) fn is_free(&self) -> bool {
        matches!(self.state, LaneState::Free)
    }

    /// Returns true if nothing is left to end.
    pub(super) fn ending(&self) -> bool {
        match &self.state {
            LaneState::Free | LaneState::Waiting(_) => true,
            LaneState::Starting(opening) => opening.ended.is_some(),
            LaneState::Live(live) => live.ending,
        }
    }

    /// Leaves the queue for a slot.
    pub(super) fn stop_waiting(&mut self) {
        if matches!(self.state, LaneState::Waiting(_)) {
            self.enter(LaneState::Free);
        }
    }

    /// Has the room close once nothing is owed in it.
    pub(super) fn close(&mut self) {
        match &mut self.state {
            LaneState::Starting(opening) => opening.closing = true,
            LaneState::Live(live) => live.close(),
            LaneState::Free | LaneState::Waiting(_) => {}
        }
    }

    /// Returns true if a back-off holds it; one that is over is forgotten.
    pub(super) fn held_back(&mut self, now: Now) -> bool {
        if self.hold.as_mut().is_some_and(|hold| hold.is_over(now)) {
            self.release();
        }
        self.hold.is_some()
    }

    /// Holds it back for a short while; a longer hold stays.
    pub(super) fn hold(&mut self, until: Instant, why: String) {
        self.keep_longer(Hold::short(until, why));
    }

    /// Holds it back until a time of day; a longer hold stays.
    pub(super) fn hold_until(&mut self, until: DateTime<Utc>, now: Now, why: String) {
        self.keep_longer(Hold::until(until, now, why));
    }

    /// Holds it back for as long as the group's pause in the store lasts.
    pub(super) fn pause(&mut self, until: DateTime<Utc>, now: Now, why: String) {
        self.keep_longer(Hold::pause(until, now, why));
    }

    /// The group is not paused any more.
    pub(super) fn end_pause(&mut self) {
        if self.hold.as_ref().is_some_and(|hold| hold.is_pause) {
            self.release();
            self.probes = 0;
        }
    }

    fn keep_longer(&mut self, new: Hold) {
        if self.hold.as_ref().is_none_or(|hold| new.is_longer_than(hold)) {
            self.hold = Some(new);
        }
    }

    /// Returns when to look whether the hold is over.
    pub(super) fn timer(&self) -> Option<Instant> {
        self.hold.as_ref().map(Hold::timer)
    }

    /// Forgets a hold.
    pub(super) fn release(&mut self) {
        self.hold = None;
        // Where the budget is still used up, the next look holds it again.
        self.over_budget = false;
    }

    pub(super) fn wait(&mut self, slot: oneshot::Receiver<Slot>) {
        self.enter(LaneState::Waiting(slot));
    }

    pub(super) fn why_waiting(&self, now: Now, zone: Tz) -> Option<String> {
        match (&self.state, &self.hold) {
            (LaneState::Waiting(_), _) => Some("waits for a free container".into()),
            (LaneState::Starting(_), _) => Some("waits for its room, which is being opened".into()),
            (LaneState::Free, Some(hold)) => Some(hold.told(now, zone)),
            _ => None,
        }
    }

    /// The host shuts down: nothing starts any more, and what lives is asked to exit.
    pub(super) fn shut(&mut self) {
        self.release();
        self.stop_waiting();
        match &mut self.state {
            LaneState::Starting(opening) => opening.end(EndReason::Shutdown),
            LaneState::Live(live) => live.close(),
            LaneState::Free | LaneState::Waiting(_) => {}
        }
    }

    /// Ends what lives, or is about to, now.
    pub(super) fn end(&mut self, reason: EndReason) {
        self.stop_waiting();
        match &mut self.state {
            LaneState::Starting(opening) => opening.end(reason),
            LaneState::Live(live) => live.end(reason),
            LaneState::Free | LaneState::Waiting(_) => {}
        }
    }

    /// An idle run with this slot closes at once.
    pub(super) fn evict(&mut self, ticket: Ticket) {
        if let LaneState::Live(live) = &mut self.state
            && live.slot.ticket() == ticket
            && !live.talk.open
        {
            live.close();
        }
    }

    /// Returns what happens next in the lane; for ever nothing while it is free.
    pub(super) async fn news(&mut self) -> News {
        match &mut self.state {
            LaneState::Live(live) => News::Run(live.events.recv().await),
            LaneState::Starting(opening) => News::Opened((&mut opening.opened).await),
            LaneState::Waiting(slot) => News::Slot(slot.await.ok()),
            LaneState::Free => std::future::pending().await,
        }
    }
}

/// What happens in a lane.
pub(super) enum News {
    /// The slot it waits for.
    Slot(Option<Slot>),
    /// Its room is open, or cannot be.
    Opened(Result<Result<Started, NotOpened>, JoinError>),
    /// Its live run speaks, or is gone without a word.
    Run(Option<RunEvent>),
}
