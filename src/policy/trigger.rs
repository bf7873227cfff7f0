//! The words that start a turn, and the three commands of a chat.

use std::str::Chars;

use crate::domain::text::{is_blank, is_ignorable};

/// A group's trigger word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    word: String,
    /// Case-folded, without invisible characters, so that a comparison allocates nothing.
    folded: Vec<char>,
    /// Names that may follow a command, in lower case.
    names: Vec<String>,
}

/// A command of the chat. Everyone who may trigger may use it, without the trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Ends the current runs.
    Stop,
    /// Forgets the session.
    New,
    /// Returns what runs and what waits.
    Status,
}

impl Trigger {
    /// A trigger word, for example `@Andy`. An empty word never matches.
    pub fn new(word: &str) -> Self {
        let word = word.trim_matches(is_blank);
        let name = word.trim_start_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        let folded = word.chars().filter(|c| !is_ignorable(*c)).flat_map(fold).collect();
        Self { word: word.to_owned(), folded, names: vec![name] }
    }

    /// Returns a group's trigger: its own, else `@` and the assistant's name.
    pub fn of(own: Option<&str>, assistant_name: &str) -> Self {
        let assistant = assistant_name.trim();
        let mut trigger = match own.map(|own| own.trim_matches(is_blank)).filter(|own| !own.is_empty()) {
            Some(own) => Self::new(own),
            None => Self::new(&format!("@{assistant}")),
        };
        trigger.names.push(assistant.to_lowercase());
        trigger
    }

    /// Returns the word as it was given.
    pub fn word(&self) -> &str {
        &self.word
    }

    /// Returns true if a text starts with the trigger: after invisible characters, in upper or lower case, and not as
    /// the beginning of a longer word.
    pub fn matches(&self, text: &str) -> bool {
        self.rest(text).is_some()
    }

    /// Returns true if the trigger is anywhere in a text, as a separate word.
    pub fn is_in(&self, text: &str) -> bool {
        let mut in_word = false;
        text.char_indices().any(|(at, c)| {
            let begins = !in_word;
            if !is_ignorable(c) {
                in_word = c.is_alphanumeric();
            }
            begins && !is_blank(c) && self.rest(&text[at..]).is_some()
        })
    }

    /// Returns the text without its trigger and the white space around it; the whole text if it has none.
    pub fn strip<'a>(&self, text: &'a str) -> &'a str {
        self.rest(text).map_or(text, |rest| rest.trim_start_matches(is_blank))
    }

    /// Returns the text after the trigger.
    fn rest<'a>(&self, text: &'a str) -> Option<&'a str> {
        let mut chars = text.trim_start_matches(is_blank).chars();
        let mut wanted = self.folded.as_slice();
        if wanted.is_empty() {
            return None;
        }
        while !wanted.is_empty() {
            // A character may fold to several; all of them must match.
            let next = chars.find(|c| !is_ignorable(*c))?;
            for part in fold(next) {
                let (first, others) = wanted.split_first()?;
                if *first != part {
                    return None;
                }
                wanted = others;
            }
        }
        ends_word(&chars).then_some(chars.as_str())
    }

    /// Returns true if a name after a command is this assistant's, also in the form of platforms' bot names.
    fn is_named(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let short = name.strip_suffix("bot").map_or(name.as_str(), |short| short.trim_end_matches('_'));
        self.names.iter().any(|own| !own.is_empty() && (*own == name || own == short))
    }
}

/// Returns the command in a text: its first word, in upper or lower case, also after the group's trigger. The
/// assistant's name (`/stop@AndyBot`) and further words (`/stop please`) may follow.
pub fn command(text: &str, trigger: &Trigger) -> Option<Command> {
    let text = trigger.strip(text).trim_start_matches([',', ':']).trim_matches(is_blank);
    let word = text.split(char::is_whitespace).next()?.trim_end_matches(['.', ',', '!', '?', ':', ';']);
    let word: String = word.chars().filter(|c| !is_ignorable(*c)).collect();
    let (word, name) = word.split_once('@').map_or((word.as_str(), None), |(word, name)| (word, Some(name)));
    if name.is_some_and(|name| !trigger.is_named(name)) {
        return None;
    }
    [("/stop", Command::Stop), ("/new", Command::New), ("/status", Command::Status)]
        .into_iter()
        .find_map(|(known, command)| word.eq_ignore_ascii_case(known).then_some(command))
}

fn ends_word(rest: &Chars<'_>) -> bool {
    rest.clone().find(|c| !is_ignorable(*c)).is_none_or(|next| !next.is_alphanumeric())
}

