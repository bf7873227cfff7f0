//! The command line of Claude Code.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::chosen::Chosen;
use super::memo::Version;
use crate::live::brief;
use crate::provider::Room;
use crate::tool;

/// The first version that keeps a session's system prompt: without an option, changed memory would never be read again.
const KEEPS_SYSTEM_PROMPT: Version = Version([2, 1, 329]);
/// Environment defaults: the CLI sends no telemetry and does not update itself.
const ENVIRONMENT: [(&str, &str); 9] = [
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ("DISABLE_TELEMETRY", "1"),
    ("DISABLE_ERROR_REPORTING", "1"),
    ("DISABLE_AUTOUPDATER", "1"),
    // The host retries by itself, and reports the reason to the chat.
    ("CLAUDE_CODE_MAX_RETRIES", "3"),
    ("CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD", "1"),
    ("CLAUDE_CODE_EXPERIMENTAL_AGENT_TEAMS", "1"),
    ("CLAUDE_CODE_DISABLE_AUTO_MEMORY", "0"),
    // The room is the sandbox.
    ("IS_SANDBOX", "1"),
];

/// The variable for the start limit of MCP servers, in milliseconds: one limit for all servers.
const START_LIMIT: &str = "MCP_TIMEOUT";

/// Returns the arguments of a call.
pub fn arguments(room: &Room, chosen: &Chosen, resume: Option<&str>, version: Version) -> Vec<String> {
    let mut args: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| args.extend(words.iter().map(|word| (*word).to_owned()));
    add(&["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--replay-user-messages"]);
    add(&["--permission-mode", "bypassPermissions", "--settings", &settings(chosen)]);
    if let Some(id) = resume {
        add(&["--resume", id]);
    }
    if let Some(model) = chosen.common.chosen_model(&room.input).filter(|model| !model.starts_with('-')) {
        add(&["--model", model]);
    }
    if version >= KEEPS_SYSTEM_PROMPT {
        add(&["--system-prompt-snapshot", "off"]);
    }
    let global = brief::global(room);
    let mut folders = brief::extra_folders(room);
    let mut told = Vec::new();
    if room.input.is_main {
        // Main may write this memory; the CLI reads it as that of a folder.
        folders.extend(global.is_dir().then_some(global));
    } else {
        told.extend(brief::memory(&global.join("CLAUDE.md")));
    }
    told.extend(chosen.common.system_prompt.clone());
    if !told.is_empty() {
        add(&["--append-system-prompt", &told.join("\n\n")]);
    }
    for folder in &folders {
        add(&["--add-dir", &folder.to_string_lossy()]);
    }
    let server = json!({ "command": brief::own_program(), "args": ["mcp"] });
    add(&["--mcp-config", &chosen.servers(server).to_string()]);
    args.extend(chosen.arguments());
    // Last, because the options before them take as many words as follow.
    args.extend(["--strict-mcp-config", "--verbose"].map(str::to_owned));
    args
}

/// Returns the settings of this call.
fn settings(chosen: &Chosen) -> String {
    json!({ "hooks": chosen.hooks(&format!("'{}' archive", brief::own_program())) }).to_string()
}

/// Sets the folder and the environment of a call; `config` is where the CLI keeps its things.
pub fn prepare(command: &mut Command, room: &Room, chosen: &Chosen, config: &Path) {
    command.current_dir(&room.folders.group);
    command.envs(&chosen.common.env).env("CLAUDE_CONFIG_DIR", config);
    tool::offer(command, room);
    for (key, value) in ENVIRONMENT.iter().filter(|(key, _)| std::env::var_os(key).is_none()) {
        command.env(key, value);
    }
    if let Some(longest) = chosen.common.servers.values().map(|server| server.start).max()
        && std::env::var_os(START_LIMIT).is_none()
    {
        command.env(START_LIMIT, longest.as_millis().to_string());
    }
    // Only this child process gets the secrets.
    command.envs(&room.input.secrets);
}
