//! Archives a conversation before the CLI compacts it: as a file in `conversations/` of the group's folder.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use parlor_protocol::files::{Folders, write_atomically};
use parlor_protocol::prompt;
use serde_json::Value;

use crate::host;

/// Characters that are kept of one message.
const MESSAGE_LIMIT: usize = 2000;
/// The longest transcript that is read, in bytes.
const TRANSCRIPT_LIMIT: u64 = 256 << 20;
/// Number of words in the title.
const TITLE_WORDS: usize = 8;

/// A message of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    by_agent: bool,
    text: String,
}

/// `agent-runner archive`: reads the hook's JSON from stdin. It never fails: an error while archiving must not stop the
/// agent.
pub fn main() -> ExitCode {
    let mut hook = Vec::new();
    let outcome = io::stdin().lock().take(1 << 20).read_to_end(&mut hook).map_err(|error| error.to_string());
    let outcome = outcome.and_then(|_| archive(&hook, &Folders::from_env().group, Utc::now()));
    match outcome {
        Ok(Some(path)) => eprintln!("the conversation is kept in {}", path.display()),
        Ok(None) => {}
        Err(why) => eprintln!("the conversation was not kept: {why}"),
    }
    ExitCode::SUCCESS
}

/// Archives the transcript that the hook names; returns None if it has no messages.
fn archive(hook: &[u8], group: &Path, now: DateTime<Utc>) -> Result<Option<PathBuf>, String> {
    let hook: Value = serde_json::from_slice(hook).map_err(|error| format!("the hook's JSON: {error}"))?;
    let path = hook["transcript_path"].as_str().ok_or("the hook names no transcript")?;
    let file = File::open(path).map_err(|error| format!("{path}: {error}"))?;
    let said: Vec<Said> = BufReader::new(file.take(TRANSCRIPT_LIMIT))
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| said(&line))
        .collect();
    if said.is_empty() {
        return Ok(None);
    }
    let title = title(&said);
    let dir = group.join("conversations");
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let day = now.with_timezone(&host::zone()).format("%Y-%m-%d");
    let stem = format!("{day}-{}", slug(&title));
    // A day may have several conversations with one title; none may overwrite another.
    let name = (1..1000)
        .map(|n| if n == 1 { format!("{stem}.md") } else { format!("{stem}-{n}.md") })
        .find(|name| fs::symlink_metadata(dir.join(name)).is_err())
        .ok_or("there are too many of this name")?;
    write_atomically(&dir, &name, markdown(&title, &said, now).as_bytes()).map_err(|error| error.to_string())?;
    Ok(Some(dir.join(name)))
}

/// Returns the message in a line of the transcript; None if it has none.
fn said(line: &str) -> Option<Said> {
    let entry: Value = serde_json::from_str(line).ok()?;
    let by_agent = match entry["type"].as_str()? {
        "user" => false,
        "assistant" => true,
        _ => return None,
    };
    if entry["isSidechain"] == true || entry["isMeta"] == true || entry["isCompactSummary"] == true {
        return None;
    }
    let text = match &entry["message"]["content"] {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts =
                blocks.iter().filter(|block| block["type"] == "text").filter_map(|block| block["text"].as_str());
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => return None,
    };
    let text = text.trim().to_owned();
    (!text.is_empty()).then_some(Said { by_agent, text })
}

/// Returns the people's words, without the format of the host's prompt.
fn plain(said: &Said) -> String {
    if said.by_agent || !said.text.contains("<message ") {
        return said.text.clone();
    }
    let line = |message: prompt::Message| match message.sender.as_str() {
        "" => message.text,
        sender => format!("{sender}: {}", message.text),
    };
    prompt::parse(&said.text).into_iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Returns the first words of the first request.
fn title(said: &[Said]) -> String {
    let first = said.iter().find(|one| !one.by_agent).map(|one| {
        let messages = prompt::parse(&one.text);
        let request = messages.iter().find(|message| message.is_request()).or(messages.first());
        request.map(|message| message.text.clone()).unwrap_or_default()
    });
    let first = first.unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().filter(|word| !word.starts_with('@')).take(TITLE_WORDS).collect();
    if words.is_empty() { "conversation".to_owned() } else { words.join(" ") }
}

/// Turns a title into a file name: small letters and digits of any script, with single hyphens.
fn slug(title: &str) -> String {
    let words = title.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let joined = words.map(str::to_lowercase).collect::<Vec<_>>().join("-");
    let short: String = joined.chars().take(50).collect();
    let short = short.trim_matches('-');
    if short.is_empty() { "conversation".to_owned() } else { short.to_owned() }
}

fn markdown(title: &str, said: &[Said], now: DateTime<Utc>) -> String {
    let mut text = format!("# {title}\n\nKept {}.\n", host::readable(now, host::zone()));
    for one in said {
        let whole = plain(one);
        let mut shown: String = whole.chars().take(MESSAGE_LIMIT).collect();
        if shown.len() < whole.len() {
            shown.push('…');
        }
        let who = if one.by_agent { "Agent" } else { "Chat" };
        // Writing to a string cannot fail.
        let _ = write!(text, "\n**{who}**: {shown}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(dir: &Path, lines: &[&str]) -> Result<Option<PathBuf>, String> {
        let transcript = dir.join("t.jsonl");
        fs::write(&transcript, lines.join("\n")).unwrap();
        let hook = serde_json::json!({ "transcript_path": transcript, "trigger": "auto" }).to_string();
        archive(hook.as_bytes(), dir, DateTime::from_timestamp(1_800_000_000, 0).unwrap())
    }

    #[test]
    fn archive_is_named_by_day_and_title_and_overwrites_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let lines = [
            r#"{"type":"user","message":{"content":"<messages>\n<message sender=\"Ann\" time=\"t\">@Andy Plan the Müller trip!</message>\n</messages>"}}"#,
            r#"{"type":"assistant","message":{"content":[{"type":"text","text":"Yes."},{"type":"tool_use","name":"Bash"}]}}"#,
            r#"{"type":"user","message":{"content":[{"type":"tool_result","content":"secret"}]}}"#,
            r#"{"type":"assistant","isSidechain":true,"message":{"content":"aside"}}"#,
            "half a li",
        ];
        let path = keep(dir.path(), &lines).unwrap().unwrap();
        assert_eq!(path.file_name().unwrap(), "2027-01-15-plan-the-müller-trip.md");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("**Chat**: Ann: @Andy Plan") && text.contains("**Agent**: Yes."), "{text}");
        assert!(!text.contains("secret") && !text.contains("aside"));
        let second = keep(dir.path(), &lines).unwrap().unwrap();
        assert_eq!(second.file_name().unwrap(), "2027-01-15-plan-the-müller-trip-2.md");
    }

    #[test]
    fn archive_of_an_empty_conversation_writes_no_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(keep(dir.path(), &[r#"{"type":"summary"}"#]), Ok(None));
        assert!(archive(b"{}", dir.path(), Utc::now()).unwrap_err().contains("no transcript"));
        assert!(!dir.path().join("conversations").exists());
    }

    #[test]
    fn titles_become_plain_file_names() {
        assert_eq!(slug("../../etc/passwd\n💥 A b"), "etc-passwd-a-b");
        assert_eq!(slug("💥"), "conversation");
    }
}
