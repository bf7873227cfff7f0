//! Answers for agents: `results/<id>.json`, for an hour, at most a thousand.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;

use crate::safe_dir::{Owner, SafeDir};

/// The most answers that are kept.
const MAX_FILES: usize = 1_000;
/// How many seconds answers are kept.
const MAX_AGE: i64 = 3_600;
/// The entries that are checked when a room opens: the folder is the agent's, which may have filled it.
const LOOK: usize = 4 * MAX_FILES;

/// One group's answers.
#[derive(Debug)]
pub(super) struct Results {
    dir: SafeDir,
    owner: Option<Owner>,
    /// The oldest first, with the second in which they were written.
    kept: VecDeque<(OsString, i64)>,
}

impl Results {
    /// Takes charge of the folder, and removes answers that are too old.
    pub(super) fn new(dir: SafeDir, owner: Option<Owner>, now: i64) -> io::Result<Self> {
        let mut kept = Vec::new();
        for name in dir.names(LOOK)? {
            if let Some(meta) = dir.stat(&name)? {
                kept.push((name, meta.mtime.min(now)));
            }
        }
        kept.sort_by_key(|(_, at)| *at);
        let mut this = Self { dir, owner, kept: kept.into() };
        this.trim(now, MAX_FILES);
        Ok(this)
    }

    /// Continues in another folder, because the agent has replaced the old one.
    pub(super) fn reopen(&mut self, dir: SafeDir) {
        self.dir = dir;
    }

    /// Writes an answer; `now` in seconds.
    pub(super) fn write(&mut self, id: &str, json: &str, now: i64) -> io::Result<()> {
        self.trim(now, MAX_FILES - 1);
        let name = OsString::from(format!("{id}.json"));
        self.dir.write_atomic(&name, json.as_bytes(), self.owner, 0o644)?;
        self.kept.push_back((name, now));
        Ok(())
    }

    fn trim(&mut self, now: i64, most: usize) {
        while let Some((name, at)) = self.kept.front() {
            if self.kept.len() <= most && now - at < MAX_AGE {
                break;
            }
            // It was written again meanwhile, and has a later entry.
            if !self.kept.iter().skip(1).any(|(other, _)| other == name) {
                remove(&self.dir, name);
            }
            self.kept.pop_front();
        }
    }
}

fn remove(dir: &SafeDir, name: &OsStr) {
    // The agent may have removed or replaced it; the folder is its own.
    if let Err(error) = dir.remove(name) {
        tracing::debug!("cannot remove the old answer {name:?}: {error}");
    }
}
