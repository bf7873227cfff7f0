//! A lane of a group, as a state machine. Each state holds what exists in it and nothing else. Every state can be asked
//! to end:
//!
//! ```text
//!  Free ──asks for a slot──▶ Waiting ──gets it──▶ Ready ──work is there──▶ Taking ──work is the run's──▶ Starting
//!   ▲                           │                   │                        │                             │
//!   ├──not wanted any more──────┴───────────────────┴────────────────────────┤ nothing to take,            │ room open
//!   │                                                                        │ or not wanted any more      ▼
//!   └──stored── Storing ◀──────────────────────────────────────────────────────────────────────────────  Live
//!                  ▲                                                         │                             │
//!                  └──cleaned up── Leaving ◀──not opened, or ended───────────┴─────────────────────────────┘
//! ```

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio::time::Instant;

use super::hold::{Hold, Now};
use super::live::Conversation;
use super::slots::Ticket;
use super::start::Sees;
use crate::container::run::{EndReason, Outcome};
use crate::domain::group::Group;
use crate::domain::task::{Fire, Task};
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
    /// Nothing runs.
    Free,
    /// It has asked for a slot.
    Waiting,
    /// It has a slot. The next look finds what it is for.
    Ready(Ticket),
    /// The store gives it what it is to work on.
    Taking(Box<Taking>),
    /// Its room is being opened.
    Starting(Box<Starting>),
    /// Its room is open.
    Live(Box<Live>),
    /// Its run is gone, or never came to be. The room's folders are cleared.
    Leaving(Box<Leaving>),
    /// The end of its run is being stored.
    Storing(Box<Run>),
}

/// A state's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Free,
    Waiting,
    Ready,
    Taking,
    Starting,
    Live,
    Leaving,
    Storing,
}

impl Phase {
    fn may_become(self, next: Self) -> bool {
        use Phase::{Free, Leaving, Live, Ready, Starting, Storing, Taking, Waiting};
        matches!(
            (self, next),
            (Free, Waiting)
                | (Waiting, Ready | Free)
                | (Ready, Taking | Free)
                | (Taking, Starting | Storing | Free)
                | (Starting, Live | Leaving)
                | (Live, Leaving)
                | (Leaving, Storing)
                | (Storing, Free)
        )
    }
}

impl LaneState {
    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::Free => Phase::Free,
            Self::Waiting => Phase::Waiting,
            Self::Ready(_) => Phase::Ready,
            Self::Taking(_) => Phase::Taking,
            Self::Starting(_) => Phase::Starting,
            Self::Live(_) => Phase::Live,
            Self::Leaving(_) => Phase::Leaving,
            Self::Storing(_) => Phase::Storing,
        }
    }
}

/// What a run is to work on.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// The messages that wait in the chat.
    Messages,
    /// One firing of a task.
    Task(Box<(Fire, Task)>),
}

/// Whether what is on its way is still wanted. Orders that come while it cannot hear them are kept here.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders {
    /// Not wanted any more. A room that opens all the same is ended for this reason.
    pub(super) ended: Option<EndReason>,
    /// The room is asked to close after what it starts with.
    pub(super) closing: bool,
    /// Its session is not kept.
    pub(super) forgets_session: bool,
}

/// Work that is being taken.
#[derive(Debug, Clone)]
pub(super) struct Taking {
    pub(super) row: Run,
    pub(super) group: Group,
    pub(super) wanted: Wanted,
    pub(super) orders: Orders,
    pub(super) ticket: Ticket,
}

/// A room on its way.
#[derive(Debug)]
pub(super) struct Starting {
    pub(super) row: Run,
    pub(super) conversation: Conversation,
    pub(super) orders: Orders,
    pub(super) ticket: Ticket,
}

/// How far a live run is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Exit {
    /// It stays.
    No,
    /// It was asked to exit: follow-ups wait for the next run.
    Asked,
    /// The host ends it.
    Ended,
}

/// A live run.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) row: Run,
    pub(super) conversation: Conversation,
    pub(super) ticket: Ticket,
    pub(super) sees: Sees,
    /// The input file for messages that the store is giving to it.
    pub(super) giving: Option<String>,
    /// When the last follow-up was given.
    pub(super) last_follow_up: Option<Instant>,
    /// When what waits for company is given.
    pub(super) follow_up_at: Option<Instant>,
    pub(super) exit: Exit,
    /// Another group waits for its slot. New work for it comes first: the slots then ask for another one, or again.
    pub(super) must_make_room: bool,
    /// Its last outputs are being stored.
    pub(super) storing: bool,
    /// Outputs that could not be read.
    pub(super) unreadable: u64,
}

