//! Rules for texts that are sent to chats.

use std::borrow::Cow;

/// Returns true if a character is invisible everywhere (Unicode's default-ignorable code points): marks of direction
/// and isolation around names, joiners, variation selectors, soft hyphens.
pub fn is_ignorable(c: char) -> bool {
    matches!(
        u32::from(c),
        0xad | 0x34f | 0x61c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f | 0x202a..=0x202e
            | 0x2060..=0x206f | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfff8 | 0x1bca0..=0x1bca3
            | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff
    )
}

/// Returns true if a character is invisible or white space.
pub fn is_blank(c: char) -> bool {
    c.is_whitespace() || is_ignorable(c)
}

const OPEN: &str = "<internal>";
const CLOSE: &str = "</internal>";

/// Removes everything between `<internal>` and `</internal>` (any case, also nested), and the white space around the
/// text. A tag that is never closed is ordinary text.
pub fn strip_internal(text: &str) -> Cow<'_, str> {
    // Offsets stay the same, because only ASCII letters change.
    let lower = text.to_ascii_lowercase();
    let mut kept = String::new();
    let mut from = 0;
    let mut cut = false;
    while let Some(open) = lower[from..].find(OPEN).map(|at| from + at) {
        let Some(end) = end_of(&lower, open) else { break };
        kept.push_str(&text[from..open]);
        from = end;
        cut = true;
    }
    if !cut {
        return Cow::Borrowed(text.trim());
    }
    kept.push_str(&text[from..]);
    Cow::Owned(kept.trim().to_owned())
}

/// Returns the end of the block that opens at `open`: its own closing tag, else the last closing tag.
fn end_of(lower: &str, open: usize) -> Option<usize> {
    let mut at = open + OPEN.len();
    let mut depth = 1;
    let mut last = None;
    while let Some(tag) = lower[at..].find('<').map(|next| at + next) {
        let rest = &lower[tag..];
        if rest.starts_with(OPEN) {
            depth += 1;
            at = tag + OPEN.len();
        } else if rest.starts_with(CLOSE) {
            depth -= 1;
            at = tag + CLOSE.len();
            last = Some(at);
            if depth == 0 {
                return last;
            }
        } else {
            at = tag + 1;
        }
    }
    last
}

/// Does the same for an owned text: a large one without such tags is not copied.
pub fn strip_internal_owned(text: String) -> String {
    let tagged = memchr::memchr_iter(b'<', text.as_bytes())
        .any(|at| text.as_bytes()[at..].get(..OPEN.len()).is_some_and(|t| t.eq_ignore_ascii_case(OPEN.as_bytes())));
    if tagged || text.trim().len() != text.len() { strip_internal(&text).into_owned() } else { text }
}

/// Makes a text of an agent or another program safe to show: removes control characters and terminal sequences. Line
/// breaks and tabs stay; a carriage return becomes a line break.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !has_control(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars();
    // The smallest rest known to have no end of a terminal string: each stretch is searched only once.
    let mut endless = usize::MAX;
    while let Some(c) = rest.next() {
        match c {
            '\n' | '\t' => kept.push(c),
            '\r' if rest.as_str().starts_with('\n') => {}
            '\r' => kept.push('\n'),
            '\u{1b}' => rest = after_escape(rest.as_str(), &mut endless).chars(),
            '\u{9b}' => rest = after_parameters(rest.as_str()).chars(),
            c if c.is_control() => {}
            c => kept.push(c),
        }
    }
    Cow::Owned(kept)
}

/// Returns true if there are control characters other than line breaks and tabs: in ASCII, or from U+0080 to U+009F,
/// whose first UTF-8 byte is C2.
fn has_control(utf8: &[u8]) -> bool {
    let ascii = |byte: &u8| (*byte < b' ' && *byte != b'\n' && *byte != b'\t') || *byte == 0x7f;
    let (words, rest) = utf8.as_chunks();
    words.iter().any(|word| may_have_control(*word) && word.iter().any(ascii))
        || rest.iter().any(ascii)
        || memchr::memchr_iter(0xc2, utf8).any(|at| utf8.get(at + 1).is_some_and(|byte| *byte < 0xa0))
}

