//! The guide's languages. A request in German, Spanish or French is translated into the English words of the grammar,
//! each with its position in the text; so one grammar serves all languages. Pure.

use std::collections::HashMap;
use std::sync::OnceLock;

/// A language that the guide reads and answers in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lang {
    /// English, and every language that is not listed here.
    En,
    /// German.
    De,
    /// Spanish.
    Es,
    /// French.
    Fr,
}

/// A word of the grammar, and the part of the text that it was translated from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The word in lower case, without punctuation at its ends.
    pub word: String,
    /// Byte at which its part begins.
    pub start: usize,
    /// Byte at which its part ends.
    pub end: usize,
}

/// Requests are short; further words belong to a subject, or the text is not a request.
const MAX_WORDS: usize = 300;

impl Lang {
    /// All languages; at a tie the first one wins.
    pub const ALL: [Self; 4] = [Self::En, Self::De, Self::Es, Self::Fr];

    /// Returns the text's words for the grammar, and how many of them belong to this language.
    pub fn tokens(self, text: &str) -> (Vec<Token>, usize) {
        let plain = plain_tokens(text);
        if self == Self::En {
            let known = plain.iter().filter(|token| is_english(&token.word)).count();
            return (plain, known);
        }
        let folded: Vec<String> = plain.iter().map(|token| fold(&token.word)).collect();
        let lexicon = self.lexicon();
        let (mut tokens, mut known, mut at) = (Vec::with_capacity(plain.len()), 0, 0);
        while let Some(token) = plain.get(at) {
            let Some((words, taken)) = lexicon.find(&folded[at..]) else {
                tokens.push(token.clone());
                at += 1;
                continue;
            };
            let end = plain[at + taken - 1].end;
            tokens.extend(words.iter().map(|word| Token { word: (*word).to_owned(), start: token.start, end }));
            known += taken;
            at += taken;
        }
        (tokens, known)
    }

    /// Returns the words between "remind me" and the subject.
    pub fn links(self) -> &'static [&'static str] {
        match self {
            Self::En => &["to", "that", "about", "of"],
            Self::De => &["daran, dass", "daran,", "daran", "dass", "an", "zu"],
            Self::Es => &["de que", "que", "de", "a"],
            Self::Fr => &["qu'il faut", "que", "de", "d'", "à"],
        }
    }

    /// Returns the prompt of a reminder's task: the guide adds the rest, in the same language, when the task fires.
    pub fn remind(self) -> &'static str {
        match self {
            Self::En => "Remind the chat:",
            Self::De => "Erinnere den Chat:",
            Self::Es => "Recuerda al chat:",
            Self::Fr => "Rappelle au groupe :",
        }
    }

    /// Returns the language and the text of a reminder's prompt.
    pub fn reminder(prompt: &str) -> Option<(Self, &str)> {
        Self::ALL.into_iter().find_map(|lang| {
            let head = prompt.get(..lang.remind().len())?;
            head.eq_ignore_ascii_case(lang.remind()).then(|| (lang, prompt[head.len()..].trim()))
        })
    }

    /// Returns the words with which a misspelled word is compared.
    pub fn vocabulary(self) -> impl Iterator<Item = &'static str> {
        let english = ENGLISH.split_whitespace().filter(move |_| self == Self::En);
        let other = self.entries().iter().flat_map(|(words, _)| words.split(' '));
        english.chain(other)
    }

    fn entries(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::En => &[],
            Self::De => super::lexicon::GERMAN,
            Self::Es => super::lexicon::SPANISH,
            Self::Fr => super::lexicon::FRENCH,
        }
    }

    fn lexicon(self) -> &'static Lexicon {
        static ALL: [OnceLock<Lexicon>; 4] = [const { OnceLock::new() }; 4];
        ALL[self as usize].get_or_init(|| Lexicon::new(self.entries()))
    }
}

