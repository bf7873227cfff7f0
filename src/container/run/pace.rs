//! The pace at which a room's output is read. Outputs cost nothing. Noise is read slowly, so that the pipe holds the
//! writer back: every byte takes time of the engine, its client and the host, which other rooms need.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes of noise that are read without a pause.
const AT_ONCE: u64 = 1 << 20;
/// Bytes of noise per second while the log keeps them, and when a run ends: an agent that logs much is not held back.
/// The engine and the host together need a sixth of a core for them.
const QUICK: u64 = 16 << 20;
/// Bytes of noise per second once the log is full.
const SLOW: u64 = 4 << 20;
/// Bytes that are read without a pause when a run ends: more than the engine and its client buffer. The engine waits
/// for them before it reports the container's end.
const LAST: u64 = 8 << 20;
/// The cost of an item that is not an output, or has no content, beside its bytes: hundreds of thousands of them are
/// as much work as megabytes.
pub(super) const BROKEN: u64 = 1 << 10;
/// The cost of an output without a text, such as a heartbeat.
pub(super) const SILENT: u64 = 32;

/// The pace of one stream.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes that may still be read without a pause.
    left: u64,
    /// Bytes of noise for which the log has room.
    kept: u64,
    ends: bool,
    since: Instant,
}

impl Pace {
    /// A stream of which the log keeps `log` bytes.
    pub(super) fn new(log: usize, now: Instant) -> Self {
        Self { left: AT_ONCE, kept: u64::try_from(log).unwrap_or(u64::MAX), ends: false, since: now }
    }

    /// Switches to the quick pace for the end of a run. There is still a limit, because the agent may write during
    /// its grace.
    pub(super) fn ends(&mut self) {
        if !std::mem::replace(&mut self.ends, true) {
            self.left = LAST;
        }
    }

    /// Counts noise. Returns how long to wait before the next read.
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
            // The time of the wait is already spent.
            self.since = now + wait;
        }
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: u64 = 64 << 10;

    /// Reads as fast as the pace allows. Returns the bytes read.
    fn read(pace: &mut Pace, from: Instant, time: Duration) -> u64 {
        let (mut now, mut read) = (from, 0);
        while now < from + time {
            read += READ;
            now += pace.spend(READ, now);
        }
        read
    }

    #[test]
    fn noise_is_read_at_once_then_quickly_then_slowly() {
        let start = Instant::now();
        let mut pace = Pace::new(10 << 20, start);
        assert_eq!(pace.spend(AT_ONCE, start), Duration::ZERO);
        assert_eq!(pace.spend(9 << 20, start), Duration::from_micros((9_000_000 << 20) / QUICK));
        // The wait is over: no credit is left, and no debt.
        let later = start + Duration::from_micros((9_000_000 << 20) / QUICK);
        assert_eq!(pace.spend(0, later), Duration::ZERO);
        assert_eq!(pace.spend(SLOW / 2, later), Duration::from_millis(500));
        // A wait that was broken off is added to the next.
        let early = later + Duration::from_millis(250);
        assert_eq!(pace.spend(SLOW / 4, early), Duration::from_millis(250));
    }

    #[test]
    fn pace_saves_no_credit_beyond_the_start() {
        let start = Instant::now();
        let mut pace = Pace::new(0, start);
        pace.spend(AT_ONCE, start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(pace.spend(AT_ONCE, later), Duration::ZERO);
        assert!(pace.spend(SLOW, later) >= Duration::from_millis(999));
    }

    #[test]
    fn pace_limits_the_bytes_over_any_time() {
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
