//! Requests with a time in them: reminders, timers, and other tasks for later. Pure.

use super::command::{Command, Unclear};
use super::grammar::{Reader, after};
use super::lang::{Lang, Token};
use super::phrase::{Lead, phrase};
use super::when::When;
use super::whole::whole;
use super::{days, delay};

impl Reader<'_> {
    /// Parses a request with a time before or after its subject.
    pub(super) fn schedule(&self) -> Option<Command> {
        let lead = self.lead();
        let from = lead.as_ref().map_or(0, |lead| lead.words);
        let kind = if lead.is_some() { Lead::Reminder } else { Lead::None };
        let words: Vec<&str> = self.tokens[from..].iter().map(|token| token.word.as_str()).collect();
        let leading = phrase(&words, kind).filter(|(_, count)| lead.is_some() || names_a_time(&words[..*count]));
        if let Some((when, count)) = leading {
            let subject = self.rest(from + count);
            if let Some(part) = self.leftover(from + count) {
                return Some(Command::Unclear(Unclear::Part(part, None)));
            }
            return Some(self.task_for(when, subject, lead.as_ref()));
        }
        if lead.is_none() && !matches!(words.first(), Some(&("say" | "echo"))) {
            return None;
        }
        // The longest phrase that reaches the end wins.
        for at in 0..words.len() {
            if let Some((when, _)) = phrase(&words[at..], kind).filter(|(_, count)| at + count == words.len()) {
                let begin = if from == 0 { 0 } else { self.tokens[from - 1].end };
                let subject = self.text[begin..self.tokens[from + at].start].trim_start_matches([' ', ',', ':']);
                return Some(self.task_for(when, subject, lead.as_ref()));
            }
        }
        lead.map(|_| Command::Unclear(self.unknown_time(from)))
    }

    /// Returns the part of a reminder that looks like a time, but is not understood.
    fn unknown_time(&self, from: usize) -> Unclear {
        let words = &self.tokens[from..];
        let begins = |at: usize| {
            let word = words[at].word.as_str();
            let next = words.get(at + 1).map_or("", |token| token.word.as_str());
            is_time_word(word, next)
        };
        let Some(at) = (0..words.len()).find(|at| begins(*at)) else { return Unclear::NoTime };
        let ends = |token: &Token| self.lang == Lang::En && matches!(token.word.as_str(), "to" | "that" | "about");
        let end = words[at + 1..].iter().position(ends).map(|n| at + 1 + n);
        let end = end.map_or(self.text.len(), |end| words[end].start);
        Unclear::Part(self.text[words[at].start..end].trim().trim_end_matches(['.', '!', '?', ',']).to_owned(), None)
    }

    /// Returns the part of the time that stands in the subject's place: never remind of "from 9 to 17".
    fn leftover(&self, at: usize) -> Option<String> {
        let word = self.word(at);
        let next = self.word(at + 1);
        let number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
        let time = match word {
            "at" | "around" | "from" | "between" | "until" | "till" => number(next),
            "except" | "excluding" => true,
            "every" | "each" => is_time_word(word, next),
            "on" => number(next) || days::weekday(next).is_some() || days::month(next).is_some(),
            "in" => delay::span(&[next, self.word(at + 2)]).is_some(),
            "today" | "tomorrow" | "tonight" => self.tokens.len() == at + 1,
            _ => false,
        };
        time.then(|| self.text[self.tokens[at].start..].trim().chars().take(60).collect())
    }

    fn task_for(&self, when: When, subject: &str, lead: Option<&Asked>) -> Command {
        let inner = Reader { lang: self.lang, text: subject, tokens: self.lang.tokens(subject).0 };
        let inner_lead = inner.lead();
        let (subject, reminder) = match &inner_lead {
            Some(found) => (inner.rest(found.words), true),
            None => (subject, lead.is_some()),
        };
        let kind = lead.or(inner_lead.as_ref());
        let mut text = subject.trim();
        if reminder {
            text = self.lang.links().iter().find_map(|link| linked(text, link)).unwrap_or(text);
        }
        let text = text.trim_matches([' ', '\n', ',', '-', ':']);
        let text = text.strip_suffix('?').filter(|_| reminder).unwrap_or(text).trim_end();
        let text = match (text.is_empty(), kind.and_then(|kind| kind.subject)) {
            (true, Some(subject)) => subject.in_lang(self.lang).to_owned(),
            (true, None) => return Command::Unclear(Unclear::NoSubject),
            (false, _) => text.to_owned(),
        };
        let text = match kind.and_then(|kind| kind.person.as_deref()) {
            Some(person) => format!("{person}: {text}"),
            None => text,
        };
        let command = Reader { lang: self.lang, text: &text, tokens: self.lang.tokens(&text).0 };
        let does_it_itself = !reminder
            && whole(&command.plain()).or_else(|| command.prefixed()).is_some_and(|command| {
                matches!(
                    command,
                    Command::Run(_)
                        | Command::Say(_)
                        | Command::ListTasks
                        | Command::ListFiles(_)
                        | Command::Show(_)
                        | Command::Recall
                        | Command::Status
                        | Command::Time
                )
            });
        Command::Schedule(when, if does_it_itself { text } else { format!("{} {text}", self.lang.remind()) })
    }

    /// Reads words that can only begin a reminder.
    fn lead(&self) -> Option<Asked> {
        const LEADS: [(&str, Option<Subject>); 21] = [
            ("remind me", None),
            ("remind us", None),
            ("notify me", None),
            ("notify us", None),
            ("don't forget", None),
            ("do not forget", None),
            ("don't let me forget", None),
            ("set a reminder", None),
            ("set reminder", None),
            ("schedule a reminder", None),
            ("create a reminder", None),
            ("wake me up", Some(Subject::WakeUp)),
            ("wake us up", Some(Subject::WakeUp)),
            ("wake me", Some(Subject::WakeUp)),
            ("wake us", Some(Subject::WakeUp)),
            ("set a timer", Some(Subject::Timer)),
            ("start a timer", Some(Subject::Timer)),
            ("timer", Some(Subject::Timer)),
            ("set an alarm", Some(Subject::Alarm)),
            ("set alarm", Some(Subject::Alarm)),
            ("alarm", Some(Subject::Alarm)),
        ];
        let known = LEADS
            .iter()
            .find_map(|(words, subject)| Some(Asked { words: self.begins(words)?, subject: *subject, person: None }));
        known.or_else(|| {
            // "remind Anna in 10 minutes to call"; not "remind to".
            let name = self.tokens.get(1).filter(|_| self.word(0) == "remind")?;
            let person = self.text[name.start..name.end].trim_end_matches([',', ':', '.']).to_owned();
            let is_name = person.chars().all(|c| c.is_alphabetic() || matches!(c, '-' | '@' | '_'))
                && !self.lang.links().contains(&name.word.as_str())
                && !is_time_word(&name.word, self.word(2))
                && self.tokens.len() > 2;
            is_name.then_some(Asked { words: 2, subject: None, person: Some(person) })
        })
    }
}

