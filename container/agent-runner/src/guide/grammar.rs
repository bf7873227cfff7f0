//! Parses requests to the guide. Pure; the grammar is published in `docs/GUIDE.md`.

use super::command::{Change, Command, Request, Unclear};
use super::lang::{Lang, Token};
use super::phrase::{Lead, phrase};
use super::typos;
use super::when::When;
use super::whole::whole;

/// Parses a request, without its trigger.
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

/// Returns the text without one-letter typos, if it is a known request then.
fn meant(text: &str) -> Option<String> {
    typos::corrections(text).into_iter().find(|text| is_offered(&best(text).0))
}

/// Returns true if the guide should offer this request for a misspelled one: not if it is a courtesy.
fn is_offered(command: &Command) -> bool {
    let courtesy = matches!(command, Command::Greeting | Command::Thanks | Command::Farewell | Command::Yes);
    is_understood(command) && !courtesy
}

fn is_understood(command: &Command) -> bool {
    !matches!(command, Command::Unknown(_) | Command::Unclear(_))
}

/// Parses the text in each language. A reading that is understood wins, then the one that knows most words.
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

/// Returns the text without its marks of attached files, and these files.
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

/// A request during parsing: the grammar's words, and their text.
pub(super) struct Reader<'a> {
    pub(super) lang: Lang,
    pub(super) text: &'a str,
    pub(super) tokens: Vec<Token>,
}

fn parse_in(lang: Lang, text: &str) -> (Command, usize) {
    let (tokens, known) = lang.tokens(text);
    let mut reader = Reader { lang, text, tokens };
    reader.skip_courtesies();
    (reader.command(), known)
}

impl Reader<'_> {
    pub(super) fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.word.as_str())
    }

    /// Returns the text after the first words.
    pub(super) fn rest(&self, taken: usize) -> &str {
        let start = taken.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(0, |token| token.end);
        self.text[start..].trim_start_matches([' ', '\n', '\t', ':', ','])
    }

    pub(super) fn begins(&self, words: &str) -> Option<usize> {
        let count = words.split(' ').count();
        words.split(' ').enumerate().all(|(at, word)| self.word(at) == word).then_some(count)
    }

    /// Skips polite words, as often as they occur.
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
        // In "say hello every minute" the time is at the end; every other verb takes its whole line.
        let says = matches!(self.word(0), "say" | "echo") && self.tokens.len() > 1;
        let said = says.then(|| self.schedule()).flatten();
        let plain = self.plain();
        whole(&plain).or(said).or_else(|| self.prefixed()).or_else(|| self.schedule()).unwrap_or(Command::Unknown(None))
    }

    /// Returns the grammar's words as one line, without a "please" at the end.
    pub(super) fn plain(&self) -> String {
        if self.tokens.is_empty() || self.tokens.iter().all(|token| token.word.is_empty()) {
            return self.text.trim().to_owned();
        }
        let words: Vec<&str> = self.tokens.iter().map(|token| token.word.as_str()).collect();
        let joined = words.join(" ");
        joined.strip_suffix(" please").map_or(joined.clone(), str::to_owned)
    }

    /// Parses requests that begin with a verb.
    pub(super) fn prefixed(&self) -> Option<Command> {
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
            // "ls -la" is a command, "ls photos" names a folder.
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
}

/// The default delay of a snoozed reminder: ten minutes.
const SNOOZE_MS: u64 = 600_000;

/// `run 3 now` or `run task 3` runs a task; anything else is a command.
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

/// Returns a task's number or name, without "task", "reminder", "number", "the".
fn task(text: &str) -> String {
    let mut rest = text;
    for word in ["the", "task", "reminder", "number", "no"] {
        rest = after(rest, word).unwrap_or(rest);
    }
    rest.trim_end_matches(['.', '!', '?']).trim().to_owned()
}

/// Returns a file's name, without "me", "the", "file" and quotes.
fn path(text: &str) -> &str {
    let mut rest = text;
    for word in ["me", "the", "file"] {
        rest = after(rest, word).unwrap_or(rest);
    }
    rest.trim().trim_matches(['"', '\'', '`', '“', '”'])
}

/// Returns the rest after these words, in any case.
pub(super) fn after<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    let head = text.get(..words.len()).filter(|head| head.eq_ignore_ascii_case(words))?;
    let tail = &text[head.len()..];
    let ends = tail.starts_with(|char: char| char.is_whitespace() || matches!(char, ':' | ','));
    ends.then(|| tail.trim_start_matches([':', ',', ' ', '\t', '\n']))
}

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
