//! How the CLI is called.

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::Sender;

use serde_json::json;

use super::memo::Version;
use crate::live::{Live, Signal, brief};
use crate::run::Room;
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

/// The arguments of a call.
pub fn arguments(room: &Room, resume: Option<&str>, version: Version) -> Vec<String> {
    let mut args: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| args.extend(words.iter().map(|word| (*word).to_owned()));
    add(&["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--replay-user-messages"]);
    add(&["--permission-mode", "bypassPermissions", "--settings", &settings()]);
    if let Some(id) = resume {
        add(&["--resume", id]);
    }
    if let Some(model) = room.input.model.as_deref().filter(|model| !model.starts_with('-')) {
        add(&["--model", model]);
    }
    if version >= KEEPS_SYSTEM_PROMPT {
        add(&["--system-prompt-snapshot", "off"]);
    }
    let global = brief::global(room);
    let mut folders = brief::extra_folders(room);
    if room.input.is_main {
        // Main writes this memory; it reads it as that of a folder.
        folders.extend(global.is_dir().then_some(global));
    } else if let Some(memory) = brief::memory(&global.join("CLAUDE.md")) {
        add(&["--append-system-prompt", &memory]);
    }
    for folder in &folders {
        add(&["--add-dir", &folder.to_string_lossy()]);
    }
    let server = json!({ "command": brief::own_program(), "args": ["mcp"] });
    add(&["--mcp-config", &json!({ "mcpServers": { "parlor": server } }).to_string()]);
    // Last, because the options before take as many words as come.
    add(&["--strict-mcp-config", "--verbose"]);
    args
}

/// Settings of this call: before a conversation is compacted, we keep what was said.
fn settings() -> String {
    let archive = format!("'{}' archive", brief::own_program());
    json!({ "hooks": { "PreCompact": [{ "hooks": [{ "type": "command", "command": archive }] }] } }).to_string()
}

/// Starts a CLI, to which `Live` is the way.
///
/// # Errors
/// When it cannot be started.
pub fn start(program: &Path, args: &[String], room: &Room, config: &Path, to: &Sender<Signal>) -> io::Result<Live> {
    let mut command = Command::new(program);
    command.args(args).current_dir(&room.folders.group);
    tool::offer(&mut command, room);
    command.env("CLAUDE_CONFIG_DIR", config);
    for (key, value) in ENVIRONMENT.iter().filter(|(key, _)| std::env::var_os(key).is_none()) {
        command.env(key, value);
    }
    // Here and nowhere else: no other child of ours has them.
    command.envs(&room.input.secrets);
    Live::start(&mut command, &room.working, to)
}
