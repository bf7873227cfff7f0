//! Styled text, and its wrapping into lines.

use unicode_segmentation::UnicodeSegmentation;

use super::super::width;

/// A set of text styles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Style(u8);

impl Style {
    pub(super) const PLAIN: Self = Self(0);
    pub(super) const BOLD: Self = Self(1);
    pub(super) const DIM: Self = Self(2);
    pub(super) const ITALIC: Self = Self(4);
    pub(super) const UNDERLINE: Self = Self(8);
    pub(super) const STRIKE: Self = Self(16);
    pub(super) const CODE: Self = Self(32);

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The parameters of the terminal's escape sequence.
    fn codes(self) -> String {
        let all = [
            (Self::BOLD, "1"),
            (Self::DIM, "2"),
            (Self::ITALIC, "3"),
            (Self::UNDERLINE, "4"),
            (Self::STRIKE, "9"),
            (Self::CODE, "36"),
        ];
        all.iter().filter(|(style, _)| self.0 & style.0 != 0).map(|(_, code)| *code).collect::<Vec<_>>().join(";")
    }

    /// Formats a text in this style.
    pub(super) fn paint(self, text: &str, colours: bool) -> String {
        if !colours || self == Self::PLAIN || text.is_empty() {
            return text.to_owned();
        }
        format!("\u{1b}[{}m{text}\u{1b}[0m", self.codes())
    }
}

/// A styled line, or a part of one.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    pieces: Vec<(String, Style)>,
    pub(super) width: usize,
}

impl Line {
    /// Appends a text; it may have line breaks if the line will be wrapped.
    pub(super) fn push(&mut self, text: &str, style: Style) {
        match self.pieces.last_mut() {
            Some((last, same)) if *same == style => last.push_str(text),
            _ => self.pieces.push((text.to_owned(), style)),
        }
    }

    fn push_grapheme(&mut self, grapheme: &str, width: usize, style: Style) {
        self.push(grapheme, style);
        self.width += width;
    }

    fn append(&mut self, other: &mut Self) {
        for (text, style) in other.pieces.drain(..) {
            self.push(&text, style);
        }
        self.width += std::mem::take(&mut other.width);
    }

    /// Returns true if nothing of it is visible.
    pub(super) fn is_blank(&self) -> bool {
        self.pieces.iter().all(|(text, _)| text.trim().is_empty())
    }

    /// Adds a style to the whole line.
    pub(super) fn restyle(&mut self, style: Style) {
        for (_, own) in &mut self.pieces {
            *own = own.and(style);
        }
    }

    pub(super) fn paint(&self, colours: bool) -> String {
        self.pieces.iter().map(|(text, style)| style.paint(text, colours)).collect()
    }
}

/// The treatment of words wider than a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Long {
    /// The word extends over the edge, where the terminal wraps it: it can still be copied whole.
    Over,
    /// The word is broken into lines.
    Broken,
}

/// Wraps a text at this width, between words and beside wide characters.
pub(super) fn wrap(text: &Line, columns: usize, long: Long) -> Vec<Line> {
    let mut lines =
        Lines { done: Vec::new(), line: Line::default(), gap: Line::default(), word: Line::default(), columns };
    let mut wide = false;
    for (piece, style) in &text.pieces {
        for grapheme in piece.graphemes(true) {
            let columns_of_it = width::of_grapheme(grapheme);
            match grapheme {
                "\n" => lines.break_here(),
                " " | "\t" => {
                    lines.place();
                    lines.gap.push_grapheme(" ", 1, *style);
                }
                _ => {
                    let broken = long == Long::Broken && lines.word.width + columns_of_it > columns;
                    if broken || ((wide || columns_of_it > 1) && !is_closing(grapheme)) {
                        lines.place();
                    }
                    lines.word.push_grapheme(grapheme, columns_of_it, *style);
                }
            }
            wide = columns_of_it > 1;
        }
    }
    lines.place();
    lines.done.push(lines.line);
    lines.done
}

/// Punctuation of wide scripts that may not begin a line.
fn is_closing(grapheme: &str) -> bool {
    matches!(grapheme, "、" | "。" | "，" | "．" | "）" | "」" | "』" | "】" | "》" | "！" | "？" | "：" | "；" | "ー")
}

struct Lines {
    done: Vec<Line>,
    line: Line,
    /// The spaces before the word.
    gap: Line,
    word: Line,
    columns: usize,
}

impl Lines {
    /// Puts the word on this line or the next.
    fn place(&mut self) {
        if self.word.width == 0 && self.word.pieces.is_empty() {
            return;
        }
        if self.line.width > 0 && self.line.width + self.gap.width + self.word.width > self.columns {
            self.done.push(std::mem::take(&mut self.line));
            self.gap = Line::default();
        }
        self.line.append(&mut self.gap);
        self.line.append(&mut self.word);
    }

    fn break_here(&mut self) {
        self.place();
        self.gap = Line::default();
        self.done.push(std::mem::take(&mut self.line));
    }
}
