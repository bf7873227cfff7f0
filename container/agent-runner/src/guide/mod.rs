//! The provider `guide`: answers without a key and without a network, and acts through the host: tasks, the group's
//! folder, commands in the room.

mod chats;
mod clock;
mod command;
mod days;
mod delay;
mod grammar;
mod lang;
mod lexicon;
mod phrase;
mod recurring;
mod request;
mod room;
mod rule;
mod state;
mod task_texts;
mod tasks;
mod texts;
mod typos;
pub mod when;
mod whole;
mod words;

use chrono::Utc;
use parlor_protocol::prompt::{self, Message};
use parlor_protocol::{Output, Status};

use crate::host;
use crate::provider::{Mail, Provider, Room};
use command::{Command, Request, Unclear};
use lang::Lang;
use state::Place;
use words::by_lang;

/// The default name.
const NAME: &str = "Andy";

/// The guide of one run.
#[derive(Debug)]
pub struct Guide {
    room: Room,
    place: Place,
}

/// The context of an answer: the language, and the guide's notes.
struct Voice {
    place: Place,
    lang: Lang,
}

impl Guide {
    /// A guide for this run.
    pub fn new(room: Room) -> Self {
        Self { room, place: Place::new() }
    }

    fn name(&self) -> &str {
        self.room.input.assistant_name.as_deref().unwrap_or(NAME)
    }

    fn requests(&self, prompts: &[String]) -> Vec<Message> {
        prompts.iter().flat_map(|prompt| prompt::requests(prompt, self.name())).collect()
    }

    /// Carries out a message's request; `again` counts earlier identical requests in this turn.
    fn perform(&self, message: &Message, again: usize) -> String {
        let request = message.text.as_str();
        let (mut command, mut lang) = understand(request);
        if command == Command::Yes {
            let mut offered = None;
            self.place.change(|state| offered = state.offered.take());
            let Some(offered) = offered else { return texts::nothing_offered(lang).to_owned() };
            (command, lang) = understand(&offered);
        }
        let guide = Voice { place: self.place.clone(), lang };
        let id = || tasks::id_of(&self.room.input.chat_jid, message, again);
        let root = &self.room.folders.group;
        match command {
            Command::Schedule(when, prompt) => tasks::schedule(&self.room, &guide, &when, prompt, id().as_deref()),
            Command::Snooze(when) => tasks::snooze(&self.room, &guide, &when, id().as_deref()),
            Command::Unclear(unclear) => self.unclear(&guide, &unclear),
            Command::ListTasks => tasks::list(&self.room, &guide),
            Command::Change(change, wanted) => tasks::change(&self.room, &guide, change, &wanted),
            Command::CancelAll => tasks::cancel_all(&self.room, &guide),
            Command::Undo => tasks::undo(&self.room, &guide),
            Command::ListFiles(path) => room::list(root, lang, &path),
            Command::Show(path) => room::show(root, lang, &path),
            Command::Remember(fact) => room::remember(root, &guide, &fact),
            Command::Forget(fact) => room::forget(root, &guide, &fact),
            Command::Recall => room::recall(root, lang),
            Command::Run(line) => room::run(&self.room, &line),
            Command::Remind(text) => self.remind(lang, &text),
            Command::Say(text) => text,
            Command::Files(files) => texts::files(lang, &files),
            Command::ListChats => chats::list(&self.room),
            Command::Register(jid, folder) => chats::register(&self.room, &jid, &folder),
            Command::Help => texts::help(lang).to_owned(),
            Command::About => texts::about(lang, self.name()),
            Command::Status => self.status(lang),
            Command::Time => time(lang),
            Command::Greeting => texts::greeting(lang, self.name()),
            Command::Thanks => texts::thanks(lang).to_owned(),
            Command::Farewell => texts::farewell(lang).to_owned(),
            // A task that somebody else made: its text is the reminder.
            Command::Unknown(_) if self.room.input.is_scheduled_task => self.remind(lang, request.trim()),
            Command::Unknown(meant) => self.unknown(&guide, request, meant),
            Command::Yes => texts::nothing_offered(lang).to_owned(),
        }
    }

    /// Returns the text of a due reminder, and records it for "snooze".
    fn remind(&self, lang: Lang, text: &str) -> String {
        self.place.change(|state| state.reminder = Some(text.to_owned()));
        by_lang!(
            lang,
            format!("Reminder: {text}"),
            format!("Erinnerung: {text}"),
            format!("Recordatorio: {text}"),
            format!("Rappel : {text}")
        )
    }

