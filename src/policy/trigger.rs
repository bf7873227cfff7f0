//! What starts a turn, and the three commands of a chat.

use std::str::Chars;

/// A group's trigger word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    word: String,
    /// Case-folded, so that a comparison allocates nothing.
    folded: Vec<char>,
}

/// A command of the chat. Whoever may trigger may use them; they need no trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Ends what runs now.
    Stop,
    /// Forgets the session.
    New,
    /// Says what runs and what waits.
    Status,
}

impl Trigger {
    /// A trigger word, for example `@Andy`. An empty word never matches.
    pub fn new(word: &str) -> Self {
        let word = word.trim();
        Self { word: word.to_owned(), folded: word.chars().flat_map(fold).collect() }
    }

    /// A group's trigger: its own, else `@` and the assistant's name.
    pub fn of(own: Option<&str>, assistant_name: &str) -> Self {
        match own.map(str::trim).filter(|own| !own.is_empty()) {
            Some(own) => Self::new(own),
            None => Self::new(&format!("@{}", assistant_name.trim())),
        }
    }

    /// The word as it was given.
    pub fn word(&self) -> &str {
        &self.word
    }

    /// Whether a text starts with the trigger: at its start (white space aside), in any case, and not as the beginning
    /// of a longer word.
    pub fn matches(&self, text: &str) -> bool {
        self.rest(text).is_some()
    }

    /// The text without its trigger and the white space around it; the whole text when it has none.
    pub fn strip<'a>(&self, text: &'a str) -> &'a str {
        self.rest(text).map_or(text, str::trim_start)
    }

    /// What follows the trigger.
    fn rest<'a>(&self, text: &'a str) -> Option<&'a str> {
        let mut chars = text.trim_start().chars();
        let mut wanted = self.folded.as_slice();
        if wanted.is_empty() {
            return None;
        }
        while !wanted.is_empty() {
            // A character may fold to several; all of them must be wanted.
            for part in fold(chars.next()?) {
                let (first, others) = wanted.split_first()?;
                if *first != part {
                    return None;
                }
                wanted = others;
            }
        }
        ends_word(&chars).then_some(chars.as_str())
    }
}

/// Which command a text is: it alone, in any case, also after the group's trigger.
pub fn command(text: &str, trigger: &Trigger) -> Option<Command> {
    let text = trigger.strip(text).trim_start_matches([',', ':']).trim();
    [("/stop", Command::Stop), ("/new", Command::New), ("/status", Command::Status)]
        .into_iter()
        .find_map(|(word, command)| text.eq_ignore_ascii_case(word).then_some(command))
}

fn ends_word(rest: &Chars<'_>) -> bool {
    rest.clone().next().is_none_or(|next| !next.is_alphanumeric())
}

/// Upper and then lower case: unites forms that lower case alone keeps apart (ς and σ, ß and ss).
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
        for text in ["/stop it", "stop", "/stopped", "do /stop", "@Andystop", "/", "@Andy", "@Bob /stop"] {
            assert_eq!(command(text, &andy), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_word_matches_itself_and_strips_cleanly(word in "[@!]\\PC{1,12}", rest in "( \\PC{0,20})?") {
            let trigger = Trigger::new(&word);
            let text = format!("{}{rest}", word.trim());
            prop_assert!(trigger.matches(&text));
            prop_assert_eq!(trigger.strip(&text), rest.trim_start());
        }

        #[test]
        fn nothing_panics(word in "\\PC{0,8}", text in "\\PC{0,30}") {
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
