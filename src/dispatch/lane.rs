//! A lane of a group: free, waiting for a slot, or with a live run.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::hold::{Hold, Now};
use super::live::Conversation;
use super::slots::Slot;
use crate::container::run::{EndReason, RunEvent, RunHandle};
use crate::store::runs::Run;

/// See the module.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) state: LaneState,
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
    Live(Box<Live>),
}

/// A live run.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) row: Run,
    pub(super) talk: Conversation,
    pub(super) handle: RunHandle,
    pub(super) events: mpsc::Receiver<RunEvent>,
    pub(super) slot: Slot,
    /// Whether its agent is given the messages' ids.
    pub(super) ids: bool,
    /// When the last follow-up was given.
    pub(super) last_follow_up: Option<Instant>,
    /// When what waits for company is given.
    pub(super) follow_up_at: Option<Instant>,
    /// It was asked to exit: follow-ups wait for the next run.
    pub(super) closing: bool,
    /// The host ends it.
    pub(super) ending: bool,
    /// Outputs that could not be read.
    pub(super) unreadable: u64,
}

/// Follow-ups into an open turn are at least this far apart: what is written in between goes together. A turn that ends
/// earlier takes what waits at once.
const COMPANY: Duration = Duration::from_millis(5);

impl Live {
    /// Whether a follow-up should wait for more; it is looked at again when the time is over.
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

    pub(super) fn is_free(&self) -> bool {
        matches!(self.state, LaneState::Free)
    }

    /// Whether nothing is left to end.
    pub(super) fn ending(&self) -> bool {
        self.live().is_none_or(|live| live.ending)
    }

    /// Whether a back-off holds it; one that is over is forgotten.
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

    fn keep_longer(&mut self, new: Hold) {
        if self.hold.as_ref().is_none_or(|hold| new.is_longer_than(hold)) {
            self.hold = Some(new);
        }
    }

    /// When to look whether the hold is over.
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
        self.state = LaneState::Waiting(slot);
    }

    pub(super) fn why_waiting(&self, now: Now) -> Option<String> {
        match (&self.state, &self.hold) {
            (LaneState::Waiting(_), _) => Some("waits for a free container".into()),
            (LaneState::Free, Some(hold)) => Some(hold.told(now)),
            _ => None,
        }
    }

    /// The host shuts down: nothing starts any more, and what lives is asked to exit.
    pub(super) fn shut(&mut self) {
        self.release();
        match &mut self.state {
            LaneState::Live(live) => live.close(),
            state => *state = LaneState::Free,
        }
    }

    /// Ends what lives now.
    pub(super) fn end(&mut self, reason: EndReason) {
        match &mut self.state {
            LaneState::Live(live) if !live.ending => {
                live.ending = true;
                // What comes from now on is the next run's.
                live.closing = true;
                live.handle.end(reason);
            }
            LaneState::Live(_) => {}
            state => *state = LaneState::Free,
        }
    }

    /// What happens next in the lane; for ever nothing while it is free.
    pub(super) async fn news(&mut self) -> News {
        match &mut self.state {
            LaneState::Live(live) => News::Run(live.events.recv().await),
            LaneState::Waiting(slot) => News::Slot(slot.await.ok()),
            LaneState::Free => std::future::pending().await,
        }
    }
}

/// What happens in a lane.
pub(super) enum News {
    /// The slot it waits for.
    Slot(Option<Slot>),
    /// Its live run speaks, or is gone without a word.
    Run(Option<RunEvent>),
}
