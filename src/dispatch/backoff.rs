//! The waits after failures.

use std::time::Duration;

/// The number of retries after the first try.
pub const MAX_RETRIES: u32 = 5;
const FIRST: Duration = Duration::from_secs(5);
/// The longest wait between two probes of the engine; probes never end.
const ENGINE_MOST: Duration = Duration::from_secs(80);

/// Returns the wait before retry `n` (from 1): 5, 10, 20, 40, 80 s; None if all are used up.
pub fn retry(n: u32) -> Option<Duration> {
    (1..=MAX_RETRIES).contains(&n).then(|| FIRST * 2u32.pow(n - 1))
}

/// Returns the wait before probe `n` (from 1) of a failing engine or vendor.
pub fn probe(n: u32) -> Duration {
    (FIRST * 2u32.pow(n.clamp(1, 8) - 1)).min(ENGINE_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_retries_double_from_five_seconds() {
        let all: Vec<_> = (1..=6).map(|n| retry(n).map(|d| d.as_secs())).collect();
        assert_eq!(all, [Some(5), Some(10), Some(20), Some(40), Some(80), None]);
        assert_eq!((probe(1).as_secs(), probe(100).as_secs()), (5, 80));
    }
}
