//! The directives: each begins a line, and its first word is the name.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parlor_protocol::files::{Folders, write_atomically};
use parlor_protocol::results::Results;
use parlor_protocol::{GLOBAL_DIR, GROUP_DIR, INPUT_DIR, IPC_DIR};
use serde_json::{Value, json};

use crate::{Agent, hostile, wire};

/// The result of a directive.
pub enum Reply {
    Text(String),
    Silent,
    Error {
        kind: String,
        retry_at: Option<String>,
    },
    /// No output: the directive wrote its own. If it was the last, the turn stays open.
    NoEnd,
}

/// Splits a request into directives: each line that begins with `!`, with the lines that follow it.
pub fn split(request: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = request.match_indices("\n!").map(|(at, _)| at + 1).collect();
    starts.insert(0, 0);
    let ends = starts.iter().skip(1).copied().chain([request.len()]);
    starts.iter().zip(ends).map(|(&start, end)| request[start..end].trim_end_matches('\n')).collect()
}

/// Carries out one directive. An error becomes the reply.
pub fn run(agent: &mut Agent, line: &str, prompts: &[String]) -> Reply {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    try_run(agent, name, rest, prompts).unwrap_or_else(|error| Reply::Text(format!("{name} failed: {error}")))
}

fn try_run(agent: &mut Agent, name: &str, rest: &str, prompts: &[String]) -> io::Result<Reply> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    let need = |at: usize| number(at).ok_or_else(|| io::Error::other(format!("argument {} must be a number", at + 1)));
    let text = |text: String| Ok(Reply::Text(text));
    match name {
        "!outputs" => Ok(outputs(agent, need(0)?, words.get(1).copied().unwrap_or("session"))),
        "!big" => {
            sleep(Duration::from_millis(number(1).unwrap_or(0)));
            text("x".repeat(need(0)? as usize))
        }
        "!say" => text(rest.to_owned()),
        "!usage" => {
            let usd = words.get(2).and_then(|word| word.parse().ok()).unwrap_or(0.0);
            agent.wire.usage = Some((need(0)?, need(1)?, usd));
            text("used".into())
        }
        "!silent" => Ok(Reply::Silent),
        "!time" => text(monotonic_ns().to_string()),
        "!prompt" => text(prompts.join("\n")),
        "!stdin" => text(agent.stdin.clone()),
        "!secret" => text(agent.input.secrets.get(rest).cloned().unwrap_or_else(|| "no such secret".into())),
        "!session" => {
            rest.clone_into(&mut agent.wire.session);
            text(format!("session {rest}"))
        }
        "!sh" => shell(rest),
        "!ledger" => {
            let mut file =
                OpenOptions::new().create(true).append(true).open(Path::new(GROUP_DIR).join("ledger.txt"))?;
            file.write_all(format!("{rest}\n").as_bytes())?;
            file.sync_all()?;
            text(format!("ledger: {rest}"))
        }
        "!once" => {
            if first_time(rest)? {
                Ok(run(agent, rest, prompts))
            } else {
                text("once: over".into())
            }
        }
        "!sleep" => {
            sleep(Duration::from_millis(need(0)?));
            text(format!("slept {}", need(0)?))
        }
        "!heartbeat" => {
            for _ in 0..need(0)? {
                agent.wire.heartbeat();
                sleep(Duration::from_millis(need(1)?));
            }
            text("heartbeats sent".into())
        }
        "!open" => {
            agent.wire.open(&Reply::Text(rest.to_owned()));
            Ok(Reply::NoEnd)
        }
        "!chunks" => {
            agent.wire.chunks = Some((need(0)? as usize, Duration::from_millis(need(1)?)));
            let tail = rest.trim_start().splitn(3, char::is_whitespace).nth(2).unwrap_or("");
            text(tail.to_owned())
        }
        "!error" => Ok(error(&words)),
        "!error-resumed" if agent.input.session_id.is_some() => Ok(error(&words)),
        "!error-resumed" => text("a new session".into()),
        "!raw" => {
            wire::write(&base64(rest)?);
            Ok(Reply::NoEnd)
        }
        "!v1" | "!v2" => {
            agent.wire.v1 = name == "!v1";
            text(format!("speaking {}", &name[1..]))
        }
        "!task" => request("tasks", rest),
        "!message" => request("messages", rest),
        "!ipc" | "!ipctime" => {
            let [dir, file, data] = words[..] else { return Err(io::Error::other("needs DIR NAME BASE64")) };
            let before = monotonic_ns();
            write_atomically(&Path::new(IPC_DIR).join(dir), file, &base64(data)?)?;
            text(if name == "!ipc" { format!("dropped {dir}/{file}") } else { before.to_string() })
        }
        "!ignore-input" => {
            agent.ignore_input = true;
            text("ignoring input".into())
        }
        _ => hostile::run(agent, name, &words, rest),
    }
}

