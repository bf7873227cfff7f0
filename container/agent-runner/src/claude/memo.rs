//! What is remembered between runs, in the agent's home: which version the CLI has, and what a conversation had cost.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::files::write_atomically;
use crate::process::{self, Plan, Working};

const FILE: &str = "parlor.json";
/// The first version that counts a resumed conversation's cost on.
const COUNTS_ON: Version = Version([2, 1, 329]);

/// A version of the CLI; zeros when it is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version(pub [u32; 3]);

impl Version {
    /// Reads `2.1.329 (Claude Code)`.
    fn parse(text: &str) -> Self {
        let mut parts =
            text.split_whitespace().next().unwrap_or_default().split('.').map(|part| part.parse().unwrap_or(0));
        Self(std::array::from_fn(|_| parts.next().unwrap_or(0)))
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    program: String,
    version: Version,
    session: String,
    total: f64,
}

/// See the module.
#[derive(Debug)]
pub struct Memo {
    dir: PathBuf,
    kept: Kept,
}

impl Memo {
    /// Reads what is remembered below the agent's home; nothing, when it cannot be read.
    pub fn open(dir: &Path) -> Self {
        let kept = fs::read(dir.join(FILE)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { dir: dir.to_owned(), kept: kept.unwrap_or_default() }
    }

    /// The program's version; it is asked only when it is not the program of last time.
    pub fn version(&mut self, program: &Path, working: &Working) -> Version {
        let id = match fs::metadata(program) {
            Ok(found) => format!("{} {} {} {}", program.display(), found.size(), found.mtime(), found.ino()),
            Err(_) => return Version::default(),
        };
        if self.kept.program != id {
            let limit = Some(std::time::Duration::from_secs(20));
            let plan = Plan { stdin: "", merge: false, log_stderr: true, keep: 1000, limit };
            let text = process::run(Command::new(program).arg("--version"), &plan, working)
                .map(|ended| ended.stdout.text())
                .unwrap_or_default();
            self.kept.version = Version::parse(&text);
            // An unknown version is asked for again.
            self.kept.program = if self.kept.version == Version::default() { String::new() } else { id };
            self.save();
        }
        self.kept.version
    }

    /// What a CLI that resumes this session counts from.
    pub fn total(&self, session: Option<&str>, version: Version) -> f64 {
        let same = session.is_some_and(|id| id == self.kept.session);
        if same && version >= COUNTS_ON { self.kept.total } else { 0.0 }
    }

    /// Remembers what a session had cost.
    pub fn keep_total(&mut self, session: &str, total: f64) {
        session.clone_into(&mut self.kept.session);
        self.kept.total = total;
        self.save();
    }

    fn save(&self) {
        let bytes = serde_json::to_vec(&self.kept).unwrap_or_default();
        if let Err(error) = write_atomically(&self.dir, FILE, &bytes) {
            eprintln!("{} cannot be written: {error}", self.dir.join(FILE).display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        assert_eq!(Version::parse("2.1.329 (Claude Code)"), Version([2, 1, 329]));
        assert!(Version::parse("2.1.1000") > Version::parse("2.1.329"));
        assert!(Version::parse("3") > Version::parse("2.9.9"));
        assert_eq!(Version::parse("nonsense"), Version::default());
    }

    #[test]
    fn a_total_is_that_of_its_own_session_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut memo = Memo::open(dir.path());
        memo.keep_total("s", 1.5);
        let memo = Memo::open(dir.path());
        let total = |session: Option<&str>, version| format!("{:.2}", memo.total(session, version));
        assert_eq!(total(Some("s"), COUNTS_ON), "1.50");
        assert_eq!(total(Some("s"), Version([2, 1, 197])), "0.00", "it counts each process by itself");
        assert_eq!(total(Some("t"), COUNTS_ON), "0.00");
        assert_eq!(total(None, COUNTS_ON), "0.00");
    }

    #[test]
    fn a_program_is_asked_for_its_version_once() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("claude");
        let script = format!("#!/bin/sh\necho x >>'{}/asked'\necho '2.1.7 (Claude Code)'\n", dir.path().display());
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        for _ in 0..2 {
            let mut memo = Memo::open(dir.path());
            assert_eq!(memo.version(&program, &Working::default()), Version([2, 1, 7]));
        }
        assert_eq!(fs::read_to_string(dir.path().join("asked")).unwrap(), "x\n");
        assert_eq!(Memo::open(dir.path()).version(Path::new("/nowhere"), &Working::default()), Version::default());
    }
}
