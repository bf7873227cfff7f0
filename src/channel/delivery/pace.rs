//! The rate limit and the retries of deliveries. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// The waits before the retries of a failed delivery.
const RETRIES: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(40),
    Duration::from_secs(80),
];
/// The messages per second of one chat on a platform, in the long run.
const PER_SECOND: f64 = 1.0;
/// The messages at once of a chat that was quiet.
const BURST: u32 = 20;
/// The time limit of a platform for one message.
const ANSWER: Duration = Duration::from_secs(60);
/// The longest wait that a platform may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// Retries and rate limits of deliveries to platforms.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// The wait before each retry; after the last one the delivery has failed. Default 5, 10, 20, 40, 80 s.
    pub retries: Vec<Duration>,
    /// Messages per second and chat in the long run. Default 1.
    pub per_second: f64,
    /// Messages at once for a chat that was quiet. Default 20.
    pub burst: u32,
    /// The time limit of a platform for one message. Default 60 s.
    pub answer: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { retries: RETRIES.to_vec(), per_second: PER_SECOND, burst: BURST, answer: ANSWER }
    }
}

impl Pace {
    /// Returns the wait before the next try, after `failed_before` earlier failures; None after the last try.
    pub fn retry(&self, failed_before: u32, asked: Option<Duration>) -> Option<Duration> {
        let own = *self.retries.get(failed_before as usize)?;
        Some(asked.map_or(own, |asked| asked.min(LONGEST_ASKED)))
    }

    /// Returns how long to wait for the stored time of a try. A time further away than any that is ever stored counts
    /// as due, because the clock was set back.
    pub fn wait(&self, due: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
        let longest = self.retries.iter().copied().fold(LONGEST_ASKED, Duration::max);
        let wait = (due - now).to_std().unwrap_or_default();
        if wait > longest { Duration::ZERO } else { wait }
    }
}

/// The rest of a chat's rate limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// The bucket of a chat that was quiet.
    pub fn full(pace: &Pace, now: Instant) -> Self {
        Self { tokens: f64::from(pace.burst), at: now }
    }

    /// Returns true if the chat has its full burst again.
    pub fn is_full(&self, pace: &Pace, now: Instant) -> bool {
        self.filled(pace, now) >= f64::from(pace.burst)
    }

    /// Takes one message's share, or returns how long to wait for it.
    pub fn take(&mut self, pace: &Pace, now: Instant) -> Result<(), Duration> {
        let tokens = self.filled(pace, now);
        *self = Self { tokens, at: now };
        if tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - tokens) / pace.per_second) + Duration::from_millis(1))
    }

    fn filled(&self, pace: &Pace, now: Instant) -> f64 {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * pace.per_second;
        (self.tokens + gained).min(f64::from(pace.burst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_waits_double_unless_the_platform_asks_for_another() {
        let pace = Pace::default();
        let waits: Vec<_> = (0..6).map(|n| pace.retry(n, None).map(|d| d.as_secs())).collect();
        assert_eq!(waits, [Some(5), Some(10), Some(20), Some(40), Some(80), None]);
        assert_eq!(pace.retry(0, Some(Duration::from_secs(7))), Some(Duration::from_secs(7)));
        assert_eq!(pace.retry(0, Some(Duration::MAX)), Some(Duration::from_secs(3600)));
        assert_eq!(pace.retry(5, Some(Duration::from_secs(7))), None);
    }

    #[test]
    fn clock_that_is_set_back_does_not_hold_a_chat() {
        let (pace, now) = (Pace::default(), DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        assert_eq!(pace.wait(now + Duration::from_secs(80), now), Duration::from_secs(80));
        assert_eq!(pace.wait(now - Duration::from_secs(80), now), Duration::ZERO);
        assert_eq!(pace.wait(now + Duration::from_secs(5 * 3600), now), Duration::ZERO);
    }

    #[test]
    fn a_burst_is_followed_by_one_a_second() {
        let pace = Pace::default();
        let start = Instant::now();
        let mut bucket = Bucket::full(&pace, start);
        for _ in 0..20 {
            assert_eq!(bucket.take(&pace, start), Ok(()));
        }
        let wait = bucket.take(&pace, start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(1001));
        assert_eq!(bucket.take(&pace, start + wait), Ok(()));
        assert!(bucket.take(&pace, start + wait).is_err());
        assert!(!bucket.is_full(&pace, start + Duration::from_secs(10)));
        assert!(bucket.is_full(&pace, start + Duration::from_secs(30)));
    }
}