/// Folds to upper and then to lower case, which unites forms that lower case alone keeps apart (ς and σ, ß and ss).
fn fold(c: char) -> impl Iterator<Item = char> {
    c.to_uppercase().flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn starts_of_texts_match_in_any_case() {
        let andy = Trigger::new("@Andy");
        for text in ["@Andy", "@andy hi", "@ANDY, hi", "  @Andy: hi", "@Andy\nhi", "@Andy👍", "@Andy's", "@Andy-x"] {
            assert!(andy.matches(text), "{text}");
        }
        for text in ["", " ", "hi @Andy", "@Andyx", "@Andy1", "@Andyé", "@Andy字", "@And", "Andy", "x@Andy", "@Andy٣"]
        {
            assert!(!andy.matches(text), "{text}");
        }
    }

    #[test]
    fn words_beyond_ascii_match() {
        for (word, text) in [
            ("@Björn", "@BJÖRN hi"),
            ("@Straße", "@STRASSE!"),
            ("@ΝΙΚΟΣ", "@νικος ok"),
            ("助手", "助手 你好"),
            ("!bot", "!BOT"),
        ] {
            assert!(Trigger::new(word).matches(text), "{word} {text}");
        }
        assert!(!Trigger::new("助手").matches("助手们"));
        assert!(!Trigger::new("@s").matches("@ß"), "half of a folded character is not a match");
    }

    #[test]
    fn an_empty_trigger_never_matches() {
        for text in ["", "hi", " "] {
            assert!(!Trigger::new("  ").matches(text));
        }
        assert_eq!(Trigger::of(Some(" "), "Andy").word(), "@Andy");
        assert_eq!(Trigger::of(Some("!x"), "Andy").word(), "!x");
    }

    #[test]
    fn commands_stand_alone() {
        let andy = Trigger::new("@Andy");
        assert_eq!(command("/stop", &andy), Some(Command::Stop));
        assert_eq!(command(" /NEW \n", &andy), Some(Command::New));
        assert_eq!(command("@andy /status", &andy), Some(Command::Status));
        assert_eq!(command("@Andy, /stop", &andy), Some(Command::Stop));
        for text in ["stop", "/stopped", "do /stop", "@Andystop", "/", "@Andy", "@Bob /stop", "/stop/now"] {
            assert_eq!(command(text, &andy), None, "{text}");
        }
    }

    #[test]
    fn commands_may_carry_a_name_and_further_words() {
        let own = Trigger::of(Some("!mo"), "Andy");
        for text in [
            "/stop please",
            "/stop it",
            "/STOP!",
            "/stop, now",
            "/stop\nnow",
            "/stop@Andy",
            "/stop@andybot",
            "/stop@Andy_Bot go",
            "/stop@mo",
            "!mo /stop@MoBot",
            "\u{200e}/stop",
            "\u{2068}/stop\u{2069} please",
            "/st\u{2060}op",
        ] {
            assert_eq!(command(text, &own), Some(Command::Stop), "{text}");
        }
        for text in ["/stop@Bob", "/stop@", "/stop@bot", "/stop@Andyx", "/stop@AndyBob"] {
            assert_eq!(command(text, &own), None, "{text}");
        }
    }

    #[test]
    fn invisible_characters_are_skipped() {
        let andy = Trigger::new("@Andy");
        for text in [
            "\u{200e}@Andy hi",
            "\u{feff} \u{2068}@Andy\u{2069} hi",
            "@\u{2068}Andy\u{2069} hi",
            "@An\u{ad}dy",
            "\u{200b}\n@Andy",
        ] {
            assert!(andy.matches(text), "{text:?}");
        }
        assert_eq!(andy.strip("\u{200e}@\u{2068}Andy\u{2069} hi"), "hi");
        assert!(!andy.matches("@Andy\u{200d}x"), "the word goes on behind the mark");
        assert!(Trigger::new("\u{200e}@Andy\u{fe0f}").matches("@Andy"));
        assert!(!Trigger::new("\u{200e}").matches("\u{200e}"));
    }

    #[test]
    fn trigger_anywhere_is_a_separate_word() {
        let mo = Trigger::new("@Mo");
        for text in ["hey @Mo", "hey @mo, come", "(@Mo)", "one\n@Mo two", "@Mo", "hey\u{2060} @Mo", "@Moritz and @Mo"] {
            assert!(mo.is_in(text), "{text:?}");
        }
        for text in ["", "hey", "me@Mo", "x\u{200d}@Mo", "@Moritz", "hey @Mo5"] {
            assert!(!mo.is_in(text), "{text:?}");
        }
        assert!(!Trigger::new("").is_in("anything"));
        let long = "@M ".repeat(100_000);
        assert!(!mo.is_in(&long));
    }

    proptest! {
        #[test]
        fn a_word_matches_itself_and_strips_cleanly(word in "[@!]\\PC{1,12}", rest in "( \\PC{0,20})?") {
            let trigger = Trigger::new(&word);
            let text = format!("{}{rest}", word.trim());
            prop_assert!(trigger.matches(&text));
            prop_assert_eq!(trigger.strip(&text), rest.trim_start_matches(is_blank));
        }

        #[test]
        fn trigger_functions_never_panic(word in "\\PC{0,8}", text in "\\PC{0,30}") {
            let trigger = Trigger::new(&word);
            let stripped = trigger.strip(&text);
            prop_assert!(text.ends_with(stripped));
            let _ = command(&text, &trigger);
        }

        #[test]
        fn a_letter_or_digit_after_the_word_prevents_it(next in "[\\p{L}\\p{Nd}]") {
            let text = format!("@Andy{next}");
            prop_assert!(!Trigger::new("@Andy").matches(&text));
        }
    }
}
