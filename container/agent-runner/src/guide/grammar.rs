//! What people write to the guide, as commands. Pure; the grammar is published in `docs/GUIDE.md`.

use super::lang::{Lang, Token};
use super::phrase::{Lead, phrase};
use super::typos;
use super::when::When;

/// Something the guide was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A task with this prompt.
    Schedule(When, String),
    /// A reminder was asked for, but something is missing or not understood.
    Unclear(Unclear),
    /// The list of tasks.
    ListTasks,
    /// A change of the task that the text names.
    Change(Change, String),
    /// The end of every task of the group.
    CancelAll,
    /// The last reminder once more, after so many milliseconds.
    Snooze(When),
    /// Take back what was done last.
    Undo,
    /// The request that the guide offered.
    Yes,
    /// The files of a folder below the group's.
    ListFiles(String),
    /// A file's text.
    Show(String),
    /// A line for the group's memory.
    Remember(String),
    /// A line of the group's memory that shall go.
    Forget(String),
    /// The group's memory.
    Recall,
    /// A command in the room.
    Run(String),
    /// A due reminder.
    Remind(String),
    /// A text to say as it is.
    Say(String),
    /// The chats the host knows.
    ListChats,
    /// A chat and the folder under which to register it.
    Register(String, String),
    /// What can be asked.
    Help,
    /// Who the guide is.
    About,
    /// How things are.
    Status,
    /// The time.
    Time,
    /// A greeting.
    Greeting,
    /// Thanks.
    Thanks,
    /// A farewell.
    Farewell,
    /// Files came, and no word with them.
    Files(Vec<String>),
    /// None of these, and what may have been meant.
    Unknown(Option<String>),
}

/// What is missing in a reminder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unclear {
    /// The time.
    NoTime,
    /// What to remind of.
    NoSubject,
    /// This part of the text is a time, and none that is known; perhaps the whole request was meant so.
    Part(String, Option<String>),
}

/// What to do with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Pause it.
    Pause,
    /// Let it go on.
    Resume,
    /// End it.
    Cancel,
    /// Run it now, beside its schedule.
    Run,
}

/// A request and the language it is in.
pub type Request = (Command, Lang);

/// Reads one request; the trigger is stripped already.
pub fn parse(text: &str) -> Request {
    let (text, files) = without_marks(text.trim());
    if text.is_empty() && !files.is_empty() {
        return (Command::Files(files), Lang::En);
    }
    if let Some((lang, text)) = Lang::reminder(text) {
        return (Command::Remind(text.to_owned()), lang);
    }
    let best = best(text);
    match best {
        (Command::Unknown(_), lang) => (Command::Unknown(meant(text)), lang),
        (Command::Unclear(Unclear::Part(part, _)), lang) => (Command::Unclear(Unclear::Part(part, meant(text))), lang),
        understood => understood,
    }
}

/// The same without one-letter slips, if it is understood then.
fn meant(text: &str) -> Option<String> {
    typos::corrections(text).into_iter().find(|text| is_offered(&best(text).0))
}

/// Whether a request is worth a question: courtesies are not.
fn is_offered(command: &Command) -> bool {
    let courtesy = matches!(command, Command::Greeting | Command::Thanks | Command::Farewell | Command::Yes);
    is_understood(command) && !courtesy
}

fn is_understood(command: &Command) -> bool {
    !matches!(command, Command::Unknown(_) | Command::Unclear(_))
}

/// The reading in the language that knows most of the words, of those that understand it at all.
fn best(text: &str) -> Request {
    let mut best: Option<(u8, usize, Command, Lang)> = None;
    for lang in Lang::ALL {
        let (command, known) = parse_in(lang, text);
        let rank = match command {
            Command::Unknown(_) => 0,
            Command::Unclear(_) => 1,
            _ => 2,
        };
        if best.as_ref().is_none_or(|(least, fewer, ..)| (rank, known) > (*least, *fewer)) {
            best = Some((rank, known, command, lang));
        }
    }
    best.map_or((Command::Unknown(None), Lang::En), |(_, _, command, lang)| (command, lang))
}

/// The text without what names files that came with it, and these files.
fn without_marks(text: &str) -> (&str, Vec<String>) {
    let mut text = text;
    let mut files = Vec::new();
    while let Some((before, last)) = text.rsplit_once('\n').or(Some(("", text))).filter(|(_, last)| !last.is_empty()) {
        let path = ["[File: ", "[Image: "].iter().find_map(|mark| last.strip_prefix(mark)?.strip_suffix(']'));
        let Some(path) = path else { break };
        files.push(path.split_once(" (").map_or(path, |(path, _)| path).to_owned());
        text = before.trim_end();
    }
    files.reverse();
    (text, files)
}

