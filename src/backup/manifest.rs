//! The manifest: the list of a backup's entries.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The newest format that this program writes and reads.
pub(super) const FORMAT: u32 = 1;

/// The last entry of a backup, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the file's format.
    pub format: u32,
    /// The version of Parlor that made it.
    pub parlor: String,
    /// The time it was made (RFC 3339).
    pub created: String,
    /// The home of the installation.
    pub home: String,
    /// True if it contains the keys of `.env`.
    pub keys: bool,
    /// The entries before the manifest, in this order.
    pub entries: Vec<Entry>,
}

/// An entry of the archive, the manifest excepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path below the home; bytes that are not UTF-8 are replaced.
    pub path: String,
    /// Its size in bytes; for a link, of the target's path.
    pub size: u64,
    /// The SHA-256 of its content in hex; empty for a folder.
    pub sha256: String,
}

/// The SHA-256 in hex.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        use std::fmt::Write as _;
        // Writing into memory cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Counts and hashes the bytes that it passes on. It passes exactly the announced size: a file that shrank while it
/// was read is filled with zeros, and a file that grew is cut.
pub(super) struct Hashing<R> {
    from: R,
    left: u64,
    size: u64,
    digest: Sha256,
    /// True if the file was shorter than announced.
    pub(super) short: bool,
}

impl<R: Read> Hashing<R> {
    pub(super) fn new(from: R, size: u64) -> Self {
        Self { from, left: size, size, digest: Sha256::new(), short: false }
    }

    /// The manifest's entry for these bytes.
    pub(super) fn entry(self, path: String) -> Entry {
        Entry { path, size: self.size, sha256: hex(&self.digest.finalize()) }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..room];
        let read = if self.short { 0 } else { self.from.read(buffer)? };
        let read = if read == 0 && room > 0 {
            self.short = true;
            buffer.fill(0);
            room
        } else {
            read
        };
        self.digest.update(&buffer[..read]);
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_that_changes_while_read_keeps_its_announced_size() {
        for (content, size, short) in [("abc", 3, false), ("abcdef", 3, false), ("ab", 3, true), ("", 0, false)] {
            let mut reader = Hashing::new(content.as_bytes(), size);
            let mut out = Vec::new();
            reader.read_to_end(&mut out).unwrap();
            assert_eq!((out.len() as u64, reader.short), (size, short), "{content:?}");
            assert_eq!(reader.entry("x".into()), Entry { path: "x".into(), size, sha256: hash(&out) });
        }
    }
}
