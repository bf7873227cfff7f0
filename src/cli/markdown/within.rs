//! Quotes and list items around a block, and their marks at the beginning of lines.

use super::wrap::Style;

/// A quote or a list item that contains a block.
#[derive(Debug)]
pub(super) enum Container {
    Quote { lines: usize, start: usize },
    Item { mark: String, shown: bool, start: usize },
}

impl Container {
    /// Returns true if none of its lines is shown yet.
    pub(super) fn is_bare(&self) -> bool {
        match self {
            Self::Quote { lines, .. } => *lines == 0,
            Self::Item { shown, .. } => !shown,
        }
    }

    pub(super) fn start(&self) -> usize {
        match self {
            Self::Quote { start, .. } | Self::Item { start, .. } => *start,
        }
    }

    /// The width of its mark.
    pub(super) fn columns(&self) -> usize {
        match self {
            Self::Quote { .. } => 2,
            Self::Item { mark, .. } => mark.len() + 1,
        }
    }

    /// Returns the mark before one of its lines; an item's mark is only before the first.
    pub(super) fn next_mark(&mut self, colours: bool) -> String {
        match self {
            Self::Quote { lines, .. } => *lines += 1,
            Self::Item { mark, shown: shown @ false, .. } => {
                *shown = true;
                return format!("{mark} ");
            }
            Self::Item { .. } => {}
        }
        self.gap_mark(colours)
    }

    /// Returns the mark before a line between two of its blocks.
    pub(super) fn gap_mark(&self, colours: bool) -> String {
        match self {
            Self::Quote { .. } => format!("{} ", Style::DIM.paint(">", colours)),
            Self::Item { .. } => " ".repeat(self.columns()),
        }
    }
}

/// A line without the marks of quotes and items before it.
pub(super) fn behind_marks(line: &str) -> &str {
    let mut rest = line.trim_start_matches([' ', '\t', '>']);
    loop {
        let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let mark = if digits.len() < rest.len() {
            digits.strip_prefix(['.', ')'])
        } else {
            rest.strip_prefix(['-', '*', '+'])
        };
        match mark.filter(|behind| behind.is_empty() || behind.starts_with(char::is_whitespace)) {
            Some(behind) => rest = behind.trim_start_matches([' ', '\t', '>']),
            None => return rest,
        }
    }
}
