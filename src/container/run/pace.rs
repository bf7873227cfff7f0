//! How fast a room is heard. What it has to say costs nothing; noise beyond what its log keeps is read slowly, so that the
//! pipe holds the writer back: every byte goes through the engine, its client and the host, whose time the other rooms need.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes of noise a second that are read of each stream: an agent that logs much is not held back, and what carries them
/// takes a few hundredths of a core.
const BYTES_PER_SECOND: u64 = 16 << 20;
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
    most: u64,
    since: Instant,
}

impl Pace {
    /// A stream of which `most` bytes of noise may come at once.
    pub(super) fn new(most: usize, now: Instant) -> Self {
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        Self { left: most, most, since: now }
    }

    /// Noise was read; returns how long to wait before the next read.
    pub(super) fn spend(&mut self, noise: u64, now: Instant) -> Duration {
        let passed = u64::try_from(now.duration_since(self.since).as_micros()).unwrap_or(u64::MAX);
        let gained = passed.saturating_mul(BYTES_PER_SECOND) / 1_000_000;
        if gained > 0 {
            self.left = self.left.saturating_add(gained).min(self.most);
            self.since = now;
        }
        let over = noise.saturating_sub(self.left);
        self.left = self.left.saturating_sub(noise);
        let wait = Duration::from_micros(over.saturating_mul(1_000_000) / BYTES_PER_SECOND);
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

    #[test]
    fn what_the_log_keeps_is_read_at_once_and_the_rest_slowly() {
        let start = Instant::now();
        let mut pace = Pace::new(1000, start);
        assert_eq!(pace.spend(600, start), Duration::ZERO);
        assert_eq!(pace.spend(400, start), Duration::ZERO);
        let second = usize::try_from(BYTES_PER_SECOND).unwrap() as u64;
        assert_eq!(pace.spend(second, start), Duration::from_secs(1));
        // The wait is over: nothing is left, and nothing is owed.
        let later = start + Duration::from_secs(1);
        assert_eq!(pace.spend(0, later), Duration::ZERO);
        assert_eq!(pace.spend(second / 2, later), Duration::from_millis(500));
        // Who broke the wait off pays for it with the next.
        let early = later + Duration::from_millis(250);
        assert_eq!(pace.spend(second / 4, early), Duration::from_millis(250));
    }

    #[test]
    fn quiet_earns_no_more_than_there_was() {
        let start = Instant::now();
        let mut pace = Pace::new(1000, start);
        pace.spend(1000, start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(pace.spend(1000, later), Duration::ZERO);
        assert!(pace.spend(BYTES_PER_SECOND, later) >= Duration::from_millis(999));
    }

    #[test]
    fn over_any_time_no_more_is_read_than_it_brings() {
        let start = Instant::now();
        let (mut pace, mut now, mut read) = (Pace::new(0, start), start, 0);
        while now < start + Duration::from_secs(10) {
            read += 65_536;
            now += pace.spend(65_536, now);
        }
        assert!(read <= 10 * BYTES_PER_SECOND + 65_536, "{read}");
    }
}
