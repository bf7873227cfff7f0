//! Shows why a chat waits while no answer comes.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::super::client::Client;
use super::super::times;

/// The interval of queries to the host.
const LOOK: Duration = Duration::from_secs(2);

/// Queries the host for the reason why a chat waits, and remembers the last one.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    client: &'a Client,
    jid: &'a str,
    looks: Interval,
    known: Option<String>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(client: &'a Client, jid: &'a str) -> Self {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Skips the immediate first tick: until the second, nothing is late.
        looks.reset();
        Self { client, jid, looks, known: None }
    }

    /// Waits for the next query. Cancel-safe.
    pub(super) async fn due(&mut self) {
        self.looks.tick().await;
    }

    /// Returns the reason if it differs from the last one. Returns None if the host does not answer.
    pub(super) async fn look(&mut self) -> Option<String> {
        let status = self.client.get("/v1/status").await.ok()?;
        let reason = reason(&status, self.jid)?;
        // A reason with a countdown stays the same reason.
        let kind = reason.replace(|c: char| c.is_ascii_digit(), "");
        let new = self.known.as_ref() != Some(&kind);
        self.known = Some(kind);
        new.then_some(reason)
    }
}

/// Finds in the host's status why nothing runs for a chat.
fn reason(status: &Value, jid: &str) -> Option<String> {
    let group = status["groups"].as_array()?.iter().find(|group| group["jid"] == jid)?;
    if let Some(why) = group["paused"]["reason"].as_str() {
        return Some(format!("paused until {}: {why}", times::at(&group["paused"]["until"])));
    }
    group["waiting"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wait_reason_is_that_of_the_chat() {
        let status = json!({"groups": [
            {"jid": "tty:a", "waiting": "waits for a free container", "paused": null},
            {"jid": "tty:b", "waiting": null, "paused": null},
            {"jid": "tty:c", "waiting": "x", "paused": {"until": "soon", "reason": "the budget is used up"}},
        ]});
        assert_eq!(reason(&status, "tty:a").as_deref(), Some("waits for a free container"));
        assert_eq!(reason(&status, "tty:b"), None);
        assert_eq!(reason(&status, "tty:c").as_deref(), Some("paused until soon: the budget is used up"));
        assert_eq!(reason(&status, "tty:d"), None);
    }
}
