//! A group's jobs for the store: one at a time, in order. The desk also says when the actor may listen to the group's
//! agents meanwhile.
//!
//! While a change is stored, the actor does not listen: the agents' output stays in the pipe, which holds the agents
//! back. Output during a look makes its result stale, and a new look follows; the actor does not listen during that
//! one. So neither a busy agent nor a busy chat starves the other.

use std::collections::VecDeque;

use super::jobs::Job;

/// Shared by the actor and the simulator's actor.
#[derive(Debug, Default)]
pub(super) struct Desk {
    waiting: VecDeque<Job>,
    under_way: UnderWay,
    /// True if the actor listened to agents during the current look, or the last one.
    disturbed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum UnderWay {
    #[default]
    Nothing,
    Change,
    /// `quietly` is true if the look before it was disturbed.
    Look {
        quietly: bool,
    },
}

impl Desk {
    /// Adds a job.
    pub(super) fn push(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    /// Begins the oldest job, if none is under way. The caller must call [`done`](Self::done) afterwards.
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

    /// Notes that the current job is done.
    pub(super) fn done(&mut self) {
        self.under_way = UnderWay::Nothing;
    }

    /// Returns true if the actor may listen to agents now.
    pub(super) fn listens(&self) -> bool {
        match self.under_way {
            UnderWay::Nothing => true,
            UnderWay::Change => false,
            UnderWay::Look { quietly } => !quietly && self.waiting.is_empty(),
        }
    }

    /// Notes that the actor has heard an agent.
    pub(super) fn hears(&mut self) {
        self.disturbed |= matches!(self.under_way, UnderWay::Look { .. });
    }

    /// Returns true if there is no job.
    pub(super) fn is_empty(&self) -> bool {
        self.under_way == UnderWay::Nothing && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::jobs::Then;

    /// A look during which an agent speaks, if the actor listens: its output is stored, and the next look follows.
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
    fn busy_agents_and_looks_take_turns() {
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
