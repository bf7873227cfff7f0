//! What people write to the guide, as commands. Pure; the grammar is published in `docs/GUIDE.md`.

use super::when::{self, When};

/// The prompt of a reminder's task: the guide says the rest when the task fires.
pub const REMIND: &str = "Remind the chat:";

/// Something the guide was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A task with this prompt.
    Schedule(When, String),
    /// A reminder was asked for, but something is missing; the text says what.
    Unclear(&'static str),
    /// The list of tasks.
    ListTasks,
    /// A change of the task that the text names.
    Change(Change, String),
    /// The files of a folder below the group's.
    ListFiles(String),
    /// A file's text.
    Show(String),
    /// A line for the group's memory.
    Remember(String),
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
    /// None of these.
    Unknown,
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

const NO_TIME: &str = "I understood that you want a reminder, but not when. Try “remind me in 10 minutes to stretch”, \
                       “remind me at 17:30 to call Ann” or “remind me every monday at 8:30 to plan the week”.";
const NO_SUBJECT: &str = "What shall I remind you of? Try “remind me in 10 minutes to stretch”.";

/// Reads one request; the trigger is stripped already.
pub fn parse(text: &str) -> Command {
    let text = polite(text.trim());
    let plain = plain(text);
    // "say hello every minute" has its time at its end; every other verb takes its whole line.
    let said = after(text, "say").or_else(|| after(text, "echo")).and_then(|_| schedule(text));
    whole(&plain).or(said).or_else(|| prefixed(text)).or_else(|| schedule(text)).unwrap_or(Command::Unknown)
}

/// Without what only makes a request kinder.
fn polite(text: &str) -> &str {
    let mut rest = text;
    for word in ["please", "can you", "could you", "would you", "please"] {
        rest = after(rest, word).unwrap_or(rest);
    }
    rest
}

/// Lower case, single spaces, no punctuation at the ends.
fn plain(text: &str) -> String {
    let lower = text.to_lowercase().replace('’', "'");
    let words: Vec<&str> = lower.split_whitespace().collect();
    let joined = words.join(" ");
    let trimmed = joined.trim_end_matches(['.', '!', '?', ',', ':', ' ']);
    let trimmed = trimmed.strip_suffix(" please").unwrap_or(trimmed).trim_end_matches(',');
    if trimmed.is_empty() { joined } else { trimmed.to_owned() }
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
        | "what's scheduled" => Command::ListTasks,
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
        | "show my folder" => Command::ListFiles(String::new()),
        "memory"
        | "recall"
        | "show memory"
        | "what do you remember"
        | "what do you know"
        | "what do you know about me"
        | "what do you know about us" => Command::Recall,
        "chats" | "groups" | "list chats" | "list groups" | "show chats" | "show groups" => Command::ListChats,
        _ => return None,
    })
}

/// Requests that begin with their verb.
fn prefixed(text: &str) -> Option<Command> {
    if let Some(rest) = text.get(..REMIND.len()).filter(|head| head.eq_ignore_ascii_case(REMIND)) {
        return Some(Command::Remind(text[rest.len()..].trim().to_owned()));
    }
    if let Some(command) = text.strip_prefix('$').filter(|command| !command.trim().is_empty()) {
        return Some(Command::Run(command.trim().to_owned()));
    }
    let (verb, rest) = text.split_once(char::is_whitespace)?;
    let rest = rest.trim();
    match verb.to_lowercase().trim_end_matches(':') {
        "help" => Some(Command::Help),
        "run" => Some(run(rest)),
        "pause" => Some(Command::Change(Change::Pause, task(rest))),
        "resume" | "unpause" | "continue" => Some(Command::Change(Change::Resume, task(rest))),
        "cancel" | "delete" | "remove" | "stop" => Some(Command::Change(Change::Cancel, task(rest))),
        "show" | "cat" | "read" | "open" => Some(Command::Show(path(rest).to_owned())),
        "ls" => Some(Command::ListFiles(path(rest).to_owned())),
        "list" => list(rest),
        "remember" => {
            let fact = after(rest, "that").unwrap_or(rest).trim_start_matches(':').trim();
            (!fact.is_empty()).then(|| Command::Remember(fact.to_owned()))
        }
        "register" => {
            let words: Vec<&str> = rest.split_whitespace().collect();
            let [jid, word, folder] = words[..] else { return None };
            word.eq_ignore_ascii_case("as").then(|| Command::Register(jid.to_owned(), folder.to_owned()))
        }
        "say" | "echo" => Some(Command::Say(rest.to_owned())),
        _ => None,
    }
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

/// The rest after these words, in any case.
fn after<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    let head = text.get(..words.len()).filter(|head| head.eq_ignore_ascii_case(words))?;
    let tail = &text[head.len()..];
    let ends = tail.starts_with(|char: char| char.is_whitespace() || matches!(char, ':' | ','));
    ends.then(|| tail.trim_start_matches([':', ',', ' ', '\t', '\n']))
}

