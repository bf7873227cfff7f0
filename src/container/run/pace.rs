//! How fast a room is heard. What it has to say costs nothing; noise is read at a pace, so that the pipe holds the writer
//! back: every byte goes through the engine, its client and the host, whose time the other rooms need.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes of noise that are read without a pause.
const AT_ONCE: u64 = 1 << 20;
/// Bytes of noise a second while the log keeps them, and when a run ends: an agent that logs much is not held back. To carry
/// them takes the engine and the host together a sixth of a core.
const QUICK: u64 = 16 << 20;
/// The same for noise that the log keeps no more.
const SLOW: u64 = 4 << 20;
/// Bytes that are read without a pause when a run ends: more than what the engine and its client hold of it. The engine waits
/// for them before it says that a container is gone.
const LAST: u64 = 8 << 20;
/// What anything that is not an output, or has nothing to say, costs beside its bytes: hundreds of thousands of them are as
/// much work as megabytes.
pub(super) const BROKEN: u64 = 1 << 10;
/// The same for an output without a text, such as a sign of life.
pub(super) const SILENT: u64 = 32;

/// What of one stream may be read at once.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes that may still be read without a pause.
    left: u64,
    /// Bytes of noise that the log has room for.
    kept: u64,
    ends: bool,
    since: Instant,
}

impl Pace {
    /// A stream of which the log keeps `log` bytes.
    pub(super) fn new(log: usize, now: Instant) -> Self {
        Self { left: AT_ONCE, kept: u64::try_from(log).unwrap_or(u64::MAX), ends: false, since: now }
    }

    /// The run ends: it is heard quickly from now on, but not at any speed, for it may write as long as its grace.
    pub(super) fn ends(&mut self) {
        if !std::mem::replace(&mut self.ends, true) {
            self.left = LAST;
        }
    }

    /// Noise was read; returns how long to wait before the next read.
    pub(super) fn spend(&mut self, noise: u64, now: Instant) -> Duration {
        let rate = if self.ends || self.kept > 0 { QUICK } else { SLOW };
        self.kept = self.kept.saturating_sub(noise);
        let passed = u64::try_from(now.duration_since(self.since).as_micros()).unwrap_or(u64::MAX);
        let gained = passed.saturating_mul(rate) / 1_000_000;
        if gained > 0 {
            let most = self.left.max(AT_ONCE);
            self.left = self.left.saturating_add(gained).min(most);
            self.since = now;
        }
        let over = noise.saturating_sub(self.left);
        self.left = self.left.saturating_sub(noise);
        let wait = Duration::from_micros(over.saturating_mul(1_000_000) / rate);
        if over > 0 {
            // What the wait will bring is spent already.
            self.since = now + wait;
        }
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: u64 = 64 << 10;

    /// Reads as fast as the pace allows; returns the bytes read.
    fn read(pace: &mut Pace, from: Instant, time: Duration) -> u64 {
        let (mut now, mut read) = (from, 0);
        while now < from + time {
            read += READ;
            now += pace.spend(READ, now);
        }
        read
    }

    #[test]
    fn a_little_is_read_at_once_what_the_log_keeps_quickly_and_the_rest_slowly() {
        let start = Instant::now();
        let mut pace = Pace::new(10 << 20, start);
        assert_eq!(pace.spend(AT_ONCE, start), Duration::ZERO);
        assert_eq!(pace.spend(9 << 20, start), Duration::from_micros((9_000_000 << 20) / QUICK));
        // The wait is over: nothing is left, and nothing is owed.
        let later = start + Duration::from_micros((9_000_000 << 20) / QUICK);
        assert_eq!(pace.spend(0, later), Duration::ZERO);
        assert_eq!(pace.spend(SLOW / 2, later), Duration::from_millis(500));
        // Who broke the wait off pays for it with the next.
        let early = later + Duration::from_millis(250);
        assert_eq!(pace.spend(SLOW / 4, early), Duration::from_millis(250));
    }

    #[test]
    fn quiet_earns_no_more_than_there_was() {
        let start = Instant::now();
        let mut pace = Pace::new(0, start);
        pace.spend(AT_ONCE, start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(pace.spend(AT_ONCE, later), Duration::ZERO);
        assert!(pace.spend(SLOW, later) >= Duration::from_millis(999));
    }

    #[test]
    fn over_any_time_no_more_is_read_than_it_brings() {
        let (start, time) = (Instant::now(), Duration::from_secs(10));
        let most = |rate: u64| 10 * rate + AT_ONCE + READ;
        let kept = read(&mut Pace::new(usize::MAX, start), start, time);
        assert!(kept <= most(QUICK) && kept > 9 * QUICK, "{kept}");
        let mut pace = Pace::new(0, start);
        let noise = read(&mut pace, start, time);
        assert!(noise <= most(SLOW) && noise > 9 * SLOW, "{noise}");
        pace.ends();
        pace.ends();
        assert_eq!(pace.spend(LAST, start + time), Duration::ZERO, "the rest of it");
        let end = read(&mut pace, start + time, time);
        assert!(end <= most(QUICK) && end > 9 * QUICK, "{end}");
    }
}
