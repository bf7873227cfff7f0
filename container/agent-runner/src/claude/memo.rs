//! A file in the agent's home that keeps, between runs, the CLI's version and the cost of each conversation so far.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use parlor_protocol::files::write_atomically;
use serde::{Deserialize, Serialize};

use crate::process::{self, Plan, Working};

const FILE: &str = "parlor.json";
/// Locked while the file is read and rewritten: a chat's room and a task's may be open at the same time.
const LOCK: &str = "parlor.json.lock";
/// Number of conversations whose cost is kept; the oldest are dropped.
const SESSIONS: usize = 200;
/// The first version whose cost of a resumed conversation includes its earlier runs.
const COUNTS_ON: Version = Version([2, 1, 329]);

/// A version of the CLI; zeros if it is unknown.
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
    /// The cost of each session so far, the newest last.
    totals: Vec<(String, f64)>,
}

impl Kept {
    /// Reads the file; empty if it cannot be read.
    fn read(dir: &Path) -> Self {
        let kept = fs::read(dir.join(FILE)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        kept.unwrap_or_default()
    }
}

/// The values that are kept between runs.
#[derive(Debug)]
pub struct Memo {
    dir: PathBuf,
    kept: Kept,
}

impl Memo {
    /// Reads the file below the agent's home; empty if it cannot be read.
    pub fn open(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), kept: Kept::read(dir) }
    }

    /// Returns the program's version. The program is asked for it only if it is not the same program as last time.
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
            let version = Version::parse(&text);
            // If the version is unknown, the next run asks for it again.
            let program = if version == Version::default() { String::new() } else { id };
            self.change(|kept| (kept.version, kept.program) = (version, program));
        }
        self.kept.version
    }

    /// Returns the cost from which a CLI that resumes this session goes on counting.
    pub fn total(&self, session: Option<&str>, version: Version) -> f64 {
        if version < COUNTS_ON {
            return 0.0;
        }
        // Another room may have continued the session since this one was opened.
        let kept = Kept::read(&self.dir);
        let found = session.and_then(|id| kept.totals.iter().rev().find(|(session, _)| session == id));
        found.map_or(0.0, |(_, total)| *total)
    }

    /// Records the session's cost so far.
    pub fn keep_total(&mut self, session: &str, total: f64) {
        self.change(|kept| {
            kept.totals.retain(|(id, _)| id != session);
            kept.totals.push((session.to_owned(), total));
            let spare = kept.totals.len().saturating_sub(SESSIONS);
            kept.totals.drain(..spare);
        });
    }

    /// Changes the file's present content, which another room may have written.
    fn change(&mut self, change: impl FnOnce(&mut Kept)) {
        // Without the lock the file is still written: a cost that is reported twice is the lesser evil.
        let lock = File::create(self.dir.join(LOCK)).and_then(|file| file.lock().map(|()| file));
        self.kept = Kept::read(&self.dir);
        change(&mut self.kept);
        let bytes = serde_json::to_vec(&self.kept).unwrap_or_default();
        if let Err(error) = write_atomically(&self.dir, FILE, &bytes) {
            eprintln!("{} cannot be written: {error}", self.dir.join(FILE).display());
        }
        drop(lock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_order_is_numeric() {
        assert_eq!(Version::parse("2.1.329 (Claude Code)"), Version([2, 1, 329]));
        assert!(Version::parse("2.1.1000") > Version::parse("2.1.329"));
        assert!(Version::parse("3") > Version::parse("2.9.9"));
        assert_eq!(Version::parse("nonsense"), Version::default());
    }

    #[test]
    fn total_belongs_to_its_own_session() {
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
    fn totals_of_alternating_sessions_are_kept_and_the_oldest_dropped() {
        let dir = tempfile::tempdir().unwrap();
        // A chat's room and a task's room, open at the same time.
        let (mut chat, mut task) = (Memo::open(dir.path()), Memo::open(dir.path()));
        chat.keep_total("chat", 1.0);
        task.keep_total("task", 0.25);
        chat.keep_total("chat", 2.0);
        let total = |session: &str| Memo::open(dir.path()).total(Some(session), COUNTS_ON).to_string();
        assert_eq!([total("chat"), total("task")], ["2", "0.25"]);
        assert_eq!(task.total(Some("chat"), COUNTS_ON).to_string(), "2", "it is read when it is needed");
        for n in 0..SESSIONS - 1 {
            task.keep_total(&format!("t{n}"), 1.0);
        }
        assert_eq!([total("chat"), total("task"), total("t0")], ["2", "0", "1"]);
        task.keep_total("one more", 1.0);
        assert_eq!([total("chat"), total("t0")], ["0", "1"]);
    }

    #[test]
    fn version_of_a_program_is_asked_for_once() {
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
