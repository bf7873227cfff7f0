//! `parlor events`.

use chrono::Utc;
use clap::Args;
use serde_json::Value;

use super::client::{Client, ServerEvent};
use super::output::{harmless, json_line, say, text, write};
use super::{Done, Failure, times};

/// Follow the host's events, one to a line
#[derive(Debug, Args)]
pub(super) struct Events {
    /// Those after this cursor, too; 0 for all that are kept [default: from now on]
    #[arg(long, value_name = "CURSOR")]
    since: Option<String>,
    /// Of this chat alone: a group's folder, or a chat's id
    #[arg(long, value_name = "CHAT")]
    chat: Option<String>,
    /// Print each event as one line of JSON
    #[arg(long)]
    json: bool,
}

impl Events {
    pub(super) async fn run(self, client: &Client) -> Done {
        let chat = match &self.chat {
            Some(chat) => Some(jid_of(client, chat).await?),
            None => None,
        };
        let mut events = client.events(self.since.as_deref(), chat.as_deref()).await?;
        if !self.json {
            say(&format!("Times: {}\n", times::zone()))?;
        }
        while let Some(event) = events.next().await? {
            if self.json {
                write(json_of(&event).as_bytes())?;
            } else {
                say(&line(&event))?;
            }
        }
        Err(Failure::Failed("the host ended the stream: it is stopping; start it with `parlor up`".into()))
    }
}

/// The chat of a group, given by its folder or its chat id.
async fn jid_of(client: &Client, wanted: &str) -> Result<String, Failure> {
    let answer = client.get("/v1/groups").await?;
    let groups = answer["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is = |group: &&Value| {
        ["folder", "jid"].iter().any(|key| group[*key].as_str().is_some_and(|text| text.eq_ignore_ascii_case(wanted)))
    };
    let found = groups.iter().find(is).and_then(|group| group["jid"].as_str());
    found.map(str::to_owned).ok_or_else(|| {
        Failure::Failed(format!("there is no group {wanted}: `parlor groups list` shows those there are"))
    })
}

fn json_of(event: &ServerEvent) -> String {
    format!(
        "{}
",
        json_line(&serde_json::json!({ "id": event.id, "event": event.name, "data": event.data }))
    )
}

/// Formats an event for people: time, chat, content.
fn line(event: &ServerEvent) -> String {
    let data = &event.data;
    let time = data["time"].as_str().and_then(|time| times::short(time, Utc::now())).unwrap_or_else(|| "-".to_owned());
    let chat = text(&data["chatJid"]);
    let what = what(&event.name, data).replace('\n', " ⏎ ");
    format!("{time}  {}  {}\n", harmless(&chat), harmless(&what))
}

fn what(name: &str, data: &Value) -> String {
    let of = |key: &str| text(&data[key]);
    let because = |key: &str| data[key].as_str().map(|why| format!(": {why}")).unwrap_or_default();
    match name {
        "message_in" => {
            let sender = if data["senderName"].is_string() { of("senderName") } else { of("sender") };
            format!("{sender} wrote: {}{}", of("text"), files(&data["attachments"]))
        }
        "message" => {
            let who = match (data["sender"].as_str(), data["kind"].as_str()) {
                (Some(sender), _) => sender.to_owned(),
                (None, Some("notice")) => "Parlor".to_owned(),
                _ => "the assistant".to_owned(),
            };
            let file = data["file"]["name"].as_str().map(|name| format!(" [file {name}]")).unwrap_or_default();
            format!("{who} said: {}{file}", of("text"))
        }
        "turn" => format!("turn {} (messages to {}){}", of("state"), of("throughSeq"), because("reason")),
        "run" => format!("run {} {}{}", of("runId"), of("state").replace('_', " "), because("error")),
        "task" => format!("task {} {}", of("taskId"), of("change")),
        "typing" if data["on"] == true => "types".to_owned(),
        "typing" => "types no more".to_owned(),
        "resync" => "events were lost: this reader was too slow".to_owned(),
        other => format!("{other} {}", json_line(data)),
    }
}

fn files(attachments: &Value) -> String {
    let names = attachments.as_array().into_iter().flatten().map(|file| text(&file["name"]));
    names.fold(String::new(), |all, name| format!("{all} [file {name}]"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_formatted_as_lines_for_people() {
        let line = |name: &str, mut data: Value| {
            data["time"] = json!("2026-01-02T03:04:05.678Z");
            data["chatJid"] = json!("web:lab");
            line(&ServerEvent { id: Some("s-1".into()), name: name.into(), data })
        };
        let all = [
            line("message_in", json!({"senderName": "Ann", "text": "a\nb\u{1b}", "attachments": [{"name": "x.pdf"}]})),
            line("message", json!({"kind": "reply", "text": "yes", "file": {"name": "y.png"}})),
            line("message", json!({"kind": "notice", "text": "careful"})),
            line("turn", json!({"state": "failed", "throughSeq": 7, "reason": "no key"})),
            line("run", json!({"runId": "01A", "state": "timed_out", "error": "too long"})),
            line("task", json!({"taskId": "t1", "change": "fired"})),
            line("typing", json!({"on": true})),
            line("new", json!({})),
        ];
        insta::assert_snapshot!(all.concat(), @r#"
        2026-01-02 03:04:05  web:lab  Ann wrote: a ⏎ b� [file x.pdf]
        2026-01-02 03:04:05  web:lab  the assistant said: yes [file y.png]
        2026-01-02 03:04:05  web:lab  Parlor said: careful
        2026-01-02 03:04:05  web:lab  turn failed (messages to 7): no key
        2026-01-02 03:04:05  web:lab  run 01A timed out: too long
        2026-01-02 03:04:05  web:lab  task t1 fired
        2026-01-02 03:04:05  web:lab  types
        2026-01-02 03:04:05  web:lab  new {"time":"2026-01-02T03:04:05.678Z","chatJid":"web:lab"}
        "#);
    }
}
