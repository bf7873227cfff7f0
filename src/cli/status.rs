//! `parlor status`.

use std::fmt::Write;

use clap::Args;
use serde_json::Value;

use super::Done;
use super::client::Client;
use super::output::{say, say_json, table, text};

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) async fn run(self, client: &Client) -> Done {
        let status = client.get("/v1/status").await?;
        if self.json {
            return say_json(&status);
        }
        say(&page(&status))
    }
}

fn page(status: &Value) -> String {
    let engine = &status["engine"];
    let ready = if status["ready"] == true { "ready" } else { "not ready yet" };
    let mut out = format!(
        "Parlor {} is {ready}, with {} {}.\n",
        text(&status["version"]),
        text(&engine["name"]),
        text(&engine["version"])
    );
    for limit in engine["unsupported"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "The {} limit is not enforced here: {}.", text(&limit["what"]), text(&limit["why"]));
    }
    let outbox = &status["outbox"];
    let _ = writeln!(out, "Outbox: {} waiting, {} failed.", outbox["pending"], outbox["failed"]);
    let rows: Vec<Vec<String>> = status["groups"].as_array().into_iter().flatten().map(row).collect();
    if !rows.is_empty() {
        out.push('\n');
        out += &table(&["GROUP", "CHAT", "NOW", "WAITING", "FAILED"], &rows);
    }
    out
}

fn row(group: &Value) -> Vec<String> {
    let runs = group["runs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut now: Vec<String> = runs
        .iter()
        .map(|run| {
            let doing = if run["turnOpen"] == true { "works" } else { "idle" };
            format!("{} {doing} ({})", text(&run["lane"]), text(&run["id"]))
        })
        .collect();
    if let Some(reason) = group["paused"]["reason"].as_str() {
        now.push(format!("paused until {}: {reason}", text(&group["paused"]["until"])));
    }
    now.extend(group["waiting"].as_str().map(str::to_owned));
    let messages = &group["messages"];
    vec![
        text(&group["folder"]),
        text(&group["jid"]),
        now.join("; "),
        text(&messages["pending"]),
        text(&messages["failed"]),
    ]
}
