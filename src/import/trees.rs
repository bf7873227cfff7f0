//! Copies folders: only regular files and folders, each file completely or not at all. Existing files are never
//! replaced.
//!
//! A hostile container may have prepared the source, and also the folders here: both are accessed only through
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

/// The largest depth of nested folders; each level costs two descriptors.
const DEPTH: u32 = 100;
/// Left-out entries of a folder that are named; the others are counted.
const MAX_NAMED: u64 = 50;

/// The progress of copying.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The file that is being copied.
    pub path: &'a Path,
    /// Bytes copied so far.
    pub done: u64,
    /// Bytes in total, counted beforehand.
    pub of: u64,
}

/// The options of copying.
pub struct Way<'a> {
    /// True to copy; false only to look.
    pub copy: bool,
    /// The owner of copies; None for the host's own user.
    pub owner: Option<Owner>,
    /// Bytes in total, if they were counted beforehand.
    pub total: u64,
    /// Called for every file.
    pub progress: &'a dyn Fn(Step<'_>),
}

/// The result of copying or of a dry run.
#[derive(Debug, Default)]
pub struct Done {
    pub report: Report,
    /// Bytes that are not here yet.
    pub bytes: u64,
    /// Folders that were read completely, as `groups/<name>` or `data/sessions/<name>` with their names in the
    /// source.
    pub complete: Vec<String>,
}

/// Copies all folders of a plan.
pub fn take(source: &Path, home: &Home, plan: &Plan, way: &Way<'_>) -> Result<Done, ImportError> {
    let source_dir = SafeDir::open(source).map_err(|error| ImportError::read(source, error))?;
    let mut done = Done::default();
    for (below, trees, here) in
        [("groups", &plan.workspaces, home.groups()), ("data/sessions", &plan.agents, home.data().join("sessions"))]
    {
        // A missing folder is possible only in a dry run.
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
            // Nothing was copied; another import can do it when the name is free.
            self.unread = true;
            return Ok(());
        };
        self.folder(from, to.as_ref(), rel, 0)
    }

    /// Copies only the agent's home; everything beside it was made by NanoClaw.
    fn agent(&mut self, from: &SafeDir, root: Option<&SafeDir>, tree: &Tree, rel: &Path) -> Result<(), ImportError> {
        // This folder is never mounted, so it belongs to the host.
        let Some(to) = self.enter(root, OsStr::new(&tree.to), rel, 0o755, None)? else {
            // Nothing was copied; another import can do it when the name is free.
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

    /// Opens the folder here, or makes it. Returns None if something else has its name, and Some(None) if it does not
    /// exist and nothing may be written.
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
            // A killed import may have made it without owner and mode; it is then empty.
            match parent.remove_empty_dir(name) {
                Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                    return Err(ImportError::write(rel, error));
                }
                _ => {}
            }
        }
        let to = parent.ensure_dir(Path::new(name), owner, mode).map_err(|error| ImportError::write(rel, error))?;
        if there.is_some() {
            // Left by a killed import.
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

    /// Reports an entry that another import may read once the operator has repaired it.
    fn unreadable(&mut self, rel: &Path, error: &io::Error) {
        self.unread = true;
        self.leave(rel, &format!("it cannot be read: {error}"));
    }

    /// Reports the folder's totals. Returns true if nothing is left for a later import.
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

/// Records read errors, to distinguish an unreadable source from a full or failing disk.
struct Noting {
    file: File,
    failed: bool,
}

impl Read for Noting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).inspect_err(|_| self.failed = true)
    }
}
