//! Whole trees: removing them and repairing their owner. Memory and file descriptors are bounded at any depth.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{self as sys, AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::write::fresh_name;
use super::{Entries, Kind, Owner, SafeDir, meta_of, open, single};

/// The most directories that are open at once while an owner is repaired; deeper ones are left and counted.
const DEPTH: usize = 128;
/// How often a directory is emptied again while another process fills it.
const PASSES: u32 = 16;

/// The result of [`SafeDir::chown_tree`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chowned {
    /// The number of entries whose owner was changed.
    pub changed: u64,
    /// The number of entries that stay as they are: files of others with a second name, entries too deep, and errors.
    pub skipped: u64,
}

impl SafeDir {
    /// Removes a directory and everything below it, without following links. A missing one is no error. An entry of
    /// another kind is removed, too.
    pub fn remove_tree(&self, name: &OsStr) -> io::Result<()> {
        let name = single(name)?;
        match self.stat(name)?.map(|meta| meta.kind) {
            None => return Ok(()),
            Some(Kind::Dir) => {}
            Some(_) => return self.remove(name),
        }
        // Under a new name, a process that still uses the tree's name does not see it half removed.
        let doomed = fresh_name("gone");
        match self.move_to(name, self, &doomed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        let root = Self { fd: open::dir_at(self.as_fd(), &doomed)? };
        // A process that still has the tree open can add entries: repeat until it stays empty.
        let mut left = Ok(());
        for _ in 0..PASSES {
            root.empty()?;
            left = self.remove_empty_dir(&doomed);
            if !is_not_empty(&left) {
                break;
            }
        }
        left
    }

    /// Removes the content of this directory. Nested directories are moved up into it, so that depth needs neither
    /// stack nor descriptors.
    fn empty(&self) -> io::Result<()> {
        let mut waiting: Vec<OsString> = Vec::new();
        self.unlink_files(|name| {
            waiting.push(name.to_owned());
            Ok(())
        })?;
        let mut again = 0;
        while let Some(name) = waiting.pop() {
            let inner = Self { fd: open::dir_at(self.as_fd(), &name)? };
            inner.unlink_files(|below| {
                let up = fresh_name("gone");
                inner.move_to(below, self, &up)?;
                waiting.push(up);
                Ok(())
            })?;
            let removed = self.remove_empty_dir(&name);
            if is_not_empty(&removed) && again < PASSES {
                again += 1;
                waiting.push(name);
            } else {
                removed?;
            }
        }
        Ok(())
    }

    /// Removes every entry except directories, which are passed to `on_dir`.
    fn unlink_files(&self, mut on_dir: impl FnMut(&OsStr) -> io::Result<()>) -> io::Result<()> {
        for entry in self.entries()? {
            let name = entry?.name;
            match sys::unlinkat(self, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => on_dir(&name)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Gives this directory and everything below it to `owner`, without following links. A file of another user with
    /// a second name is left alone, because its other name may be outside. Errors are counted and do not stop it.
    pub fn chown_tree(&self, owner: Owner) -> io::Result<Chowned> {
        let mut done = Chowned::default();
        let before = self.meta()?;
        if (before.uid, before.gid) != (owner.uid, owner.gid) {
            super::write::chown(self.as_fd(), owner)?;
            done.changed += 1;
        }
        let mut open: Vec<(SafeDir, Entries)> = vec![(self.try_clone()?, self.entries()?)];
        while let Some((dir, entries)) = open.last_mut() {
            let Some(entry) = entries.next() else {
                open.pop();
                continue;
            };
            let entry = entry?;
            match dir.chown_entry(&entry.name, owner, &mut done) {
                Ok(Some(inner)) if open.len() < DEPTH => {
                    let entries = inner.entries()?;
                    open.push((inner, entries));
                }
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => done.skipped += 1,
            }
        }
        Ok(done)
    }

    /// Changes one entry; returns its handle if it is a directory.
    fn chown_entry(&self, name: &OsStr, owner: Owner, done: &mut Chowned) -> io::Result<Option<SafeDir>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match sys::openat(self, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        // The checked file is the one that is changed, even if its name is taken meanwhile.
        let meta = meta_of(&sys::fstat(&fd)?);
        let right = (meta.uid, meta.gid) == (owner.uid, owner.gid);
        if meta.kind == Kind::Dir {
            let inner = Self { fd: open::dir_at(self.as_fd(), name)? };
            if !right {
                super::write::chown(inner.as_fd(), owner)?;
                done.changed += 1;
            }
            return Ok(Some(inner));
        }
        if right {
            return Ok(None);
        }
        if meta.links > 1 {
            done.skipped += 1;
            return Ok(None);
        }
        let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        sys::chownat(&fd, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        done.changed += 1;
        Ok(None)
    }
}

fn is_not_empty(result: &io::Result<()>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty)
}
