//! Restores a backup.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::FlockOperation;
use tar::EntryType;

use super::check::{check, may_hold, open, private};
use super::manifest::Manifest;
use super::{BackupError, DATABASE, FILES, KEYS, MANIFEST, TREES};
use crate::config::home::Home;
use crate::store::copy;

/// The result of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The manifest of the backup.
    pub manifest: Manifest,
    /// The folder with the old installation, if there was one.
    pub aside: Option<PathBuf>,
}

/// Checks a whole backup, then restores it to a home. Existing files cause a refusal, or with `replace` are moved to
/// a folder beside the home; they are never removed.
pub fn restore(file: &Path, home: &Home, replace: bool, now: DateTime<Utc>) -> Result<Restored, BackupError> {
    let make = |path: &Path, mode| {
        let made = DirBuilder::new().recursive(true).mode(mode).create(path);
        made.map_err(BackupError::io("create", path))
    };
    make(home.root(), 0o755)?;
    make(&home.data(), 0o700)?;
    // Held until the end, so that no host starts meanwhile.
    let _lock = lock(home)?;
    let manifest = check(file, &home.data())?;
    let occupied = occupied(home, &manifest)?;
    if !occupied.is_empty() && !replace {
        let what = occupied.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(BackupError::Refused(format!(
            "{} holds an installation already ({what}): restore into another --home, or add --replace, which moves it aside",
            home.root().display()
        )));
    }
    let aside = if occupied.is_empty() { None } else { Some(move_aside(home, &occupied, now)?) };
    match (put(file, home), aside) {
        (Ok(()), aside) => Ok(Restored { manifest, aside }),
        (Err(source), Some(aside)) => Err(BackupError::BrokenOff { aside, source: Box::new(source) }),
        (Err(error), None) => Err(error),
    }
}

fn put(file: &Path, home: &Home) -> Result<(), BackupError> {
    // The database comes last: an interrupted restore has none and is recognized by that.
    let database = home.data().join("restored.db");
    let _ = fs::remove_file(&database);
    unpack(file, home, &database)?;
    copy::renew(&database)?;
    File::open(&database).and_then(|file| file.sync_all()).map_err(BackupError::io("write", &database))?;
    fs::rename(&database, home.database()).map_err(BackupError::io("write", &home.database()))
}

fn lock(home: &Home) -> Result<File, BackupError> {
    let path = home.lock();
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(BackupError::io("open", &path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(BackupError::Refused(format!(
            "a host is running for {}: stop it first (`parlor stop`)",
            home.root().display()
        ))),
        Err(error) => Err(BackupError::io("lock", &path)(error.into())),
    }
}

/// Returns the existing paths in the way: those that the backup also has, and all files of the database.
fn occupied(home: &Home, manifest: &Manifest) -> Result<Vec<PathBuf>, BackupError> {
    let data = home.data();
    let mut found = Vec::new();
    let entries = fs::read_dir(&data).map_err(BackupError::io("read", &data))?;
    for entry in entries {
        let entry = entry.map_err(BackupError::io("read", &data))?;
        let name = entry.file_name();
        // Lock files stay, and backups stored here are not part of the installation.
        let stays = name == "lock" || name == "backups" || name.to_string_lossy().ends_with(".lock");
        if !stays {
            found.push(Path::new("data").join(name));
        }
    }
    let mut others: Vec<&str> = TREES.into_iter().chain(FILES).filter(|name| !name.starts_with("data/")).collect();
    if manifest.keys {
        others.push(KEYS);
    }
    let is_there = |name: &&str| home.root().join(name).symlink_metadata().is_ok();
    found.extend(others.into_iter().filter(is_there).map(PathBuf::from));
    found.sort();
    Ok(found)
}

pub(super) fn move_aside(home: &Home, what: &[PathBuf], now: DateTime<Utc>) -> Result<PathBuf, BackupError> {
    let root = home.root();
    // Beside the home and not in it: the main group's agent can see files in the home.
    let name = format!("{}.before-{}", root.display(), now.format("%Y%m%d-%H%M%S"));
    let aside = PathBuf::from(name);
    for folder in [aside.clone(), aside.join("data")] {
        DirBuilder::new().mode(0o700).create(&folder).map_err(BackupError::io("create", &folder))?;
    }
    for path in what {
        let from = root.join(path);
        fs::rename(&from, aside.join(path)).map_err(|error| BackupError::HalfMoved {
            aside: aside.clone(),
            home: root.to_owned(),
            source: Box::new(BackupError::io("move aside", &from)(error)),
        })?;
    }
    Ok(aside)
}

/// Unpacks all entries except the manifest. Links come last, so that nothing is ever written through one.
fn unpack(file: &Path, home: &Home, database: &Path) -> Result<(), BackupError> {
    let damaged = |error: io::Error| BackupError::damaged(file, error.to_string());
    let root = rustix::process::getuid().is_root();
    let (mut links, mut folders) = (Vec::new(), Vec::new());
    for entry in open(file)?.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = entry.path().map_err(damaged)?.into_owned();
        if path == Path::new(MANIFEST) {
            break;
        }
        // The file may have changed since the check.
        if !may_hold(&path) {
            return Err(BackupError::damaged(file, format!("{:?} does not belong into a backup", path.display())));
        }
        let to = if path == Path::new(DATABASE) { database.to_owned() } else { home.root().join(&path) };
        let fail = |error: io::Error| BackupError::Io { action: "write", path: to.clone(), source: error };
        if let Some(parent) = to.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(fail)?;
        }
        let header = entry.header();
        let mode = header.mode().map_err(damaged)? & 0o777;
        let owner = (header.uid().map_err(damaged)?, header.gid().map_err(damaged)?);
        match header.entry_type() {
            EntryType::Directory => {
                DirBuilder::new().recursive(true).mode(0o700).create(&to).map_err(fail)?;
                folders.push((to.clone(), mode));
            }
            EntryType::Symlink => {
                let target = entry.link_name().map_err(damaged)?.unwrap_or_default().into_owned();
                links.push((to.clone(), target, owner));
                continue;
            }
            EntryType::Regular => {
                let mut out = private(&to).map_err(fail)?;
                io::copy(&mut entry, &mut out).map_err(fail)?;
                out.set_permissions(Permissions::from_mode(mode)).map_err(fail)?;
                let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(entry.header().mtime().unwrap_or(0));
                out.set_modified(at).map_err(fail)?;
            }
            _ => return Err(BackupError::damaged(file, "an entry is neither file, folder nor link")),
        }
        if root {
            own(&to, owner).map_err(fail)?;
        }
    }
    for (path, target, owner) in links {
        let fail = |error: io::Error| BackupError::Io { action: "write", path: path.clone(), source: error };
        symlink(std::ffi::OsStr::from_bytes(target.as_os_str().as_bytes()), &path).map_err(fail)?;
        if root {
            own(&path, owner).map_err(fail)?;
        }
    }
    // Innermost first: a parent without write permission would refuse changes below it.
    for (path, mode) in folders.into_iter().rev() {
        fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(BackupError::io("write", &path))?;
    }
    Ok(())
}

fn own(path: &Path, (uid, gid): (u64, u64)) -> io::Result<()> {
    let id = |id: u64| u32::try_from(id).ok();
    lchown(path, id(uid), id(gid))
}