/// A request while it is read: the words of the grammar, and the text they stand in.
struct Reader<'a> {
    lang: Lang,
    text: &'a str,
    tokens: Vec<Token>,
}

fn parse_in(lang: Lang, text: &str) -> (Command, usize) {
    let (tokens, known) = lang.tokens(text);
    let mut reader = Reader { lang, text, tokens };
    reader.skip_courtesies();
    (reader.command(), known)
}

impl Reader<'_> {
    fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.word.as_str())
    }

    /// The text behind the first words.
    fn rest(&self, taken: usize) -> &str {
        let start = taken.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(0, |token| token.end);
        self.text[start..].trim_start_matches([' ', '\n', '\t', ':', ','])
    }

    fn begins(&self, words: &str) -> Option<usize> {
        let count = words.split(' ').count();
        words.split(' ').enumerate().all(|(at, word)| self.word(at) == word).then_some(count)
    }

    /// What only makes a request kinder, as often as it is there.
    fn skip_courtesies(&mut self) {
        const KIND: [&str; 9] =
            ["please", "can you", "could you", "would you", "will you", "hey", "ok", "okay", "i want you to"];
        while let Some(count) = KIND.iter().find_map(|words| self.begins(words)).filter(|n| *n < self.tokens.len()) {
            self.tokens.drain(..count);
        }
        let start = self.tokens.first().map_or(0, |token| token.start);
        self.text = &self.text[start..];
        for token in &mut self.tokens {
            token.start -= start;
            token.end -= start;
        }
    }

    fn command(&self) -> Command {
        if let Some(line) = self.text.strip_prefix('$').filter(|line| !line.trim().is_empty()) {
            return Command::Run(line.trim().to_owned());
        }
        // "say hello every minute" has its time at its end; every other verb takes its whole line.
        let says = matches!(self.word(0), "say" | "echo") && self.tokens.len() > 1;
        let said = says.then(|| self.schedule()).flatten();
        let plain = self.plain();
        whole(&plain).or(said).or_else(|| self.prefixed()).or_else(|| self.schedule()).unwrap_or(Command::Unknown(None))
    }

    /// The words of the grammar as one line, without a "please" at the end.
    fn plain(&self) -> String {
        if self.tokens.is_empty() || self.tokens.iter().all(|token| token.word.is_empty()) {
            return self.text.trim().to_owned();
        }
        let words: Vec<&str> = self.tokens.iter().map(|token| token.word.as_str()).collect();
        let joined = words.join(" ");
        joined.strip_suffix(" please").map_or(joined.clone(), str::to_owned)
    }

    /// Requests that begin with their verb.
    fn prefixed(&self) -> Option<Command> {
        if self.tokens.len() < 2 {
            return match self.word(0) {
                "snooze" => Some(Command::Snooze(When::In(SNOOZE_MS))),
                _ => None,
            };
        }
        let rest = self.rest(1).trim();
        match self.word(0) {
            "help" => Some(Command::Help),
            "run" => Some(run(rest)),
            "pause" => Some(Command::Change(Change::Pause, task(rest))),
            "resume" | "unpause" | "continue" => Some(Command::Change(Change::Resume, task(rest))),
            "cancel" | "delete" | "remove" | "stop" => Some(Command::Change(Change::Cancel, task(rest))),
            "show" | "cat" | "read" | "open" => Some(Command::Show(path(rest).to_owned())),
            // "ls -la" is a command, "ls photos" a folder.
            "ls" if rest.starts_with('-') => Some(Command::Run(self.text.trim().to_owned())),
            "ls" => Some(Command::ListFiles(path(rest).to_owned())),
            "list" => list(rest),
            "snooze" => self.snooze(),
            "remember" | "forget" => self.memory(rest),
            "register" => {
                let words: Vec<&str> = rest.split_whitespace().collect();
                let [jid, word, folder] = words[..] else { return None };
                word.eq_ignore_ascii_case("as").then(|| Command::Register(jid.to_owned(), folder.to_owned()))
            }
            "say" | "echo" => Some(Command::Say(rest.to_owned())),
            _ => None,
        }
    }

    fn memory(&self, rest: &str) -> Option<Command> {
        let links: &[&str] = match self.lang {
            Lang::En => &["that", "about"],
            Lang::De => &["dass", "daran, dass"],
            Lang::Es => &["que"],
            Lang::Fr => &["que", "qu'"],
        };
        let fact = links.iter().find_map(|link| after(rest, link)).unwrap_or(rest);
        let fact = fact.trim_start_matches(':').trim().to_owned();
        match (fact.is_empty(), self.word(0)) {
            (true, _) => None,
            (false, "forget") => Some(Command::Forget(fact)),
            (false, _) => Some(Command::Remember(fact)),
        }
    }

    /// `snooze [for] 10 minutes`, `snooze until tomorrow at 9`
    fn snooze(&self) -> Option<Command> {
        let skip = 1 + usize::from(matches!(self.word(1), "for" | "until" | "till" | "it"));
        let words: Vec<&str> = self.tokens.iter().skip(skip).map(|token| token.word.as_str()).collect();
        let (when, taken) = phrase(&words, Lead::Reminder)?;
        (taken == words.len()).then_some(Command::Snooze(when))
    }

    /// Something with a time before or after it.
    fn schedule(&self) -> Option<Command> {
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
        // The longest phrase that reaches the end.
        for at in 0..words.len() {
            if let Some((when, _)) = phrase(&words[at..], kind).filter(|(_, count)| at + count == words.len()) {
                let begin = if from == 0 { 0 } else { self.tokens[from - 1].end };
                let subject = self.text[begin..self.tokens[from + at].start].trim_start_matches([' ', ',', ':']);
                return Some(self.task_for(when, subject, lead.as_ref()));
            }
        }
        lead.map(|_| Command::Unclear(self.unknown_time(from)))
    }

    /// The part of a reminder that looks like a time and is none that is known.
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

    /// What stands where the subject should and is a part of the time: never remind of "from 9 to 17".
    fn leftover(&self, at: usize) -> Option<String> {
        let word = self.word(at);
        let next = self.word(at + 1);
        let number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
        let time = match word {
            "at" | "around" | "from" | "between" | "until" | "till" => number(next),
            "except" | "excluding" => true,
            "every" | "each" => is_time_word(word, next),
            "on" => number(next) || super::days::weekday(next).is_some() || super::days::month(next).is_some(),
            "in" => super::delay::span(&[next, self.word(at + 2)]).is_some(),
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

    /// Words that can only mean a reminder.
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

/// How a reminder was asked for.
struct Asked {
    words: usize,
    /// What it says when nothing else is asked for.
    subject: Option<Subject>,
    /// Somebody by name.
    person: Option<String>,
}

/// What a reminder says without a subject of its own.
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

/// How long a reminder sleeps when nobody says.
const SNOOZE_MS: u64 = 600_000;

/// Whether a word begins a time, seen with the one after it.
fn is_time_word(word: &str, next: &str) -> bool {
    let digit = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let day = |word: &str| super::days::weekday(word).is_some() || super::days::weekdays(word).is_some();
    match word {
        "every" | "each" | "next" | "this" | "today" | "tomorrow" | "tonight" | "daily" | "weekly" | "hourly" => true,
        "at" | "in" | "on" | "by" | "around" | "until" | "from" | "for" => {
            digit(next)
                || day(next)
                || super::days::month(next).is_some()
                || super::delay::number(next).is_some()
                || matches!(next, "the")
        }
        word => digit(word) || day(word) || super::days::month(word).is_some_and(|_| digit(next)),
    }
}

/// Requests that are known word by word.
fn whole(plain: &str) -> Option<Command> {
    Some(match plain {
        "" | "hi" | "hello" | "hey" | "hi there" | "hello there" | "hey there" | "good morning" | "good afternoon"
        | "good evening" | "good day" | "howdy" | "moin" | "how are you" | "hi, how are you" => Command::Greeting,
        "thanks"
        | "thank you"
        | "thank you very much"
        | "thanks a lot"
        | "thx"
        | "great"
        | "cool"
        | "nice"
        | "well done"
        | "ok"
        | "okay" => Command::Thanks,
        "bye" | "goodbye" | "good night" | "see you" | "see you later" => Command::Farewell,
        "?" | "help" | "help me" | "commands" | "examples" | "what can you do" | "what can i ask"
        | "how does this work" | "what can i do" | "usage" => Command::Help,
        "who are you"
        | "what are you"
        | "about"
        | "about you"
        | "introduce yourself"
        | "what is parlor"
        | "what's parlor"
        | "explain parlor"
        | "tell me about parlor"
        | "what is this"
        | "are you an ai" => Command::About,
        "status" | "how is it going" | "what is going on" | "info" => Command::Status,
        "time" | "date" | "what time is it" | "what's the time" | "what day is it" | "what is the date" => {
            Command::Time
        }
        "tasks"
        | "task list"
        | "my tasks"
        | "list tasks"
        | "list my tasks"
        | "list all tasks"
        | "show tasks"
        | "show my tasks"
        | "show all tasks"
        | "what tasks are there"
        | "reminders"
        | "my reminders"
        | "list reminders"
        | "list my reminders"
        | "show reminders"
        | "show my reminders"
        | "what is scheduled"
        | "what's scheduled"
        | "show me the tasks"
        | "show me my tasks"
        | "show the tasks"
        | "list the tasks"
        | "show me my reminders"
        | "show me the reminders"
        | "list all reminders" => Command::ListTasks,
        "files"
        | "ls"
        | "list files"
        | "list my files"
        | "show files"
        | "show my files"
        | "what is in my folder"
        | "what's in my folder"
        | "what is in the folder"
        | "what's in the folder"
        | "what is in your folder"
        | "what files are there"
        | "what files do you have"
        | "list my folder"
        | "list folder"
        | "show my folder"
        | "show me the files"
        | "show me my files"
        | "show the files"
        | "list the files"
        | "list all files" => Command::ListFiles(String::new()),
        "memory"
        | "recall"
        | "show memory"
        | "what do you remember"
        | "what do you know"
        | "what do you know about me"
        | "what do you know about us" => Command::Recall,
        "undo" | "undo that" | "undo this" | "take that back" => Command::Undo,
        "cancel all"
        | "cancel all tasks"
        | "cancel all reminders"
        | "cancel everything"
        | "delete all tasks"
        | "delete all reminders"
        | "delete all"
        | "remove all tasks"
        | "remove all reminders"
        | "clear all tasks" => Command::CancelAll,
        "yes" | "yes please" | "y" | "yep" | "yeah" => Command::Yes,
        "chats" | "groups" | "list chats" | "list groups" | "show chats" | "show groups" => Command::ListChats,
        _ => return None,
    })
}

/// `run 3 now`, `run task 3`, else a command.
fn run(rest: &str) -> Command {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let is = |word: &str, wanted: &str| word.trim_end_matches(['.', '!']).eq_ignore_ascii_case(wanted);
    match words[..] {
        [task, now] if is(now, "now") && !is(task, "task") => Command::Change(Change::Run, task.to_owned()),
        [word, task] if is(word, "task") => Command::Change(Change::Run, task.to_owned()),
        [word, task, now] if is(word, "task") && is(now, "now") => Command::Change(Change::Run, task.to_owned()),
        _ => Command::Run(rest.to_owned()),
    }
}

fn list(rest: &str) -> Option<Command> {
    let inside = ["files in", "files of", "files under"].iter().find_map(|lead| after(rest, lead))?;
    Some(Command::ListFiles(path(inside).to_owned()))
}

/// What names a task, without "task", "reminder", "number", "the".
fn task(text: &str) -> String {
    let mut rest = text;
    for word in ["the", "task", "reminder", "number", "no"] {
        rest = after(rest, word).unwrap_or(rest);
    }
    rest.trim_end_matches(['.', '!', '?']).trim().to_owned()
}

/// What names a file, without "me", "the", "file" and quotes.
fn path(text: &str) -> &str {
    let mut rest = text;
    for word in ["me", "the", "file"] {
        rest = after(rest, word).unwrap_or(rest);
    }
    rest.trim().trim_matches(['"', '\'', '`', '“', '”'])
}

/// The rest after a linking word, which may be glued to it: "d'appeler".
fn linked<'a>(text: &'a str, link: &str) -> Option<&'a str> {
    if link.ends_with('\'') {
        return text.strip_prefix(link).or_else(|| text.strip_prefix(&link.replace('\'', "’")));
    }
    after(text, link)
}

/// The rest after these words, in any case.
fn after<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    let head = text.get(..words.len()).filter(|head| head.eq_ignore_ascii_case(words))?;
    let tail = &text[head.len()..];
    let ends = tail.starts_with(|char: char| char.is_whitespace() || matches!(char, ':' | ','));
    ends.then(|| tail.trim_start_matches([':', ',', ' ', '\t', '\n']))
}

fn is_days(word: &str) -> bool {
    matches!(word, "weekdays" | "workdays" | "weekends") || super::days::weekdays(word).is_some()
}

/// "tomorrow" or "on monday" alone may be the beginning of any sentence.
fn names_a_time(words: &[&str]) -> bool {
    const TIMES: [&str; 16] = [
        "in", "every", "each", "everyday", "daily", "hourly", "weekly", "monthly", "cron", "at", "tonight", "twice",
        "weekdays", "weekends", "yearly", "once",
    ];
    TIMES.contains(&words[0])
        || super::days::weekdays(words[0]).is_some()
        || (words[0] == "on" && words.get(1).is_some_and(|word| is_days(word)))
        || words.contains(&"times")
        || words.contains(&"at")
        || words[1..].iter().any(|word| word.contains(':'))
}

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