/// Returns false only if none of eight bytes is below a space or DEL. It tests all of them in a few steps, because
/// texts of up to 48 MiB pass here. The subtraction sets the top bit of each smaller byte; its borrow may also set
/// the next byte's bit, so true is not certain.
fn may_have_control(bytes: [u8; 8]) -> bool {
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let bytes = u64::from_ne_bytes(bytes);
    let del = bytes ^ each(0x7f);
    let low = bytes.wrapping_sub(each(b' ')) & !bytes;
    let zero = del.wrapping_sub(each(1)) & !del;
    (low | zero) & each(0x80) != 0
}

/// Returns the text after an escape sequence; `rest` begins after the escape character. An incomplete sequence is
/// ordinary text.
///
/// `endless` is the length of the text after the last line that was searched without success. A search that begins in
/// that line would fail, too, and repeating it would take quadratic time.
fn after_escape<'a>(rest: &'a str, endless: &mut usize) -> &'a str {
    let Some(first) = rest.chars().next() else { return rest };
    match first {
        '[' => after_parameters(&rest[1..]),
        // A string for the terminal, such as a title or a link's target: it ends with a bell or `ESC \`, on the same
        // line.
        ']' | 'P' | 'X' | '^' | '_' => {
            if rest.len() > *endless {
                return &rest[1..];
            }
            let end = rest.as_bytes().iter().enumerate().find_map(|(at, byte)| match byte {
                b'\n' | b'\r' => Some(Err(at)),
                0x07 => Some(Ok(at + 1)),
                0x1b if rest[at + 1..].starts_with('\\') => Some(Ok(at + 2)),
                _ => None,
            });
            match end.unwrap_or(Err(rest.len())) {
                Ok(end) => &rest[end..],
                Err(line) => {
                    *endless = rest.len() - line;
                    &rest[1..]
                }
            }
        }
        ' '..='/' => {
            let tail = rest.trim_start_matches(|c| (' '..='/').contains(&c));
            tail.strip_prefix(|c| ('0'..='~').contains(&c)).unwrap_or(tail)
        }
        '0'..='~' => &rest[1..],
        _ => rest,
    }
}

/// Returns the text after the parameters and the last letter of a control sequence.
fn after_parameters(rest: &str) -> &str {
    let tail = rest.trim_start_matches(|c| (' '..='?').contains(&c));
    tail.strip_prefix(|c| ('@'..='~').contains(&c)).unwrap_or(tail)
}

/// Does the same on one line of at most `max` characters, for reasons and errors. It also removes characters that
/// change the direction of the text around them.
pub fn one_line(text: &str, max: usize) -> String {
    let text = visible(text);
    let mut line = String::new();
    let mut count = 0;
    for word in text.split_whitespace() {
        let gap = usize::from(!line.is_empty());
        let mut left = word.chars().filter(|c| !turns_text(*c)).peekable();
        if left.peek().is_none() {
            continue;
        }
        if gap == 1 {
            line.push(' ');
        }
        count += gap;
        for c in left {
            line.push(c);
            count += 1;
            if count > max {
                cut(&mut line, max);
                return line;
            }
        }
    }
    line
}

