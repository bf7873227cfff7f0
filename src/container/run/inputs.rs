//! One run's input folder: made before the run, written by the host, read and emptied by the agent, removed after.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use parlor_protocol::{CLOSE_SENTINEL, InputFile};

use crate::config::home::Home;
use crate::domain::ids::RunId;
use crate::safe_dir::{Owner, SafeDir};

/// The folder of a live run. The container can write it, so every access goes through the handle.
#[derive(Debug)]
pub struct Inputs {
    dir: SafeDir,
    owner: Option<Owner>,
}

impl Inputs {
    /// Makes the input folder of a run.
    pub fn create(home: &Home, run: RunId, owner: Option<Owner>) -> io::Result<Self> {
        let name = run.to_string().to_lowercase();
        let dir = SafeDir::open(&home.data())?.ensure_dir(&Path::new("inputs").join(name), owner, 0o700)?;
        Ok(Self { dir, owner })
    }

    /// Writes a follow-up, complete or not at all.
    pub fn deliver(&self, name: &str, file: &InputFile) -> io::Result<()> {
        let json = serde_json::to_vec(file)?;
        self.dir.write_atomic(OsStr::new(name), &json, self.owner, 0o600)
    }

    /// Asks the agent to finish and exit, with the file `_close`.
    pub fn close(&self) -> io::Result<()> {
        self.dir.write_atomic(OsStr::new(CLOSE_SENTINEL), b"", self.owner, 0o600)
    }

    /// Returns true if the agent has taken a file. An unreadable folder counts as taken.
    pub fn gone(&self, name: &str) -> bool {
        !self.dir.exists(OsStr::new(name)).unwrap_or(false)
    }

    /// Removes a run's folder.
    pub fn remove(home: &Home, run: RunId) -> io::Result<()> {
        let name = run.to_string().to_lowercase();
        SafeDir::open(&home.data().join("inputs"))?.remove_tree(OsStr::new(&name))
    }

    /// Finishes removals that a killed host had begun: each had renamed its folder.
    pub fn finish_removals(home: &Home) -> io::Result<()> {
        let dir = SafeDir::open(&home.data().join("inputs"))?;
        let aside = dir.names(usize::MAX)?.into_iter().filter(|name| name.to_string_lossy().starts_with('.'));
        aside.into_iter().try_for_each(|name| dir.remove_tree(&name))
    }

    /// Returns the runs that have a folder.
    pub fn all(home: &Home) -> io::Result<Vec<RunId>> {
        let names = SafeDir::open(&home.data().join("inputs"))?.names(usize::MAX)?;
        Ok(names.iter().filter_map(|name| name.to_str()?.to_uppercase().parse().ok()).collect())
    }
}

/// Returns the name of the n-th input file of a run; names sort by number.
pub fn file_name(n: u64) -> String {
    format!("{n:08}.json")
}
