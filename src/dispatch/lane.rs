//! A lane of a group, as a state machine. Each state holds only what exists in it. Every state can be asked to end:
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

#[derive(Debug)]
pub(super) struct Lane {
    state: LaneState,
    /// Nothing starts until this is over.
    hold: Option<Hold>,
    /// Engine or vendor failures in a row.
    pub(super) probes: u32,
    /// True if the day's budget holds it.
    pub(super) over_budget: bool,
    /// True if the last run worked for messages; messages and tasks take turns.
    pub(super) last_was_messages: bool,
}

#[derive(Debug)]
pub(super) enum LaneState {
    /// Nothing runs.
    Free,
    /// The lane has asked for a slot.
    Waiting,
    /// The lane has a slot. The next look finds the work for it.
    Ready(Ticket),
    /// The store is giving the lane its work.
    Taking(Box<Taking>),
    /// Its room is being opened.
    Starting(Box<Starting>),
    /// Its room is open.
    Live(Box<Live>),
    /// Its run has ended, or never started. The room's folders are being cleared.
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

/// The work that a run is for.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// The waiting messages of the chat.
    Messages,
    /// One firing of a task.
    Task(Box<(Fire, Task)>),
}

/// Orders for a run that is still being set up. They are kept here until it can follow them.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders {
    /// The run is not needed any more. If its room opens anyway, it is ended for this reason.
    pub(super) ended: Option<EndReason>,
    /// The room is to close after its first work.
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

/// A room that is being opened.
#[derive(Debug)]
pub(super) struct Starting {
    pub(super) row: Run,
    pub(super) conversation: Conversation,
    pub(super) orders: Orders,
    pub(super) ticket: Ticket,
}

/// How far a live run is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Exit {
    /// It goes on.
    No,
    /// It was asked to exit; follow-ups wait for the next run.
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
    /// The name of the input file for messages that the store is giving to the run.
    pub(super) giving: Option<String>,
    /// The time of the last follow-up.
    pub(super) last_follow_up: Option<Instant>,
    /// When the debounced follow-up is given.
    pub(super) follow_up_at: Option<Instant>,
    pub(super) exit: Exit,
    /// Another group waits for its slot. If new work arrives first, the run keeps the slot, and the slots ask again
    /// or ask another run.
    pub(super) must_make_room: bool,
    /// Its last outputs are being stored.
    pub(super) storing: bool,
    /// The number of outputs that could not be parsed.
    pub(super) unreadable: u64,
}

/// A run that has ended.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) row: Run,
    pub(super) conversation: Conversation,
    /// As in [`Live`]. The end is stored after the store's answer.
    pub(super) giving: Option<String>,
    pub(super) how: Gone,
    /// The room's folders are cleared.
    pub(super) cleared: bool,
}

/// How a run ended.
#[derive(Debug)]
pub(super) enum Gone {
    /// It ran, and has an outcome.
    Ended(Box<Outcome>),
    /// Its room could not be opened, for this reason.
    NotOpened(String),
    /// It was cancelled before its room was open.
    Unwanted(EndReason),
}

/// The least time between two follow-ups into an open turn; messages written in between go together. A turn that ends
/// earlier takes the waiting messages at once.
const FOLLOW_UP_DEBOUNCE: Duration = Duration::from_millis(5);

impl Live {
    /// Returns true if a follow-up should wait for more messages, and sets the time to look again.
    pub(super) fn debounces(&mut self, now: Instant) -> bool {
        let at = self.last_follow_up.map(|last| last + FOLLOW_UP_DEBOUNCE);
        self.follow_up_at = at.filter(|at| *at > now && self.conversation.open);
        self.follow_up_at.is_some()
    }

    /// Returns true if the run owes no answer.
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

    /// Enters the next state; returns the one it leaves.
    pub(super) fn enter(&mut self, next: LaneState) -> LaneState {
        let before = self.state.phase();
        assert!(before.may_become(next.phase()), "a lane goes from {before:?} to {:?}", next.phase());
        std::mem::replace(&mut self.state, next)
    }

    /// Enters a state that is made from the current one.
    pub(super) fn turn(&mut self, make: impl FnOnce(LaneState) -> LaneState) {
        let before = self.state.phase();
        let next = make(std::mem::replace(&mut self.state, LaneState::Free));
        assert!(before.may_become(next.phase()), "a lane goes from {before:?} to {:?}", next.phase());
        self.state = next;
    }

    /// Returns the row of the lane's run, live or about to start.
    pub(super) fn run(&self) -> Option<&Run> {
        match &self.state {
            LaneState::Starting(starting) => Some(&starting.row),
            LaneState::Live(live) => Some(&live.row),
            LaneState::Leaving(leaving) => Some(&leaving.row),
            LaneState::Storing(row) => Some(row),
            // A run that is still being given its work has no row yet.
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

    /// Returns true if the run owes an answer.
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

    /// Returns true if a back-off holds the lane; removes one that is over.
    pub(super) fn held_back(&mut self, now: Now) -> bool {
        if self.hold.as_mut().is_some_and(|hold| hold.is_over(now)) {
            self.release();
        }
        self.hold.is_some()
    }

    /// Holds the lane back for a short while; a longer hold stays.
    pub(super) fn hold(&mut self, until: Instant, why: String) {
        self.keep_longer(Hold::short(until, why));
    }

    /// Holds the lane back until a time of day; a longer hold stays.
    pub(super) fn hold_until(&mut self, until: DateTime<Utc>, now: Now, why: String) {
        self.keep_longer(Hold::until(until, now, why));
    }

    /// Holds the lane back for as long as the stored pause of the group lasts.
    pub(super) fn pause(&mut self, until: DateTime<Utc>, now: Now, why: String) {
        self.keep_longer(Hold::pause(until, now, why));
    }

    /// Ends the hold of a pause that is over.
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

    /// Returns when to check whether the hold is over.
    pub(super) fn timer(&self) -> Option<Instant> {
        self.hold.as_ref().map(Hold::timer)
    }

    pub(super) fn release(&mut self) {
        self.hold = None;
        // If the budget is still used up, the next look holds the lane again.
        self.over_budget = false;
    }

    /// Returns the text for people about what the lane waits for.
    pub(super) fn why_waiting(&self, now: Now, zone: Tz) -> Option<String> {
        match (&self.state, &self.hold) {
            (LaneState::Waiting, _) => Some("waits for a free container".into()),
            (LaneState::Ready(_) | LaneState::Taking(_) | LaneState::Starting(_), _) => {
                Some("waits for its room, which is being opened".into())
            }
            (LaneState::Free | LaneState::Storing(_), Some(hold)) => Some(hold.told(now, zone)),
            _ => None,
        }
    }
}
