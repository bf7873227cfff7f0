//! `parlor messages`: shows the messages of a group's chat.

use std::fmt::Write as _;

use chrono::Utc;
use clap::Args;
use serde_json::{Value, json};

use super::client::{Client, segment};
use super::output::{harmless, say, say_json, text};
use super::{Done, times};

/// Show what was said in a group's chat, oldest first
#[derive(Debug, Args)]
pub(super) struct Messages {
    /// The group's folder
    group: String,
    /// At most so many, the last ones
    #[arg(short = 'n', long, default_value_t = 20)]
    limit: u32,
    /// Those before this place, which the page before names
    #[arg(long, value_name = "PLACE")]
    before: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Messages {
    pub(super) async fn run(self, client: &Client) -> Done {
        let group = client.get(&format!("/v1/groups/{}", segment(&self.group))).await?;
        let jid = text(&group["jid"]);
        let mut path = format!("/v1/chats/{}/messages?limit={}", segment(&jid), self.limit);
        if let Some(before) = &self.before {
            path.extend(["&before=", &segment(before)]);
        }
        let mut answer = client.get(&path).await?;
        let mut messages = answer["messages"].as_array_mut().map(std::mem::take).unwrap_or_default();
        messages.reverse();
        if self.json {
            return say_json(&json!({ "messages": messages, "before": answer["before"] }));
        }
        if messages.is_empty() {
            return say("Nothing was said yet.\n");
        }
        say(&page(&messages, &text(&group["folder"]), answer["before"].as_str()))
    }
}

fn page(messages: &[Value], group: &str, before: Option<&str>) -> String {
    let mut out = format!("Times: {}\n", times::zone());
    for message in messages {
        let time = message["time"].as_str().and_then(|time| times::short(time, Utc::now())).unwrap_or_default();
        let said = harmless(message["text"].as_str().unwrap_or_default()).replace('\n', "\n    ");
        // Writing into memory cannot fail.
        let _ = writeln!(out, "{time}  {}: {said}", harmless(&who(message)));
        for file in message["attachments"].as_array().into_iter().flatten().chain(message.get("file")) {
            let _ = writeln!(out, "    [file {}]", harmless(&text(&file["name"])));
        }
        if let Some(state) = state(message) {
            let _ = writeln!(out, "    ({state})");
        }
    }
    if let Some(before) = before {
        let _ = writeln!(out, "Earlier ones: parlor messages {group} --before {before}");
    }
    out
}

fn who(message: &Value) -> String {
    match (message["direction"].as_str(), message["sender"].as_str()) {
        (_, Some(sender)) => sender.to_owned(),
        (Some("out"), None) if message["kind"] == "notice" => "Parlor".to_owned(),
        _ => "the assistant".to_owned(),
    }
}

/// Returns the state if it is worth mentioning: not for messages that were simply answered or delivered.
fn state(message: &Value) -> Option<&'static str> {
    match (message["role"].as_str(), message["state"].as_str()?) {
        (Some("context" | "denied"), "pending") => Some("kept for the next turn"),
        (Some(_), "pending") => Some("waits for its turn"),
        (Some(_), "in_flight") => Some("is being answered"),
        (Some(_), "failed") => Some("was given up: parlor runs retry tries it again"),
        (Some(_), "cancelled") => Some("was taken back"),
        (None, "pending") => Some("waits to be delivered"),
        (None, "failed") => Some("could not be delivered: parlor outbox retry tries it again"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_readable_and_harmless() {
        let messages = [
            json!({"direction": "in", "time": "2026-01-02T03:04:05Z", "sender": "Ann", "text": "two\nlines\u{1b}[2J",
                   "role": "trigger", "state": "failed", "attachments": [{"name": "a.pdf"}]}),
            json!({"direction": "out", "time": "2026-01-02T03:04:06Z", "text": "yes", "kind": "reply", "state": "delivered"}),
            json!({"direction": "out", "time": "2026-01-02T03:04:07Z", "text": "no", "kind": "notice", "state": "pending",
                   "file": {"name": "b.png", "size": 1}}),
        ];
        insta::assert_snapshot!(page(&messages, "lab", Some("7-i-1")), @r"
        Times: UTC
        2026-01-02 03:04:05  Ann: two
            lines�[2J
            [file a.pdf]
            (was given up: parlor runs retry tries it again)
        2026-01-02 03:04:06  the assistant: yes
        2026-01-02 03:04:07  Parlor: no
            [file b.png]
            (waits to be delivered)
        Earlier ones: parlor messages lab --before 7-i-1
        ");
    }
}
