//! The part of the screen above the prompt.

use std::collections::HashSet;

use super::super::client::ServerEvent;
use super::super::output::{colours, harmless};
use super::prompt::Prompt;
use super::{Room, render};

/// The state of the screen that depends on earlier events.
pub(super) struct Screen {
    prompt: Prompt,
    colours: bool,
    assistant: String,
    /// Whether the screen already shows that the agent works.
    working: bool,
    /// Messages typed here: they are on the screen already.
    own: HashSet<i64>,
}

impl Screen {
    pub(super) fn new(prompt: Prompt, room: &Room) -> Self {
        let assistant = harmless(&room.assistant).into_owned();
        Self { prompt, colours: colours(), assistant, working: false, own: HashSet::new() }
    }

    /// Notes that a message was typed here.
    pub(super) fn sent(&mut self, seq: i64) {
        self.own.insert(seq);
    }

    pub(super) fn event(&mut self, event: &ServerEvent) {
        match event.name.as_str() {
            "message" => {
                self.working = false;
                let text = render::message(&event.data);
                self.print(&render::text(&text, true, self.colours));
            }
            "message_in" if !event.data["seq"].as_i64().is_some_and(|seq| self.own.remove(&seq)) => {
                self.print(&render::said(&event.data, self.colours));
            }
            "typing" => {
                let on = event.data["on"] == true;
                if on && !self.working {
                    self.aside(&format!("{} works …", self.assistant));
                }
                self.working = on;
            }
            "turn" if event.data["state"] == "failed" => {
                let reason = event.data["reason"].as_str().unwrap_or("no reason is known");
                self.aside(&format!("The turn failed: {reason}"));
            }
            _ => {}
        }
    }

    /// Shows a remark of less weight than the conversation.
    pub(super) fn aside(&self, text: &str) {
        self.print(&render::aside(text, self.colours));
    }

    pub(super) fn print(&self, text: &str) {
        self.prompt.print_above(text);
    }
}
