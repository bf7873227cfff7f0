//! The decision about a due task at a given time. Pure.

use chrono::{DateTime, Duration, Utc};
use chrono_tz::Tz;

use crate::domain::schedule::Schedule;
use crate::domain::task::{Missed, Task};

/// A due time that is later than this falls under the rule for missed times. A busy or just started host does not
/// miss one.
pub const MISSED_AFTER: Duration = Duration::seconds(60);

/// The decision about a due task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The due time to claim; None if it was missed and the task skips missed times.
    pub claim: Option<DateTime<Utc>>,
    /// The next due time, strictly after now: all times that passed meanwhile are at most one firing.
    pub next: Option<DateTime<Utc>>,
    /// True if the task has no further firing.
    pub completed: bool,
}

/// Plans a task. Returns None if it is not due.
pub fn plan(task: &Task, now: DateTime<Utc>, host: Tz) -> Option<Plan> {
    let due = task.next_due.filter(|due| *due <= now)?;
    let missed = now - due > MISSED_AFTER;
    let claim = (task.missed == Missed::Run || !missed).then_some(due);
    let next = next(task, now, host);
    Some(Plan { claim, next, completed: next.is_none() })
}

/// After the clock was set back: returns a due time that is earlier than the stored one. A time that was fired before
/// cannot fire again, because (task, due time) is the key of a firing.
pub fn replan(task: &Task, now: DateTime<Utc>, host: Tz) -> Option<DateTime<Utc>> {
    let stored = task.next_due.filter(|due| *due > now)?;
    next(task, now, host).filter(|next| *next < stored)
}

/// At the start: returns a due time that differs from the stored one, because the host's zone has changed. Times that
/// have passed are left to the rule for missed ones.
pub fn rezone(task: &Task, now: DateTime<Utc>, host: Tz) -> Option<DateTime<Utc>> {
    let stored = task.next_due.filter(|due| *due > now)?;
    let by_zone = matches!(task.schedule, Schedule::Cron(_)) && task.timezone.is_none();
    next(task, now, host).filter(|next| by_zone && *next != stored)
}

fn next(task: &Task, now: DateTime<Utc>, host: Tz) -> Option<DateTime<Utc>> {
    match task.schedule {
        // A `once` task fires only once, for any reason.
        Schedule::Once(_) if task.next_due.is_some_and(|due| due <= now) => None,
        _ => task.schedule.next_due(now, task.anchor, task.timezone.unwrap_or(host)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::task::{ContextMode, TaskStatus};

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
    }

    fn task(kind: &str, value: &str, missed: Missed, due: &str) -> Task {
        Task {
            id: "t".parse().unwrap(),
            folder: "a".parse().unwrap(),
            jid: "web:a".parse().unwrap(),
            prompt: "p".into(),
            schedule: Schedule::parse(kind, value).unwrap(),
            timezone: None,
            context_mode: ContextMode::Isolated,
            missed,
            status: TaskStatus::Active,
            next_due: Some(at(due)),
            anchor: at("2026-01-01T00:00:00Z"),
            created_at: at("2026-01-01T00:00:00Z"),
        }
    }

    #[test]
    fn plan_ignores_tasks_that_are_not_due() {
        let task = task("interval", "60000", Missed::Run, "2026-01-01T00:01:00Z");
        assert_eq!(plan(&task, at("2026-01-01T00:00:59.999Z"), Tz::UTC), None);
        let on_time = plan(&task, at("2026-01-01T00:01:00Z"), Tz::UTC).unwrap();
        assert_eq!(on_time.claim, task.next_due);
        assert_eq!(on_time.next, Some(at("2026-01-01T00:02:00Z")));
    }

    #[test]
    fn missed_times_become_one_late_run_or_none() {
        let late = at("2026-01-01T07:30:20Z");
        for (missed, claim) in [(Missed::Run, Some(at("2026-01-01T00:01:00Z"))), (Missed::Skip, None)] {
            let plan = plan(&task("interval", "60000", missed, "2026-01-01T00:01:00Z"), late, Tz::UTC).unwrap();
            assert_eq!(plan, Plan { claim, next: Some(at("2026-01-01T07:31:00Z")), completed: false });
        }
        // A little late is not missed.
        let skip = task("cron", "0 9 * * *", Missed::Skip, "2026-01-01T09:00:00Z");
        assert!(plan(&skip, at("2026-01-01T09:01:00Z"), Tz::UTC).unwrap().claim.is_some());
        assert!(plan(&skip, at("2026-01-01T09:01:00.001Z"), Tz::UTC).unwrap().claim.is_none());
    }

    #[test]
    fn once_is_completed_also_when_skipped() {
        for (missed, claims) in [(Missed::Run, true), (Missed::Skip, false)] {
            let once = task("once", "2026-01-01T09:00:00", missed, "2026-01-01T09:00:00Z");
            let plan = plan(&once, at("2026-01-02T00:00:00Z"), Tz::UTC).unwrap();
            assert_eq!((plan.claim.is_some(), plan.next, plan.completed), (claims, None, true));
        }
        // The zone has changed so that its local time is in the future again: still once.
        let moved = task("once", "2026-01-01T09:00:00", Missed::Run, "2026-01-01T08:00:00Z");
        assert!(plan(&moved, at("2026-01-01T08:00:00Z"), Tz::UTC).unwrap().completed);
    }

    #[test]
    fn clock_set_back_brings_due_times_forward() {
        let daily = task("cron", "0 12 * * *", Missed::Run, "2026-01-03T12:00:00Z");
        assert_eq!(replan(&daily, at("2026-01-02T10:00:00Z"), Tz::UTC), Some(at("2026-01-02T12:00:00Z")));
        assert_eq!(replan(&daily, at("2026-01-02T12:00:00Z"), Tz::UTC), None);
        assert_eq!(replan(&daily, at("2026-01-05T12:00:00Z"), Tz::UTC), None, "due, not to be moved");
    }
}
