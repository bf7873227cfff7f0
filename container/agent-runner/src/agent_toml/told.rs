//! Telling the chat what of the settings is not used: with an answer, and not again until something else is wrong.

use std::fs;
use std::path::{Path, PathBuf};

use super::AgentToml;

/// The last notices, in the folder of the agent's home that is kept.
const FILE: &str = "parlor-agent-toml";
/// The most of a notice.
const LIMIT: usize = 4000;

/// Notices that the chat has not had.
#[derive(Debug, Default)]
pub struct Notices {
    text: Option<String>,
    file: PathBuf,
}

impl Notices {
    /// Returns what is wrong with the settings now, unless the chat knows it from an earlier run: that is noted in
    /// `kept`, which is `.claude` in the home.
    pub fn new(settings: &AgentToml, kept: &Path) -> Self {
        Self::of(settings.problems(), kept)
    }

    /// The same of a list.
    pub fn of(problems: &[String], kept: &Path) -> Self {
        let file = kept.join(FILE);
        if problems.is_empty() {
            // The same mistake later is news again.
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

    /// Adds the notices to an answer. Only for answers that end a turn well: a failed one is tried again, and one
    /// that says something counts as said.
    pub fn add_to(&mut self, result: &mut Option<String>) {
        if let Some(text) = self.text.take() {
            // A notice that cannot be noted comes again in a later run. A pipe would be waited for.
            if fs::symlink_metadata(&self.file).is_ok_and(|meta| !meta.is_file()) {
                eprintln!("{} is not a file: what was told is not noted", self.file.display());
            } else {
                let _ = fs::write(&self.file, &text);
            }
            *result = Some(result.take().map_or(text.clone(), |said| format!("{said}\n\n{text}")));
        }
    }
}
