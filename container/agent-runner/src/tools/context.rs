//! The run for which the tools speak. The runner passes it to its children in their environment, and in a file for
//! children with an environment of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parlor_protocol::RunInput;
use parlor_protocol::files::{Folders, write_atomically};
use serde::{Deserialize, Serialize};

/// The file's name in [`dir`].
const FILE: &str = "run.json";
/// Time that the host may take to answer a command line.
const PATIENCE: Duration = Duration::from_secs(5);

/// The calling run. It only selects the offered tools and the default chat; the host knows the caller itself, and
/// decides.
#[derive(Debug, Clone)]
pub struct Context {
    /// The folders of the room.
    pub folders: Folders,
    /// The run's chat; None outside of a run.
    pub chat: Option<String>,
    /// True for the main group.
    pub is_main: bool,
    /// Time that the host may take to answer.
    pub patience: Duration,
}

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Left {
    chat_jid: Option<String>,
    #[serde(default)]
    is_main: bool,
}

/// Returns the runner's own folder for its children, with the link `parlor-tool` and the context.
pub fn dir() -> PathBuf {
    std::env::temp_dir().join(format!("parlor-bin-{}", rustix::process::geteuid().as_raw()))
}

/// Writes the context for children whose environment is not ours. If nothing can be written, they have only their
/// environment.
pub fn leave(input: &RunInput) {
    let left = Left { chat_jid: Some(input.chat_jid.clone()), is_main: input.is_main };
    let json = serde_json::to_vec(&left).unwrap_or_default();
    if let Err(error) = fs::create_dir_all(dir()).and_then(|()| write_atomically(&dir(), FILE, &json)) {
        eprintln!("host tools learn of the run by their environment alone: {error}");
    }
}

impl Context {
    /// Reads the context from this process's environment, and else from the file.
    pub fn load() -> Self {
        let left = read(&dir().join(FILE));
        let word = |key| std::env::var(key).ok().filter(|text| !text.is_empty());
        let is_main = word("PARLOR_IS_MAIN").map_or(left.is_main, |text| text == "1");
        let chat = word("PARLOR_CHAT_JID").or(left.chat_jid);
        Self { folders: Folders::from_env(), chat, is_main, patience: PATIENCE }
    }
}

fn read(path: &Path) -> Left {
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}
