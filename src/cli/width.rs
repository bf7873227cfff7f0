//! The columns that a text takes on this terminal.

use std::sync::LazyLock;

use rustyline::GraphemeClusterMode;
use unicode_segmentation::UnicodeSegmentation;

/// What this terminal does with characters that join; the line editor goes by the same.
static RULES: LazyLock<GraphemeClusterMode> = LazyLock::new(GraphemeClusterMode::from_env);

/// Columns of one character as people count them.
pub(super) fn of_grapheme(grapheme: &str) -> usize {
    if let [byte] = grapheme.as_bytes() {
        return usize::from(!byte.is_ascii_control());
    }
    usize::from(RULES.width(grapheme))
}

/// Columns of a text without line breaks.
pub(super) fn of(text: &str) -> usize {
    text.graphemes(true).map(of_grapheme).sum()
}

/// Text, then spaces up to a width.
pub(super) fn padded(text: &str, width: usize) -> String {
    let gap = width.saturating_sub(of(text));
    format!("{text}{:gap$}", "")
}

/// The beginning of a text that fits with an ellipsis behind it; all of it when that fits.
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
    fn widths_are_those_of_a_terminal() {
        for (text, width) in [("", 0), ("abc", 3), ("家族", 4), ("e\u{301}a", 2), ("🚀x", 3), ("ｱ", 1), ("한", 2)]
        {
            assert_eq!(of(text), width, "{text}");
        }
        assert_eq!(padded("家", 4), "家  ");
        assert_eq!(padded("家族", 3), "家族");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        for (text, width, cut_to) in
            [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("家族の", 5, "家族…"), ("家族の", 4, "家…"), ("家", 1, "…")]
        {
            assert_eq!(cut(text, width), cut_to, "{text}");
        }
    }
}
