//! Files of any size: opened for reading, and made from a stream.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use rustix::fs::{self as sys, AtFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::write::{dress, fresh_name};
use super::{COMMON, Kind, Meta, Owner, SafeDir, meta_of, single};

/// The prefix of files that are not complete yet.
const UNFINISHED: &[u8] = b".parlor-new-";

/// The attributes of a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dress {
    /// The owner; None for the host's own user.
    pub owner: Option<Owner>,
    /// Permission bits.
    pub mode: u32,
    /// The time of its last change, in seconds since 1970.
    pub mtime: i64,
}

impl SafeDir {
    /// Opens a regular file for reading, of any size and with any other names. For any other kind, the error names
    /// the kind.
    pub fn open_file(&self, name: &OsStr) -> io::Result<(File, Meta)> {
        let name = single(name)?;
        let refuse = |kind: Kind| io::Error::new(io::ErrorKind::InvalidData, format!("it is {kind}, not a file"));
        // Opening a device can have effects, so the kind is checked first.
        let before = self.stat(name)?.ok_or(Errno::NOENT)?;
        if before.kind != Kind::File {
            return Err(refuse(before.kind));
        }
        let fd = sys::openat(self, name, COMMON | OFlags::RDONLY, Mode::empty())?;
        let meta = meta_of(&sys::fstat(&fd)?);
        if meta.kind == Kind::File { Ok((File::from(fd), meta)) } else { Err(refuse(meta.kind)) }
    }

    /// Makes a file from a stream. Returns false if the name exists, whose entry stays unchanged. The file appears
    /// complete or not at all; [`is_unfinished`] finds the remains of a killed host.
    pub fn create_from(&self, name: &OsStr, from: &mut impl Read, dress: Dress) -> io::Result<bool> {
        let name = single(name)?;
        if self.exists(name)? {
            return Ok(false);
        }
        let temporary = self.fill(from, dress)?;
        let mut placed = sys::renameat_with(self, &temporary, self, name, RenameFlags::NOREPLACE);
        if matches!(placed, Err(Errno::INVAL | Errno::NOSYS)) {
            placed = sys::linkat(self, &temporary, self, name, AtFlags::empty());
            let _ = self.remove(&temporary);
        }
        match placed {
            Ok(()) => Ok(true),
            Err(error) => {
                let _ = self.remove(&temporary);
                if error == Errno::EXIST { Ok(false) } else { Err(error.into()) }
            }
        }
    }

    fn fill(&self, from: &mut impl Read, wanted: Dress) -> io::Result<OsString> {
        let name = fresh_name("new");
        let flags = COMMON | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = File::from(sys::openat(self, &name, flags, Mode::RUSR | Mode::WUSR)?);
        let filled = io::copy(from, &mut file).and_then(|_| {
            dress(file.as_fd(), wanted.owner, wanted.mode)?;
            let at = Timespec { tv_sec: wanted.mtime, tv_nsec: 0 };
            Ok(sys::futimens(&file, &Timestamps { last_access: at, last_modification: at })?)
        });
        if let Err(error) = filled {
            let _ = self.remove(&name);
            return Err(error);
        }
        Ok(name)
    }
}

/// Returns true for a name of an unfinished file.
pub fn is_unfinished(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(UNFINISHED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn plain() -> Dress {
        Dress { owner: None, mode: 0o640, mtime: 1_700_000_000 }
    }

    #[test]
    fn a_stream_becomes_a_file_once() {
        let dir = tempfile::tempdir().unwrap();
        let safe = SafeDir::open(dir.path()).unwrap();
        let name = OsStr::new("f");
        assert!(safe.create_from(name, &mut &b"first"[..], plain()).unwrap());
        assert!(!safe.create_from(name, &mut &b"second"[..], plain()).unwrap());
        let meta = fs::metadata(dir.path().join("f")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.mtime(), meta.len()), (0o640, 1_700_000_000, 5));
        symlink("nowhere", dir.path().join("l")).unwrap();
        assert!(!safe.create_from(OsStr::new("l"), &mut &b"x"[..], plain()).unwrap(), "a link is something, too");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing unfinished is left");
    }

    #[test]
    fn broken_stream_leaves_no_file() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let safe = SafeDir::open(dir.path()).unwrap();
        assert!(safe.create_from(OsStr::new("f"), &mut Broken, plain()).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(is_unfinished(&fresh_name("new")) && !is_unfinished(&fresh_name("aside")));
    }

    #[test]
    fn only_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let safe = SafeDir::open(dir.path()).unwrap();
        fs::write(dir.path().join("f"), "text").unwrap();
        fs::hard_link(dir.path().join("f"), dir.path().join("g")).unwrap();
        symlink("f", dir.path().join("l")).unwrap();
        assert_eq!(safe.open_file(OsStr::new("g")).unwrap().1.size, 4);
        for (name, what) in [("l", "a link"), (".", "single"), ("none", "No such")] {
            let error = safe.open_file(OsStr::new(name)).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
