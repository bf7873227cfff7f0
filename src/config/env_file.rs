//! Parses `.env` so that each value is what the line shows, and reports values that look like one thing and mean
//! another. No I/O.
//!
//! `dotenvy` parses single lines; this module handles values over several lines, and `$`, which stays a dollar sign.
//! No text of this module shows a value: it may be a secret.

use std::collections::BTreeMap;

/// A value with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value without its quotes.
    pub value: String,
    /// The number of the line, counted from one.
    pub line: usize,
}

/// A value or line that is probably a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oddity {
    /// The number of the line, counted from one.
    pub line: usize,
    /// The name at the beginning of the line.
    pub name: String,
    /// A sentence without its subject, such as "is set a second time".
    pub what: String,
}

/// A parsed environment file.
#[derive(Debug, Default)]
pub struct EnvFile {
    /// Values by name; the first line of a name counts.
    pub values: BTreeMap<String, Entry>,
    /// The numbers of lines that are not `NAME=value`.
    pub wrong: Vec<usize>,
    /// Probable mistakes in the order of the file.
    pub oddities: Vec<Oddity>,
}

/// Parses the text of a file.
pub fn parse(text: &str) -> EnvFile {
    let mut file = EnvFile::default();
    for line in lines(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        match dotenvy::from_read_iter(line.literal.trim_end().as_bytes()).next() {
            Some(Ok((name, value))) => file.add(&line, name, value),
            Some(Err(_)) => file.wrong.push(line.number),
            None => {}
        }
    }
    file
}

impl EnvFile {
    fn add(&mut self, line: &Line, name: String, value: String) {
        let raw = line.raw.split_once('=').map_or("", |(_, raw)| raw).trim();
        let mut odd = Vec::new();
        if raw.starts_with('#') {
            odd.push("is empty, because its value begins with `#`: put quotes around the value");
        }
        if line.glued_comment {
            odd.push("ends before ` #`, where a comment begins: put quotes around the value if the rest belongs to it");
        }
        if !raw.starts_with(['\'', '"']) && raw.contains(['\'', '"']) && !raw.starts_with('#') {
            odd.push(
                "has quotes inside its value, and they are taken out: put quotes of the other kind around the value",
            );
        }
        odd.extend(odd_value(&value));
        if self.values.contains_key(&name) {
            odd.push("is set a second time: the first line counts");
        }
        let number = line.number;
        self.oddities.extend(odd.into_iter().map(|what| Oddity {
            line: number,
            name: name.clone(),
            what: what.to_owned(),
        }));
        self.values.entry(name).or_insert(Entry { value, line: number });
    }
}

/// Says what is odd about a value that looks right on a screen and is not. Returns None for an ordinary value.
pub fn odd_value(value: &str) -> Option<&'static str> {
    let invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{a0}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let typographic = ['“', '”', '„', '‘', '’', '‚', '«', '»'];
    if value.starts_with(typographic) || value.ends_with(typographic) {
        Some("has typographic quotes, which belong to its value: use ' or \"")
    } else if value.trim_end_matches(['\n', '\r']).contains(invisible) {
        Some("has invisible characters in its value: type it anew")
    } else {
        None
    }
}

/// One setting of the file; with quotes, it may span several lines.
struct Line {
    number: usize,
    /// Its text in the file, without a comment.
    raw: String,
    /// The same, with every `$` escaped that `dotenvy` would replace.
    literal: String,
    /// True if the removed comment does not look like one, such as ` #1`.
    glued_comment: bool,
}

fn lines(text: &str) -> Vec<Line> {
    let mut found = Vec::new();
    let mut number = 1;
    let mut rest = text;
    while !rest.is_empty() {
        let first = rest.split_inclusive('\n').next().unwrap_or(rest);
        let trimmed = first.trim();
        let taken = if trimmed.is_empty() || trimmed.starts_with('#') {
            first.len()
        } else {
            let (line, taken) = line(rest, number);
            found.push(line);
            taken
        };
        let (done, more) = rest.split_at(taken);
        number += done.matches('\n').count();
        rest = more;
    }
    found
}

