//! `[env]`: the environment variables that a group may set.
//!
//! An agent may start anything with any environment. Reserved are the variables that would change the agent's own
//! program: where it sends its key, what it loads, and what the host and Claude Code agreed on.

use toml::{Table, Value};

use super::parse;

/// Most variables in a file.
const COUNT: usize = 64;
/// Longest value, in bytes.
const VALUE_LIMIT: usize = 8 * 1024;

/// Variables that decide where programs are found, what they load, and which user they run as.
const NAMES: [&str; 17] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "PWD",
    "IFS",
    "ENV",
    "BASH_ENV",
    "IS_SANDBOX",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_EXTRA_CA_CERTS",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "NODE_USE_ENV_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];
/// Prefixes of loaders' variables, of vendors' variables, and of Parlor's own.
const STARTS: [&str; 12] = [
    "LD_",
    "BUN_",
    "ANTHROPIC_",
    "CLAUDE_",
    "CLAUDECODE",
    "OPENAI_",
    "CODEX_",
    "GEMINI_",
    "GOOGLE_",
    "OLLAMA_",
    "PARLOR_",
    "DISABLE_",
];
/// Suffixes of variables that hold a key or decide where requests go.
const ENDS: [&str; 6] = ["_API_KEY", "_AUTH_TOKEN", "_OAUTH_TOKEN", "_BASE_URL", "_PROXY", "_CA_BUNDLE"];

/// Returns each variable's value, or the reason why it is left out.
pub(super) fn parse(table: &Table) -> Vec<(String, Result<String, String>)> {
    let one = |(at, (name, value)): (usize, (&String, &Value))| {
        let result = if at >= COUNT { Err(format!("there may be {COUNT}")) } else { checked(name, value) };
        (name.clone(), result)
    };
    table.iter().enumerate().map(one).collect()
}

fn checked(name: &str, value: &Value) -> Result<String, String> {
    if !parse::is_env_name(name) {
        return Err("a name has letters, digits and _, and starts with no digit".to_owned());
    }
    if is_reserved(name) {
        return Err("the name is reserved: it could lead a key elsewhere, or change the agent's own program".to_owned());
    }
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(on) => on.to_string(),
        _ => return Err("it must be a text, a whole number, true or false".to_owned()),
    };
    if text.contains('\0') || text.len() > VALUE_LIMIT {
        return Err(format!("it may have {VALUE_LIMIT} bytes, and no NUL"));
    }
    Ok(text)
}

/// Returns true if no group may set this variable. Programs accept some of these names in small letters, too.
fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    NAMES.contains(&name.as_str())
        || STARTS.iter().any(|start| name.starts_with(start))
        || ENDS.iter().any(|end| name.ends_with(end))
}
