//! The part of a stream that a run's log keeps: a little in memory, the rest in a file without a name, so that rooms
//! with much output need no memory for their whole life.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use super::bounds::Redact;

/// The bytes that wait in memory before they go to the file.
const IN_MEMORY: usize = 256 << 10;
/// The bytes that always stay in memory, because they may be the beginning of a secret.
const BEHIND: usize = 16 << 10;

/// A stream, as far as the log keeps it.
#[derive(Default)]
pub struct Capture {
    fresh: Vec<u8>,
    file: Option<File>,
    /// The folder in which the file is made.
    dir: PathBuf,
    redact: Option<Redact>,
    limit: usize,
    taken: usize,
    truncated: bool,
}

impl Capture {
    /// Keeps at most `limit` bytes. Secrets are removed before anything goes to a disk, even into a file that nobody
    /// else can open.
    pub fn new(limit: usize, dir: PathBuf, redact: Redact) -> Self {
        Self { limit, dir, redact: Some(redact), ..Self::default() }
    }

    /// Takes the next bytes. Sometimes writes to the page cache, a few hundred KiB at a time and never more than the
    /// limit in all: too little to leave the caller's thread for.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = self.limit - self.taken;
        if bytes.len() > room {
            self.truncated = true;
        }
        let bytes = &bytes[..bytes.len().min(room)];
        self.taken += bytes.len();
        self.fresh.extend_from_slice(bytes);
        if self.fresh.len() > IN_MEMORY
            && let Err(error) = self.spill()
        {
            tracing::debug!("cannot keep more of an agent's output for its log: {error}");
            self.truncated = true;
            self.limit = self.taken;
            self.fresh = Vec::new();
        }
    }

    /// Returns the most bytes that are kept.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Returns true if some bytes were dropped.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// Writes the kept bytes, without secrets.
    pub fn copy_to(&self, to: &mut impl Write) -> io::Result<()> {
        if let Some(mut file) = self.file.as_ref() {
            file.rewind()?;
            io::copy(&mut file, to)?;
        }
        to.write_all(self.clean(&self.fresh).as_bytes())
    }

    /// Returns the kept bytes, without secrets.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        if let Some(mut file) = self.file.as_ref() {
            file.rewind()?;
            file.read_to_end(&mut all)?;
        }
        all.extend_from_slice(self.clean(&self.fresh).as_bytes());
        Ok(all)
    }

    fn clean<'a>(&self, bytes: &'a [u8]) -> Cow<'a, str> {
        let text = String::from_utf8_lossy(bytes);
        match self.redact.as_ref().and_then(|redact| redact(&text)) {
            Some(clean) => Cow::Owned(clean),
            None => text,
        }
    }

    fn spill(&mut self) -> io::Result<()> {
        let whole = whole_characters(&self.fresh);
        let text = self.clean(&self.fresh[..whole]);
        let behind = text.len().saturating_sub(BEHIND);
        let cut = (behind..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let mut behind = text.as_bytes()[cut..].to_vec();
        behind.extend_from_slice(&self.fresh[whole..]);
        if self.file.is_none() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
            self.file = Some(tempfile::tempfile_in(&self.dir)?);
        }
        if let Some(mut file) = self.file.as_ref() {
            file.write_all(&text.as_bytes()[..cut])?;
        }
        self.fresh.clear();
        self.fresh.shrink_to(IN_MEMORY);
        self.fresh.extend_from_slice(&behind);
        Ok(())
    }
}

/// Returns the number of bytes up to the last complete character.
fn whole_characters(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(3);
    let begun = bytes[from..].iter().rposition(|byte| *byte >= 0xC0).map(|at| from + at);
    let Some(begun) = begun else { return bytes.len() };
    let length = match bytes[begun] {
        0xF0.. => 4,
        0xE0.. => 3,
        _ => 2,
    };
    if bytes.len() - begun < length { begun } else { bytes.len() }
}

/// The last bytes of a stream, for errors.
#[derive(Debug, Default)]
pub struct Tail(std::collections::VecDeque<u8>);