/// Cuts a line to `max` characters, the last of which is an ellipsis.
fn cut(line: &mut String, max: usize) {
    let end = line.char_indices().nth(max.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
    line.truncate(end);
    line.truncate(line.trim_end().len());
    line.push('…');
}

fn turns_text(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{has_control, one_line, strip_internal, visible};

    #[test]
    fn visible_removes_terminal_sequences() {
        for (text, shown) in [
            ("plain ä😀\n\ttext", "plain ä😀\n\ttext"),
            ("a\0b\u{7}c\u{7f}d\u{8}", "abcd"),
            ("a\r\nb\rc", "a\nb\nc"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[2J\u{1b}[1;1Hgone", "gone"),
            ("\u{9b}31mred\u{85}x", "redx"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}]never ends\nnext", "never ends\nnext"),
            ("\u{1b}(Bx\u{1b}cy\u{1b}7z", "xyz"),
            ("\u{1b}", ""),
            ("\u{1b}[", ""),
            ("\u{1b}[31ä", "ä"),
            ("\u{1b}ä", "ä"),
            ("שלום \u{200f}", "שלום \u{200f}"),
        ] {
            assert_eq!(visible(text), shown, "{text:?}");
        }
    }

    #[test]
    fn one_line_joins_and_cuts_reasons() {
        for (text, max, line) in [
            ("  it failed:\n\n  because\tof it \r\n", 100, "it failed: because of it"),
            ("\u{1b}[31mred\u{1b}[0m\u{202e}evil\u{2066}", 100, "redevil"),
            ("a \u{202e} b", 100, "a b"),
            ("12345", 5, "12345"),
            ("123456", 5, "1234…"),
            ("123 456", 5, "123…"),
            ("äöü😀x", 4, "äöü…"),
            ("a\u{2028}b\u{a0}c", 9, "a b c"),
            ("", 5, ""),
            (" \n\0 ", 5, ""),
        ] {
            assert_eq!(one_line(text, max), line, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_visible_characters_is_shown(text in "[a\u{0}-\u{a0}é😀\\[\\]m;\\\\]{0,40}", max in 1_usize..20) {
            let shown = visible(&text);
            prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{shown:?}");
            prop_assert_eq!(visible(&shown), shown.clone());
            let line = one_line(&text, max);
            prop_assert!(line.chars().count() <= max && !line.chars().any(char::is_control), "{line:?}");
        }
    }

    proptest! {
        // At every place in an eight-byte word, and in the rest after the last word.
        #[test]
        fn a_control_character_is_found_wherever_it_is(text in "[ a~\u{0}\t\n\u{1f}\u{7f}\u{80}\u{9f}\u{a0}é😀]{0,30}") {
            let has = text.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
            prop_assert_eq!(has_control(text.as_bytes()), has);
        }
    }

    #[test]
    fn strip_internal_removes_every_internal_block() {
        for (text, rest) in [
            ("plain", "plain"),
            ("  plain \n", "plain"),
            ("<internal>a</internal>", ""),
            ("x <internal>a\nb</internal> y", "x  y"),
            ("<internal>a</internal>x<internal>b</internal>", "x"),
            ("<INTERNAL>a</Internal>x", "x"),
            ("<internal>a<internal>b</internal>c</internal>x", "x"),
            ("<internal>a<internal>b</internal>c", "c"),
            ("never <internal> closed", "never <internal> closed"),
            ("</internal> only closed", "</internal> only closed"),
            ("ä<internal>ö</internal>ü", "äü"),
            ("<internal", "<internal"),
            ("", ""),
        ] {
            assert_eq!(strip_internal(text), rest, "{text}");
        }
    }

    #[test]
    fn strip_internal_of_many_tags_takes_linear_time() {
        let started = std::time::Instant::now();
        assert_eq!(strip_internal(&"<internal>".repeat(100_000)).len(), 1_000_000);
        assert_eq!(strip_internal(&"<internal></internal>".repeat(50_000)), "");
        assert!(started.elapsed().as_secs() < 5);
    }

    #[test]
    fn visible_of_many_sequences_takes_linear_time() {
        let started = std::time::Instant::now();
        for (begun, shown) in [("\u{1b}]", ""), ("\u{1b}P\u{1b}X", ""), ("\u{1b}]x\r", "x\n"), ("\u{1b}]\u{7}", "")] {
            assert_eq!(visible(&begun.repeat(500_000)), shown.repeat(500_000), "{begun:?}");
        }
        // An unterminated string does not hide the end of one on the next line.
        assert_eq!(visible("\u{1b}]a\u{1b}]b\n\u{1b}]0;title\u{7}c"), "ab\nc");
        // Quadratic time would be minutes on any machine.
        assert!(started.elapsed().as_secs() < 60);
    }
}