fn monotonic_ns() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

fn outputs(agent: &mut Agent, count: u64, session: &str) -> Reply {
    for number in 1..count {
        agent.wire.text_with_session(&format!("output {number}"), &format!("{session}-{number}"));
    }
    agent.wire.session = format!("{session}-{count}");
    if count == 0 { Reply::Silent } else { Reply::Text(format!("output {count}")) }
}

fn error(words: &[&str]) -> Reply {
    let retry_at = words.get(1).and_then(|word| word.parse().ok()).map(|ms| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        rfc3339(now + Duration::from_millis(ms))
    });
    Reply::Error { kind: words.first().copied().unwrap_or("other").to_owned(), retry_at }
}

/// Runs a command in the image's shell, and returns its output and exit code.
fn shell(command: &str) -> io::Result<Reply> {
    let run = |program: &str, first: &[&str]| {
        Command::new(program).args(first).arg("-c").arg(command).current_dir(GROUP_DIR).stdin(Stdio::null()).output()
    };
    let output = run("busybox", &["sh"]).or_else(|_| run("sh", &[]))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        text.push_str("exit ");
        text.push_str(&output.status.code().unwrap_or(-1).to_string());
    }
    Ok(Reply::Text(text.trim_end().to_owned()))
}

/// Returns true if no agent of this group has seen this text before.
fn first_time(text: &str) -> io::Result<bool> {
    let path = Path::new(GROUP_DIR).join(".once");
    let seen = fs::read_to_string(&path).unwrap_or_default();
    let line = text.replace('\n', "\\n");
    if seen.lines().any(|known| known == line) {
        return Ok(false);
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "{line}")?;
    file.sync_all()?;
    Ok(true)
}

fn request(kind: &str, text: &str) -> io::Result<Reply> {
    let json: Value = serde_json::from_str(text)?;
    let folders =
        Folders { ipc: IPC_DIR.into(), input: INPUT_DIR.into(), group: GROUP_DIR.into(), global: GLOBAL_DIR.into() };
    let mut results = Results::open(&folders.ipc);
    let id = folders.request(kind, &json)?;
    let result = results.wait(&id, Duration::from_secs(5));
    Ok(Reply::Text(result.map_or("no result".into(), |result| json!(result).to_string())))
}

/// Decodes base64; padding and white space are optional.
pub fn base64(text: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(io::Error::other("not base64")),
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Ok(bytes)
}

/// Formats a time since 1970 as RFC 3339 in UTC, with the civil-from-days algorithm.
fn rfc3339(at: Duration) -> String {
    let (days, second) = ((at.as_secs() / 86_400) as i64, at.as_secs() % 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (second / 3600, second % 3600 / 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{:03}Z", second % 60, at.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_begins_a_directive_at_each_exclamation_mark() {
        assert_eq!(split("!sh a\nb\n!say c"), ["!sh a\nb", "!say c"]);
    }

    #[test]
    fn base64_is_decoded() {
        assert_eq!(base64("aGVsbG8=").unwrap(), b"hello");
        assert_eq!(base64("//4A").unwrap(), [255, 254, 0]);
        assert!(base64("%").is_err());
    }

    #[test]
    fn rfc3339_writes_valid_calendar_times() {
        assert_eq!(rfc3339(Duration::from_millis(1_709_210_096_007)), "2024-02-29T12:34:56.007Z");
        assert_eq!(rfc3339(Duration::ZERO), "1970-01-01T00:00:00.000Z");
    }
}
