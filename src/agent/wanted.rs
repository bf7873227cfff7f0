//! The provider that a group's `agent.toml` asks for. The file is an agent's: it may be anything.

use std::ffi::OsStr;
use std::io;

use parlor_protocol::deep::on_deep_stack;

use crate::config::provider;
use crate::safe_dir::SafeDir;

/// The settings of a group's agent.
pub(super) const FILE: &str = "agent.toml";
/// The largest file that is read; the runner reads no larger one either.
const LIMIT: u64 = 32 * 1024;

/// The provider that is asked for, if any. What else the file says is the runner's business, and so is telling that it
/// is no TOML. The error is for the chat.
pub(super) fn provider(dir: &SafeDir) -> Result<Option<&'static str>, String> {
    let bytes = match dir.read(OsStr::new(FILE), LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("the host does not read the file: {error}")),
    };
    // On the stack of a worker a file that nests tables and keys would end the host.
    on_deep_stack(|| asked_for(&bytes)).map_err(|error| format!("the host does not read the file: {error}"))?
}

fn asked_for(bytes: &[u8]) -> Result<Option<&'static str>, String> {
    let table = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<toml::Table>().ok());
    match table.as_ref().and_then(|table| table.get("provider")) {
        None => Ok(None),
        Some(toml::Value::String(name)) => {
            // What an agent wrote is shown short.
            let shown: String = name.chars().take(40).collect();
            provider::parse(&shown).map(Some)
        }
        Some(_) => Err(format!("it must be a text, one of {}", provider::PROVIDERS.join(", "))),
    }
}
