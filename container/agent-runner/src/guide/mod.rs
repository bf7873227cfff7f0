//! The provider `guide`: answers without a key and without a network, and does real things through the host's own
//! means: tasks, the group's folder, commands in the room.

mod grammar;
mod room;
mod tasks;
mod texts;
pub mod when;

use chrono::Utc;

use crate::host;
use crate::prompt::{self, Message};
use crate::protocol::{Output, Status};
use crate::run::{Mail, Provider, Room};
use grammar::Command;

/// The name when the host gives none.
const NAME: &str = "Andy";

/// The guide.
#[derive(Debug)]
pub struct Guide {
    room: Room,
}

impl Guide {
    /// A guide for this run.
    pub fn new(room: Room) -> Self {
        Self { room }
    }

    fn name(&self) -> &str {
        self.room.input.assistant_name.as_deref().unwrap_or(NAME)
    }

    fn requests(&self, prompts: &[String]) -> Vec<Message> {
        prompts.iter().flat_map(|prompt| prompt::requests(prompt, self.name())).collect()
    }

    /// Does what a message asks for; `again` counts how often the same was asked before in this turn.
    fn perform(&self, message: &Message, again: usize) -> String {
        let request = message.text.as_str();
        let root = &self.room.folders.group;
        match understand(request) {
            Command::Schedule(when, prompt) => {
                let id = tasks::id_of(&self.room.input.chat_jid, message, again);
                tasks::schedule(&self.room, &when, prompt, id.as_deref())
            }
            Command::Unclear(advice) => advice.to_owned(),
            Command::ListTasks => tasks::list(&self.room),
            Command::Change(change, wanted) => tasks::change(&self.room, change, &wanted),
            Command::ListFiles(path) => room::list(root, &path),
            Command::Show(path) => room::show(root, &path),
            Command::Remember(fact) => room::remember(root, &fact),
            Command::Recall => room::recall(root),
            Command::Run(line) => room::run(&self.room, &line),
            Command::Remind(text) => format!("Reminder: {text}"),
            Command::Say(text) => text,
            Command::ListChats => tasks::chats(&self.room),
            Command::Register(jid, folder) => tasks::register(&self.room, &jid, &folder),
            Command::Help => texts::HELP.to_owned(),
            Command::About => texts::about(self.name()),
            Command::Status => self.status(),
            Command::Time => format!("It is {}.", host::readable(Utc::now(), host::zone())),
            Command::Greeting => texts::greeting(self.name()),
            Command::Thanks => "You are welcome!".to_owned(),
            Command::Farewell => "Goodbye! I am here when you write again.".to_owned(),
            // A task that someone else made: its text is what shall be said.
            Command::Unknown if self.room.input.is_scheduled_task => format!("Reminder: {}", request.trim()),
            Command::Unknown => texts::unknown(request),
        }
    }

    fn status(&self) -> String {
        let input = &self.room.input;
        let tasks = host::tasks(&self.room.folders).unwrap_or_default();
        let paused = tasks.iter().filter(|task| task.status == "paused").count();
        let main = if input.is_main { ", the main group" } else { "" };
        format!(
            "All is well.\n- I am {}, Parlor's guide, in a container of this group's own\n- chat {}, folder {}{main}\n\
             - {} tasks, {paused} of them paused\n- it is {} ({})",
            self.name(),
            input.chat_jid,
            input.group_folder,
            tasks.len(),
            host::readable(Utc::now(), host::zone()),
            host::zone().name(),
        )
    }
}

/// Reads a request. A group may have a trigger of its own, which the agent is not told: it is the first word then.
fn understand(request: &str) -> Command {
    let command = grammar::parse(request);
    let own_trigger = request.starts_with(['@', '!', '/']);
    match request.split_once(char::is_whitespace) {
        Some((_, rest)) if own_trigger && command == Command::Unknown => grammar::parse(rest),
        _ => command,
    }
}

impl Provider for Guide {
    fn answer(&mut self, prompts: &[String], _: &mut Mail<'_>) -> Output {
        let mut replies: Vec<String> = Vec::new();
        let requests = self.requests(prompts);
        for (at, request) in requests.iter().enumerate() {
            let again = requests[..at].iter().filter(|earlier| *earlier == request).count();
            let reply = self.perform(request, again);
            if replies.last() != Some(&reply) {
                replies.push(reply);
            }
        }
        let result = (!replies.is_empty()).then(|| replies.join("\n\n"));
        let session = Some(self.room.session.clone());
        Output { status: Status::Success, result, new_session_id: session, ..Output::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_of_the_groups_own_is_skipped() {
        assert_eq!(understand("!bot list tasks"), Command::ListTasks);
        assert_eq!(understand("@bot dance"), Command::Unknown);
        assert_eq!(understand("/x"), Command::Unknown);
    }

    #[test]
    fn every_example_of_the_help_is_understood() {
        let examples: Vec<&str> = texts::HELP
            .lines()
            .filter_map(|line| line.strip_prefix("- "))
            .flat_map(|line| line.split(" (").next().into_iter().flat_map(|examples| examples.split(" · ")))
            .collect();
        assert!(examples.len() > 15, "{examples:?}");
        for example in examples {
            assert!(!matches!(understand(example), Command::Unknown | Command::Unclear(_)), "{example}");
        }
    }
}
