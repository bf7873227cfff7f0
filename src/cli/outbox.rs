//! `parlor outbox`.

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::Done;
use super::client::{Client, segment};
use super::output::{list, say, show, text};
use crate::domain::words::are;

#[derive(Debug, Subcommand)]
pub(super) enum Outbox {
    /// List what waits to go out and what could not, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Delivered texts, too
        #[arg(long)]
        all: bool,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one delivery: its whole text, its state, and why it failed
    Show {
        /// The delivery: its id, or the beginning of it
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Try failed deliveries again
    Retry {
        /// This one alone
        id: Option<String>,
    },
}

impl Outbox {
    pub(super) async fn run(self, client: &Client) -> Done {
        match self {
            Self::List { all, limit, json } => {
                let answer = client.get(&format!("/v1/outbox?all={all}&limit={limit}")).await?;
                let heading = ["ID", "CHAT", "STATE", "TRIES", "@CREATED", "ERROR", "TEXT"];
                list(&answer, "outbox", json, &heading, "Nothing waits, nothing failed.", row)
            }
            Self::Show { id, json } => show(&client.get(&format!("/v1/outbox/{}", segment(&id))).await?, json),
            Self::Retry { id } => {
                let body = id.map_or(json!({}), |id| json!({ "id": id }));
                let answer = client.call(Method::POST, "/v1/outbox/retry", Some(&body)).await?;
                match answer["retried"].as_u64() {
                    Some(n) if n > 0 => say(&format!("{} tried again.\n", are(n, "delivery"))),
                    _ => say("No delivery has failed.\n"),
                }
            }
        }
    }
}

fn row(delivery: &Value) -> Vec<String> {
    let keys = ["id", "jid", "state", "tries", "createdAt", "lastError", "text"];
    let mut cells: Vec<String> = keys.iter().map(|key| text(&delivery[*key])).collect();
    if let (Some(name), Some(last)) = (delivery["file"]["name"].as_str(), cells.last_mut()) {
        *last = format!("[file {name}] {last}");
    }
    cells
}
