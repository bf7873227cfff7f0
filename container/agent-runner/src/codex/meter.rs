//! Counts the tokens of a turn: the CLI reports totals per thread, including those before a resumption. Pure.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::events::Tokens;

/// The tokens since the last call of [`take`](Self::take).
#[derive(Debug, Default)]
pub struct Meter {
    /// The last reported total of each thread.
    totals: HashMap<String, Tokens>,
    /// Turns that began during this run.
    turns: HashSet<String>,
    sum: Tokens,
}

impl Meter {
    /// Records that a turn of any thread began.
    pub fn begin(&mut self, turn: &str) {
        self.turns.insert(turn.to_owned());
    }

    /// Records a thread's usage. A resumed thread first reports the tokens of earlier runs.
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

    /// Returns the turn's tokens, under the names that the host reads, and their cost. `price` is US dollars for a
    /// million tokens, input and output; cached tokens count in full.
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

    /// Returns the tokens since `before`; None if the CLI began to count anew.
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
    fn turn_is_billed_for_its_own_tokens_only() {
        let mut meter = Meter::default();
        // The usage of an earlier run, reported at the resumption.
        meter.used(Some("t"), "old", tokens(1000, 400, 50), tokens(100, 40, 5));
        assert_eq!(meter.take(None), (None, None));
        meter.begin("n");
        meter.used(Some("t"), "n", tokens(1100, 440, 70), tokens(100, 40, 20));
        // The same total again adds nothing.
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
    fn new_thread_counts_from_its_first_request_as_do_sub_agents() {
        let mut meter = Meter::default();
        meter.begin("n");
        meter.used(Some("t"), "n", tokens(100, 0, 20), tokens(100, 0, 20));
        meter.begin("n2");
        meter.used(Some("sub"), "n2", tokens(10, 0, 2), tokens(10, 0, 2));
        meter.used(Some("sub"), "n2", tokens(30, 0, 4), tokens(20, 0, 2));
        assert_eq!(meter.take(None).0.unwrap()["input_tokens"], 130);
        // The CLI began to count anew.
        meter.used(Some("t"), "n", tokens(5, 0, 1), tokens(5, 0, 1));
        assert_eq!(meter.take(None).0.unwrap()["input_tokens"], 5);
    }
}
