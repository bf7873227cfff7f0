//! The host's log file in its installation, `data/parlor.log`: a copy of the log on stderr, in the same place however
//! the host was started. It is rotated by size; times are local, with their offset.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{SecondsFormat, Utc};
use chrono_tz::Tz;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// The size in bytes at which the file is rotated.
const MAX: u64 = 10 << 20;
/// The number of rotated files; `parlor.log.1` is the newest.
const OLD: u32 = 4;

/// The log's file; writes are dropped until a host opens it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct HostLog(Arc<Mutex<Option<Open>>>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    size: u64,
}

impl HostLog {
    /// Opens the file for all later lines. Only a host that holds the lock of its home may call this: a second writer
    /// would rotate the first one's files away.
    pub fn open(&self, path: &Path) -> io::Result<()> {
        let open = Open::new(path)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
        Ok(())
    }
}

/// The existing files of a log, oldest first.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let old = (1..=OLD).rev().map(|number| numbered(path, number));
    old.chain([path.to_owned()]).filter(|path| path.exists()).collect()
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

impl Open {
    fn new(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).mode(0o600).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.size > 0 && self.size + line.len() as u64 > MAX {
            for number in (1..OLD).rev() {
                let _ = fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1));
            }
            fs::rename(&self.path, numbered(&self.path, 1))?;
            *self = Self::new(&self.path)?;
        }
        self.file.write_all(line)?;
        self.size += line.len() as u64;
        Ok(())
    }
}

impl Write for HostLog {
    /// Writes a whole line. On a full disk, the line is lost and nothing else.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(open) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = open.write(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for HostLog {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The timer of log lines: local time with the offset from UTC.
#[derive(Debug, Clone, Copy)]
pub struct LocalTime(pub Tz);

impl FormatTime for LocalTime {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        w.write_str(&Utc::now().with_timezone(&self.0).to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn log_files_are_rotated_between_lines_and_the_oldest_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("parlor.log");
        let mut log = HostLog::default();
        log.write_all(b"before a host opened it\n").unwrap();
        assert!(files(&path).is_empty());
        log.open(&path).unwrap();
        let line = |letter: u8| [vec![letter; MAX as usize / 2 + 1], b"\n".to_vec()].concat();
        for letter in b'a'..=b'g' {
            log.write_all(&line(letter)).unwrap();
        }
        let kept: Vec<u8> = files(&path).iter().map(|path| fs::read(path).unwrap()[0]).collect();
        assert_eq!(kept, b"cdefg");
        // The next host appends to the same file.
        let mut next = HostLog::default();
        next.open(&path).unwrap();
        next.write_all(b"next\n").unwrap();
        assert!(fs::read(&path).unwrap().ends_with(b"\nnext\n"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
