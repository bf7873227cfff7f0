//! Copies folders: regular files and folders only, each file whole or not at all, nothing that is here already
//! replaced.
//!
//! The source may have been arranged by a hostile container, and so may what lies here: both are gone through by
//! handles.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::ImportError;
use super::compare::{Here, here_is, is_run_log};
use super::plan::{Plan, Tree};
use super::report::{Kind, Outcome, Report};
use crate::config::home::Home;
use crate::safe_dir::{Dress, Kind as Entry, Meta, Owner, SafeDir, is_unfinished};

/// Folders within folders that are followed; each costs two descriptors.
const DEPTH: u32 = 100;
/// What a tree's report names of what it leaves out; more are counted.
const MAX_NAMED: u64 = 50;

/// How far the copying is.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// What is being copied.
    pub path: &'a Path,
    /// Bytes so far.
    pub done: u64,
    /// Bytes in all, as they were counted before.
    pub of: u64,
}

/// How trees are gone through.
pub struct Way<'a> {
    /// True if anything is written.
    pub copy: bool,
    /// Whom copies belong to.
    pub owner: Option<Owner>,
    /// Bytes in all, where they were counted before.
    pub total: u64,
    /// Told of every file.
    pub progress: &'a dyn Fn(Step<'_>),
}

/// What was done, or would be.
#[derive(Debug, Default)]
pub struct Done {
    pub report: Report,
    /// Bytes of what is not here yet.
    pub bytes: u64,
    /// Folders that were gone through without an error, as `groups/<name>` or `data/sessions/<name>`, by their names
    /// there.
    pub complete: Vec<String>,
}

/// Takes all folders of a plan.
pub fn take(source: &Path, home: &Home, plan: &Plan, way: &Way<'_>) -> Result<Done, ImportError> {
    let source_dir = SafeDir::open(source).map_err(|error| ImportError::read(source, error))?;
    let mut done = Done::default();
    for (below, trees, here) in
        [("groups", &plan.workspaces, home.groups()), ("data/sessions", &plan.agents, home.data().join("sessions"))]
    {
        // Missing only when nothing is written.
        let root = match SafeDir::open(&here) {
            Ok(root) => Some(root),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !way.copy => None,
            Err(error) => return Err(ImportError::write(&here, error)),
        };
        for tree in trees {
            let name = Path::new(below).join(&tree.from);
            let mut walk = Walk {
                way,
                report: &mut done.report,
                taken: 0,
                present: 0,
                bytes: done.bytes,
                left: 0,
                logs: 0,
                unread: false,
            };
            match source_dir.open_dir(&name) {
                Ok(from) if below == "groups" => walk.workspace(&from, root.as_ref(), tree, &name)?,
                Ok(from) => walk.agent(&from, root.as_ref(), tree, &name)?,
                Err(error) => walk.unreadable(&name, &error),
            }
            if walk.close(&name) {
                done.complete.push(name.to_string_lossy().into_owned());
            }
        }
    }
    Ok(done)
}

struct Walk<'a> {
    way: &'a Way<'a>,
    report: &'a mut Report,
    taken: u64,
    present: u64,
    bytes: u64,
    left: u64,
    logs: u64,
    /// True if another import may find more.
    unread: bool,
}

