//! Opening and reading without following links.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self as sys, AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{COMMON, Kind, meta_of};

/// Opens only a directory.
pub(super) const DIR: OFlags = COMMON.union(OFlags::DIRECTORY).union(OFlags::RDONLY);

/// The tries of `openat2`, which fails while directories above are being moved.
const RACES: u32 = 16;

/// Opens a directory below another. The caller has checked that the path has only plain components.
pub(super) fn beneath(dir: BorrowedFd<'_>, rel: &Path) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..RACES {
        match sys::openat2(dir, rel, DIR, Mode::empty(), resolve) {
            Ok(fd) => return Ok(fd),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Old kernels, and sandboxes that refuse unknown calls.
            Err(Errno::NOSYS | Errno::PERM) => break,
            Err(error) => return Err(error.into()),
        }
    }
    by_component(dir, rel)
}

/// Does the same component by component: each is opened relative to the one before, and a link is refused.
pub(super) fn by_component(dir: BorrowedFd<'_>, rel: &Path) -> io::Result<OwnedFd> {
    let mut current = dir.try_clone_to_owned()?;
    for component in rel {
        current = sys::openat(&current, component, DIR, Mode::empty())?;
    }
    Ok(current)
}

/// Gives the owner of an inaccessible directory its rights back, through a handle that follows nothing.
pub(super) fn unlock(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::DIRECTORY;
    let fd = sys::openat(dir, name, flags, Mode::empty())?;
    let mode = Mode::from_raw_mode(sys::fstat(&fd)?.st_mode) | Mode::RWXU;
    // A handle without rights cannot be changed itself; its path below /proc leads to the same directory.
    Ok(sys::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), mode)?)
}

/// Opens one directory. A directory that its owner made inaccessible is unlocked first.
pub(super) fn dir_at(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    match sys::openat(dir, name, DIR, Mode::empty()) {
        Err(Errno::ACCESS) => {
            unlock(dir, name)?;
            Ok(sys::openat(dir, name, DIR, Mode::empty())?)
        }
        other => Ok(other?),
    }
}

fn refused(name: &OsStr, why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{name:?} {why}"))
}

fn check(name: &OsStr, stat: &sys::Stat, max: u64) -> io::Result<u64> {
    let meta = meta_of(stat);
    if meta.kind != Kind::File {
        return Err(refused(name, format_args!("is {}, not a regular file", meta.kind)));
    }
    if meta.links > 1 {
        return Err(refused(name, "has a second name (a hard link): only files with one name are read"));
    }
    if meta.size > max {
        return Err(refused(name, format_args!("has {} bytes; at most {max} are read", meta.size)));
    }
    Ok(meta.size)
}

/// Reads a regular file with one name and at most `max` bytes.
pub(super) fn read_regular(dir: BorrowedFd<'_>, name: &OsStr, max: u64) -> io::Result<Vec<u8>> {
    // Opening a device can have effects, so the kind is checked first; the check of the open file below is the one
    // that counts.
    check(name, &sys::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?, max)?;
    let fd = sys::openat(dir, name, COMMON | OFlags::RDONLY, Mode::empty())?;
    let size = check(name, &sys::fstat(fd.as_fd())?, max)?;
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    // One byte more than allowed shows that the file has grown.
    std::fs::File::from(fd).take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(refused(name, format_args!("grew over {max} bytes while it was read")));
    }
    Ok(bytes)
}
