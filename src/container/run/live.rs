//! The stderr of a live run: a file that people can follow until the run's log replaces it.

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Redact;
use crate::container::run::run_log;
use crate::domain::ids::RunId;

/// The most bytes of a line that are held; a longer line is written in parts.
const MAX_LINE: usize = 64 << 10;

/// The file, which is removed when dropped. A failed write affects only its readers.
pub(super) struct Live {
    path: PathBuf,
    file: Option<File>,
    /// The beginning of a line: secrets are removed from whole lines.
    partial: Vec<u8>,
    /// The bytes that may still be written.
    left: usize,
    redact: Redact,
}

impl Live {
    /// Makes the file in a group's folder of run logs, for at most `limit` bytes.
    pub(super) fn new(dir: &Path, run: RunId, limit: usize, redact: Redact) -> Self {
        let path = run_log::live_path(dir, run);
        let open = || {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&path)
        };
        let file = open().map_err(|error| tracing::debug!("cannot make {}: {error}", path.display())).ok();
        Self { path, file, partial: Vec::new(), left: limit, redact }
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let before = self.partial.len();
        self.partial.extend_from_slice(bytes);
        // The earlier bytes have no line end, so they are not searched again.
        let end = match memchr::memrchr(b'\n', bytes) {
            Some(at) => before + at + 1,
            None if self.partial.len() >= MAX_LINE => self.partial.len(),
            None => return,
        };
        let rest = self.partial.split_off(end);
        let lines = std::mem::replace(&mut self.partial, rest);
        self.write(&lines);
    }

    fn write(&mut self, lines: &[u8]) {
        let text = String::from_utf8_lossy(lines);
        let clean = (self.redact)(&text);
        let bytes = clean.as_deref().unwrap_or(&text).as_bytes();
        let bytes = &bytes[..bytes.len().min(self.left)];
        self.left -= bytes.len();
        if self.file.as_mut().is_some_and(|file| file.write_all(bytes).is_err()) {
            self.file = None;
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let rest = std::mem::take(&mut self.partial);
        self.write(&rest);
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn live_stderr_has_whole_lines_without_secrets_and_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("runs/lab");
        let run = RunId(ulid::Ulid::from_parts(1, 2));
        let redact: Redact = Arc::new(|text| text.contains("secret").then(|| text.replace("secret", "***")));
        let mut live = Live::new(&logs, run, 30, redact);
        let path = run_log::live_path(&logs, run);
        let mut follows = File::open(&path).unwrap();
        let mut new = || {
            let mut text = String::new();
            follows.read_to_string(&mut text).unwrap();
            text
        };
        live.push(b"one\nsec");
        assert_eq!(new(), "one\n");
        live.push(b"ret two\nthree");
        assert_eq!(new(), "*** two\n");
        live.push(b" and much more than may be written\n");
        assert_eq!(new(), "three and much mor");
        drop(live);
        assert_eq!(new(), "");
        assert!(!path.exists());
    }
}
