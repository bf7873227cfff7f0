//! `[mcp.NAME]`: the group's own MCP servers, as programs in the room or at a URL.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::{Table, Value};

use super::parse;

/// Most servers in a file.
const COUNT: usize = 16;
/// Most arguments, variables or headers of a server.
const PARTS: usize = 64;
/// Longest name of a server, in letters: each tool's name begins with it.
const NAME_LIMIT: usize = 32;
/// Default limit for a server's start, in seconds: a server that is downloaded first takes long.
const START: usize = 60;
/// The largest start limit that a table may set, in seconds.
const LONGEST_START: usize = 600;
/// The name of Parlor's own server.
const OURS: &str = "parlor";

/// An MCP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The program or URL to talk to.
    pub way: Way,
    /// The limit for its start: the time until its tools are known.
    pub start: Duration,
}

/// The way to talk to an MCP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// A program in the room, which talks over stdin and stdout.
    Program {
        /// The program's name, looked up in PATH, or its path.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Variables beside the agent's own.
        env: BTreeMap<String, String>,
    },
    /// A URL that speaks streamable HTTP.
    Address {
        /// `http://…` or `https://…`.
        url: String,
        /// Headers of each request, such as an authorization.
        headers: BTreeMap<String, String>,
    },
}

/// Returns each server, or the reason why it is left out.
pub(super) fn parse(table: &Table) -> Vec<(String, Result<Server, String>)> {
    let one = |(at, (name, value)): (usize, (&String, &Value))| {
        let result = if at >= COUNT { Err(format!("there may be {COUNT}")) } else { server(name, value) };
        (name.clone(), result)
    };
    table.iter().enumerate().map(one).collect()
}

fn server(name: &str, value: &Value) -> Result<Server, String> {
    if name == OURS {
        return Err("the name is taken by the host's own tools: choose another".to_owned());
    }
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > NAME_LIMIT || !name.chars().all(fine) || name.contains("__") {
        return Err(format!("a name has 1 to {NAME_LIMIT} letters, digits, - and _, and no two _ together"));
    }
    let table = parse::table(value)?;
    let way = match (table.get("command"), table.get("url")) {
        (Some(command), None) => {
            only(table, &["command", "args", "env", "start_timeout"])?;
            let args = table.get("args").map_or(Ok(Vec::new()), texts)?;
            let env = table.get("env").map_or(Ok(BTreeMap::new()), |value| map(value, parse::is_env_name))?;
            Way::Program { command: plain(command)?, args, env }
        }
        (None, Some(url)) => {
            only(table, &["url", "headers", "start_timeout"])?;
            let url = plain(url)?;
            if !(url.starts_with("http://") || url.starts_with("https://")) || url.contains(char::is_whitespace) {
                return Err("url must begin with http:// or https://".to_owned());
            }
            Way::Address { url, headers: table.get("headers").map_or(Ok(BTreeMap::new()), |value| map(value, header))? }
        }
        _ => return Err("it needs either command, or url".to_owned()),
    };
    let start = table.get("start_timeout").map_or(Ok(START), |value| parse::number(value, 1, LONGEST_START));
    let start = start.map_err(|why| format!("start_timeout: {why}, in seconds"))?;
    Ok(Server { way, start: Duration::from_secs(start as u64) })
}

fn only(table: &Table, keys: &[&str]) -> Result<(), String> {
    match table.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(other) => Err(format!("it has no {other:?} here; it has {}", keys.join(", "))),
        None => Ok(()),
    }
}

/// Refuses texts with variables: some agents would replace them with keys, and so send the keys to a server.
fn plain(value: &Value) -> Result<String, String> {
    let text = value.as_str().ok_or("its values must be texts")?;
    if text.contains("${") {
        return Err(
            "variables such as ${NAME} are not replaced here: write the value, or a script that reads it".to_owned()
        );
    }
    if text.contains('\0') {
        return Err("a text has a NUL in it".to_owned());
    }
    Ok(text.to_owned())
}

fn texts(value: &Value) -> Result<Vec<String>, String> {
    let list = value.as_array().ok_or("args must be a list of texts")?;
    if list.len() > PARTS {
        return Err(format!("args may be {PARTS}"));
    }
    list.iter().map(plain).collect()
}

fn map(value: &Value, is_name: fn(&str) -> bool) -> Result<BTreeMap<String, String>, String> {
    let table = parse::table(value)?;
    if table.len() > PARTS {
        return Err(format!("env and headers may have {PARTS} entries"));
    }
    let one = |(name, value): (&String, &Value)| {
        if !is_name(name) {
            return Err(format!("{name:?} is no name for it"));
        }
        Ok((name.clone(), plain(value)?))
    };
    table.iter().map(one).collect()
}

/// Returns true if the text can be a header's name.
fn header(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
