//! The timers of a run. Pure: events come with their time, and the timers return what is due and when to check again.

use std::time::Duration;

use tokio::time::Instant;

/// How long an agent may take to exit after it was asked to, before it is stopped.
const CLOSE_GRACE: Duration = Duration::from_secs(30);
/// How long a task's run stays after its last result.
const TASK_LINGER: Duration = Duration::from_secs(10);

/// The limits of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The run is stopped after this time without a sign of life.
    pub hard: Duration,
    /// The operator's setting for it, for messages.
    pub configured: Duration,
    /// The run is asked to exit after this time without an open turn.
    pub idle: Duration,
    /// The longest time of a turn.
    pub turn: Duration,
    /// True for a task's run, which exits soon after its result.
    pub task: bool,
}

impl Limits {
    /// The hard timeout is at least the idle time plus 30 s, because an idle room must close before it is stopped.
    pub fn new(timeout: Duration, idle: Duration, turn: Duration, task: bool) -> Self {
        Self { hard: timeout.max(idle + Duration::from_secs(30)), configured: timeout, idle, turn, task }
    }
}

/// A due action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Ask the agent to exit.
    Close,
    /// Stop the run: there was no sign of life.
    HardTimeout,
    /// Stop the run: the turn takes too long.
    TurnLimit,
    /// Stop the run: it was asked to exit and did not.
    CloseGrace,
}

/// The state of a run's timers.
#[derive(Debug)]
pub struct Timers {
    limits: Limits,
    sign_of_life: Instant,
    turn_since: Option<Instant>,
    idle_since: Option<Instant>,
    last_result: Option<Instant>,
    closed_at: Option<Instant>,
}

impl Timers {
    /// The timers of a run that starts now, with its first turn open.
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self { limits, sign_of_life: now, turn_since: Some(now), idle_since: None, last_result: None, closed_at: None }
    }

    /// Notes a parsed output. `open` is true if a turn is open after it, `ended` if one ended with it.
    pub fn output(&mut self, now: Instant, open: bool, ended: bool, result: bool) {
        self.sign_of_life = now;
        if result || ended {
            self.last_result = Some(now);
        }
        if ended {
            self.turn_since = None;
        }
        if open {
            self.turn_since.get_or_insert(now);
            self.idle_since = None;
        } else {
            self.turn_since = None;
            self.idle_since.get_or_insert(now);
        }
    }

    /// Notes a delivered input, which opens a turn.
    pub fn input(&mut self, now: Instant) {
        self.sign_of_life = now;
        self.turn_since.get_or_insert(now);
        self.idle_since = None;
        self.last_result = None;
    }

    /// Notes that the agent was asked to exit.
    pub fn closed(&mut self, now: Instant) {
        self.closed_at.get_or_insert(now);
    }

    /// Returns true if the agent was asked to exit.
    pub fn is_closed(&self) -> bool {
        self.closed_at.is_some()
    }

    /// Returns the timeout as configured, for messages.
    pub fn configured(&self) -> Duration {
        self.limits.configured
    }

    /// Returns what is due next, and when.
    pub fn next(&self) -> (Instant, Due) {
        let mut next = (self.sign_of_life + self.limits.hard, Due::HardTimeout);
        let mut offer = |at: Option<Instant>, due| {
            if let Some(at) = at
                && at < next.0
            {
                next = (at, due);
            }
        };
        offer(self.turn_since.map(|t| t + self.limits.turn), Due::TurnLimit);
        match self.closed_at {
            // A turn that is open when the agent is asked to exit may finish, within its own limits.
            Some(at) => offer(self.idle_since.map(|idle| idle.max(at) + CLOSE_GRACE), Due::CloseGrace),
            None if self.limits.task => offer(self.last_result.map(|t| t + TASK_LINGER), Due::Close),
            None => offer(self.idle_since.map(|t| t + self.limits.idle), Due::Close),
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn timers(task: bool) -> (Timers, Instant) {
        let now = Instant::now();
        (Timers::new(Limits::new(S, 100 * S, 1000 * S, task), now), now)
    }

    #[test]
    fn hard_timeout_is_at_least_idle_plus_30_s_and_is_reset() {
        let (mut t, now) = timers(false);
        assert_eq!(t.next(), (now + 130 * S, Due::HardTimeout));
        t.output(now + 50 * S, true, false, false);
        assert_eq!(t.next(), (now + 180 * S, Due::HardTimeout));
        t.input(now + 60 * S);
        assert_eq!(t.next(), (now + 190 * S, Due::HardTimeout));
    }

    #[test]
    fn an_idle_run_is_closed_then_stopped() {
        let (mut t, now) = timers(false);
        t.output(now + S, false, true, true);
        assert_eq!(t.next(), (now + 101 * S, Due::Close));
        t.closed(now + 101 * S);
        assert_eq!(t.next().0, now + 131 * S);
        t.input(now + 102 * S);
        assert_eq!(t.next().1, Due::HardTimeout);
    }

    #[test]
    fn heartbeats_do_not_extend_the_turn_limit() {
        let (mut t, now) = timers(false);
        for n in 1..=20 {
            t.output(now + n * 60 * S, true, false, false);
        }
        assert_eq!(t.next(), (now + 1000 * S, Due::TurnLimit));
    }

    #[test]
    fn task_lingers_ten_seconds_after_its_result() {
        let (mut t, now) = timers(true);
        assert_eq!(t.next().1, Due::HardTimeout);
        t.output(now + S, true, false, true);
        assert_eq!(t.next(), (now + 11 * S, Due::Close));
        t.output(now + 5 * S, false, true, false);
        assert_eq!(t.next(), (now + 15 * S, Due::Close));
    }
}
