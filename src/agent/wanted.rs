//! The provider that a group's `agent.toml` asks for. An agent may have put anything into the file.

use std::ffi::OsStr;
use std::io;

use parlor_protocol::deep::on_deep_stack;

use crate::config::provider;
use crate::safe_dir::SafeDir;

/// The settings file of a group's agent.
pub(super) const FILE: &str = "agent.toml";
/// The most bytes of the file, which is the runner's limit, too.
const LIMIT: u64 = 32 * 1024;

/// Returns the provider that the file asks for, if any. The runner reads the other settings, and reports invalid
/// TOML. The error is for the chat.
pub(super) fn provider(dir: &SafeDir) -> Result<Option<&'static str>, String> {
    let bytes = match dir.read(OsStr::new(FILE), LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("the host does not read the file: {error}")),
    };
    // On a worker's stack, deeply nested tables and keys would end the host.
    on_deep_stack(|| asked_for(&bytes)).map_err(|error| format!("the host does not read the file: {error}"))?
}

fn asked_for(bytes: &[u8]) -> Result<Option<&'static str>, String> {
    let table = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<toml::Table>().ok());
    match table.as_ref().and_then(|table| table.get("provider")) {
        None => Ok(None),
        Some(toml::Value::String(name)) => {
            // Text from an agent is shown cut.
            let shown: String = name.chars().take(40).collect();
            provider::parse(&shown).map(Some)
        }
        Some(_) => Err(format!("it must be a text, one of {}", provider::PROVIDERS.join(", "))),
    }
}
