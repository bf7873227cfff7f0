//! Prices of models, and the cost of a turn. Pure.

use std::collections::BTreeMap;

use super::usage::Usage;

/// The date of the vendors' list prices below.
pub const AS_OF: &str = "2026-11-01";

/// A model's prices in US dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// Input tokens that were in no cache.
    pub input: f64,
    /// Output tokens.
    pub output: f64,
    /// Input tokens read from the vendor's cache.
    pub cache_read: f64,
    /// Input tokens written to the vendor's cache.
    pub cache_write: f64,
}

impl Price {
    /// Returns the cost of these tokens in US dollars.
    pub fn cost(&self, used: &Usage) -> f64 {
        let of = |tokens: u64, price: f64| tokens as f64 * price / 1e6;
        of(used.input_tokens, self.input)
            + of(used.output_tokens, self.output)
            + of(used.cache_read_tokens, self.cache_read)
            + of(used.cache_write_tokens, self.cache_write)
    }

    /// Returns true if any price is above the other's.
    pub fn is_above(&self, other: &Self) -> bool {
        self.input > other.input || self.output > other.output
    }
}

const fn price(input: f64, output: f64, cache_read: f64, cache_write: f64) -> Price {
    Price { input, output, cache_read, cache_write }
}

/// List prices, without discounts and without surcharges for very long requests.
const LIST: [(&str, Price); 41] = [
    ("claude-fable-5", price(10.0, 50.0, 1.0, 12.5)),
    ("claude-fable-5-1", price(10.0, 50.0, 1.0, 12.5)),
    ("claude-opus-5-5", price(4.0, 20.0, 0.4, 5.0)),
    ("claude-opus-5", price(5.0, 25.0, 0.5, 6.25)),
    ("claude-opus-4-8", price(5.0, 25.0, 0.5, 6.25)),
    ("claude-opus-4-7", price(5.0, 25.0, 0.5, 6.25)),
    ("claude-opus-4-6", price(5.0, 25.0, 0.5, 6.25)),
    ("claude-opus-4-5", price(5.0, 25.0, 0.5, 6.25)),
    ("claude-opus-4-1", price(15.0, 75.0, 1.5, 18.75)),
    ("claude-opus-4", price(15.0, 75.0, 1.5, 18.75)),
    ("claude-sonnet-5", price(2.0, 10.0, 0.2, 2.5)),
    ("claude-sonnet-4-6", price(3.0, 15.0, 0.3, 3.75)),
    ("claude-sonnet-4-5", price(3.0, 15.0, 0.3, 3.75)),
    ("claude-sonnet-4", price(3.0, 15.0, 0.3, 3.75)),
    ("claude-haiku-4-5", price(1.0, 5.0, 0.1, 1.25)),
    ("gpt-5.5", price(5.0, 30.0, 0.5, 5.0)),
    ("gpt-5.4", price(2.5, 15.0, 0.25, 2.5)),
    ("gpt-5.4-mini", price(0.75, 4.5, 0.075, 0.75)),
    ("gpt-5.4-nano", price(0.2, 1.25, 0.02, 0.2)),
    ("gpt-5.3-codex", price(1.75, 14.0, 0.175, 1.75)),
    ("gpt-5.2", price(1.75, 14.0, 0.175, 1.75)),
    ("gpt-5.2-codex", price(1.75, 14.0, 0.175, 1.75)),
    ("gpt-5.1", price(1.25, 10.0, 0.125, 1.25)),
    ("gpt-5.1-codex", price(1.25, 10.0, 0.125, 1.25)),
    ("gpt-5", price(1.25, 10.0, 0.125, 1.25)),
    ("gpt-5-codex", price(1.25, 10.0, 0.125, 1.25)),
    ("gpt-5-mini", price(0.25, 2.0, 0.025, 0.25)),
    ("gpt-5-nano", price(0.05, 0.4, 0.005, 0.05)),
    ("gpt-4.1", price(2.0, 8.0, 0.5, 2.0)),
    ("gpt-4.1-mini", price(0.4, 1.6, 0.1, 0.4)),
    ("gpt-4o", price(2.5, 10.0, 1.25, 2.5)),
    ("gpt-4o-mini", price(0.15, 0.6, 0.075, 0.15)),
    ("o3", price(2.0, 8.0, 0.5, 2.0)),
    ("o4-mini", price(1.1, 4.4, 0.275, 1.1)),
    ("gemini-3.8-flash", price(0.75, 3.75, 0.075, 0.75)),
    ("gemini-3.1-pro-preview", price(2.0, 12.0, 0.2, 2.0)),
    ("gemini-3-pro-preview", price(2.0, 12.0, 0.2, 2.0)),
    ("gemini-3-flash-preview", price(0.5, 3.0, 0.05, 0.5)),
    ("gemini-2.5-pro", price(1.25, 10.0, 0.125, 1.25)),
    ("gemini-2.5-flash", price(0.3, 2.5, 0.03, 0.3)),
    ("gemini-2.5-flash-lite", price(0.1, 0.4, 0.01, 0.1)),
];

