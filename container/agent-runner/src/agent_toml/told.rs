//! Notices about settings that are not used: the chat gets them with an answer, and again only when they change.

use std::fs;
use std::path::{Path, PathBuf};

use super::AgentToml;

/// The file with the last notices, in the kept folder of the agent's home.
const FILE: &str = "parlor-agent-toml";
/// Longest notice, in bytes.
const LIMIT: usize = 4000;

/// Notices that the chat has not received.
#[derive(Debug, Default)]
pub struct Notices {
    text: Option<String>,
    file: PathBuf,
}

impl Notices {
    /// Returns the present problems of the settings, unless the chat got them in an earlier run. `kept`, which is
    /// `.claude` in the home, holds the record of that.
    pub fn new(settings: &AgentToml, kept: &Path) -> Self {
        Self::of(settings.problems(), kept)
    }

    /// Like [`new`](Self::new), from a list of problems.
    pub fn of(problems: &[String], kept: &Path) -> Self {
        let file = kept.join(FILE);
        if problems.is_empty() {
            // If the same problem comes back later, the chat gets it again.
            let _ = fs::remove_file(&file);
            return Self::default();
        }
        let list = problems.join("\n- ");
        let end = list.char_indices().map(|(at, _)| at).find(|at| *at > LIMIT).unwrap_or(list.len());
        let text = format!("(Not all of this group's settings in agent.toml are used:\n- {})", &list[..end]);
        let known = fs::metadata(&file).is_ok_and(|meta| meta.is_file() && meta.len() == text.len() as u64)
            && fs::read_to_string(&file).is_ok_and(|told| told == text);
        Self { text: (!known).then_some(text), file }
    }

    /// Adds the notices to an answer. Use it only for answers that end a turn well: a failed turn is tried again, and
    /// an error with a text would count as an answer.
    pub fn add_to(&mut self, result: &mut Option<String>) {
        if let Some(text) = self.text.take() {
            // A notice that cannot be recorded comes again in a later run. Writing to a pipe would block.
            if fs::symlink_metadata(&self.file).is_ok_and(|meta| !meta.is_file()) {
                eprintln!("{} is not a file: what was told is not noted", self.file.display());
            } else {
                let _ = fs::write(&self.file, &text);
            }
            *result = Some(result.take().map_or(text.clone(), |said| format!("{said}\n\n{text}")));
        }
    }
}
