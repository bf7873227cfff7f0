//! The reason why nothing starts in a lane for now, and its end. Pure; both clocks are passed in.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use tokio::time::Instant;

use crate::domain::clock::Clock;
use crate::domain::words;

/// How often the wall clock is checked: the monotonic one stands still while the machine sleeps.
const LOOK: Duration = Duration::from_secs(30);

/// The farthest time that a notice names.
const FAR: Duration = Duration::from_secs(366 * 86_400);

/// The time by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) monotonic: Instant,
    pub(super) wall: DateTime<Utc>,
}

impl Now {
    pub(super) fn of(clock: &dyn Clock) -> Self {
        Self { monotonic: Instant::now(), wall: clock.now() }
    }
}

#[derive(Debug)]
pub(super) struct Hold {
    end: Instant,
    /// The same end by the wall clock; the earlier one counts. If the clock was set back during a pause, the pause is
    /// found in the store again.
    until: Option<DateTime<Utc>>,
    /// When to check the wall clock.
    look_at: Option<Instant>,
    why: String,
    /// True if the group's stored pause is the cause; the hold ends with it.
    pub(super) is_pause: bool,
}

impl Hold {
    /// A hold for a short while.
    pub(super) fn short(end: Instant, why: String) -> Self {
        Self { end, until: None, look_at: None, why, is_pause: false }
    }

    /// A hold until a time of day.
    pub(super) fn until(until: DateTime<Utc>, now: Now, why: String) -> Self {
        let left = (until - now.wall).to_std().unwrap_or_default();
        // A time that the clock cannot represent is checked again in a day.
        let end = now.monotonic.checked_add(left).unwrap_or(now.monotonic + Duration::from_secs(86_400));
        Self { end, until: Some(until), look_at: Some(now.monotonic + LOOK), why, is_pause: false }
    }

    /// A hold for as long as the group's stored pause lasts.
    pub(super) fn pause(until: DateTime<Utc>, now: Now, why: String) -> Self {
        Self { is_pause: true, ..Self::until(until, now, why) }
    }

    /// Returns true if the hold is over. If not, sets the next time to check.
    pub(super) fn is_over(&mut self, now: Now) -> bool {
        if self.end <= now.monotonic || self.until.is_some_and(|until| until <= now.wall) {
            return true;
        }
        if self.look_at.is_some_and(|at| at <= now.monotonic) {
            self.look_at = Some(now.monotonic + LOOK);
        }
        false
    }

    /// Returns when to check again.
    pub(super) fn timer(&self) -> Instant {
        self.look_at.map_or(self.end, |at| at.min(self.end))
    }

    pub(super) fn is_longer_than(&self, other: &Self) -> bool {
        self.end > other.end
    }

    /// Returns the text for people.
    pub(super) fn told(&self, now: Now, zone: Tz) -> String {
        let left = match self.until {
            Some(until) => (until - now.wall).to_std().unwrap_or_default(),
            None => self.end.saturating_duration_since(now.monotonic),
        };
        if left < Duration::from_secs(60) {
            return format!("tries again in {} ({})", words::duration(left), self.why);
        }
        format!("waits {}: {}", until(after(now.wall, left), now.wall, zone), self.why)
    }
}

/// Returns a future time for people: `until 00:00 (19 hours 48 minutes)`, with the day if it is not clear.
pub(super) fn until(at: DateTime<Utc>, now: DateTime<Utc>, zone: Tz) -> String {
    let left = (at - now).to_std().unwrap_or_default().min(FAR);
    let form = match left.as_secs() {
        0..60 => "%H:%M:%S",
        60..86_400 => "%H:%M",
        _ => "%Y-%m-%d %H:%M",
    };
    format!("until {} ({})", after(now, left).with_timezone(&zone).format(form), words::duration(left))
}

/// Returns a time after now, or the calendar's last time if there is no such time.
pub(super) fn after(now: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
    now.checked_add_signed(wait).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::from_ms;

    fn at(start: Instant, monotonic: u64, wall: i64) -> Now {
        Now { monotonic: start + Duration::from_secs(monotonic), wall: from_ms(wall * 1000) }
    }

    #[test]
    fn a_pause_ends_by_the_wall_clock_although_the_machine_slept() {
        let start = Instant::now();
        let mut hold = Hold::until(from_ms(36_000_000), at(start, 0, 0), "midnight".into());
        assert_eq!(hold.told(at(start, 0, 0), chrono_tz::UTC), "waits until 10:00 (10 hours): midnight");
        // Timers ring every minute at most, all night.
        for n in 1..10 {
            let ring = hold.timer();
            assert!(ring <= start + Duration::from_secs(n * 60), "{n}");
            let awake = (ring - start).as_secs();
            assert!(!hold.is_over(at(start, awake, awake as i64)));
            assert!(hold.timer() > ring, "each rings once");
        }
        // Then the machine sleeps: hours pass by the wall clock alone.
        let ring = hold.timer();
        let awake = (ring - start).as_secs();
        assert_eq!(
            hold.told(at(start, awake, 35_000), chrono_tz::UTC),
            "waits until 10:00 (16 minutes 40 seconds): midnight"
        );
        assert_eq!(hold.told(at(start, awake, 35_990), chrono_tz::UTC), "tries again in 10 seconds (midnight)");
        assert!(!hold.is_over(at(start, awake, 35_999)));
        assert!(hold.is_over(at(start, awake, 36_000)));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_make_a_back_off_longer() {
        let start = Instant::now();
        let mut hold = Hold::until(from_ms(3_600_005_000), at(start, 0, 3_600_000), "an error".into());
        assert_eq!(hold.timer(), start + Duration::from_secs(5));
        assert!(!hold.is_over(at(start, 4, 4)));
        assert!(hold.is_over(at(start, 5, 5)));
        let mut short = Hold::short(start + Duration::from_secs(1), "x".into());
        assert!(hold.is_longer_than(&short) && short.timer() == start + Duration::from_secs(1));
        assert!(!short.is_over(at(start, 0, 9_000_000)) && short.is_over(at(start, 1, 0)));
    }

    #[test]
    fn times_in_notices_are_in_the_hosts_zone() {
        let now = from_ms(1_700_000_000_000);
        let told = |seconds| until(now + TimeDelta::seconds(seconds), now, chrono_tz::Europe::Berlin);
        assert_eq!(told(42), "until 23:14:02 (42 seconds)");
        assert_eq!(told(600), "until 23:23 (10 minutes)");
        assert_eq!(told(19 * 3600 + 48 * 60), "until 19:01 (19 hours 48 minutes)");
        assert_eq!(told(6 * 86_400), "until 2023-11-20 23:13 (6 days)");
        assert!(until(DateTime::<Utc>::MAX_UTC, now, chrono_tz::Asia::Tokyo).ends_with("(366 days)"));
    }

    #[test]
    fn hold_accepts_times_beyond_the_clock() {
        let now = at(Instant::now(), 0, 0);
        assert_eq!(after(now.wall, Duration::from_secs(5)), from_ms(5000));
        assert_eq!(after(now.wall, Duration::MAX), DateTime::<Utc>::MAX_UTC);
        let mut hold = Hold::until(DateTime::<Utc>::MAX_UTC, now, "for ever".into());
        assert!(!hold.is_over(now));
    }
}
