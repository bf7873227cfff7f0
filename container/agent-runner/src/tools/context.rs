//! For whom the tools speak: what the runner tells its children by their environment, and by a file for those that get
//! an environment of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parlor_protocol::RunInput;
use parlor_protocol::files::{Folders, write_atomically};
use serde::{Deserialize, Serialize};

/// The file's name in [`dir`].
const FILE: &str = "run.json";
/// How long the host may take to answer a command line.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who calls. The host knows better than this, and decides: it only chooses what is offered, and fills in the chat.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where things lie.
    pub folders: Folders,
    /// The chat of the run; none outside of one.
    pub chat: Option<String>,
    /// True if the group is the owner's.
    pub is_main: bool,
    /// How long the host may take to answer.
    pub patience: Duration,
}

/// What the file says.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Left {
    chat_jid: Option<String>,
    #[serde(default)]
    is_main: bool,
}

/// The folder of the runner's own for its children: the link `parlor-tool` and the context.
pub fn dir() -> PathBuf {
    std::env::temp_dir().join(format!("parlor-bin-{}", rustix::process::geteuid().as_raw()))
}

/// Leaves the run's context for children whose environment is not ours. Where nothing can be written they have to be
/// told by their environment.
pub fn leave(input: &RunInput) {
    let left = Left { chat_jid: Some(input.chat_jid.clone()), is_main: input.is_main };
    let json = serde_json::to_vec(&left).unwrap_or_default();
    if let Err(error) = fs::create_dir_all(dir()).and_then(|()| write_atomically(&dir(), FILE, &json)) {
        eprintln!("host tools learn of the run by their environment alone: {error}");
    }
}

impl Context {
    /// The context of this process.
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