/// Takes the setting at the beginning of a text; also returns its length in bytes.
fn line(text: &str, number: usize) -> (Line, usize) {
    let mut line = Line { number, raw: String::new(), literal: String::new(), glued_comment: false };
    let mut quote = None;
    let mut white = false;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let escapes = c == '\\' && quote != Some('\'');
        match (quote, c) {
            (None, '\n') => return (line, at + 1),
            (None, '#') if white => {
                let end = text[at..].find('\n').map_or(text.len(), |length| at + length + 1);
                line.glued_comment = chars.peek().is_some_and(|(_, c)| !c.is_whitespace() && !"#!-=".contains(*c));
                return (line, end);
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
        if c == '$' && quote != Some('\'') {
            line.literal.push('\\');
        }
        white = quote.is_none() && c.is_whitespace();
        line.raw.push(c);
        line.literal.push(c);
        if let Some((_, escaped)) = chars.next_if(|(_, next)| escapes && *next != '\n') {
            line.raw.push(escaped);
            line.literal.push(escaped);
            white = false;
        }
    }
    (line, text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(text: &str) -> Vec<(String, String, usize)> {
        parse(text).values.into_iter().map(|(name, entry)| (name, entry.value, entry.line)).collect()
    }

    fn one(text: &str) -> String {
        let file = parse(text);
        assert_eq!(file.wrong, [0; 0], "{text}");
        file.values.into_values().next().map(|entry| entry.value).unwrap_or_default()
    }

    #[test]
    fn env_values_are_what_the_line_shows() {
        for (line, value) in [
            ("A=Mo$es", "Mo$es"),
            ("A=${HOME}x", "${HOME}x"),
            ("A=\"a $b\"", "a $b"),
            ("A=\"a \\$b\"", "a $b"),
            ("A='a $b'", "a $b"),
            ("A=$", "$"),
            ("A=a\\$b", "a$b"),
            ("export A = x # why", "x"),
            ("A=x#y", "x#y"),
            ("A='don''t'", "dont"),
            ("A=one # don't\nB=2", "one"),
            ("A=\"two\nlines\"", "two\nlines"),
            ("A=x\r\n", "x"),
        ] {
            assert_eq!(one(line), value, "{line}");
        }
    }

    #[test]
    fn env_lines_are_counted_over_comments_and_quotes() {
        let text = "# it's a comment\n\nA=1\nB='two\nlines'\n  # more\nC=3";
        let found = values(text);
        let numbers: Vec<_> = found.iter().map(|(name, _, line)| (name.as_str(), *line)).collect();
        assert_eq!(numbers, [("A", 3), ("B", 4), ("C", 7)]);
        let wrong = parse("A=1\nno setting\nB=2\n=x\nC='open\nD=4\n");
        assert_eq!(wrong.wrong, [2, 4, 5]);
        assert_eq!(wrong.values.len(), 2, "{wrong:?}");
    }

    #[test]
    fn probable_mistakes_in_env_are_reported() {
        for (line, word) in [
            ("A=#secret", "begins with `#`"),
            ("A=Mo #1", "before ` #`"),
            ("A=pa\"ss\"word", "quotes inside"),
            ("A=“Mo”", "typographic"),
            ("A=Mo\u{200b}", "invisible"),
            ("A=1\nA=2", "second time"),
        ] {
            let file = parse(line);
            let said: Vec<_> = file.oddities.iter().map(|o| o.what.as_str()).collect();
            assert!(said.len() == 1 && said[0].contains(word), "{line:?}: {said:?}");
            assert!(!said[0].contains("secret") && !said[0].contains("ss"), "{said:?}");
        }
        for line in ["A=1", "A='a # b'", "A=x # why", "A=x ## why", "A=\"it's\"", "A=", "A=it\\'s fine"] {
            assert_eq!(parse(line).oddities, [], "{line}");
        }
    }

    proptest! {
        /// Values that Parlor itself writes in single quotes are read back unchanged.
        #[test]
        fn quoted_values_come_back(value in "[^'\\x00-\\x1f\\\\]{0,40}") {
            prop_assert_eq!(one(&format!("A='{value}'\nB=1\n")), value);
        }

        /// A value without quotes, spaces and backslashes is literal, dollar signs included.
        #[test]
        fn plain_values_come_back(value in "[A-Za-z0-9$/_.:{}+=@,%-]{1,40}") {
            prop_assert_eq!(one(&format!("A={value}")), value);
        }
    }
}
