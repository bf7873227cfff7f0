//! The use of a turn: the CLI counts each thread as a whole, and on over its resumption. Pure.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::events::Tokens;

/// See the module.
#[derive(Debug, Default)]
pub struct Meter {
    /// What each thread had used when it was last told.
    totals: HashMap<String, Tokens>,
    /// Turns that began under our eyes.
    turns: HashSet<String>,
    sum: Tokens,
}

impl Meter {
    /// A turn of any thread begins.
    pub fn begin(&mut self, turn: &str) {
        self.turns.insert(turn.to_owned());
    }

    /// A thread told what it used. When one is resumed it tells first what earlier runs had used.
    pub fn used(&mut self, thread: Option<&str>, turn: &str, total: Tokens, last: Tokens) {
        let thread = thread.unwrap_or_default();
        let before = self.totals.insert(thread.to_owned(), total);
        let used = match before {
            Some(before) => total.since(&before).unwrap_or(last),
            None if self.turns.contains(turn) => last,
            None => return,
        };
        self.sum.add(&used);
    }

    /// The turn's tokens, under the names that the host reads, and what they cost at these US dollars for a million of
    /// them, in and out. Those from the vendor's cache count in full.
    pub fn take(&mut self, price: Option<(f64, f64)>) -> (Option<Value>, Option<f64>) {
        let used = std::mem::take(&mut self.sum);
        if used == Tokens::default() {
            return (None, None);
        }
        let cost = price.map(|(input, output)| (used.input as f64 * input + used.output as f64 * output) / 1_000_000.0);
        let usage = json!({
            "input_tokens": used.input.saturating_sub(used.cached + used.cache_write),
            "cache_read_input_tokens": used.cached,
            "cache_creation_input_tokens": used.cache_write,
            "output_tokens": used.output,
            "reasoning_output_tokens": used.reasoning,
        });
        (Some(usage), cost)
    }
}

impl Tokens {
    fn zip(&self, other: &Self, with: impl Fn(u64, u64) -> Option<u64>) -> Option<Self> {
        Some(Self {
            input: with(self.input, other.input)?,
            cached: with(self.cached, other.cached)?,
            cache_write: with(self.cache_write, other.cache_write)?,
            output: with(self.output, other.output)?,
            reasoning: with(self.reasoning, other.reasoning)?,
        })
    }

    /// Returns what came since; None if it was counted anew.
    fn since(&self, before: &Self) -> Option<Self> {
        self.zip(before, u64::checked_sub)
    }

    fn add(&mut self, more: &Self) {
        *self = self.zip(more, |a, b| Some(a.saturating_add(b))).unwrap_or(*self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(input: u64, cached: u64, output: u64) -> Tokens {
        Tokens { input, cached, output, ..Tokens::default() }
    }

    #[test]
    fn a_turn_is_billed_for_its_own_tokens_alone() {
        let mut meter = Meter::default();
        // What an earlier run had used, told at the resumption.
        meter.used(Some("t"), "old", tokens(1000, 400, 50), tokens(100, 40, 5));
        assert_eq!(meter.take(None), (None, None));
        meter.begin("n");
        meter.used(Some("t"), "n", tokens(1100, 440, 70), tokens(100, 40, 20));
        // The same told again is nothing new.
        meter.used(Some("t"), "n", tokens(1100, 440, 70), tokens(100, 40, 20));
        meter.used(Some("t"), "n", tokens(1300, 540, 80), tokens(200, 100, 10));
        let (usage, cost) = meter.take(Some((10.0, 100.0)));
        let (usage, cost) = (usage.unwrap(), cost.unwrap());
        assert!((cost - 0.006).abs() < 1e-9, "{cost}");
        assert_eq!((&usage["input_tokens"], &usage["cache_read_input_tokens"]), (&json!(160), &json!(140)));
        assert_eq!(usage["output_tokens"], 30);
        assert_eq!(meter.take(None), (None, None));
    }

    #[test]
    fn a_new_thread_counts_from_its_first_request_and_sub_agents_count_too() {
        let mut meter = Meter::default();
        meter.begin("n");
        meter.used(Some("t"), "n", tokens(100, 0, 20), tokens(100, 0, 20));
        meter.begin("n2");
        meter.used(Some("sub"), "n2", tokens(10, 0, 2), tokens(10, 0, 2));
        meter.used(Some("sub"), "n2", tokens(30, 0, 4), tokens(20, 0, 2));
        assert_eq!(meter.take(None).0.unwrap()["input_tokens"], 130);
        // Counted anew.
        meter.used(Some("t"), "n", tokens(5, 0, 1), tokens(5, 0, 1));
        assert_eq!(meter.take(None).0.unwrap()["input_tokens"], 5);
    }
}
