//! Making directories and files: create-new, owner and mode through the handle, then rename.

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{self as sys, AtFlags, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use super::{COMMON, Owner, SafeDir, open, plain, single};

/// The tries against a process that keeps putting entries in the way.
const TRIES: u32 = 64;

/// Returns an unused name that nobody can guess, because a guessed one could be blocked.
pub(super) fn fresh_name(purpose: &str) -> OsString {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let hash = KEY.get_or_init(RandomState::new).hash_one((std::process::id(), n));
    format!(".parlor-{purpose}-{hash:016x}").into()
}

/// Sets owner and mode of an open file or directory.
pub(super) fn dress(fd: BorrowedFd<'_>, owner: Option<Owner>, mode: u32) -> io::Result<()> {
    if let Some(owner) = owner {
        chown(fd, owner)?;
    }
    // After the owner, because changing it clears some bits; and independent of the umask.
    Ok(sys::fchmod(fd, Mode::from_raw_mode(mode))?)
}

/// Changes the owner if it differs. Without root, only an owner that is already right succeeds.
pub(super) fn chown(fd: BorrowedFd<'_>, owner: Owner) -> io::Result<()> {
    let stat = sys::fstat(fd)?;
    if (stat.st_uid, stat.st_gid) == (owner.uid, owner.gid) {
        return Ok(());
    }
    Ok(sys::fchown(fd, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?)
}

impl SafeDir {
    /// Opens a directory below this one, and makes missing components (owned by `owner`, with this mode). An entry in
    /// the way that is not a directory (a link, a file) is first renamed to a new name.
    pub fn ensure_dir(&self, rel: &Path, owner: Option<Owner>, mode: u32) -> io::Result<Self> {
        let mut current = self.try_clone()?;
        for component in plain(rel)? {
            current = Self { fd: current.ensure_one(component, owner, mode)? };
        }
        Ok(current)
    }

    fn ensure_one(&self, name: &OsStr, owner: Option<Owner>, mode: u32) -> io::Result<OwnedFd> {
        for _ in 0..TRIES {
            let made = match sys::mkdirat(self, name, Mode::RWXU) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(error.into()),
            };
            let opened = open::dir_at(self.as_fd(), name);
            match opened {
                Ok(fd) => {
                    if made {
                        dress(fd.as_fd(), owner, mode)?;
                    }
                    return Ok(fd);
                }
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::NOTDIR | Errno::LOOP) => self.move_aside(name)?,
                    Some(Errno::NOENT) => {}
                    _ => return Err(error),
                },
            }
        }
        Err(io::Error::other(format!("{name:?} cannot be made a directory: something else keeps taking its place")))
    }

    /// Renames an entry to a new name in the same directory. A missing one is no error.
    pub fn move_aside(&self, name: &OsStr) -> io::Result<()> {
        for _ in 0..TRIES {
            let aside = fresh_name("aside");
            match self.move_to(name, self, &aside) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                other => return other,
            }
        }
        Err(Errno::EXIST.into())
    }

    /// Makes a new file under an unused name, complete with owner and mode.
    fn temporary(&self, bytes: &[u8], owner: Option<Owner>, mode: u32) -> io::Result<OsString> {
        let flags = COMMON | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        for _ in 0..TRIES {
            let name = fresh_name("new");
            let fd = match sys::openat(self, &name, flags, Mode::RUSR | Mode::WUSR) {
                Err(Errno::EXIST) => continue,
                other => other?,
            };
            let mut file = std::fs::File::from(fd);
            let written = file.write_all(bytes).and_then(|()| dress(file.as_fd(), owner, mode));
            if let Err(error) = written {
                let _ = self.remove(&name);
                return Err(error);
            }
            return Ok(name);
        }
        Err(Errno::EXIST.into())
    }

    /// Writes a file completely or not at all: create-new under a temporary name, then rename over `name`. A link of
    /// that name is replaced, not followed; a directory of that name is removed if it is empty, else renamed. The
    /// file survives a crash of the host, but possibly not a power cut.
    pub fn write_atomic(&self, name: &OsStr, bytes: &[u8], owner: Option<Owner>, mode: u32) -> io::Result<()> {
        let name = single(name)?;
        let temporary = self.temporary(bytes, owner, mode)?;
        let mut result = Ok(());
        for _ in 0..TRIES {
            result = sys::renameat(self, &temporary, self, name).map_err(io::Error::from);
            if !matches!(&result, Err(error) if Errno::from_io_error(error) == Some(Errno::ISDIR)) {
                break;
            }
            if sys::unlinkat(self, name, AtFlags::REMOVEDIR).is_err()
                && let Err(error) = self.move_aside(name)
            {
                result = Err(error);
                break;
            }
        }
        if result.is_err() {
            let _ = self.remove(&temporary);
        }
        result
    }

    /// Writes a file that must not exist yet; returns false if it does. The file appears complete or not at all.
    pub fn create_new(&self, name: &OsStr, bytes: &[u8], owner: Option<Owner>, mode: u32) -> io::Result<bool> {
        let name = single(name)?;
        if self.exists(name)? {
            return Ok(false);
        }
        let temporary = self.temporary(bytes, owner, mode)?;
        let mut result = sys::renameat_with(self, &temporary, self, name, RenameFlags::NOREPLACE);
        if matches!(result, Err(Errno::INVAL | Errno::NOSYS)) {
            result = sys::linkat(self, &temporary, self, name, AtFlags::empty());
            let _ = self.remove(&temporary);
        }
        match result {
            Ok(()) => Ok(true),
            Err(error) => {
                let _ = self.remove(&temporary);
                if error == Errno::EXIST { Ok(false) } else { Err(error.into()) }
            }
        }
    }
}