impl Walk<'_> {
    fn workspace(
        &mut self,
        from: &SafeDir,
        root: Option<&SafeDir>,
        tree: &Tree,
        rel: &Path,
    ) -> Result<(), ImportError> {
        let Some(to) = self.enter(root, OsStr::new(&tree.to), rel, 0o755, self.way.owner)? else {
            // Nothing of it came: once the name is free, another import takes it.
            self.unread = true;
            return Ok(());
        };
        self.folder(from, to.as_ref(), rel, 0)
    }

    /// Only the agent's home; what else lies beside it is of NanoClaw's own making.
    fn agent(&mut self, from: &SafeDir, root: Option<&SafeDir>, tree: &Tree, rel: &Path) -> Result<(), ImportError> {
        // Never mounted itself: the host's own.
        let Some(to) = self.enter(root, OsStr::new(&tree.to), rel, 0o755, None)? else {
            // Nothing of it came: once the name is free, another import takes it.
            self.unread = true;
            return Ok(());
        };
        let entries = match from.entries() {
            Ok(entries) => entries,
            Err(error) => {
                self.unreadable(rel, &error);
                return Ok(());
            }
        };
        for entry in entries.flatten() {
            let inner = rel.join(&entry.name);
            if entry.name != ".claude" {
                self.leave(&inner, "Parlor makes its own, see AGENT_RUNNER_SRC");
                continue;
            }
            match from.stat(&entry.name) {
                Ok(Some(meta)) if meta.kind == Entry::Dir => {
                    let meta = Meta { mode: 0o755, ..meta };
                    self.inner(from, to.as_ref(), &entry.name, &inner, &meta, 0)?;
                }
                Ok(Some(meta)) => self.leave(&inner, &format!("it is {}", meta.kind)),
                Ok(None) => {}
                Err(error) => self.unreadable(&inner, &error),
            }
        }
        Ok(())
    }

    /// Opens the folder here, or makes it. The outer none: something else has its name. The inner none: it is not
    /// there, and nothing is made.
    #[allow(clippy::option_option)]
    fn enter(
        &mut self,
        parent: Option<&SafeDir>,
        name: &OsStr,
        rel: &Path,
        mode: u32,
        owner: Option<Owner>,
    ) -> Result<Option<Option<SafeDir>>, ImportError> {
        let Some(parent) = parent else { return Ok(Some(None)) };
        let there = parent.stat(name).map_err(|error| ImportError::write(rel, error))?;
        if let Some(there) = there
            && there.kind != Entry::Dir
        {
            self.leave(rel, &format!("there is {} of that name here: it stays as it is", there.kind));
            return Ok(None);
        }
        if !self.way.copy {
            return Ok(Some(parent.open_dir(Path::new(name)).ok()));
        }
        if there.is_some_and(|there| there.mode & 0o777 == 0o700) {
            // Perhaps made by an import that was killed before it had given it its owner and mode: it is empty then.
            match parent.remove_empty_dir(name) {
                Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                    return Err(ImportError::write(rel, error));
                }
                _ => {}
            }
        }
        let to = parent.ensure_dir(Path::new(name), owner, mode).map_err(|error| ImportError::write(rel, error))?;
        if there.is_some() {
            // Left by an import that was killed.
            for entry in to.entries().into_iter().flatten().flatten().filter(|entry| is_unfinished(&entry.name)) {
                to.remove(&entry.name).map_err(|error| ImportError::write(rel, error))?;
            }
        }
        Ok(Some(Some(to)))
    }

    fn folder(&mut self, from: &SafeDir, to: Option<&SafeDir>, rel: &Path, depth: u32) -> Result<(), ImportError> {
        let entries = match from.entries() {
            Ok(entries) => entries,
            Err(error) => {
                self.unreadable(rel, &error);
                return Ok(());
            }
        };
        for entry in entries {
            let name = match entry {
                Ok(entry) => entry.name,
                Err(error) => {
                    self.unreadable(rel, &error);
                    break;
                }
            };
            let inner = rel.join(&name);
            match from.stat(&name) {
                Ok(Some(meta)) if meta.kind == Entry::Dir && depth < DEPTH => {
                    self.inner(from, to, &name, &inner, &meta, depth)?;
                }
                Ok(Some(meta)) if meta.kind == Entry::Dir => {
                    self.leave(&inner, &format!("it lies more than {DEPTH} folders deep"));
                }
                Ok(Some(meta)) if meta.kind == Entry::File => {
                    if is_run_log(&inner) {
                        self.logs += 1;
                    } else if !is_unfinished(&name) {
                        self.file(from, to, &name, &inner)?;
                    }
                }
                Ok(Some(meta)) => self.leave(&inner, &format!("it is {}: only files and folders are taken", meta.kind)),
                Ok(None) => {}
                Err(error) => self.unreadable(&inner, &error),
            }
        }
        Ok(())
    }

    fn inner(
        &mut self,
        from: &SafeDir,
        to: Option<&SafeDir>,
        name: &OsStr,
        rel: &Path,
        meta: &Meta,
        depth: u32,
    ) -> Result<(), ImportError> {
        let from = match from.open_dir(Path::new(name)) {
            Ok(from) => from,
            Err(error) => {
                self.unreadable(rel, &error);
                return Ok(());
            }
        };
        let mode = meta.mode & 0o777 | 0o700;
        let Some(to) = self.enter(to, name, rel, mode, self.way.owner)? else { return Ok(()) };
        self.folder(&from, to.as_ref(), rel, depth + 1)
    }

    fn file(&mut self, from: &SafeDir, to: Option<&SafeDir>, name: &OsStr, rel: &Path) -> Result<(), ImportError> {
        let (file, meta) = match from.open_file(name) {
            Ok(opened) => opened,
            Err(error) => {
                self.unreadable(rel, &error);
                return Ok(());
            }
        };
        let there = to.map(|to| to.stat(name)).transpose().map_err(|error| ImportError::write(rel, error))?.flatten();
        if let (Some(to), Some(_)) = (to, there) {
            match here_is(to, name, &file, &meta) {
                Here::Same => {
                    self.present += 1;
                    return Ok(());
                }
                Here::Other => {
                    self.leave(rel, "another file of that name is here: it stays as it is");
                    return Ok(());
                }
                Here::Untouched => {
                    let why = "Parlor's own beginning, which nobody had changed, gives way to it";
                    self.report.add(Kind::File, Outcome::Changed, rel.to_string_lossy(), 0, why);
                    if self.way.copy {
                        to.remove(name).map_err(|error| ImportError::write(rel, error))?;
                    }
                }
            }
        }
        (self.way.progress)(Step { path: rel, done: self.bytes, of: self.way.total });
        if let (true, Some(to)) = (self.way.copy, to) {
            let mode = meta.mode & 0o777 | 0o600;
            let dress = Dress { owner: self.way.owner, mode, mtime: meta.mtime };
            let mut reader = Noting { file, failed: false };
            match to.create_from(name, &mut reader, dress) {
                Ok(true) => {}
                Ok(false) => {
                    self.leave(rel, "another file of that name is here: it stays as it is");
                    return Ok(());
                }
                Err(error) if reader.failed => {
                    self.unreadable(rel, &error);
                    return Ok(());
                }
                Err(error) => return Err(ImportError::write(rel, error)),
            }
        }
        self.taken += 1;
        self.bytes += meta.size;
        Ok(())
    }

    fn leave(&mut self, rel: &Path, why: &str) {
        self.left += 1;
        if self.left <= MAX_NAMED {
            self.report.leave(Kind::File, rel.to_string_lossy(), why);
        }
    }

    /// What can be mended and taken by another import.
    fn unreadable(&mut self, rel: &Path, error: &io::Error) {
        self.unread = true;
        self.leave(rel, &format!("it cannot be read: {error}"));
    }

    /// Reports the whole; says whether nothing is left to be taken later.
    fn close(self, name: &Path) -> bool {
        let shown = name.to_string_lossy();
        for (outcome, count, detail) in [
            (Outcome::Taken, self.taken, ""),
            (Outcome::Present, self.present, "the same file is here"),
            (Outcome::LeftOut, self.logs, "NanoClaw's logs of runs: Parlor writes its own"),
            (Outcome::LeftOut, self.left.saturating_sub(MAX_NAMED), "more like those named"),
        ] {
            if count > 0 {
                self.report.add(Kind::File, outcome, shown.clone(), count, detail);
            }
        }
        !self.unread
    }
}

/// Tells a source that cannot be read from a disk that cannot be written.
struct Noting {
    file: File,
    failed: bool,
}

impl Read for Noting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).inspect_err(|_| self.failed = true)
    }
}