impl Tail {
    const KEEP: usize = 4096;

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(Self::KEEP)..];
        let over = (self.0.len() + bytes.len()).saturating_sub(Self::KEEP);
        self.0.drain(..over);
        self.0.extend(bytes);
    }

    /// Returns the bytes as text.
    pub fn text(&self) -> String {
        let (a, b) = self.0.as_slices();
        String::from_utf8_lossy(&[a, b].concat()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn capture(limit: usize, dir: &tempfile::TempDir) -> Capture {
        let redact = |text: &str| text.contains("sk-secret").then(|| text.replace("sk-secret", "[redacted]"));
        Capture::new(limit, dir.path().join("runs"), Arc::new(redact))
    }

    fn text(capture: &Capture) -> String {
        let mut copied = Vec::new();
        capture.copy_to(&mut copied).unwrap();
        assert_eq!(copied, capture.bytes().unwrap());
        String::from_utf8(copied).unwrap()
    }

    #[test]
    fn captures_are_capped_and_flagged() {
        let dir = tempfile::tempdir().unwrap();
        let mut capture = capture(5, &dir);
        capture.push(b"abc");
        assert!(!capture.truncated());
        capture.push(b"def");
        assert_eq!((text(&capture).as_str(), capture.truncated()), ("abcde", true));
        assert!(!dir.path().join("runs").exists(), "little needs no file");
    }

    #[test]
    fn large_capture_is_complete_in_a_file_without_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut capture = capture(8 << 20, &dir);
        let line = "ä word, 😀 and a sk-secret.\n";
        let all = line.repeat((6 << 20) / line.len());
        for piece in all.as_bytes().chunks(65_521) {
            capture.push(piece);
            assert!(capture.fresh.capacity() < 4 * IN_MEMORY);
        }
        assert!(text(&capture) == all.replace("sk-secret", "[redacted]"));
        let mut raw = Vec::new();
        let mut file = capture.file.as_ref().unwrap();
        file.rewind().unwrap();
        file.read_to_end(&mut raw).unwrap();
        assert!(raw.len() > 5 << 20 && memchr::memmem::find(&raw, b"sk-secret").is_none());
        assert_eq!(fs::read_dir(dir.path().join("runs")).unwrap().count(), 0);
    }

    #[test]
    fn capture_keeps_invalid_utf8_as_far_as_it_can_be_shown() {
        let dir = tempfile::tempdir().unwrap();
        let mut capture = capture(1 << 20, &dir);
        let piece = vec![0xFF; 65_536];
        (0..16).for_each(|_| capture.push(&piece));
        assert_eq!(text(&capture).chars().filter(|c| *c == '\u{FFFD}').count(), 1 << 20);
    }

    #[test]
    fn capture_without_a_writable_folder_only_loses_the_log() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("runs"), "no folder").unwrap();
        let mut capture = capture(8 << 20, &dir);
        let piece = vec![b'x'; 65_536];
        (0..20).for_each(|_| capture.push(&piece));
        assert!(capture.truncated() && text(&capture).is_empty());
    }

    #[test]
    fn captures_do_not_cut_characters() {
        for (bytes, whole) in [
            (&b""[..], 0),
            (b"ab", 2),
            ("aä".as_bytes(), 3),
            (&"aä".as_bytes()[..2], 1),
            (&"😀".as_bytes()[..3], 0),
            ("😀".as_bytes(), 4),
            (&"a€".as_bytes()[..3], 1),
            (b"\xff", 0),
            (b"\x80\x80\x80\x80", 4),
        ] {
            assert_eq!(whole_characters(bytes), whole, "{bytes:?}");
        }
    }

    #[test]
    fn tails_keep_the_end() {
        let mut tail = Tail::default();
        tail.push(&[b'a'; 5000]);
        tail.push(b"the end");
        assert!(tail.text().ends_with("athe end"));
        assert_eq!(tail.text().len(), Tail::KEEP);
    }
}
