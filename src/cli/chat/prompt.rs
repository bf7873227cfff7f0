//! The prompt, and texts printed above it while someone types.
//!
//! The line editor's own printer waits for the terminal although keys that came in one piece wait in its buffer, so that
//! a pasted or delayed line hangs; this follows the line through the editor's hook for hints and redraws it itself.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

/// The line being edited, as far as the screen shows it. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Prompt {
    text: &'static str,
    line: Arc<Mutex<Line>>,
}

#[derive(Debug, Default)]
struct Line {
    /// Whether the prompt is on the screen.
    open: bool,
    text: String,
    /// Bytes before the cursor.
    cursor: usize,
}

impl Prompt {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text, line: Arc::default() }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The editor has let go of the terminal.
    pub(super) fn left(&self) {
        *self.line() = Line::default();
    }

    /// Prints above the line that is being edited.
    pub(super) fn print_above(&self, text: &str) {
        let line = self.line();
        let columns = match rustix::termios::tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
            // What the editor assumes, too.
            _ => 80,
        };
        let drawn = redraw(self.text, &line, text, columns);
        let mut out = io::stdout().lock();
        // A terminal that is gone ends the editor, too.
        let _ = out.write_all(drawn.as_bytes()).and_then(|()| out.flush());
    }
}

/// What takes the line off the screen, prints a text, and puts the line back with its cursor.
fn redraw(prompt: &str, line: &Line, text: &str, columns: usize) -> String {
    let text = text.replace('\n', "\r\n");
    if !line.open {
        return format!("{text}\r\n");
    }
    let cursor = position(prompt, &line.text[..line.cursor], columns);
    let end = position(prompt, &line.text, columns);
    let mut out = String::from("\r");
    // Into memory: cannot fail.
    if cursor.0 > 0 {
        let _ = write!(out, "\u{1b}[{}A", cursor.0);
    }
    let _ = write!(out, "\u{1b}[J{text}\r\n{prompt}{}", line.text.replace('\n', "\r\n"));
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

/// Row and column after a prompt and a text, counted from the prompt's row.
fn position(prompt: &str, text: &str, columns: usize) -> (usize, usize) {
    let mut at = (0, 0);
    for c in prompt.chars().chain(text.chars()) {
        at = if c == '\n' { (at.0 + 1, 0) } else { (at.0, at.1 + 1) };
        if at.1 >= columns {
            at = (at.0 + 1, 0);
        }
    }
    at
}

/// Called by the editor after each change of the line; gives no hints.
impl Hinter for Prompt {
    type Hint = String;

    fn hint(&self, text: &str, cursor: usize, _: &Context<'_>) -> Option<String> {
        let mut line = self.line();
        line.open = true;
        text.clone_into(&mut line.text);
        line.cursor = if text.is_char_boundary(cursor) { cursor } else { text.len() };
        None
    }
}

impl Completer for Prompt {
    type Candidate = String;
}
impl Highlighter for Prompt {}
impl Validator for Prompt {}
impl Helper for Prompt {}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(line: &str, cursor: usize, open: bool) -> String {
        redraw("> ", &Line { open, text: line.into(), cursor }, "one\ntwo", 10)
    }

    #[test]
    fn without_a_line_a_text_is_just_printed() {
        assert_eq!(drawn("", 0, false), "one\r\ntwo\r\n");
    }

    #[test]
    fn a_line_is_put_back_below_the_text() {
        assert_eq!(drawn("abc", 3, true), "\r\u{1b}[Jone\r\ntwo\r\n> abc");
        assert_eq!(drawn("abc", 1, true), "\r\u{1b}[Jone\r\ntwo\r\n> abc\r\u{1b}[3C");
    }

    #[test]
    fn lines_of_several_rows_are_taken_off_whole() {
        // Eight characters fill the first row of ten columns with the prompt's two.
        assert_eq!(drawn("abcdefghij", 10, true), "\r\u{1b}[1A\u{1b}[Jone\r\ntwo\r\n> abcdefghij");
        assert_eq!(drawn("ab\ncd", 1, true), "\r\u{1b}[Jone\r\ntwo\r\n> ab\r\ncd\r\u{1b}[1A\u{1b}[3C");
    }
}
