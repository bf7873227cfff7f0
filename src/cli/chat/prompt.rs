//! The prompt, and texts printed above it while someone types.
//!
//! The line editor's own printer waits for the terminal even while pasted keys are in its buffer, so a pasted or
//! delayed line hangs. This module therefore follows the line through the editor's hint hook and redraws it itself.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustyline::completion::Completer;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use unicode_segmentation::UnicodeSegmentation;

use super::super::{output, width};

/// The edited line as the screen shows it. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Prompt {
    text: &'static str,
    /// True if the terminal has no escape sequences: it then shows lines itself.
    simple: bool,
    line: Arc<Mutex<Line>>,
}

#[derive(Debug, Default)]
struct Line {
    /// Whether the prompt is on the screen.
    open: bool,
    text: String,
    /// The cursor's position in bytes.
    cursor: usize,
    /// The width of the window when the line was drawn.
    columns: usize,
}

impl Line {
    fn is(&mut self, text: &str, cursor: usize) {
        text.clone_into(&mut self.text);
        self.cursor = if text.is_char_boundary(cursor) { cursor } else { text.len() };
    }
}

impl Prompt {
    pub(super) fn new(text: &'static str, simple: bool) -> Self {
        Self { text, simple, line: Arc::default() }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the editor has let go of the terminal.
    pub(super) fn left(&self) {
        *self.line() = Line::default();
    }

    /// Shows the prompt if no editor does.
    pub(super) fn show(&self) {
        let mut line = self.line();
        line.open = true;
        write(self.text);
    }

    /// Prints a text above the edited line.
    pub(super) fn print_above(&self, text: &str) {
        let line = self.line();
        if !self.simple {
            return write(&redraw(self.text, &line, text, output::columns()));
        }
        let (before, prompt) = if line.open { ("\n", self.text) } else { ("", "") };
        write(&format!("{before}{text}\n{prompt}"));
    }
}

fn write(text: &str) {
    let mut out = io::stdout().lock();
    // If the terminal is gone, the editor ends, too.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Returns the bytes that remove the line, print a text, and draw the line again with its cursor.
fn redraw(prompt: &str, line: &Line, text: &str, columns: usize) -> String {
    let text = text.replace('\n', "\r\n");
    if !line.open {
        return format!("{text}\r\n");
    }
    let cursor = position(prompt, &line.text[..line.cursor], columns);
    let end = position(prompt, &line.text, columns);
    let mut out = String::from("\r");
    // Writing into memory cannot fail.
    if cursor.0 > 0 {
        let _ = write!(out, "\u{1b}[{}A", cursor.0);
    }
    let _ = write!(out, "\u{1b}[J{text}\r\n{prompt}{}", line.text.replace('\n', "\r\n"));
    if end.1 == 0 && end.0 > 0 && !line.text.ends_with('\n') {
        // After a full row, a terminal moves on only with the next character.
        out.push_str("\r\n");
    }
    if line.cursor < line.text.len() {
        out.push('\r');
        if end.0 > cursor.0 {
            let _ = write!(out, "\u{1b}[{}A", end.0 - cursor.0);
        }
        if cursor.1 > 0 {
            let _ = write!(out, "\u{1b}[{}C", cursor.1);
        }
    }
    out
}

/// Returns the bytes that prepare a redraw after the window's size changed: the editor goes back by the line's old
/// number of rows, but terminals have wrapped the line anew.
fn resized(prompt: &str, line: &Line, columns: usize) -> String {
    let before = &line.text[..line.cursor];
    let (was, end) = (position(prompt, before, line.columns).0, position(prompt, &line.text, line.columns).0);
    let mut out = String::from("\r");
    // Writing into memory cannot fail.
    let up = |out: &mut String, rows: usize| {
        if rows > 0 {
            let _ = write!(out, "\u{1b}[{rows}A");
        }
    };
    up(&mut out, position(prompt, before, columns).0);
    out.push_str("\u{1b}[J");
    out.extend(std::iter::repeat_n('\n', end));
    up(&mut out, end - was);
    out
}

/// The row and column after a prompt and a text, counted from the prompt's row.
fn position(prompt: &str, text: &str, columns: usize) -> (usize, usize) {
    let (mut row, mut column) = (0, 0);
    for grapheme in prompt.graphemes(true).chain(text.graphemes(true)) {
        if grapheme == "\n" {
            (row, column) = (row + 1, 0);
            continue;
        }
        let wide = if grapheme == "\t" { TAB - column % TAB } else { width::of_grapheme(grapheme) };
        column += wide;
        // A wide character is not split at the edge.
        if column > columns {
            (row, column) = (row + 1, wide);
        }
    }
    if column == columns { (row + 1, 0) } else { (row, column) }
}

/// The distance of tab stops, in columns.
const TAB: usize = 8;

/// The editor calls this after each change of the line; it gives no hints.
impl Hinter for Prompt {
    type Hint = String;

    fn hint(&self, text: &str, cursor: usize, _: &Context<'_>) -> Option<String> {
        let mut line = self.line();
        let columns = output::columns();
        if line.open && line.columns != columns {
            write(&resized(self.text, &line, columns));
        }
        line.columns = columns;
        line.open = true;
        line.is(text, cursor);
        None
    }
}

impl Completer for Prompt {
    type Candidate = String;
}
/// The editor calls this also when only the cursor moves; it colours nothing.
impl Highlighter for Prompt {
    fn highlight_char(&self, text: &str, cursor: usize, _: CmdKind) -> bool {
        self.line().is(text, cursor);
        // The editor breaks a full row itself; after a resize, a terminal would take it for two lines. The first
        // character after the edge therefore causes a redraw of the whole line.
        let (row, column) = position(self.text, text, output::columns());
        row > 0 && (1..=2).contains(&column)
    }
}
impl Validator for Prompt {}
impl Helper for Prompt {}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(line: &str, cursor: usize, open: bool) -> String {
        redraw("> ", &Line { open, text: line.into(), cursor, columns: 10 }, "one\ntwo", 10)
    }

    #[test]
    fn text_without_an_open_line_is_just_printed() {
        assert_eq!(drawn("", 0, false), "one\r\ntwo\r\n");
    }

    #[test]
    fn edited_line_is_redrawn_below_the_text() {
        assert_eq!(drawn("abc", 3, true), "\r\u{1b}[Jone\r\ntwo\r\n> abc");
        assert_eq!(drawn("abc", 1, true), "\r\u{1b}[Jone\r\ntwo\r\n> abc\r\u{1b}[3C");
    }

    #[test]
    fn edited_line_of_several_rows_is_removed_completely() {
        // Eight characters and the prompt's two fill the first row of ten columns.
        assert_eq!(drawn("abcdefghij", 10, true), "\r\u{1b}[1A\u{1b}[Jone\r\ntwo\r\n> abcdefghij");
        assert_eq!(drawn("ab\ncd", 1, true), "\r\u{1b}[Jone\r\ntwo\r\n> ab\r\ncd\r\u{1b}[1A\u{1b}[3C");
        // A row that is exactly full: the cursor waits at its end.
        assert_eq!(drawn("abcdefgh", 8, true), "\r\u{1b}[1A\u{1b}[Jone\r\ntwo\r\n> abcdefgh\r\n");
    }

    #[test]
    fn window_resize_clears_the_line_at_its_new_place() {
        let line = |text: &str, columns| Line { open: true, text: text.into(), cursor: text.len(), columns };
        // Three rows of ten columns become two of twenty; the editor goes back two rows.
        let text = "a".repeat(22);
        assert_eq!(resized("> ", &line(&text, 10), 20), "\r\u{1b}[1A\u{1b}[J\n\n");
        assert_eq!(resized("> ", &line(&text, 40), 10), "\r\u{1b}[2A\u{1b}[J");
        assert_eq!(resized("> ", &line("abc", 40), 10), "\r\u{1b}[J");
        // The cursor is in the first of three rows.
        let first = Line { cursor: 3, ..line(&text, 10) };
        assert_eq!(resized("> ", &first, 40), "\r\u{1b}[J\n\n\u{1b}[2A");
    }

    #[test]
    fn position_counts_the_width_of_characters() {
        for (text, at) in [
            ("家族", (0, 6)),
            ("e\u{301}x", (0, 4)),
            ("家族のグ", (1, 0)),
            ("a家族のグ", (1, 2)),
            ("\tx", (0, 9)),
            ("🚀🚀🚀🚀🚀", (1, 2)),
        ] {
            assert_eq!(position("> ", text, 10), at, "{text}");
        }
        assert_eq!(drawn("家族", 3, true), "\r\u{1b}[Jone\r\ntwo\r\n> 家族\r\u{1b}[4C");
    }
}
