//! `[[hooks]]`: commands that run at events, in the form that Claude Code gives them.

use toml::{Table, Value};

use super::parse;

/// Most hooks in a file.
const COUNT: usize = 32;
/// Longest command, in bytes.
const COMMAND_LIMIT: usize = 4096;
/// The longest time limit, in seconds.
const LONGEST: usize = 3600;
/// The default time limit, in seconds.
const DEFAULT_SECONDS: u64 = 60;

/// The events of all providers; each provider has a list of those it supports.
pub const EVENTS: [&str; 10] = [
    "PreToolUse",
    "PostToolUse",
    "UserPromptSubmit",
    "Notification",
    "Stop",
    "SubagentStart",
    "SubagentStop",
    "PreCompact",
    "SessionStart",
    "SessionEnd",
];

/// A command that runs at an event. It gets the event as JSON on stdin; exit code 2 refuses the action that follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// One of [`EVENTS`].
    pub event: String,
    /// The tools it is for: names with `|` between them, or a regular expression. None means all tools.
    pub matcher: Option<String>,
    /// The command, for a shell.
    pub command: String,
    /// Its time limit in seconds.
    pub timeout: u64,
}

/// Returns each hook, or the reason why it is left out.
pub(super) fn parse(value: &Value) -> Result<Vec<Result<Hook, String>>, String> {
    let list = value.as_array().ok_or("write each hook as a table [[hooks]]")?;
    if list.len() > COUNT {
        return Err(format!("there may be {COUNT}"));
    }
    Ok(list.iter().map(|one| parse::table(one).and_then(hook)).collect())
}

fn hook(table: &Table) -> Result<Hook, String> {
    const KEYS: [&str; 4] = ["event", "matcher", "command", "timeout"];
    if let Some(other) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("it has no {other:?}; it has {}", KEYS.join(", ")));
    }
    let needed = |key: &str| table.get(key).ok_or(format!("it needs {key}"));
    let part = |key: &'static str| move |why: String| format!("{key}: {why}");
    let event = parse::text(needed("event")?).map_err(part("event"))?;
    if !EVENTS.contains(&event.as_str()) {
        return Err(format!("there is no event {event:?}; there are {}", EVENTS.join(", ")));
    }
    let command = parse::text(needed("command")?).map_err(part("command"))?;
    if command.len() > COMMAND_LIMIT || command.contains('\0') {
        return Err(format!("command: it may have {COMMAND_LIMIT} bytes; put the rest into a script"));
    }
    let matcher = table.get("matcher").map(parse::text).transpose().map_err(part("matcher"))?;
    if let Some(pattern) = &matcher
        && pattern != "*"
        && let Err(error) = regex::Regex::new(pattern)
    {
        return Err(format!("matcher: it is not a regular expression: {error}"));
    }
    let timeout = match table.get("timeout") {
        None => DEFAULT_SECONDS,
        Some(value) => parse::number(value, 1, LONGEST).map_err(part("timeout"))? as u64,
    };
    Ok(Hook { event, matcher, command, timeout })
}