/// The prices of an installation: the operator's own take precedence over the vendors' lists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prices {
    /// The operator's prices by a model's name, or by its beginning with a `*`.
    own: BTreeMap<String, Price>,
}

impl Prices {
    /// The vendors' lists with the operator's prices.
    pub fn with(own: BTreeMap<String, Price>) -> Self {
        Self { own }
    }

    /// Returns a model's price, or None if it is unknown. A free model has a price, too.
    pub fn of(&self, model: &str) -> Option<Price> {
        let model = model.trim();
        // `openai::gpt-5` and `models/gemini-2.5-pro` are other names of the same models.
        let bare = model.rsplit_once("::").map_or(model, |(_, name)| name);
        let bare = bare.strip_prefix("models/").unwrap_or(bare);
        self.own_of(model).or_else(|| self.own_of(bare)).or_else(|| listed(bare))
    }

    /// The operator's price under the longest matching name.
    fn own_of(&self, model: &str) -> Option<Price> {
        let fits = |name: &str| match name.strip_suffix('*') {
            Some(start) => model.starts_with(start),
            None => name == model,
        };
        let best =
            self.own.iter().filter(|(name, _)| fits(name)).max_by_key(|(name, _)| (!name.ends_with('*'), name.len()));
        best.map(|(_, price)| *price)
    }
}

fn listed(model: &str) -> Option<Price> {
    LIST.iter().find(|(name, _)| model.strip_prefix(name).is_some_and(is_version)).map(|(_, price)| *price)
}

/// Returns true if the rest of a name is only the model's version: nothing, `-latest`, or a date.
fn is_version(rest: &str) -> bool {
    let Some(word) = rest.strip_prefix('-') else { return rest.is_empty() };
    let first = word.split('-').next().unwrap_or_default();
    word == "latest" || (first.len() >= 4 && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_names_with_dates_have_the_same_price_and_others_do_not() {
        let prices = Prices::default();
        for (name, input) in [
            ("gpt-5.4", 2.5),
            ("gpt-5.4-2026-03-05", 2.5),
            ("gpt-5.4-mini", 0.75),
            ("openai::gpt-5-nano", 0.05),
            ("claude-opus-4-20250514", 15.0),
            ("claude-opus-4-1-20250805", 15.0),
            ("claude-opus-4-8", 5.0),
            ("claude-sonnet-5-latest", 2.0),
            ("models/gemini-2.5-pro", 1.25),
        ] {
            assert_eq!(prices.of(name).map(|price| price.input), Some(input), "{name}");
        }
        for unknown in ["gpt-5.4-pro", "claude-opus-4-9", "claude-sonnet-5-5", "gpt-5-ultra-2027-01-01", "qwen3:8b", ""]
        {
            assert_eq!(prices.of(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn operators_prices_come_first_and_the_longest_name_wins() {
        let own = [("qwen3*", 0.0), ("qwen3-max*", 1.0), ("gpt-5.4", 2.0), ("qwen3-max-7", 3.0)];
        let own = own.map(|(name, input)| (name.to_owned(), price(input, 9.0, 0.0, 0.0)));
        let prices = Prices::with(own.into());
        for (name, input) in
            [("qwen3:8b", 0.0), ("qwen3-max-1", 1.0), ("qwen3-max-7", 3.0), ("gpt-5.4", 2.0), ("ollama::qwen3", 0.0)]
        {
            assert_eq!(prices.of(name).map(|price| price.input), Some(input), "{name}");
        }
        assert_eq!(prices.of("gpt-5-mini").map(|price| price.input), Some(0.25));
    }

    #[test]
    fn cached_tokens_have_their_own_price() {
        let used = Usage {
            turns: 1,
            input_tokens: 1_000_000,
            output_tokens: 100_000,
            cache_read_tokens: 2_000_000,
            cache_write_tokens: 400_000,
            cost_usd: 0.0,
        };
        let cost = Prices::default().of("claude-sonnet-5").unwrap().cost(&used);
        assert!((cost - (2.0 + 1.0 + 0.4 + 1.0)).abs() < 1e-9, "{cost}");
    }

    #[test]
    fn price_list_is_sound() {
        for (at, (name, price)) in LIST.iter().enumerate() {
            assert!(LIST[..at].iter().all(|(earlier, _)| earlier != name), "{name} is there twice");
            assert!(price.cache_read <= price.input && price.input <= price.output, "{name}");
            assert!(price.cache_write >= price.input && price.cache_write <= 1.25 * price.input, "{name}");
        }
    }
}
