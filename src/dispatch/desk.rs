//! A group's jobs for the store: one at a time, in order. It also says when the group's agents are heard meanwhile.
//!
//! While a change is stored, what agents say next stays in the pipe, which holds them back. What they say during a look
//! makes its findings old, and a new look follows; that one is left undisturbed. So neither an agent that never pauses
//! nor a chat that always has something new keeps the other waiting.

use std::collections::VecDeque;

use super::jobs::Job;

/// See the module. The actor and the simulator's share it.
#[derive(Debug, Default)]
pub(super) struct Desk {
    waiting: VecDeque<Job>,
    under_way: UnderWay,
    /// Agents were heard during the look under way, or the last one.
    disturbed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum UnderWay {
    #[default]
    Nothing,
    Change,
    /// `quietly`: the look before it was disturbed.
    Look {
        quietly: bool,
    },
}

impl Desk {
    /// The store is to do this, too.
    pub(super) fn push(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    /// Begins the oldest job, if none is under way; [`done`](Self::done) is to follow.
    pub(super) fn begin(&mut self) -> Option<Job> {
        if self.under_way != UnderWay::Nothing {
            return None;
        }
        let job = self.waiting.pop_front()?;
        self.under_way = match job {
            Job::Look => UnderWay::Look { quietly: std::mem::take(&mut self.disturbed) },
            _ => UnderWay::Change,
        };
        Some(job)
    }

    /// The job under way is done.
    pub(super) fn done(&mut self) {
        self.under_way = UnderWay::Nothing;
    }

    /// Returns true if agents are heard now.
    pub(super) fn listens(&self) -> bool {
        match self.under_way {
            UnderWay::Nothing => true,
            UnderWay::Change => false,
            UnderWay::Look { quietly } => !quietly && self.waiting.is_empty(),
        }
    }

    /// An agent was heard.
    pub(super) fn hears(&mut self) {
        self.disturbed |= matches!(self.under_way, UnderWay::Look { .. });
    }

    /// Returns true if there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.under_way == UnderWay::Nothing && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::jobs::Then;

    /// A look, during which an agent speaks if it is heard: what it says is stored, and the next look follows.
    fn look(desk: &mut Desk) -> bool {
        desk.push(Job::Look);
        assert!(matches!(desk.begin(), Some(Job::Look)));
        let heard = desk.listens();
        if heard {
            desk.hears();
            desk.push(Job::Commit(Vec::new(), Then::Nothing));
            assert!(!desk.listens(), "what comes next stays in the pipe until that is stored");
        }
        desk.done();
        if heard {
            assert!(matches!(desk.begin(), Some(Job::Commit(..))));
            assert!(!desk.listens());
            desk.done();
        }
        heard
    }

    #[test]
    fn agents_and_looks_that_never_pause_take_turns() {
        let mut desk = Desk::default();
        assert!(desk.listens());
        let heard: Vec<bool> = (0..6).map(|_| look(&mut desk)).collect();
        assert_eq!(heard, [true, false, true, false, true, false]);
        assert!(desk.is_empty());
    }

    #[test]
    fn jobs_are_done_one_at_a_time_in_their_order() {
        let mut desk = Desk::default();
        desk.push(Job::Commit(Vec::new(), Then::Nothing));
        desk.push(Job::Look);
        assert!(matches!(desk.begin(), Some(Job::Commit(..))));
        assert!(desk.begin().is_none(), "one at a time");
        desk.done();
        assert!(!desk.is_empty());
        assert!(matches!(desk.begin(), Some(Job::Look)));
        assert!(desk.listens());
        desk.done();
        assert!(desk.is_empty());
    }
}
