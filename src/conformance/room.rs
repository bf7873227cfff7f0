//! One run of the image, through the host's own run task.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use parlor_protocol::{Status, Turn as Said};
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::desk::Desk;
use super::seen::{Answer, Turn, Why};
use super::tap::{Ears, Heard, lock};
use crate::container::run::inputs::file_name;
use crate::container::run::outcome::{EndReason, Outcome};
use crate::container::run::{Item, RunEvent, RunHandle};
use crate::domain::clock::SharedClock;
use crate::domain::ids::ChatJid;

/// The text of the follow-up that tests whether follow-ups are taken.
const FOLLOW_UP: &str = "And once more, please.";

/// A live run.
pub(super) struct Room {
    pub(super) handle: RunHandle,
    pub(super) events: mpsc::Receiver<RunEvent>,
    pub(super) ears: Ears,
    /// The run's input folder.
    pub(super) inputs: PathBuf,
    pub(super) jid: ChatJid,
    pub(super) clock: SharedClock,
    /// Takes the agent's IPC files while the run is alive.
    pub(super) desk: Desk,
    pub(super) waiting: VecDeque<Item>,
    pub(super) outcome: Option<Outcome>,
    pub(super) count: u64,
}

/// The results of a run that has ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Ended {
    pub(super) heard: Heard,
    pub(super) code: Option<i32>,
    pub(super) why: Option<String>,
}

impl Room {
    /// Waits for the end of the open turn.
    pub(super) async fn turn(&mut self, limit: Duration) -> Answer {
        let start = Instant::now();
        let mut turn = Turn::default();
        loop {
            while let Some(item) = self.waiting.pop_front() {
                let Item::Output { output, settled, open, .. } = item else { continue };
                turn.replies += u32::from(output.result.is_some());
                turn.session = output.new_session_id.or(turn.session.take());
                if output.status == Status::Error {
                    let why = output.error.unwrap_or_else(|| "without saying why".to_owned());
                    return Err(Why::Failed(why, output.error_kind.is_some()));
                }
                // An output that settles nothing belongs to the turn before.
                if settled.is_some_and(|settled| !settled.is_empty()) && !open {
                    turn.said_done = output.turn == Some(Said::Done);
                    turn.consumed = output.consumed;
                    turn.took = start.elapsed();
                    return Ok(turn);
                }
            }
            if let Some(outcome) = &self.outcome {
                return Err(Why::Ended(how(outcome)));
            }
            if !self.hear(start + limit).await {
                return Err(Why::Silence(limit));
            }
        }
    }

    /// Receives the next event. Returns false if none came in time.
    async fn hear(&mut self, until: Instant) -> bool {
        match timeout_at(until.into(), self.events.recv()).await {
            Err(_) => return false,
            Ok(Some(RunEvent::Outputs(items))) => self.waiting.extend(items),
            Ok(Some(RunEvent::Ended(outcome))) => self.outcome = Some(*outcome),
            Ok(None) => self.outcome = Some(Outcome::unknown()),
        }
        true
    }

    /// Waits for the end of the run. Returns false if it did not come in time.
    pub(super) async fn end(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while self.outcome.is_none() {
            if !self.hear(until).await {
                return false;
            }
        }
        true
    }

    /// Ends the run if it is alive, and returns its results.
    pub(super) async fn leave(mut self, reason: EndReason, limit: Duration) -> Ended {
        if self.outcome.is_none() {
            self.handle.end(reason);
            self.end(limit).await;
        }
        self.desk.close().await;
        let heard = lock(&self.ears).clone();
        let outcome = self.outcome;
        Ended { heard, code: outcome.as_ref().and_then(|o| o.exit_code), why: outcome.and_then(|o| o.error) }
    }

    /// Returns true until the run's end was received.
    pub(super) fn alive(&self) -> bool {
        self.outcome.is_none()
    }

    /// Writes a harmless follow-up and returns the file's name.
    pub(super) fn deliver(&mut self) -> String {
        self.say(FOLLOW_UP)
    }

    /// Writes a follow-up and returns the file's name.
    pub(super) fn say(&mut self, text: &str) -> String {
        self.count += 1;
        let name = file_name(self.count);
        self.handle.deliver(name.clone(), super::house::prompt(text, &self.jid, &self.clock), Vec::new());
        name
    }

    pub(super) fn close(&self) {
        self.handle.close();
    }

    /// Returns true if the agent removed an input file. A file for a run that had ended was never written.
    pub(super) fn removed(&self, name: &str, answer: &Answer) -> bool {
        match (&self.outcome, answer) {
            (Some(outcome), Err(_)) => outcome.taken.iter().any(|taken| taken == name),
            _ => std::fs::symlink_metadata(self.inputs.join(name)).is_err(),
        }
    }

    pub(super) fn heartbeats(&self) -> usize {
        lock(&self.ears).heartbeats
    }
}

fn how(outcome: &Outcome) -> String {
    match (&outcome.error, outcome.exit_code) {
        (Some(error), _) => error.clone(),
        (None, Some(code)) => format!("it exited with code {code}"),
        (None, None) => "it ended".to_owned(),
    }
}