/// Something with a time before or after it.
fn schedule(text: &str) -> Option<Command> {
    let lead = lead(text);
    let body = lead.unwrap_or(text);
    let tokens = tokens(body);
    let words: Vec<&str> = tokens.iter().map(|token| token.word.as_str()).collect();
    let leading = when::phrase(&words).filter(|(_, count)| lead.is_some() || names_a_time(&words[..*count]));
    if let Some((when, count)) = leading {
        let subject = body[tokens[count - 1].end..].trim_start_matches([',', ':', ' ', '\n']);
        return Some(task_for(when, subject, lead.is_some()));
    }
    if lead.is_none() && !words.first().is_some_and(|word| matches!(*word, "say" | "echo")) {
        return None;
    }
    // The longest phrase that reaches the end.
    for at in 1..words.len() {
        if let Some((when, _)) = when::phrase(&words[at..]).filter(|(_, count)| at + count == words.len()) {
            return Some(task_for(when, &body[..tokens[at].start], lead.is_some()));
        }
    }
    lead.map(|_| Command::Unclear(NO_TIME))
}

/// What follows words that can only mean a reminder.
fn lead(text: &str) -> Option<&str> {
    const LEADS: [&str; 7] =
        ["remind me", "remind us", "set a reminder", "schedule a reminder", "wake me", "notify me", "notify us"];
    if LEADS.iter().any(|lead| text.eq_ignore_ascii_case(lead)) {
        return Some("");
    }
    LEADS.iter().find_map(|lead| after(text, lead))
}

/// "tomorrow" or "on monday" alone may be the beginning of any sentence.
fn names_a_time(words: &[&str]) -> bool {
    matches!(words[0], "in" | "every" | "each" | "daily" | "hourly" | "weekly" | "cron" | "at" | "tonight")
        || words.contains(&"at")
        || words[1..].iter().any(|word| word.contains(':'))
}

fn task_for(when: When, subject: &str, reminder: bool) -> Command {
    let (subject, reminder) = match lead(subject.trim()) {
        Some(rest) => (rest, true),
        None => (subject.trim(), reminder),
    };
    let mut text = subject;
    if reminder {
        text = ["to", "that", "about", "of"].iter().find_map(|word| after(text, word)).unwrap_or(text);
    }
    let text = text.trim_matches([' ', '\n', ',', '-', ':']);
    if text.is_empty() {
        return Command::Unclear(NO_SUBJECT);
    }
    let does_it_itself = !reminder
        && whole(&plain(text)).or_else(|| prefixed(text)).is_some_and(|command| {
            matches!(
                command,
                Command::Run(_)
                    | Command::Say(_)
                    | Command::Remind(_)
                    | Command::ListTasks
                    | Command::ListFiles(_)
                    | Command::Show(_)
                    | Command::Recall
                    | Command::Status
                    | Command::Time
            )
        });
    Command::Schedule(when, if does_it_itself { text.to_owned() } else { format!("{REMIND} {text}") })
}

struct Token {
    word: String,
    start: usize,
    end: usize,
}

/// Words in lower case, without punctuation at their ends, and where they stand.
fn tokens(text: &str) -> Vec<Token> {
    text.split_whitespace()
        .map(|word| {
            let start = word.as_ptr() as usize - text.as_ptr() as usize;
            let bare = word
                .trim_start_matches(['(', '"', '“'])
                .trim_end_matches([',', '.', ';', ':', '!', '?', ')', '"', '”']);
            Token { word: bare.to_lowercase().replace('’', "'"), start, end: start + word.len() }
        })
        .collect()
}

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
