//! `parlor usage`.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::Value;

use super::Done;
use super::client::{Client, segment};
use super::output::{harmless, list, say, text};

/// Show what groups used, by day, in tokens and money
#[derive(Debug, Args)]
pub(super) struct Usage {
    /// Of this group alone
    folder: Option<String>,
    /// Today and the days before it, so many in all
    #[arg(long, default_value_t = 30)]
    days: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const HEADING: [&str; 7] = ["DAY", "GROUP", "TURNS", "INPUT", "OUTPUT", "CACHED", "COST"];

impl Usage {
    pub(super) async fn run(self, client: &Client) -> Done {
        let mut path = format!("/v1/usage?days={}", self.days);
        if let Some(folder) = &self.folder {
            path.extend(["&folder=", &segment(folder)]);
        }
        let answer = client.get(&path).await?;
        let empty = "Nothing was used, or no provider reported it.";
        list(&answer, "usage", self.json, &HEADING, empty, row)?;
        let rows = answer["usage"].as_array().map_or(&[][..], Vec::as_slice);
        let unpriced: BTreeSet<&str> = rows.iter().filter_map(|row| row["unpriced"].as_str()).collect();
        if !self.json && !unpriced.is_empty() {
            let names = unpriced.into_iter().collect::<Vec<_>>().join(", ");
            say(&harmless(&format!("\nNo price is known of {names}: prices.toml can say what a model costs.\n")))?;
        }
        if self.json || rows.len() < 2 {
            return Ok(());
        }
        let sum = |key: &str| rows.iter().filter_map(|row| row[key].as_f64()).sum::<f64>();
        let keys = ["inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens"];
        let tokens: f64 = keys.into_iter().map(sum).sum();
        say(&format!("\nTogether: {tokens:.0} tokens, {}.\n", money(sum("costUsd"))))
    }
}

fn row(day: &Value) -> Vec<String> {
    let number = |key: &str| day[key].as_u64().unwrap_or(0);
    vec![
        text(&day["day"]),
        text(&day["folder"]),
        number("turns").to_string(),
        number("inputTokens").to_string(),
        number("outputTokens").to_string(),
        (number("cacheReadTokens") + number("cacheWriteTokens")).to_string(),
        cost(day),
    ]
}

/// Formats the known costs, and whether there are more.
fn cost(day: &Value) -> String {
    let usd = day["costUsd"].as_f64().unwrap_or(0.0);
    match day["unpriced"].is_string() {
        true if usd > 0.0 => format!("over ${usd:.4}"),
        true => "unknown".to_owned(),
        false => format!("${usd:.4}"),
    }
}

fn money(usd: f64) -> String {
    if usd > 0.0 { format!("${usd:.4}") } else { "unknown".to_owned() }
}
