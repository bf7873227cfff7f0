//! How answers look: tables for people, JSON for programs, and nothing in a terminal that an agent could use to play
//! tricks with it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use super::{Done, times};

/// Writes to stdout; a reader that went away is no error worth a word.
pub(super) fn say(text: &str) -> Done {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// JSON for programs.
pub(super) fn say_json(value: &Value) -> Done {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    say(&text)
}

/// Whether stdout takes colours.
pub(super) fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Text without the control characters that terminals act on.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(bad) { text.replace(bad, "\u{fffd}").into() } else { text.into() }
}

/// A table: a heading, and rows of as many cells. The last column is not padded.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| harmless(&one_line(cell)).into_owned()).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heading[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let mut out = String::new();
    let heading: Vec<String> = heading.iter().map(|&cell| cell.to_owned()).collect();
    for row in std::iter::once(&heading).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Into memory: cannot fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// The first line of a text, cut for a table.
fn one_line(text: &str) -> String {
    const MAX: usize = 60;
    let first = text.lines().next().unwrap_or("");
    if first.chars().count() > MAX || text.lines().nth(1).is_some() {
        return first.chars().take(MAX - 1).chain(['…']).collect();
    }
    first.to_owned()
}

/// Rows of a list, or a sentence when there are none.
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

/// One thing, a field to a line.
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

/// A value for people: strings bare, times local, nothing for null.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => times::local(text).unwrap_or_else(|| text.clone()),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        other => other.to_string(),
    }
}
