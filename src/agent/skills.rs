//! Skill folders, copied into every group's agent home before each run.
//!
//! Shipped files replace a group's edits of them; files and skills that the group added stay; files that disappear at
//! the source disappear in the groups. The record of the shipped files is in `data/skills/`, which is never mounted.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, statat};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::home::Home;
use crate::config::settings::Settings;
use crate::domain::ids::GroupFolder;
use crate::safe_dir::{Owner, SafeDir};

include!(concat!(env!("OUT_DIR"), "/skills.rs"));

/// The most files of all skills together; more means that the folder is wrong.
const MAX_FILES: usize = 5000;
/// The most bytes of one file.
const MAX_BYTES: u64 = 16 << 20;
/// The skill that is shipped only where its program is.
const BROWSER: &str = "browser/";
/// The most nested folders.
const MAX_DEPTH: usize = 16;

/// The source of the shipped skills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skills {
    /// A folder of the operator.
    Folder(PathBuf),
    /// The skills inside the program.
    Embedded,
}

/// The files that were shipped to a group.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The fingerprint of the source.
    source: String,
    /// The files by path, as they were right after they had been written.
    files: BTreeMap<String, Stamp>,
}

/// Shows whether a file was changed: a writer of the file cannot set the time of its inode's last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    ino: u64,
    size: i64,
    changed: (i64, i64),
}

/// A file to be shipped.
struct Shipped {
    path: String,
    content: Content,
    mode: u32,
}

enum Content {
    Embedded(&'static [u8]),
    File(PathBuf),
}

impl Skills {
    /// Returns the operator's folder, if any: the setting, else `container/skills` of the installation.
    pub fn find(home: &Home, settings: &Settings) -> Self {
        if let Some(dir) = &settings.skills_dir {
            return Self::Folder(dir.clone());
        }
        let own = home.root().join("container/skills");
        if own.is_dir() { Self::Folder(own) } else { Self::Embedded }
    }

    /// Updates a group's copy. `claude` is the group's agent home; `browser` is true if its rooms have a browser.
    pub(super) fn sync(
        &self,
        home: &Home,
        folder: &GroupFolder,
        claude: &SafeDir,
        owner: Option<Owner>,
        browser: bool,
    ) -> io::Result<()> {
        let (mut shipped, mut source) = self.list()?;
        if !browser {
            shipped.retain(|file| !file.path.starts_with(BROWSER));
            source += " without a browser";
        }
        let record_name = format!("{folder}.json");
        let record = read_record(home, &record_name);
        if shipped.is_empty() && record.files.is_empty() {
            return Ok(());
        }
        let skills = claude.ensure_dir(Path::new("skills"), owner, 0o755)?;
        let fresh = record.source == source;
        if fresh && shipped.iter().all(|s| record.files.get(&s.path).copied() == stamp(&skills, &s.path)) {
            return Ok(());
        }
        let mut now = Record { source, files: BTreeMap::new() };
        for file in &shipped {
            let before = record.files.get(&file.path).copied().filter(|_| fresh);
            let mut current = stamp(&skills, &file.path);
            if before.is_none() || before != current {
                write(&skills, file, owner)?;
                current = stamp(&skills, &file.path);
            }
            if let Some(current) = current {
                now.files.insert(file.path.clone(), current);
            }
        }
        for gone in record.files.keys().filter(|path| !shipped.iter().any(|s| s.path == **path)) {
            if let Err(error) = remove(&skills, Path::new(gone)) {
                tracing::warn!("cannot remove skill file {gone:?} of group {folder}: {error}");
            }
        }
        write_record(home, &record_name, &now)
    }

    /// Returns the files, and a fingerprint that changes with any of them.
    fn list(&self) -> io::Result<(Vec<Shipped>, String)> {
        let mut files = Vec::new();
        let mut hash = Sha256::new();
        match self {
            Self::Embedded => {
                for (path, bytes, run) in EMBEDDED {
                    hash.update(path.as_bytes());
                    hash.update([0]);
                    hash.update(bytes);
                    let mode = if *run { 0o755 } else { 0o644 };
                    files.push(Shipped { path: (*path).to_owned(), content: Content::Embedded(bytes), mode });
                }
            }
            Self::Folder(root) => {
                walk(root, "", 0, &mut files, &mut hash)?;
                files.sort_by(|a, b| a.path.cmp(&b.path));
            }
        }
        let digest = hash.finalize();
        let short = digest.iter().take(16).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        Ok((files, format!("{short:032x}")))
    }
}

fn walk(dir: &Path, prefix: &str, depth: usize, files: &mut Vec<Shipped>, hash: &mut Sha256) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!("{} is too deep", dir.display())));
    }
    let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            tracing::warn!("{} is not valid UTF-8: it is not shipped", entry.path().display());
            continue;
        };
        let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), &path, depth + 1, files, hash)?;
        } else if kind.is_file() && depth > 0 {
            let meta = entry.metadata()?;
            if meta.len() > MAX_BYTES || files.len() >= MAX_FILES {
                return Err(io::Error::other(format!("{} is too much for skills", entry.path().display())));
            }
            hash.update(path.as_bytes());
            for number in [meta.ino() as i64, meta.size() as i64, meta.ctime(), meta.ctime_nsec()] {
                hash.update(number.to_le_bytes());
            }
            let mode = if meta.mode() & 0o111 == 0 { 0o644 } else { 0o755 };
            files.push(Shipped { path, content: Content::File(entry.path()), mode });
        }
    }
    Ok(())
}

/// Returns the state of a file in the group's copy; None if it is missing, is not a file, or is behind a link.
fn stamp(skills: &SafeDir, path: &str) -> Option<Stamp> {
    let path = Path::new(path);
    let dir = skills.open_dir(path.parent()?).ok()?;
    let stat = statat(&dir, path.file_name()?, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let regular = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
    regular.then(|| Stamp {
        ino: stat.st_ino,
        size: stat.st_size,
        changed: (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or_default()),
    })
}

fn write(skills: &SafeDir, file: &Shipped, owner: Option<Owner>) -> io::Result<()> {
    let path = Path::new(&file.path);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let bytes: Cow<'_, [u8]> = match &file.content {
        Content::Embedded(bytes) => Cow::Borrowed(bytes),
        Content::File(path) => Cow::Owned(fs::read(path)?),
    };
    skills.ensure_dir(parent, owner, 0o755)?.write_atomic(name, &bytes, owner, file.mode)
}

/// Removes a file, and folders that become empty.
fn remove(skills: &SafeDir, path: &Path) -> io::Result<()> {
    let mut inner = path;
    while let (Some(parent), Some(name)) = (inner.parent(), inner.file_name()) {
        let dir = if parent.as_os_str().is_empty() {
            skills.try_clone()
        } else {
            match skills.open_dir(parent) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                other => other,
            }
        }?;
        if inner == path {
            dir.remove(name)?;
        } else if dir.remove_empty_dir(name).is_err() {
            // The group has its own files in there.
            return Ok(());
        }
        inner = parent;
    }
    Ok(())
}

/// Reads the record of shipped files. If it is missing or broken, every file is shipped again.
fn read_record(home: &Home, name: &str) -> Record {
    fs::read(home.data().join("skills").join(name))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

fn write_record(home: &Home, name: &str, record: &Record) -> io::Result<()> {
    let dir = home.data().join("skills");
    fs::create_dir_all(&dir)?;
    SafeDir::open(&dir)?.write_atomic(OsStr::new(name), &serde_json::to_vec(record)?, None, 0o600)
}
