//! The command line of the Gemini CLI, and the settings file in its home.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::Command;

use parlor_protocol::files::write_atomically;
use serde_json::{Map, Value, json};

use crate::agent_toml::AgentToml;
use crate::live::brief;
use crate::provider::Room;
use crate::tool;

/// Environment defaults.
const ENVIRONMENT: [(&str, &str); 7] = [
    // One process instead of two: the second would only set the heap's size.
    ("GEMINI_CLI_NO_RELAUNCH", "1"),
    ("GEMINI_CLI_TRUST_WORKSPACE", "true"),
    // The room is the sandbox.
    ("GEMINI_SANDBOX", "false"),
    ("GEMINI_TELEMETRY_ENABLED", "false"),
    ("NO_BROWSER", "true"),
    ("NO_COLOR", "1"),
    // The group's .env file sets every name that is not here: it must not send the key to somebody else.
    ("NODE_TLS_REJECT_UNAUTHORIZED", "1"),
];
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];
/// The vendor's own server.
const VENDOR: &str = "https://generativelanguage.googleapis.com";
/// The CLI looks for a key in the environment before it is given one, and reports an error if there is none.
const NO_KEY: (&str, &str) = ("GEMINI_API_KEY", "is-not-in-the-environment");
/// Tries of a request, unless `PARLOR_GEMINI_ATTEMPTS` sets the number. The host retries by itself, and reports the
/// reason to the chat. The CLI would restart an interrupted answer behind the part already sent, and nobody would
/// notice.
const ATTEMPTS: u64 = 1;
const SETTINGS: &str = "settings.json";
/// The file in the CLI's home that holds the group's addition to the system prompt.
const PROMPT: &str = "PARLOR.md";

/// Returns the arguments of a call.
pub fn arguments(room: &Room, chosen: &AgentToml) -> Vec<String> {
    let mut args = vec!["--acp".to_owned(), "--yolo".to_owned()];
    if let Some(model) = chosen.chosen_model(&room.input).filter(|model| !model.starts_with('-')) {
        args.extend(["--model".to_owned(), model.to_owned()]);
    }
    args
}

/// Writes what the CLI reads at its start, and returns the command that starts it; `home` is where its folder `.gemini`
/// is.
///
/// # Errors
/// When its settings cannot be written.
pub fn command(program: &Path, room: &Room, chosen: &AgentToml, home: &Path) -> io::Result<Command> {
    let dir = home.join(".gemini");
    write_settings(&dir, &settings(room))?;
    write_atomically(&dir, PROMPT, chosen.system_prompt.as_deref().unwrap_or_default().as_bytes())?;
    let mut command = Command::new(program);
    command.args(arguments(room, chosen)).current_dir(&room.folders.group);
    tool::offer(&mut command, room);
    command.envs(&chosen.env).env("GEMINI_CLI_HOME", home).env(NO_KEY.0, NO_KEY.1);
    command.envs(fixed(address(room), |name| std::env::var_os(name).is_some()));
    Ok(command)
}

/// Returns the environment that we set; `has` says whether the room has a variable already.
fn fixed(address: Option<&str>, has: impl Fn(&str) -> bool) -> Vec<(&'static str, String)> {
    let mut all: Vec<(&str, &str)> = ENVIRONMENT.into_iter().filter(|(name, _)| !has(name)).collect();
    // All or none: a program that looks for one of them first would miss the operator's other one.
    if !PROXIES.into_iter().any(&has) {
        all.extend(PROXIES.map(|name| (name, "")));
    }
    all.push(("GOOGLE_GEMINI_BASE_URL", address.unwrap_or(VENDOR)));
    all.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
}

/// Returns the vendor's key, or a placeholder for the operator's own server, which may need none; else None.
pub fn key(room: &Room) -> Option<String> {
    let key = secret(room, "GEMINI_API_KEY").or_else(|| secret(room, "GOOGLE_API_KEY"));
    key.or_else(|| address(room).map(|_| "none")).map(str::to_owned)
}

/// Returns true if the operator set another server's address.
pub fn has_address(room: &Room) -> bool {
    address(room).is_some()
}

/// Returns the server's address without the version, which the CLI adds itself.
fn address(room: &Room) -> Option<&str> {
    let address = secret(room, "GEMINI_BASE_URL").or_else(|| secret(room, "GOOGLE_GEMINI_BASE_URL"))?;
    let address = address.trim_end_matches('/');
    Some(address.strip_suffix("/v1beta").unwrap_or(address))
}

