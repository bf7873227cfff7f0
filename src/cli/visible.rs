//! Characters that control a terminal or are invisible: texts of agents and strangers must not control a terminal,
//! reorder its lines or hide anything.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::domain::text::is_ignorable;

/// The replacement for such a character.
const MARK: char = '\u{fffd}';

/// Makes a text safe for people: replaces control characters, direction marks and characters without a width. Line
/// breaks, tabs, and the joiners that emoji and some scripts need stay.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    let plain = |c: char| matches!(c, '\n' | '\t') || !(c.is_control() || is_hidden(c));
    if text.chars().all(plain) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let (mut before, mut flag) = (None, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        flag = c == BLACK_FLAG || flag && is_tag(c);
        if c == '\r' && next == Some('\n') {
            continue;
        }
        out.push(if plain(c) || flag || joins(before, c, next) { c } else { MARK });
        before = Some(c);
    }
    out.into()
}

/// Escapes such characters in JSON: programs read the same value, and a terminal shows it safely.
pub(super) fn escaped(json: String) -> String {
    let bad = |c: char| c == '\u{7f}' || ('\u{80}'..'\u{a0}').contains(&c) || is_hidden(c);
    if !json.contains(bad) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if bad(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing into memory cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// The first character of a region's flag.
const BLACK_FLAG: char = '\u{1f3f4}';

/// Returns true for the characters that spell a flag's region.
fn is_tag(c: char) -> bool {
    ('\u{e0020}'..='\u{e007f}').contains(&c)
}

/// Returns true if an invisible character is needed between its neighbours.
fn joins(before: Option<char>, c: char, next: Option<char>) -> bool {
    let Some(before) = before else { return false };
    // Scripts that join letters, and emoji; no alphabet whose words could be forged with joiners.
    let joinable = |c: char| c >= '\u{600}' && !c.is_whitespace();
    match c {
        '\u{200c}' | '\u{200d}' => {
            (joinable(before) && !is_hidden(before) || before == '\u{fe0f}')
                && next.is_some_and(|next| joinable(next) && !is_hidden(next))
        }
        '\u{fe0e}' | '\u{fe0f}' => {
            !is_hidden(before) && (matches!(before, '0'..='9' | '#' | '*') || before >= '\u{a0}')
        }
        '\u{fe00}'..='\u{fe0d}' => !is_hidden(before) && before >= '\u{2000}',
        '\u{e0100}'..='\u{e01ef}' => !is_hidden(before) && before >= '\u{3400}',
        _ => false,
    }
}

/// Characters without a width, or that change the direction of others.
fn is_hidden(c: char) -> bool {
    is_ignorable(c) || matches!(c, '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_replaces_control_and_hidden_characters() {
        for (text, shown) in [
            ("plain\n\tä 家族", "plain\n\tä 家族"),
            ("one\r\ntwo\rthree", "one\ntwo\u{fffd}three"),
            ("a\u{1b}[2Jb\u{7f}\u{9b}2J", "a\u{fffd}[2Jb\u{fffd}\u{fffd}2J"),
            ("user\u{202e}nimda\u{2066}\u{200f}", "user\u{fffd}nimda\u{fffd}\u{fffd}"),
            ("ad\u{200d}min \u{feff}zero\u{200b}width\u{ad}", "ad\u{fffd}min \u{fffd}zero\u{fffd}width\u{fffd}"),
            ("tag\u{e0041}\u{e007f}", "tag\u{fffd}\u{fffd}"),
            ("a\u{fe0f}", "a\u{fffd}"),
            // Characters that emoji and scripts need.
            (
                "👩\u{200d}💻 ❤\u{fe0f}\u{200d}🔥 1\u{fe0f}\u{20e3}",
                "👩\u{200d}💻 ❤\u{fe0f}\u{200d}🔥 1\u{fe0f}\u{20e3}",
            ),
            ("🏴\u{e0067}\u{e0062}\u{e007f}", "🏴\u{e0067}\u{e0062}\u{e007f}"),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
            ("e\u{301}", "e\u{301}"),
        ] {
            assert_eq!(harmless(text), shown, "{text:?}");
        }
    }

    #[test]
    fn escaped_json_keeps_its_value_without_control_characters() {
        let value = serde_json::json!({"a\u{9b}": "\u{7f}\u{202e}\u{200b}\u{e0041}\u{1b} é 家 👩\u{200d}💻"});
        let text = escaped(value.to_string());
        assert_eq!(text, "{\"a\\u009b\":\"\\u007f\\u202e\\u200b\\udb40\\udc41\\u001b é 家 👩\\u200d💻\"}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