    fn unclear(&self, guide: &Voice, unclear: &Unclear) -> String {
        let said = texts::unclear(guide.lang, unclear);
        match unclear {
            Unclear::Part(_, Some(meant)) => format!("{said} {}", self.offer(guide.lang, meant)),
            _ => said,
        }
    }

    fn unknown(&self, guide: &Voice, request: &str, meant: Option<String>) -> String {
        let said = texts::unknown(guide.lang, request);
        if let Some(meant) = meant {
            return self.offer(guide.lang, &meant);
        }
        if guide.place.load().told_model {
            return said;
        }
        guide.place.change(|state| state.told_model = true);
        format!("{said}\n\n{}", texts::model_hint(guide.lang))
    }

    fn offer(&self, lang: Lang, meant: &str) -> String {
        self.place.change(|state| state.offered = Some(meant.to_owned()));
        texts::did_you_mean(lang, meant)
    }

    fn status(&self, lang: Lang) -> String {
        let input = &self.room.input;
        let tasks = host::tasks(&self.room.folders).unwrap_or_default();
        let paused = tasks.iter().filter(|task| task.status == "paused").count();
        let (count, name, jid, folder) = (tasks.len(), self.name(), &input.chat_jid, &input.group_folder);
        let now = words::moment(lang, Utc::now().with_timezone(&host::zone()));
        let zone = host::zone();
        let zone = zone.name();
        let main = if input.is_main {
            by_lang!(lang, ", the main group", ", die Hauptgruppe", ", el grupo principal", ", le groupe principal")
        } else {
            ""
        };
        by_lang!(
            lang,
            format!(
                "All is well.\n- I am {name}, Parlor's guide, in a container of this group's own\n- chat {jid}, folder \
                 {folder}{main}\n- {count} tasks, {paused} of them paused\n- it is {now} ({zone})"
            ),
            format!(
                "Alles gut.\n- Ich bin {name}, der Helfer von Parlor, im eigenen Container dieser Gruppe\n- Chat {jid}, \
                 Ordner {folder}{main}\n- {count} Aufgaben, {paused} davon pausiert\n- es ist {now} ({zone})"
            ),
            format!(
                "Todo bien.\n- Soy {name}, el guía de Parlor, en el contenedor de este grupo\n- chat {jid}, carpeta \
                 {folder}{main}\n- {count} tareas, {paused} en pausa\n- son las {now} ({zone})"
            ),
            format!(
                "Tout va bien.\n- Je suis {name}, le guide de Parlor, dans le conteneur de ce groupe\n- chat {jid}, \
                 dossier {folder}{main}\n- {count} tâches, dont {paused} suspendues\n- il est {now} ({zone})"
            )
        )
    }
}

fn time(lang: Lang) -> String {
    let now = words::moment(lang, Utc::now().with_timezone(&host::zone()));
    by_lang!(
        lang,
        format!("It is {now}."),
        format!("Es ist {now}."),
        format!("Son las {now}."),
        format!("Il est {now}.")
    )
}

/// Parses a request. If a group has its own trigger, which the agent does not know, it is the first word.
fn understand(request: &str) -> Request {
    let read = grammar::parse(request);
    let own_trigger = request.starts_with(['@', '!', '/']);
    match request.split_once(char::is_whitespace) {
        Some((_, rest)) if own_trigger && matches!(read.0, Command::Unknown(_)) => grammar::parse(rest),
        _ => read,
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
    fn own_trigger_of_a_group_is_skipped() {
        assert_eq!(understand("!bot list tasks").0, Command::ListTasks);
        assert_eq!(understand("@bot dance").0, Command::Unknown(None));
        assert_eq!(understand("/x").0, Command::Unknown(None));
    }

    #[test]
    fn examples_in_the_help_are_understood() {
        for lang in Lang::ALL {
            let examples: Vec<&str> = texts::help(lang)
                .lines()
                .filter_map(|line| line.strip_prefix("- "))
                .flat_map(|line| line.split(" (").next().into_iter().flat_map(|examples| examples.split(" · ")))
                .collect();
            assert!(examples.len() > 13, "{examples:?}");
            for example in examples {
                let (command, found) = understand(example);
                assert!(!matches!(command, Command::Unknown(_) | Command::Unclear(_)), "{example}: {command:?}");
                let shared = example.starts_with("run ");
                assert!(found == lang || shared, "{example} is {found:?}");
            }
        }
    }
}