/// A run that is gone.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) row: Run,
    pub(super) conversation: Conversation,
    /// As in [`Live`]: its end waits for the store's answer.
    pub(super) giving: Option<String>,
    pub(super) how: Gone,
    /// The room's folders are cleared.
    pub(super) cleared: bool,
}

/// How a run came to its end.
#[derive(Debug)]
pub(super) enum Gone {
    /// It lived.
    Ended(Box<Outcome>),
    /// Its room could not be opened, for this reason.
    NotOpened(String),
    /// It was not wanted any more before its room was open.
    Unwanted(EndReason),
}

/// Follow-ups into an open turn are at least this far apart: what is written in between goes together. A turn that ends
/// earlier takes what waits at once.
const FOLLOW_UP_DEBOUNCE: Duration = Duration::from_millis(5);

impl Live {
    /// Returns true if a follow-up should wait for more; it is looked at again when the time is over.
    pub(super) fn debounces(&mut self, now: Instant) -> bool {
        let at = self.last_follow_up.map(|last| last + FOLLOW_UP_DEBOUNCE);
        self.follow_up_at = at.filter(|at| *at > now && self.conversation.open);
        self.follow_up_at.is_some()
    }

    /// Returns true if nothing is owed in it.
    pub(super) fn is_idle(&self) -> bool {
        !self.conversation.open && self.giving.is_none() && !self.storing
    }
}

impl Lane {
    pub(super) fn new() -> Self {
        Self { state: LaneState::Free, hold: None, probes: 0, over_budget: false, last_was_messages: false }
    }

    pub(super) fn state(&self) -> &LaneState {
        &self.state
    }

    pub(super) fn state_mut(&mut self) -> &mut LaneState {
        &mut self.state
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

    /// Goes on to the next state; returns the one it leaves.
    pub(super) fn enter(&mut self, next: LaneState) -> LaneState {
        let before = self.state.phase();
        assert!(before.may_become(next.phase()), "a lane goes from {before:?} to {:?}", next.phase());
        std::mem::replace(&mut self.state, next)
    }

    /// Goes on to a state that is made of what the lane holds now.
    pub(super) fn turn(&mut self, make: impl FnOnce(LaneState) -> LaneState) {
        let before = self.state.phase();
        let next = make(std::mem::replace(&mut self.state, LaneState::Free));
        assert!(before.may_become(next.phase()), "a lane goes from {before:?} to {:?}", next.phase());
        self.state = next;
    }

    /// Returns the row of what runs or is about to.
    pub(super) fn run(&self) -> Option<&Run> {
        match &self.state {
            LaneState::Starting(starting) => Some(&starting.row),
            LaneState::Live(live) => Some(&live.row),
            LaneState::Leaving(leaving) => Some(&leaving.row),
            LaneState::Storing(row) => Some(row),
            // Nobody knows yet of a run that is being given its work.
            LaneState::Free | LaneState::Waiting | LaneState::Ready(_) | LaneState::Taking(_) => None,
        }
    }

    pub(super) fn conversation_mut(&mut self) -> Option<&mut Conversation> {
        match &mut self.state {
            LaneState::Starting(starting) => Some(&mut starting.conversation),
            LaneState::Live(live) => Some(&mut live.conversation),
            LaneState::Leaving(leaving) => Some(&mut leaving.conversation),
            _ => None,
        }
    }

    pub(super) fn conversation(&self) -> Option<&Conversation> {
        match &self.state {
            LaneState::Starting(starting) => Some(&starting.conversation),
            LaneState::Live(live) => Some(&live.conversation),
            LaneState::Leaving(leaving) => Some(&leaving.conversation),
            _ => None,
        }
    }

    /// Returns true if something is owed in it.
    pub(super) fn is_open(&self) -> bool {
        match &self.state {
            LaneState::Taking(_) | LaneState::Starting(_) => true,
            LaneState::Live(live) => !live.is_idle(),
            _ => false,
        }
    }

    pub(super) fn is_free(&self) -> bool {
        matches!(self.state, LaneState::Free)
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

    /// Returns what the lane waits for, as people are told.
    pub(super) fn why_waiting(&self, now: Now, zone: Tz) -> Option<String> {
        match (&self.state, &self.hold) {
            (LaneState::Waiting, _) => Some("waits for a free container".into()),
            (LaneState::Ready(_) | LaneState::Taking(_) | LaneState::Starting(_), _) => {
                Some("waits for its room, which is being opened".into())
            }
            (LaneState::Free, Some(hold)) => Some(hold.told(now, zone)),
            _ => None,
        }
    }
}
