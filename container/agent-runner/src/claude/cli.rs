//! The command line of the CLI.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::chosen::Chosen;
use super::memo::Version;
use crate::live::brief;
use crate::provider::Room;
use crate::tool;

/// The first version that keeps the system prompt of a session, so that a changed memory would never be read again.
const KEEPS_SYSTEM_PROMPT: Version = Version([2, 1, 329]);
/// What the environment gets where it does not say otherwise: a room reports home to nobody and updates nothing.
const ENVIRONMENT: [(&str, &str); 9] = [
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ("DISABLE_TELEMETRY", "1"),
    ("DISABLE_ERROR_REPORTING", "1"),
    ("DISABLE_AUTOUPDATER", "1"),
    // The host tries again by itself, and tells the chat why.
    ("CLAUDE_CODE_MAX_RETRIES", "3"),
    ("CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD", "1"),
    ("CLAUDE_CODE_EXPERIMENTAL_AGENT_TEAMS", "1"),
    ("CLAUDE_CODE_DISABLE_AUTO_MEMORY", "0"),
    // The room is the sandbox.
    ("IS_SANDBOX", "1"),
];

/// How long an MCP server may take to start, in milliseconds: one bound for all of them.
const START_LIMIT: &str = "MCP_TIMEOUT";

/// The arguments of a call.
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
        // Main writes this memory; it reads it as that of a folder.
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
    // Last, because the options before take as many words as come.
    args.extend(["--strict-mcp-config", "--verbose"].map(str::to_owned));
    args
}

/// Settings of this call.
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
    // Here and nowhere else: no other child of ours has them.
    command.envs(&room.input.secrets);
}