/// English words of the grammar. A request is English if it has more of them than of another language's words.
const ENGLISH: &str = "remind me us set a reminder schedule wake notify timer alarm remember forget what when show list \
    cancel delete remove pause resume stop run say files tasks reminders memory help status time snooze undo in at on \
    every each day days week weeks month months year hour hours minute minutes second seconds today tomorrow tonight \
    morning noon afternoon evening night midnight monday tuesday wednesday thursday friday saturday sunday mondays \
    tuesdays wednesdays thursdays fridays saturdays sundays weekday weekdays weekend weekends everyday daily hourly \
    weekly january february march april may june july august september october november december next this from to \
    until between and except half past quarter the of please hello thanks goodbye who are you is my don't";

fn is_english(word: &str) -> bool {
    ENGLISH.split_whitespace().any(|known| known == word)
}

/// Returns the words in lower case, without punctuation at their ends, and their positions.
fn plain_tokens(text: &str) -> Vec<Token> {
    text.split_whitespace()
        .take(MAX_WORDS)
        .map(|word| {
            let start = word.as_ptr() as usize - text.as_ptr() as usize;
            let bare = word
                .trim_start_matches(['(', '"', '“', '„', '«', '¿', '¡', '#'])
                .trim_end_matches([',', '.', ';', ':', '!', '?', ')', '"', '”', '»']);
            Token { word: bare.to_lowercase().replace('’', "'"), start, end: start + word.len() }
        })
        .collect()
}

/// Removes accents, which people often leave out.
fn fold(word: &str) -> String {
    word.chars()
        .map(|c| match c {
            'á' | 'à' | 'â' | 'ä' => 'a',
            'é' | 'è' | 'ê' | 'ë' => 'e',
            'í' | 'ì' | 'î' | 'ï' => 'i',
            'ó' | 'ò' | 'ô' | 'ö' => 'o',
            'ú' | 'ù' | 'û' | 'ü' => 'u',
            'ñ' => 'n',
            'ç' => 'c',
            other => other,
        })
        .collect()
}

type Words = Vec<&'static str>;

/// Phrases by their first word, the longest first.
#[derive(Debug)]
struct Lexicon(HashMap<&'static str, Vec<(Words, Words)>>);

impl Lexicon {
    fn new(entries: &'static [(&'static str, &'static str)]) -> Self {
        let mut all: HashMap<&'static str, Vec<(Words, Words)>> = HashMap::new();
        for (from, to) in entries {
            let from: Words = from.split(' ').collect();
            all.entry(from[0]).or_default().push((from, to.split_whitespace().collect()));
        }
        for phrases in all.values_mut() {
            phrases.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        }
        Self(all)
    }

    fn find(&self, words: &[String]) -> Option<(&Words, usize)> {
        let phrases = self.0.get(words.first()?.as_str())?;
        let fits = |from: &Words| from.len() <= words.len() && from.iter().zip(words).all(|(one, other)| one == other);
        phrases.iter().find(|(from, _)| fits(from)).map(|(from, to)| (to, from.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(lang: Lang, text: &str) -> String {
        lang.tokens(text).0.into_iter().map(|token| token.word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn other_languages_become_english_words_of_the_grammar() {
        assert_eq!(words(Lang::De, "Erinnere mich übermorgen um 9 Uhr"), "remind me day after tomorrow at 9 uhr");
        assert_eq!(words(Lang::De, "jeden Dienstag, täglich"), "every tuesday daily");
        assert_eq!(words(Lang::Es, "¡Recuérdame mañana por la mañana a las 9!"), "remind me tomorrow morning at 9");
        assert_eq!(words(Lang::Fr, "Rappelle-moi dans 10 minutes"), "remind me in 10 minutes");
    }

    #[test]
    fn tokens_have_their_positions_in_the_text() {
        let text = "Erinnere mich morgen um 9 an Brot";
        let (tokens, known) = Lang::De.tokens(text);
        assert_eq!(known, 4);
        let at = tokens.iter().find(|token| token.word == "9").unwrap();
        assert_eq!(&text[at.end..], " an Brot");
    }

    #[test]
    fn lexicon_phrases_are_all_found_and_unique() {
        for lang in [Lang::De, Lang::Es, Lang::Fr] {
            let mut seen = std::collections::HashSet::new();
            for (from, to) in lang.entries() {
                assert!(seen.insert(from), "{from}");
                assert_eq!(fold(from), *from, "without accents");
                assert_eq!(words(lang, from), *to, "{from}");
            }
        }
    }
}
