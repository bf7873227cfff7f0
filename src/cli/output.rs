//! The output of commands: tables for people, JSON for programs, and no control sequences from agents on a terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use super::visible::escaped;
pub(super) use super::visible::harmless;
use super::{Done, Failure, times, width};

/// The width if the terminal does not report one.
const COLUMNS: usize = 80;

/// Writes a text for people to stdout, made harmless.
pub(super) fn say(text: &str) -> Done {
    write(harmless(text).as_bytes())
}

/// Writes bytes with terminal sequences to stdout: everything from outside must have been made harmless.
pub(super) fn write(bytes: &[u8]) -> Done {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::Closed),
        Err(error) => Err(Failure::Failed(format!("the output cannot be written: {error}"))),
    }
}

/// Writes a line to stderr. A failure is ignored, because it cannot be reported.
pub fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", harmless(text));
}

/// Writes JSON for programs.
pub(super) fn say_json(value: &Value) -> Done {
    let mut text = escaped(serde_json::to_string_pretty(value)?);
    text.push('\n');
    write(text.as_bytes())
}

/// Formats JSON for programs, on one line.
pub(super) fn json_line(value: &Value) -> String {
    escaped(value.to_string())
}

/// Returns true if stdout shows colours.
pub(super) fn colours() -> bool {
    has_colours(&io::stdout())
}

/// Returns true if a stream is a terminal with colours, and the user wants them.
pub fn has_colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && !is_dumb()
}

/// Returns true if the terminal has no escape sequences, such as a shell inside an editor.
pub(super) fn is_dumb() -> bool {
    std::env::var("TERM")
        .is_ok_and(|term| ["dumb", "emacs", "cons25"].iter().any(|dumb| term.eq_ignore_ascii_case(dumb)))
}

/// Returns true if stderr is a terminal that can show progress.
pub(super) fn has_progress() -> bool {
    io::stderr().is_terminal() && !is_dumb()
}

/// The width of stdout's terminal.
pub(super) fn columns() -> usize {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => COLUMNS,
    }
}

/// Formats a table: a heading, and rows with the same number of cells. The last column is not padded.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| harmless(&one_line(cell)).into_owned()).collect()).collect();
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| width::of(cell));
        cells.chain([heading[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(widest).collect();
    let mut out = String::new();
    let heading: Vec<String> = heading.iter().map(|&cell| cell.to_owned()).collect();
    for row in std::iter::once(&heading).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.extend([&width::padded(cell, *width), "  "]);
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// The first line of a text, cut for a table.
fn one_line(text: &str) -> String {
    const MAX: usize = 60;
    let mut lines = text.lines();
    let first = width::cut(lines.next().unwrap_or_default(), MAX);
    if lines.next().is_none() || first.ends_with('…') {
        return first;
    }
    width::cut(&format!("{first}…"), MAX)
}

/// Prints the rows of a list, or a sentence if there are none.
pub(super) fn list(
    answer: &Value,
    key: &str,
    json: bool,
    heading: &[&str],
    empty: &str,
    row: impl Fn(&Value) -> Vec<String>,
) -> Done {
    if json {
        return say_json(&answer[key]);
    }
    let rows: Vec<Vec<String>> = answer[key].as_array().map(|all| all.iter().map(row).collect()).unwrap_or_default();
    if rows.is_empty() {
        return say(&format!("{empty}\n"));
    }
    let heading = times::heading(heading);
    let heading: Vec<&str> = heading.iter().map(String::as_str).collect();
    say(&table(&heading, &rows))
}

/// Prints one object, a line for each field.
pub(super) fn show(value: &Value, json: bool) -> Done {
    if json {
        return say_json(value);
    }
    let mut out = String::new();
    let mut zone = false;
    for (key, value) in value.as_object().into_iter().flatten() {
        zone |= value.as_str().is_some_and(|text| times::local(text).is_some());
        let text = text(value);
        if !text.is_empty() {
            let _ = writeln!(out, "{key:<16} {}", harmless(&text).replace('\n', "\n                 "));
        }
    }
    if zone {
        let _ = writeln!(out, "{:<16} {}", "zone", times::zone());
    }
    say(&out)
}

/// Formats a value for people: strings bare, times local, null empty.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => times::local(text).unwrap_or_else(|| text.clone()),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        other => other.to_string(),
    }
}
