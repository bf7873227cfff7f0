//! The rate limit of a group, and its share of the log.

use std::time::Duration;

use tokio::time::Instant;

/// How fast the files of one group are handled.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Files per second.
    pub per_second: f64,
    /// Files at once after a quiet time.
    pub burst: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Self { per_second: 200.0, burst: 200.0 }
    }
}

/// A token bucket: a file costs one token, and so does a scan that finds nothing.
#[derive(Debug)]
pub(super) struct Pace {
    rates: Rates,
    tokens: f64,
    filled: Instant,
}

impl Pace {
    pub(super) fn new(rates: Rates, now: Instant) -> Self {
        Self { rates, tokens: rates.burst, filled: now }
    }

    fn fill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * self.rates.per_second;
        self.tokens = (self.tokens + gained).min(self.rates.burst);
        self.filled = now;
    }

    /// Returns how many files may be handled now, at most `most`; else how long to wait.
    pub(super) fn allowed(&mut self, now: Instant, most: usize) -> Result<usize, Duration> {
        self.fill(now);
        if self.tokens >= 1.0 {
            return Ok((self.tokens as usize).min(most));
        }
        // Waits for a few files at once, and not for each one.
        Err(Duration::from_secs_f64((8.0 - self.tokens) / self.rates.per_second))
    }

    pub(super) fn spend(&mut self, files: usize) {
        self.tokens -= files.max(1) as f64;
    }

    /// Returns true if the group has been quiet for as long as the burst takes to fill.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= self.rates.burst
    }
}

/// A group's flood. It begins with the first file too many, and ends when no file has waited for as long as the burst
/// takes to fill. A full bucket alone does not end it, because a slow machine fills it while files wait.
#[derive(Debug, Default)]
pub(super) struct Flood {
    runs: bool,
    rested: bool,
}

impl Flood {
    /// Notes that more files wait than may be handled. Returns true if a flood begins.
    pub(super) fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.runs, true)
    }

    /// Notes that no file waits.
    pub(super) fn rests(&mut self) {
        self.rested = true;
    }

    /// Notes that files may have come; `full` is true if the bucket is full.
    pub(super) fn looks(&mut self, full: bool) {
        if std::mem::take(&mut self.rested) && full {
            self.runs = false;
        }
    }
}

/// The log lines of one group per minute; further lines are only counted.
const LINES: u32 = 10;

/// Limits the log lines per minute.
#[derive(Debug)]
pub(super) struct Gate {
    since: Instant,
    passed: u32,
    held_back: u64,
}

impl Gate {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, passed: 0, held_back: 0 }
    }

    /// Returns None if no line may be written; otherwise how many were held back since the last full minute.
    pub(super) fn pass(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(60) {
            self.since = now;
            self.passed = 0;
        }
        if self.passed >= LINES {
            self.held_back += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_a_steady_rate() {
        let mut now = Instant::now();
        let mut pace = Pace::new(Rates::default(), now);
        let mut handled = 0;
        let end = now + Duration::from_secs(10);
        while now < end {
            match pace.allowed(now, 16) {
                Ok(files) => {
                    pace.spend(files);
                    handled += files;
                }
                Err(wait) => now += wait,
            }
        }
        assert!((2_100..=2_210).contains(&handled), "{handled}");
        assert!(!pace.is_full(now));
        assert!(pace.is_full(now + Duration::from_secs(2)));
    }

    #[test]
    fn a_flood_lasts_until_no_file_waits_for_a_while() {
        let mut flood = Flood::default();
        assert!(flood.begins());
        flood.looks(true);
        assert!(!flood.begins(), "files waited all the time");
        flood.rests();
        flood.looks(false);
        flood.looks(true);
        assert!(!flood.begins(), "the rest was short");
        flood.rests();
        flood.looks(true);
        assert!(flood.begins());
    }

    #[test]
    fn log_gets_a_few_lines_and_a_count() {
        let now = Instant::now();
        let mut gate = Gate::new(now);
        let passed = (0..1000).filter(|_| gate.pass(now).is_some()).count();
        assert_eq!(passed, 10);
        assert_eq!(gate.pass(now + Duration::from_secs(61)), Some(990));
        assert_eq!(gate.pass(now + Duration::from_secs(61)), Some(0));
    }
}
