//! The width of texts on this terminal, in columns.

use std::sync::LazyLock;

use rustyline::GraphemeClusterMode;
use unicode_segmentation::UnicodeSegmentation;

/// The terminal's treatment of joined characters; the line editor uses the same.
static RULES: LazyLock<GraphemeClusterMode> = LazyLock::new(GraphemeClusterMode::from_env);

/// The width of one visible character.
pub(super) fn of_grapheme(grapheme: &str) -> usize {
    if let [byte] = grapheme.as_bytes() {
        return usize::from(!byte.is_ascii_control());
    }
    usize::from(RULES.width(grapheme))
}

/// The width of a text without line breaks.
pub(super) fn of(text: &str) -> usize {
    text.graphemes(true).map(of_grapheme).sum()
}

/// Pads a text with spaces to a width.
pub(super) fn padded(text: &str, width: usize) -> String {
    let gap = width.saturating_sub(of(text));
    format!("{text}{:gap$}", "")
}

/// Cuts a text that is wider than `width`, so that an ellipsis fits at its end.
pub(super) fn cut(text: &str, width: usize) -> String {
    if of(text) <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |grapheme: &&str| {
        let enough = left.checked_sub(of_grapheme(grapheme));
        left = enough.unwrap_or(left);
        enough.is_some()
    };
    text.graphemes(true).take_while(fits).chain(["…"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_widths_are_those_of_a_terminal() {
        for (text, width) in [("", 0), ("abc", 3), ("家族", 4), ("e\u{301}a", 2), ("🚀x", 3), ("ｱ", 1), ("한", 2)]
        {
            assert_eq!(of(text), width, "{text}");
        }
        assert_eq!(padded("家", 4), "家  ");
        assert_eq!(padded("家族", 3), "家族");
    }

    #[test]
    fn text_is_cut_between_characters() {
        for (text, width, cut_to) in
            [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("家族の", 5, "家族…"), ("家族の", 4, "家…"), ("家", 1, "…")]
        {
            assert_eq!(cut(text, width), cut_to, "{text}");
        }
    }
}
