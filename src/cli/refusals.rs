//! `parlor refusals`.

use clap::Args;
use serde_json::Value;

use super::Done;
use super::client::Client;
use super::output::{list, text};

/// Show what agents asked for and were refused, newest first
#[derive(Debug, Args)]
pub(super) struct Refusals {
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Refusals {
    pub(super) async fn run(self, client: &Client) -> Done {
        let answer = client.get(&format!("/v1/refusals?limit={}", self.limit)).await?;
        list(&answer, "refusals", self.json, &["@AT", "GROUP", "WHAT", "WHY"], "Nothing was refused.", row)
    }
}

fn row(refusal: &Value) -> Vec<String> {
    ["at", "folder", "what", "why"].iter().map(|key| text(&refusal[*key])).collect()
}