/// The words that ask for a reminder, and what they imply.
struct Asked {
    words: usize,
    /// The subject that the request implies; None if people must name it.
    subject: Option<Subject>,
    /// The person to remind, by name.
    person: Option<String>,
}

/// The default text of a reminder without a subject.
#[derive(Debug, Clone, Copy)]
enum Subject {
    WakeUp,
    Timer,
    Alarm,
}

impl Subject {
    fn in_lang(self, lang: Lang) -> &'static str {
        let all = match self {
            Self::WakeUp => ["wake up", "aufwachen", "despertar", "se réveiller"],
            Self::Timer => {
                ["the timer is over", "der Timer ist abgelaufen", "se acabó el tiempo", "le minuteur est terminé"]
            }
            Self::Alarm => ["alarm", "Wecker", "alarma", "alarme"],
        };
        all[lang as usize]
    }
}

/// Returns true if `word`, followed by `next`, begins a time.
fn is_time_word(word: &str, next: &str) -> bool {
    let digit = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let day = |word: &str| days::weekday(word).is_some() || days::weekdays(word).is_some();
    match word {
        "every" | "each" | "next" | "this" | "today" | "tomorrow" | "tonight" | "daily" | "weekly" | "hourly" => true,
        "at" | "in" | "on" | "by" | "around" | "until" | "from" | "for" => {
            digit(next)
                || day(next)
                || days::month(next).is_some()
                || delay::number(next).is_some()
                || matches!(next, "the")
        }
        word => digit(word) || day(word) || days::month(word).is_some_and(|_| digit(next)),
    }
}

/// Returns the rest after a linking word, which may be part of the next word: "d'appeler".
fn linked<'a>(text: &'a str, link: &str) -> Option<&'a str> {
    if link.ends_with('\'') {
        return text.strip_prefix(link).or_else(|| text.strip_prefix(&link.replace('\'', "’")));
    }
    after(text, link)
}

fn is_days(word: &str) -> bool {
    matches!(word, "weekdays" | "workdays" | "weekends") || days::weekdays(word).is_some()
}

/// Returns true if the words are clearly a time. "tomorrow" or "on monday" alone may begin any sentence.
fn names_a_time(words: &[&str]) -> bool {
    const TIMES: [&str; 16] = [
        "in", "every", "each", "everyday", "daily", "hourly", "weekly", "monthly", "cron", "at", "tonight", "twice",
        "weekdays", "weekends", "yearly", "once",
    ];
    TIMES.contains(&words[0])
        || days::weekdays(words[0]).is_some()
        || (words[0] == "on" && words.get(1).is_some_and(|word| is_days(word)))
        || words.contains(&"times")
        || words.contains(&"at")
        || words[1..].iter().any(|word| word.contains(':'))
}
