//! `parlor status`.

use std::fmt::Write;

use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::output::{harmless, say, say_json, table, text};
use super::{Done, times};

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Give each reason in full, below the table
    #[arg(short, long)]
    long: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "long")]
    json: bool,
}

impl Status {
    pub(super) async fn run(self, client: &Client) -> Done {
        let status = client.get("/v1/status").await?;
        if self.json {
            return say_json(&status);
        }
        say(&page(&status, self.long))
    }
}

fn page(status: &Value, long: bool) -> String {
    let mut out = host(status);
    let outbox = &status["outbox"];
    let _ = writeln!(out, "Outbox: {} waiting, {} failed.", outbox["pending"], outbox["failed"]);
    let groups = status["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    if groups.is_empty() {
        return out;
    }
    out.push('\n');
    out += &table(&["GROUP", "CHAT", "NOW", "WAITING", "FAILED"], &groups.iter().map(row).collect::<Vec<_>>());
    if long {
        for group in groups {
            for reason in now(group) {
                let _ = write!(out, "\n{}: {}", text(&group["folder"]), harmless(&reason));
            }
        }
        out.push('\n');
    }
    out
}

fn host(status: &Value) -> String {
    let engine = &status["engine"];
    if engine.is_null() {
        return format!("No host is running for {}: `parlor up` starts one.\n", text(&status["home"]));
    }
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
    out
}

/// Describes what a group does, and why it does not do more.
fn now(group: &Value) -> Vec<String> {
    let runs = group["runs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut now: Vec<String> = runs
        .iter()
        .map(|run| {
            let doing = match run["doing"].as_str() {
                Some("opening") => "opens",
                Some("idle") => "idle",
                _ => "works",
            };
            format!("{} {doing} ({})", text(&run["lane"]), text(&run["id"]))
        })
        .collect();
    if let Some(who) = group["answers"].as_str() {
        now.insert(0, format!("{who} answers"));
    }
    for outage in group["outages"].as_array().into_iter().flatten() {
        let (who, until) = (text(&outage["choice"]), times::at(&outage["until"]));
        now.push(format!("{who} cannot until {until}: {}", text(&outage["reason"])));
    }
    if let Some(reason) = group["paused"]["reason"].as_str().filter(|_| group["waiting"].is_null()) {
        now.push(format!("paused until {}: {reason}", times::at(&group["paused"]["until"])));
    }
    now.extend(group["waiting"].as_str().map(str::to_owned));
    now
}

fn row(group: &Value) -> Vec<String> {
    let messages = &group["messages"];
    vec![
        text(&group["folder"]),
        text(&group["jid"]),
        now(group).join("; "),
        text(&messages["pending"]),
        text(&messages["failed"]),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn status_shows_whole_reasons_when_asked() {
        let reason =
            "tries again in 19 hours 48 minutes (today's budget of 1000 tokens is used up; the owner can raise it)";
        let status = json!({
            "version": "1", "ready": true, "home": "/srv/p", "engine": {"name": "docker", "version": "1"},
            "outbox": {"pending": 0, "failed": 0},
            "groups": [{"folder": "lab", "jid": "web:lab", "runs": [], "waiting": reason, "messages": {}}],
        });
        assert!(!page(&status, false).contains("raise"), "{}", page(&status, false));
        assert!(page(&status, true).ends_with(&format!("\nlab: {reason}\n")), "{}", page(&status, true));
        let none = json!({ "home": "/srv/p", "engine": null, "outbox": {"pending": 0, "failed": 0}, "groups": [] });
        assert!(page(&none, false).starts_with("No host is running for /srv/p: `parlor up`"));
    }
}
