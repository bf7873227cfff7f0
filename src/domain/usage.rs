//! Usage of turns in tokens and money, and daily budgets of groups.

use chrono::{DateTime, NaiveDate, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use parlor_protocol::limits::{MAX_MODEL, MAX_TOKENS, MAX_USD, MODEL};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The usage of one or more turns, as providers reported it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Turns with a report.
    pub turns: u64,
    /// Input tokens that were in no cache.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Input tokens read from the vendor's cache.
    pub cache_read_tokens: u64,
    /// Input tokens written to the vendor's cache.
    pub cache_write_tokens: u64,
    /// US dollars; 0 for providers that do not know their prices.
    pub cost_usd: f64,
}

impl Usage {
    /// Reads a turn's report: token counts under the vendors' names, and the cost. Returns None if it has neither.
    /// Implausible numbers are ignored.
    pub fn of_turn(report: Option<&Value>, cost_usd: Option<f64>) -> Option<Self> {
        let tokens = |names: &[&str]| {
            let found = names.iter().find_map(|name| report?.get(name)?.as_u64());
            found.filter(|n| *n <= MAX_TOKENS).unwrap_or(0)
        };
        let usage = Self {
            turns: 1,
            input_tokens: tokens(&["input_tokens", "inputTokens", "prompt_tokens"]),
            output_tokens: tokens(&["output_tokens", "outputTokens", "completion_tokens"]),
            cache_read_tokens: tokens(&["cache_read_input_tokens", "cacheReadTokens"]),
            cache_write_tokens: tokens(&["cache_creation_input_tokens", "cacheWriteTokens"]),
            cost_usd: cost_usd.filter(|usd| (0.0..=MAX_USD).contains(usd)).unwrap_or(0.0),
        };
        (usage.tokens() > 0 || usage.cost_usd > 0.0).then_some(usage)
    }

    /// The sum of all tokens; it saturates.
    pub fn tokens(&self) -> u64 {
        [self.output_tokens, self.cache_read_tokens, self.cache_write_tokens]
            .into_iter()
            .fold(self.input_tokens, u64::saturating_add)
    }

    /// The sum of both; it saturates.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            turns: self.turns.saturating_add(other.turns),
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cache_read_tokens: self.cache_read_tokens.saturating_add(other.cache_read_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_add(other.cache_write_tokens),
            cost_usd: (self.cost_usd + other.cost_usd).min(f64::MAX),
        }
    }
}

/// The model named in a turn's report.
pub fn model_of(report: &Value) -> Option<&str> {
    report.get(MODEL)?.as_str().filter(|name| is_model(name))
}

/// Returns true if a text can be a model's name: one word.
pub fn is_model(name: &str) -> bool {
    (1..=MAX_MODEL).contains(&name.len()) && !name.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// A group's limits for one day in the host's time zone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Budget {
    /// US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
    /// Tokens of all kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

impl Budget {
    /// Returns true if there is no limit.
    pub fn is_empty(&self) -> bool {
        self.usd.is_none() && self.tokens.is_none()
    }

    /// Fills missing limits from the other budget.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { usd: self.usd.or(other.usd), tokens: self.tokens.or(other.tokens) }
    }

    /// Returns which limit is used up, if any, and the flag of `parlor groups update` that raises it.
    pub fn used_up(&self, used: &Usage) -> Option<(String, &'static str)> {
        let money = self.usd.filter(|limit| used.cost_usd >= *limit);
        let tokens = self.tokens.filter(|limit| used.tokens() >= *limit);
        match (money, tokens) {
            (Some(limit), _) => {
                let why = format!("today's budget of ${limit:.2} is used up (${:.2} used)", used.cost_usd);
                Some((why, "--budget-usd"))
            }
            (None, Some(limit)) => {
                let why = format!("today's budget of {limit} tokens is used up ({} used)", used.tokens());
                Some((why, "--budget-tokens"))
            }
            (None, None) => None,
        }
    }
}

/// The calendar day of an instant.
pub fn day(now: DateTime<Utc>, zone: Tz) -> NaiveDate {
    now.with_timezone(&zone).date_naive()
}

/// The start of the next day: midnight, or if the clock skips it, right after the gap.
pub fn next_day(now: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
    let Some(midnight) = day(now, zone).succ_opt().and_then(|next| next.and_hms_opt(0, 0, 0)) else {
        return now + TimeDelta::days(1);
    };
    let begins = (0..=24)
        .find_map(|quarters| zone.from_local_datetime(&(midnight + TimeDelta::minutes(15 * quarters))).earliest());
    begins.map_or(now + TimeDelta::days(1), |begins| begins.to_utc())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn usage_reports_are_read_under_the_names_of_vendors() {
        let claude = json!({
            "input_tokens": 3, "output_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 11,
            "service_tier": "standard",
        });
        let usage = Usage::of_turn(Some(&claude), Some(0.25)).unwrap();
        assert_eq!((usage.input_tokens, usage.output_tokens), (3, 5));
        assert_eq!((usage.cache_read_tokens, usage.cache_write_tokens, usage.cost_usd), (7, 11, 0.25));
        let other = Usage::of_turn(Some(&json!({"prompt_tokens": 3, "completion_tokens": 5})), None).unwrap();
        assert_eq!((other.tokens(), other.cost_usd), (8, 0.0));
    }

    #[test]
    fn usage_ignores_values_that_are_no_numbers() {
        assert_eq!(Usage::of_turn(None, None), None);
        assert_eq!(Usage::of_turn(Some(&json!("many")), Some(f64::NAN)), None);
        assert_eq!(Usage::of_turn(Some(&json!({"input_tokens": -5, "output_tokens": u64::MAX})), Some(-1.0)), None);
        assert_eq!(Usage::of_turn(None, Some(f64::INFINITY)), None);
    }

    #[test]
    fn budget_is_used_up_when_it_is_reached() {
        let used = Usage { turns: 2, input_tokens: 60, output_tokens: 40, cost_usd: 1.5, ..Usage::default() };
        assert_eq!(Budget::default().used_up(&used), None);
        assert_eq!(Budget { usd: Some(1.51), tokens: Some(101) }.used_up(&used), None);
        let money = Budget { usd: Some(1.5), tokens: None }.used_up(&used).unwrap();
        assert_eq!(money, ("today's budget of $1.50 is used up ($1.50 used)".to_owned(), "--budget-usd"));
        let tokens = Budget { usd: None, tokens: Some(100) }.used_up(&used).unwrap();
        assert_eq!(tokens, ("today's budget of 100 tokens is used up (100 used)".to_owned(), "--budget-tokens"));
    }

    #[test]
    fn days_begin_at_midnight_of_the_zone_or_after_a_gap() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let berlin = Tz::Europe__Berlin;
        assert_eq!(day(at("2026-11-21T23:30:00Z"), berlin).to_string(), "2026-11-22");
        assert_eq!(next_day(at("2026-11-21T22:30:00Z"), berlin), at("2026-11-21T23:00:00Z"));
        // In this night, Havana's clocks go from 0:00 to 1:00.
        let havana = Tz::America__Havana;
        assert_eq!(next_day(at("2026-03-07T20:00:00Z"), havana), at("2026-03-08T05:00:00Z"));
    }
}