fn secret<'a>(room: &'a Room, name: &str) -> Option<&'a str> {
    room.input.secrets.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
}

/// Returns the settings that must hold, whatever else is in the agent's home.
fn settings(room: &Room) -> Value {
    let attempts = std::env::var("PARLOR_GEMINI_ATTEMPTS").ok().and_then(|text| text.parse().ok());
    let mut folders = brief::extra_folders(room);
    folders.extend(Some(brief::global(room)).filter(|global| global.is_dir()));
    json!({
        "general": {
            "maxAttempts": attempts.unwrap_or(ATTEMPTS).clamp(1, 10),
            "enableAutoUpdate": false,
            "enableAutoUpdateNotification": false,
            "enableNotifications": false,
            "plan": { "enabled": false },
            "topicUpdateNarration": false,
        },
        "security": { "auth": { "selectedType": "gemini-api-key" }, "folderTrust": { "enabled": false } },
        "advanced": { "ignoreLocalEnv": true },
        "privacy": { "usageStatisticsEnabled": false },
        "telemetry": { "enabled": false },
        "context": {
            "fileName": ["CLAUDE.md", "GEMINI.md", PROMPT],
            "includeDirectories": folders,
            "loadMemoryFromIncludeDirectories": true,
        },
    })
}

/// Merges our settings into the existing file.
fn write_settings(dir: &Path, ours: &Value) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let file = dir.join(SETTINGS);
    let mut all = match fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes).ok().filter(Value::is_object).unwrap_or_else(|| {
            let kept = dir.join("settings.unreadable.json");
            eprintln!("{} is no JSON object: it is kept as {}", file.display(), kept.display());
            let _ = fs::rename(&file, kept);
            json!({})
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => json!({}),
        Err(error) => return Err(error),
    };
    overlay(&mut all, ours);
    write_atomically(dir, SETTINGS, &serde_json::to_vec_pretty(&all).unwrap_or_default())
}

fn overlay(all: &mut Value, ours: &Value) {
    let Value::Object(ours) = ours else {
        *all = ours.clone();
        return;
    };
    if !all.is_object() {
        *all = Value::Object(Map::new());
    }
    if let Value::Object(all) = all {
        for (key, value) in ours {
            overlay(all.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_file_of_the_group_cannot_redirect_the_key() {
        let of = |address, has: &[&str]| -> std::collections::HashMap<_, _> {
            fixed(address, |name| has.contains(&name)).into_iter().collect()
        };
        let bare = of(None, &[]);
        assert_eq!(bare["GOOGLE_GEMINI_BASE_URL"], VENDOR);
        assert_eq!(bare["NODE_TLS_REJECT_UNAUTHORIZED"], "1");
        assert!(PROXIES.iter().all(|name| bare[name].is_empty()), "{bare:?}");
        let chosen = of(Some("http://10.0.0.1:8080"), &["http_proxy", "NO_COLOR", "NODE_TLS_REJECT_UNAUTHORIZED"]);
        assert_eq!(chosen["GOOGLE_GEMINI_BASE_URL"], "http://10.0.0.1:8080");
        for name in PROXIES.into_iter().chain(["NO_COLOR", "NODE_TLS_REJECT_UNAUTHORIZED"]) {
            assert!(!chosen.contains_key(name), "{name} is the operator's");
        }
    }

    #[test]
    fn settings_are_merged_into_the_existing_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(SETTINGS);
        let ours = json!({ "telemetry": { "enabled": false }, "context": { "fileName": ["CLAUDE.md"] } });
        let read = || serde_json::from_slice::<Value>(&fs::read(&file).unwrap()).unwrap();
        write_settings(dir.path(), &ours).unwrap();
        assert_eq!(read(), ours);
        let before =
            json!({ "telemetry": { "enabled": true, "target": "local" }, "context": 1, "ui": { "theme": "x" } });
        fs::write(&file, before.to_string()).unwrap();
        write_settings(dir.path(), &ours).unwrap();
        let together = json!({ "telemetry": { "enabled": false, "target": "local" }, "ui": { "theme": "x" },
            "context": { "fileName": ["CLAUDE.md"] } });
        assert_eq!(read(), together);
        fs::write(&file, "{ // mine").unwrap();
        write_settings(dir.path(), &ours).unwrap();
        assert_eq!(read(), ours);
        assert_eq!(fs::read_to_string(dir.path().join("settings.unreadable.json")).unwrap(), "{ // mine");
    }
}
