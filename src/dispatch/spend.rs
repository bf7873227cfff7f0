//! The cost of a turn. The host computes it if it knows the model's price, because the group can report any cost.
//! Pure.

use parlor_protocol::Output;

use crate::config::provider::{CODEX, GEMINI, LLM};
use crate::domain::prices::Prices;
use crate::domain::usage::{Usage, model_of};

/// Returns the usage of a turn, and the model if its price is unknown.
pub(super) fn of_turn(prices: &Prices, provider: &str, output: &Output) -> Option<(Usage, Option<String>)> {
    let mut used = Usage::of_turn(output.usage.as_ref(), output.cost_usd)?;
    let model = output.usage.as_ref().and_then(model_of);
    // These programs count only tokens; a cost that they report comes from a price in the group's own settings.
    let tokens_alone = matches!(provider, LLM | CODEX | GEMINI);
    let reported = used.cost_usd > 0.0 && !tokens_alone;
    if reported || used.tokens() == 0 {
        return Some((used, None));
    }
    match model.and_then(|model| prices.of(model)) {
        Some(price) => {
            used.cost_usd = price.cost(&used);
            Some((used, None))
        }
        None => Some((used, Some(model.unwrap_or(provider).to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn turn(provider: &str, usage: Value, cost_usd: Option<f64>) -> (f64, Option<String>) {
        let output = Output { usage: Some(usage), cost_usd, ..Output::default() };
        let (used, unpriced) = of_turn(&Prices::default(), provider, &output).unwrap();
        (used.cost_usd, unpriced)
    }

    #[test]
    fn cost_of_a_known_model_ignores_the_groups_price() {
        let usage = json!({"model": "gpt-5.4", "input_tokens": 1_000_000, "cache_read_input_tokens": 1_000_000});
        for said in [None, Some(0.0), Some(0.01), Some(99.0)] {
            assert_eq!(turn("llm", usage.clone(), said), (2.75, None), "{said:?}");
        }
        assert_eq!(turn("codex", usage.clone(), None), (2.75, None));
        assert_eq!(turn("image", usage.clone(), Some(0.5)), (0.5, None), "its own account");
        assert_eq!(turn("image", usage, None), (2.75, None));
    }

    #[test]
    fn a_model_without_a_price_is_named() {
        let usage = |model: &str| json!({"model": model, "output_tokens": 7});
        assert_eq!(turn("llm", usage("qwen3"), Some(0.5)), (0.5, Some("qwen3".into())));
        assert_eq!(turn("gemini", json!({"output_tokens": 7}), None), (0.0, Some("gemini".into())));
        assert_eq!(turn("claude", json!({"output_tokens": 7}), Some(0.0)), (0.0, Some("claude".into())));
        assert_eq!(turn("llm", usage("two\nlines"), None).1.as_deref(), Some("llm"), "no name");
        assert_eq!(turn("claude", json!({}), Some(0.25)), (0.25, None));
        assert!(of_turn(&Prices::default(), "llm", &Output::default()).is_none());
    }
}
