//! Files that the operator may edit at any time: a changed file is read again without a restart.

use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The largest allowlist, in bytes.
const MAX: u64 = 1 << 20;

/// The file with the senders who may trigger.
pub const SENDERS: &str = "sender-allowlist.json";
/// The file with the folders that may be mounted.
pub const MOUNTS: &str = "mount-allowlist.json";

/// Parses a file's text. The argument is `Ok(None)` if the file does not exist, and an error if it cannot be read.
pub type Parse<T> = fn(Result<Option<String>, String>) -> T;

/// A file and its parsed value. Each [`get`](Self::get) costs one `stat`; the file is parsed only after a change.
#[derive(Debug)]
pub struct Watched<T> {
    path: PathBuf,
    parse: Parse<T>,
    last: Mutex<Option<(Stamp, Arc<T>)>>,
}

/// The metadata that changes with the file; `ctime` cannot be set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stamp {
    Missing,
    Unreadable(i32),
    File { dev: u64, ino: u64, size: u64, mtime: (i64, i64), ctime: (i64, i64) },
}

impl<T> Watched<T> {
    /// Watches a file, which is read at the first [`get`](Self::get).
    pub fn new(path: PathBuf, parse: Parse<T>) -> Self {
        Self { path, parse, last: Mutex::new(None) }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the value of the file's present content.
    pub fn get(&self) -> Arc<T> {
        let stamp = stamp(&self.path);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((old, value)) = &*last
            && *old == stamp
        {
            return value.clone();
        }
        let value = Arc::new((self.parse)(read(&self.path)));
        // The stamp is older than the read: a change in between is noticed at the next call.
        *last = Some((stamp, value.clone()));
        value
    }
}

fn stamp(path: &Path) -> Stamp {
    match fs::metadata(path) {
        Ok(m) => of(&m),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Stamp::Missing,
        Err(e) => Stamp::Unreadable(e.raw_os_error().unwrap_or_default()),
    }
}

fn of(m: &Metadata) -> Stamp {
    Stamp::File {
        dev: m.dev(),
        ino: m.ino(),
        size: m.size(),
        mtime: (m.mtime(), m.mtime_nsec()),
        ctime: (m.ctime(), m.ctime_nsec()),
    }
}

fn read(path: &Path) -> Result<Option<String>, String> {
    let refuse = |e: io::Error| format!("{}: {e}", path.display());
    let kind = match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(refuse(e)),
        Ok(m) => m,
    };
    // Opening a FIFO would block.
    if !kind.is_file() {
        return Err(format!("{} is not a file", path.display()));
    }
    let mut text = String::new();
    fs::File::open(path).and_then(|file| file.take(MAX + 1).read_to_string(&mut text)).map_err(refuse)?;
    if text.len() as u64 > MAX {
        return Err(format!("{} is larger than {MAX} bytes", path.display()));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(file: Result<Option<String>, String>) -> String {
        file.map_or_else(|e| format!("error: {e}"), |text| text.unwrap_or_else(|| "missing".into()))
    }

    #[test]
    fn allowlist_edits_apply_at_the_next_get() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let watched = Watched::new(path.clone(), text);
        assert_eq!(*watched.get(), "missing");
        fs::write(&path, "one").unwrap();
        assert_eq!(*watched.get(), "one");
        assert!(Arc::ptr_eq(&watched.get(), &watched.get()), "unchanged files are not parsed again");
        fs::write(dir.path().join("new"), "two").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!(*watched.get(), "two");
        fs::remove_file(&path).unwrap();
        assert_eq!(*watched.get(), "missing");
        fs::create_dir(&path).unwrap();
        assert!(watched.get().contains("not a file"));
    }

    #[test]
    fn allowlist_that_is_not_text_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(Watched::new(path.clone(), text).get().starts_with("error"));
        fs::write(&path, vec![b' '; (MAX + 1) as usize]).unwrap();
        assert!(Watched::new(path.clone(), text).get().contains("larger"));
        fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        assert!(Watched::new(path, text).get().contains("not a file"));
    }
}
