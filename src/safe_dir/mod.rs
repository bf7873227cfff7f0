//! Folders that a hostile container can write: every access below them goes through a directory handle, follows no
//! link at any step, and reads only regular files.
//!
//! Names with one component are opened relative to the handle with `O_NOFOLLOW`; longer paths with `openat2`, or
//! component by component if the kernel refuses it. Mount points below a handle are crossed: a container cannot make
//! any on the host's side, and an operator may keep groups on another disk.
//!
//! Depends only on rustix.

// An attacker chooses the names, and Debug escapes them.
#![allow(clippy::unnecessary_debug_formatting)]

mod entries;
mod open;
mod stream;
#[cfg(test)]
mod tests;
mod tree;
mod write;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags, RenameFlags};

pub use entries::{Entries, Entry, Kind};
pub use stream::{Dress, is_unfinished};
pub use tree::Chowned;

/// The owner of new files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// The facts about an entry, without following it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// The kind of entry.
    pub kind: Kind,
    /// The size in bytes that it claims; a sparse file may occupy far less.
    pub size: u64,
    /// The number of the file's names.
    pub links: u64,
    /// The time of the last change as its owner set it, in seconds since 1970.
    pub mtime: i64,
    /// The time of the last change of any kind as the kernel set it, in seconds and nanoseconds since 1970.
    pub changed: (i64, i64),
    /// Owner's user id.
    pub uid: u32,
    /// Owner's group id.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Device and inode: the same pair is the same file.
    pub id: (u64, u64),
}

/// A handle on a directory. All names are single components unless said otherwise.
#[derive(Debug)]
pub struct SafeDir {
    fd: OwnedFd,
}

/// Checks a name: one component that is neither empty, `.` nor `..`, without a slash or NUL.
fn single(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_bytes();
    let bad = bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.iter().any(|b| matches!(b, b'/' | 0));
    if bad {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is not the name of a single entry")));
    }
    Ok(name)
}

/// Checks a relative path: only plain components.
fn plain(rel: &Path) -> io::Result<&Path> {
    let fine = rel.components().all(|c| matches!(c, Component::Normal(_))) && !rel.as_os_str().is_empty();
    if fine {
        Ok(rel)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{rel:?} is not a path below the folder")))
    }
}

impl SafeDir {
    /// Opens a directory by a path that no container can influence (the last component must not be a link).
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { fd: sys::open(path, open::DIR, Mode::empty())? })
    }

    /// Opens a directory below this one; `rel` may have several components, none of them a link or `..`.
    pub fn open_dir(&self, rel: &Path) -> io::Result<Self> {
        Ok(Self { fd: open::beneath(self.fd.as_fd(), plain(rel)?)? })
    }

    /// Returns a second handle on the same directory.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()? })
    }

    /// Returns the facts about this directory itself.
    pub fn meta(&self) -> io::Result<Meta> {
        Ok(meta_of(&sys::fstat(&self.fd)?))
    }

    /// Returns a path to this very directory for as long as the handle lives, even if its name changes: for watchers,
    /// and for other programs.
    pub fn proc_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    /// Returns the facts about an entry, without following links; None if it is missing.
    pub fn stat(&self, name: &OsStr) -> io::Result<Option<Meta>> {
        match sys::statat(&self.fd, single(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(meta_of(&stat))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a regular file of at most `max` bytes. For any other kind, the error names the kind. A file with a
    /// second name (a hard link) is refused, because it can be changed through that name after the check.
    pub fn read(&self, name: &OsStr, max: u64) -> io::Result<Vec<u8>> {
        open::read_regular(self.fd.as_fd(), single(name)?, max)
    }

    /// Returns true if an entry of that name exists, even a dangling link.
    pub fn exists(&self, name: &OsStr) -> io::Result<bool> {
        Ok(self.stat(name)?.is_some())
    }

    /// Removes a file or link. A missing one is no error.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        match sys::unlinkat(&self.fd, single(name)?, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes an empty directory. A missing one is no error.
    pub fn remove_empty_dir(&self, name: &OsStr) -> io::Result<()> {
        match sys::unlinkat(&self.fd, single(name)?, AtFlags::REMOVEDIR) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves an entry of any kind into another directory under a new name (same file system), replacing nothing.
    pub fn move_to(&self, name: &OsStr, to: &SafeDir, new_name: &OsStr) -> io::Result<()> {
        match self.rename_to(name, to, new_name) {
            // Moving a directory changes its `..`, which needs its own write bit.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                open::unlock(self.as_fd(), single(name)?).map_err(|_| error)?;
                self.rename_to(name, to, new_name)
            }
            other => other,
        }
    }

    fn rename_to(&self, name: &OsStr, to: &SafeDir, new_name: &OsStr) -> io::Result<()> {
        let (name, new_name) = (single(name)?, single(new_name)?);
        match sys::renameat_with(&self.fd, name, &to.fd, new_name, RenameFlags::NOREPLACE) {
            // Some file systems do not support the flag.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                if to.exists(new_name)? {
                    return Err(rustix::io::Errno::EXIST.into());
                }
                Ok(sys::renameat(&self.fd, name, &to.fd, new_name)?)
            }
            other => Ok(other?),
        }
    }

    /// Returns at most `max` names in the directory, in no order.
    pub fn names(&self, max: usize) -> io::Result<Vec<OsString>> {
        self.entries()?.take(max).map(|entry| entry.map(|e| e.name)).collect()
    }

    /// Streams the directory's entries, in no order, without holding them all.
    pub fn entries(&self) -> io::Result<Entries> {
        Entries::of(self.fd.as_fd())
    }
}

impl AsFd for SafeDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

// The types of these fields differ between architectures.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
fn meta_of(stat: &sys::Stat) -> Meta {
    Meta {
        kind: Kind::from(FileType::from_raw_mode(stat.st_mode)),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        links: stat.st_nlink as u64,
        mtime: stat.st_mtime as i64,
        changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: Mode::from_raw_mode(stat.st_mode).bits(),
        id: (stat.st_dev as u64, stat.st_ino as u64),
    }
}

/// The flags of every open: it never blocks, is never inherited, never becomes a controlling terminal, never follows
/// a link.
const COMMON: OFlags = OFlags::NONBLOCK.union(OFlags::CLOEXEC).union(OFlags::NOCTTY).union(OFlags::NOFOLLOW);
