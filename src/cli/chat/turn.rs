//! `parlor chat -m`: sends one message and prints its turn's answers; the exit code is the result.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::ProgressBar;

use super::super::client::{Client, EventStream, ServerEvent};
use super::super::output::{colours, harmless, has_progress, tell, write};
use super::super::{Done, Failure, NOT_ADDRESSED, TIMED_OUT};
use super::attach::Local;
use super::wait::Watch;
use super::{Room, Sent, render};
use crate::domain::message::Role;

/// Sends a text and prints the answers, at most until the time limit.
pub(super) async fn run(client: &Client, room: &Room, text: &str, files: Vec<Local>, limit: Option<Duration>) -> Done {
    let terminal = std::io::stdout().is_terminal();
    let mut show = |text: &str| {
        let mut text = render::text(text, terminal, colours());
        text.push('\n');
        write(text.as_bytes())
    };
    let answer = answer(client, room, text, files, &mut show);
    let Some(limit) = limit else { return answer.await };
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
        let seconds = limit.as_secs_f64();
        Err(Failure::Code(
            TIMED_OUT,
            format!(
                "no answer in {seconds} s; it is not given up: `parlor outbox list --all` shows it when it has come"
            ),
        ))
    })
}

/// Sends a text and shows the answers until its turn has ended.
pub(in crate::cli) async fn answer(
    client: &Client,
    room: &Room,
    text: &str,
    files: Vec<Local>,
    show: &mut impl FnMut(&str) -> Done,
) -> Done {
    // Opened before the message is sent, so that no event is missed.
    let mut events = client.events(None, Some(&room.jid)).await?;
    let sent = room.send(client, text, files).await?;
    let Sent { seq, role, ref refused, .. } = sent;
    for file in refused {
        tell(&format!("Not taken: {file}"));
    }
    match role {
        Role::Trigger | Role::Command => {}
        Role::Context => {
            let text = format!(
                "no answer comes: {} answers only when addressed, so begin with {}; the message is kept as context",
                room.name,
                room.trigger().word()
            );
            return Err(Failure::Code(NOT_ADDRESSED, text));
        }
        // Such a message starts no turn.
        Role::Denied => return Err(Failure::Failed(sent.denial())),
    }
    let spinner = Spinner::new(&room.assistant);
    let mut watch = Watch::new(client, &room.jid);
    let result = follow(&mut events, seq, &spinner, &mut watch, show).await;
    spinner.hide();
    result
}

async fn follow(
    events: &mut EventStream,
    seq: i64,
    spinner: &Spinner,
    watch: &mut Watch<'_>,
    show: &mut impl FnMut(&str) -> Done,
) -> Done {
    let mut last = String::new();
    loop {
        let event = tokio::select! {
            biased;
            event = events.next() => event,
            () = watch.due() => {
                if let Some(reason) = watch.look().await {
                    spinner.hide();
                    tell(&format!("Waiting: {reason}"));
                }
                continue;
            }
        };
        // If the stream breaks off, the host has ended.
        let Ok(Some(event)) = event else { break };
        match event.name.as_str() {
            "message" => {
                spinner.hide();
                last = render::message(&event.data);
                show(&last)?;
            }
            "typing" if event.data["on"] == true => spinner.show(),
            "turn" => {
                if let Some(result) = ended(&event, seq) {
                    let said = event.data["reason"].as_str().is_some_and(|reason| last.contains(reason));
                    return if said && result.is_err() { Err(Failure::Said) } else { result };
                }
            }
            "resync" => break,
            _ => {}
        }
    }
    Err(Failure::Failed(
        "the host ended before the turn did; the answer comes when it runs again: `parlor outbox list --all` shows it"
            .into(),
    ))
}

/// Returns the result of the turn, if this event ends a turn that covers the message. A command is done alone, even
/// while a turn goes on.
fn ended(event: &ServerEvent, seq: i64) -> Option<Done> {
    let through = event.data["throughSeq"].as_i64()?;
    let alone = event.data["state"] == "done" && event.data["reason"] == "command";
    if through < seq || (alone && through != seq) {
        return None;
    }
    let reason = event.data["reason"].as_str().map(harmless);
    match event.data["state"].as_str()? {
        "done" => Some(Ok(())),
        "failed" => Some(Err(Failure::Failed(format!(
            "the turn failed: {}",
            reason.as_deref().unwrap_or("no reason is known")
        )))),
        "cancelled" => {
            Some(Err(Failure::Failed(format!("the turn was stopped ({})", reason.as_deref().unwrap_or("/stop")))))
        }
        _ => None,
    }
}

/// A spinner that shows on terminals that the agent works.
struct Spinner(Option<ProgressBar>);

impl Spinner {
    fn new(assistant: &str) -> Self {
        let terminal = has_progress() && std::io::stdout().is_terminal();
        let bar = terminal.then(ProgressBar::new_spinner);
        if let Some(bar) = &bar {
            bar.set_message(format!("{} works …", harmless(assistant)));
        }
        Self(bar)
    }

    fn show(&self) {
        if let Some(bar) = &self.0 {
            bar.reset();
            bar.enable_steady_tick(Duration::from_millis(100));
        }
    }

    fn hide(&self) {
        if let Some(bar) = &self.0 {
            bar.disable_steady_tick();
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn turn(state: &str, through: i64) -> ServerEvent {
        let data = json!({ "chatJid": "tty:main", "state": state, "throughSeq": through, "reason": "no\u{1b}key" });
        ServerEvent { id: None, name: "turn".into(), data }
    }

    #[test]
    fn turn_end_counts_only_if_it_covers_the_message() {
        assert!(ended(&turn("done", 4), 5).is_none());
        assert!(ended(&turn("failed", 4), 5).is_none());
        assert!(ended(&turn("started", 5), 5).is_none());
        assert!(matches!(ended(&turn("done", 5), 5), Some(Ok(()))));
        assert!(matches!(ended(&turn("done", 9), 5), Some(Ok(()))));
        let mut command = turn("done", 9);
        command.data["reason"] = json!("command");
        assert!(ended(&command, 5).is_none());
        assert!(matches!(ended(&command, 9), Some(Ok(()))));
        let Some(Err(Failure::Failed(why))) = ended(&turn("failed", 5), 5) else { panic!("failed") };
        assert_eq!(why, "the turn failed: no\u{fffd}key");
        assert!(matches!(ended(&turn("cancelled", 5), 5), Some(Err(_))));
    }
}
