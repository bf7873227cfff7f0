//! `parlor events`.

use clap::Args;

use super::client::{Client, ServerEvent};
use super::output::{harmless, json_line, write};
use super::{Done, Failure};

/// Follow the host's events, one to a line
#[derive(Debug, Args)]
pub(super) struct Events {
    /// Those after this cursor, too [default: from now on]
    #[arg(long, value_name = "CURSOR")]
    since: Option<String>,
    /// Of this chat alone
    #[arg(long, value_name = "JID")]
    chat: Option<String>,
    /// Print each event as one line of JSON
    #[arg(long)]
    json: bool,
}

impl Events {
    pub(super) async fn run(self, client: &Client) -> Done {
        let mut events = client.events(self.since.as_deref(), self.chat.as_deref()).await?;
        while let Some(event) = events.next().await? {
            write(line(&event, self.json).as_bytes())?;
        }
        Err(Failure::Failed("the host ended the stream: it is stopping; start it with `parlor up`".into()))
    }
}

fn line(event: &ServerEvent, json: bool) -> String {
    if json {
        let line = serde_json::json!({ "id": event.id, "event": event.name, "data": event.data });
        return format!("{}\n", json_line(&line));
    }
    let id = event.id.as_deref().unwrap_or("-");
    format!("{id}  {}  {}\n", harmless(&event.name), json_line(&event.data))
}
