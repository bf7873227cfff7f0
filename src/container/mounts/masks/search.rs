//! One search of a folder, within a budget. It does not read unchanged folders again.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::policy::mounts::engine_safe;
use crate::safe_dir::{Entry, Kind, Meta, SafeDir};

/// The cost of reading a directory; an entry costs 1.
const FOLDER_COST: usize = 8;
/// The most nested folders; each is an open file during the search.
pub(super) const DEPTH: usize = 32;
/// The age in seconds after which a folder's last change is final.
const SETTLED: i64 = 2;
/// The most masks in one folder; beyond it, the folder is hidden as a whole.
pub(super) const PER_FOLDER: usize = 16;

/// Why a folder is hidden as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// A group's folder has a `.env*` in it.
    Env,
    /// The budget was used up.
    TooLarge,
    /// Its folders are nested too deep.
    TooDeep,
    /// It needs more masks than engines should get.
    TooMany,
    /// A path in it that needs a mask has a name that engines cannot mount.
    Name,
    /// It cannot be searched.
    Unreadable(io::ErrorKind),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env => f.write_str("it holds a .env file"),
            Self::TooLarge => f.write_str("it is too large to search"),
            Self::TooDeep => f.write_str("it is too deep to search"),
            Self::TooMany => f.write_str("it holds too many .env files"),
            Self::Name => f.write_str("a .env file in it has a path that engines cannot mount"),
            Self::Unreadable(why) => write!(f, "it cannot be searched: {why}"),
        }
    }
}

/// The thing to hide at a path.
#[derive(Debug)]
pub(super) enum Found {
    File,
    /// A folder: for its own name, or as a whole for this reason.
    Folder(Option<Why>),
}

/// A folder without a `.env*` that has only other folders to search.
#[derive(Debug)]
struct Clean {
    /// The time when an entry was last added or removed. Only the kernel sets it.
    changed: (i64, i64),
    entries: usize,
    folders: Vec<OsString>,
}

/// The results of searches, by device and inode; the next search reads only changed folders.
#[derive(Debug, Default)]
pub struct Known {
    before: HashMap<(u64, u64), Clean>,
    now: HashMap<(u64, u64), Clean>,
}

impl Known {
    /// Ends a search: folders that it did not come across are forgotten.
    pub(super) fn turn(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.before.len()
    }

    #[cfg(test)]
    pub(super) fn claim_entries(&mut self, entries: usize) {
        self.before.values_mut().for_each(|clean| clean.entries = entries);
    }

    /// Returns a folder's earlier result if it was clean and has not changed.
    fn take(&mut self, meta: &Meta) -> Option<Clean> {
        self.before.remove(&meta.id).filter(|clean| clean.changed == meta.changed)
    }

    fn keep(&mut self, meta: &Meta, clean: Clean) {
        // The file system's clock goes in steps: a folder that changed a moment ago may change again with the same
        // time.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs().cast_signed());
        if meta.changed.0 < now - SETTLED {
            self.now.insert(meta.id, clean);
        }
    }
}

/// One search within a budget.
pub(super) struct Search<'a> {
    /// The rest of the budget.
    pub(super) left: usize,
    /// True if the first find ends the search.
    pub(super) first: bool,
    /// Links whose names match `.env*`.
    pub(super) links: &'a mut Vec<PathBuf>,
    pub(super) known: &'a mut Known,
}

impl Search<'_> {
    fn pay(&mut self, cost: usize) -> Result<(), Why> {
        self.left = self.left.checked_sub(cost).ok_or(Why::TooLarge)?;
        Ok(())
    }

    /// Opens a folder and searches it. A folder that is gone meanwhile counts as empty.
    pub(super) fn enter(
        &mut self,
        above: &SafeDir,
        name: &OsStr,
        path: &Path,
        depth: usize,
    ) -> Result<Vec<(PathBuf, Found)>, Why> {
        let unreadable = |error: io::Error| Why::Unreadable(error.kind());
        self.pay(FOLDER_COST)?;
        if depth > DEPTH {
            return Err(Why::TooDeep);
        }
        let Some(meta) = above.stat(name).map_err(unreadable)? else { return Ok(Vec::new()) };
        let clean = self.known.take(&meta);
        if let Some(clean) = clean.as_ref().filter(|clean| clean.folders.is_empty()) {
            self.pay(clean.entries)?;
            self.known.keep(&meta, Clean { changed: meta.changed, entries: clean.entries, folders: Vec::new() });
            return Ok(Vec::new());
        }
        match above.open_dir(name.as_ref()) {
            Ok(dir) => {
                // The name may belong to another folder by now.
                let opened = dir.meta().map_err(unreadable)?;
                let clean = clean.filter(|_| (opened.id, opened.changed) == (meta.id, meta.changed));
                self.folder(&dir, &opened, clean, path, depth)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(unreadable(error)),
        }
    }

    /// Returns the masks in a folder, or the reason to hide all of it.
    fn folder(
        &mut self,
        dir: &SafeDir,
        meta: &Meta,
        clean: Option<Clean>,
        path: &Path,
        depth: usize,
    ) -> Result<Vec<(PathBuf, Found)>, Why> {
        let mut found = Vec::new();
        let folders = if let Some(clean) = clean {
            self.pay(clean.entries)?;
            let folders = clean.folders.clone();
            self.known.keep(meta, clean);
            folders
        } else {
            self.list(dir, meta, path, &mut found)?
        };
        for name in folders {
            let inner = path.join(&name);
            match self.enter(dir, &name, &inner, depth + 1) {
                Ok(more) => found.extend(more),
                Err(why) if self.first => return Err(why),
                Err(why) => found.push((inner, Found::Folder(Some(why)))),
            }
            if found.len() > PER_FOLDER {
                return Err(Why::TooMany);
            }
        }
        match found.iter().any(|(path, _)| engine_safe(path).is_err()) {
            true => Err(Why::Name),
            false if found.len() > PER_FOLDER => Err(Why::TooMany),
            false => Ok(found),
        }
    }

    /// Reads a folder: entries to mask go to `found`; returns its folders, sorted.
    fn list(
        &mut self,
        dir: &SafeDir,
        meta: &Meta,
        path: &Path,
        found: &mut Vec<(PathBuf, Found)>,
    ) -> Result<Vec<OsString>, Why> {
        let unreadable = |error: io::Error| Why::Unreadable(error.kind());
        let (mut folders, mut entries, mut clean) = (Vec::new(), 0, true);
        for entry in dir.entries().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            self.pay(1)?;
            entries += 1;
            let kind = kind(dir, &entry).map_err(unreadable)?;
            if !is_env(&entry.name) {
                if kind == Kind::Dir {
                    folders.push(entry.name);
                }
                continue;
            }
            clean = false;
            match kind {
                _ if self.first => return Err(Why::Env),
                Kind::Link => self.links.push(path.join(entry.name)),
                Kind::Dir => found.push((path.join(entry.name), Found::Folder(None))),
                _ => found.push((path.join(entry.name), Found::File)),
            }
        }
        folders.sort_unstable();
        if clean {
            self.known.keep(meta, Clean { changed: meta.changed, entries, folders: folders.clone() });
        }
        Ok(folders)
    }
}

/// Returns an entry's kind, which some file systems do not list.
pub(super) fn kind(dir: &SafeDir, entry: &Entry) -> io::Result<Kind> {
    match entry.kind {
        Kind::Unknown => Ok(dir.stat(&entry.name)?.map_or(Kind::Unknown, |meta| meta.kind)),
        known => Ok(known),
    }
}

pub(super) fn is_env(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".env")
}
