//! Answers for agents: `results/<id>.json`, for an hour, at most a thousand.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;

use crate::safe_dir::{Owner, SafeDir};

/// Answers that are kept.
const MAX_FILES: usize = 1_000;
/// Seconds they are kept.
const MAX_AGE: i64 = 3_600;
/// Entries looked at when a room opens: the folder is the agent's, who may have filled it.
const LOOK: usize = 4 * MAX_FILES;

/// One group's answers.
#[derive(Debug)]
pub(super) struct Results {
    dir: SafeDir,
    owner: Option<Owner>,
    /// Oldest first, with the second they were written.
    kept: VecDeque<(OsString, i64)>,
}

impl Results {
    /// Takes the folder over; what is too old goes.
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

    /// Goes on in another folder: the agent put a new one in the old one's place.
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
            // Written again meanwhile: the later entry stands for it.
            if !self.kept.iter().skip(1).any(|(other, _)| other == name) {
                remove(&self.dir, name);
            }
            self.kept.pop_front();
        }
    }
}

fn remove(dir: &SafeDir, name: &OsStr) {
    // The agent may have removed it, or put something in its place: its folder, its mess.
    if let Err(error) = dir.remove(name) {
        tracing::debug!("old answer {name:?} stays: {error}");
    }
}
