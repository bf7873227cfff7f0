//! The command line of Codex, and its configuration.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Command;

use parlor_protocol::files::write_atomically;
use serde_json::{Map, Value, json};

use super::chosen::Chosen;
use super::prompt;
use super::requests::Setup;
use crate::live::brief;
use crate::provider::Room;
use crate::tool;

/// The name of the model provider in our configuration.
const PROVIDER: &str = "parlor";
/// The address of `OpenAI`'s API.
const OPENAI: &str = "https://api.openai.com/v1";
/// The keys that it accepts; the first one that is set is used. They go to the process in its configuration, so that no
/// environment holds a key that a command could read.
const KEYS: [&str; 2] = ["CODEX_API_KEY", "OPENAI_API_KEY"];
/// The secret that names another server.
const ADDRESS: &str = "OPENAI_BASE_URL";
/// The file that the CLI reads before the first message, in any thread.
const GUIDE: &str = "AGENTS.md";
/// Retries of a request within a turn. The host retries by itself, and reports the reason to the chat.
const RETRIES: u32 = 2;
/// Time limit of the host's tools, in seconds.
const TOOL_SECONDS: u32 = 300;

/// Arguments, which are set once for the process. The CLI sends no telemetry and does not update itself; it writes no
/// snapshot of an environment that may hold a key; and a follow-up waits for the answer in progress, which would
/// otherwise be dropped and not counted.
const ARGUMENTS: [&str; 15] = [
    "app-server",
    "-c",
    "analytics.enabled=false",
    "-c",
    "feedback.enabled=false",
    "-c",
    "check_for_update_on_startup=false",
    "-c",
    "features.shell_snapshot=false",
    "-c",
    "features.apps=false",
    "-c",
    "features.plugins=false",
    "-c",
    "features.instant_interrupt=false",
];

/// Environment default: the CLI's own log would only obscure why something failed.
const LOG: (&str, &str) = ("RUST_LOG", "error,codex_app_server=off");

/// Checks that there is a key, or the address of a server that needs none.
///
/// # Errors
/// Returns which secret is missing.
pub fn check(secrets: &BTreeMap<String, String>) -> Result<(), String> {
    if key(secrets).is_some() || address(secrets).is_some() {
        return Ok(());
    }
    Err(format!(
        "Codex needs a key: put {} or {}, or the address of a server as {ADDRESS}, into .env.",
        KEYS[1], KEYS[0]
    ))
}

fn word<'a>(secrets: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    secrets.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
}

fn key(secrets: &BTreeMap<String, String>) -> Option<&str> {
    KEYS.into_iter().find_map(|name| word(secrets, name))
}

fn address(secrets: &BTreeMap<String, String>) -> Option<String> {
    word(secrets, ADDRESS).map(|url| url.trim_end_matches('/').to_owned())
}

/// Returns the settings of the whole run.
pub fn setup(room: &Room, chosen: &Chosen, home: &Path) -> Setup {
    Setup {
        folder: room.folders.group.display().to_string(),
        model: chosen.common.chosen_model(&room.input).map(str::to_owned),
        effort: chosen.effort.clone(),
        config: config(room, chosen),
        provider: PROVIDER.to_owned(),
        skills: skills(home),
        price: chosen.price,
        quiet: room.input.is_scheduled_task,
    }
}

/// Returns the folders of the installation's skills, which are where Claude Code has them.
fn skills(home: &Path) -> Vec<String> {
    let folder = home.parent().unwrap_or(home).join(".claude/skills");
    folder.is_dir().then(|| folder.display().to_string()).into_iter().collect()
}

fn config(room: &Room, chosen: &Chosen) -> Map<String, Value> {
    let secrets = &room.input.secrets;
    let mut provider = json!({
        "name": "Parlor",
        "base_url": address(secrets).unwrap_or_else(|| OPENAI.to_owned()),
        "wire_api": "responses",
        "request_max_retries": RETRIES,
        "stream_max_retries": RETRIES,
    });
    if let Some(key) = key(secrets) {
        provider["experimental_bearer_token"] = json!(key);
    }
    let ours = json!({
        "command": brief::own_program(),
        "args": ["mcp"],
        "tool_timeout_sec": TOOL_SECONDS,
        "default_tools_approval_mode": "approve",
    });
    let config = json!({
        "model_providers": { PROVIDER: provider },
        "shell_environment_policy": { "inherit": "all", "ignore_default_excludes": true },
        // A login shell would reset the PATH that has the host's tools.
        "allow_login_shell": false,
        "mcp_servers": chosen.servers(ours),
        // The operator's skills are enough: the bundled ones are for another environment.
        "skills.bundled.enabled": false,
    });
    let Value::Object(config) = config else { return Map::new() };
    config
}

/// Writes what the CLI reads at its start, and returns the command that starts it.
///
/// # Errors
/// When its folder cannot be written.
pub fn command(program: &Path, room: &Room, chosen: &Chosen, home: &Path) -> io::Result<Command> {
    std::fs::create_dir_all(home)?;
    let guide = prompt::guide(room, chosen.common.system_prompt.as_deref());
    write_atomically(home, GUIDE, guide.as_bytes())?;
    let mut command = Command::new(program);
    command.args(ARGUMENTS).current_dir(&room.folders.group).envs(&chosen.common.env);
    tool::offer(&mut command, room);
    command.env("CODEX_HOME", home);
    if std::env::var_os(LOG.0).is_none() {
        command.env(LOG.0, LOG.1);
    }
    let own = KEYS.into_iter().chain([ADDRESS]).collect::<Vec<_>>();
    // The operator's other secrets are for the agent's commands.
    command.envs(room.input.secrets.iter().filter(|(name, _)| !own.contains(&name.as_str())));
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn check_needs_a_key_or_an_address() {
        assert!(check(&secrets(&[])).unwrap_err().contains("OPENAI_API_KEY"));
        assert!(check(&secrets(&[("OPENAI_API_KEY", " ")])).is_err());
        assert!(check(&secrets(&[("OPENAI_BASE_URL", "http://box/v1")])).is_ok());
        let both = secrets(&[("OPENAI_API_KEY", "a"), ("CODEX_API_KEY", "b")]);
        assert_eq!(key(&both), Some("b"));
        assert_eq!(address(&secrets(&[("OPENAI_BASE_URL", "http://box/v1/")])).as_deref(), Some("http://box/v1"));
    }

    #[test]
    fn arguments_are_pairs_and_hold_no_secret() {
        assert_eq!(ARGUMENTS.len() % 2, 1);
        assert!(ARGUMENTS[1..].chunks(2).all(|pair| pair[0] == "-c" && pair[1].contains('=')));
    }
}
