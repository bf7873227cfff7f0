//! Random numbers from a seed. `SplitMix64`, as its authors published it: <https://prng.di.unimi.it/splitmix64.c>.

use std::time::Duration;

#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Returns true in `of_thousand` of a thousand cases.
    pub(super) fn chance(&mut self, of_thousand: u64) -> bool {
        self.below(1000) < of_thousand
    }

    /// Returns a time between two, more often a short one.
    pub(super) fn time(&mut self, from: Duration, to: Duration) -> Duration {
        let (from, to) = (from.as_micros() as u64, to.as_micros() as u64);
        let (a, b) = (self.below(to - from + 1), self.below(to - from + 1));
        Duration::from_micros(from + a.min(b))
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}
