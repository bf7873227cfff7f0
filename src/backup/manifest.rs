//! The content of a backup, entry by entry.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The newest format that this program writes and reads.
pub(super) const FORMAT: u32 = 1;

/// The manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the file's format.
    pub format: u32,
    /// The Parlor that made it.
    pub parlor: String,
    /// When, RFC 3339.
    pub created: String,
    /// The installation it was made of.
    pub home: String,
    /// True if the keys of `.env` are in it.
    pub keys: bool,
    /// What stands before the manifest, in this order.
    pub entries: Vec<Entry>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path below the home; what is not UTF-8 is replaced.
    pub path: String,
    /// Its bytes; those of a link's target.
    pub size: u64,
    /// The SHA-256 of its bytes; empty for a folder.
    pub sha256: String,
}

/// The hash of bytes.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        use std::fmt::Write as _;
        // Into memory: cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Counts and hashes what passes. Exactly so many bytes come out as were announced: a file that became shorter while it
/// was read is filled with zeros, one that became longer is cut.
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

    /// The entry of what passed.
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
    fn what_changes_while_it_is_read_keeps_the_size_it_was_announced_with() {
        for (content, size, short) in [("abc", 3, false), ("abcdef", 3, false), ("ab", 3, true), ("", 0, false)] {
            let mut reader = Hashing::new(content.as_bytes(), size);
            let mut out = Vec::new();
            reader.read_to_end(&mut out).unwrap();
            assert_eq!((out.len() as u64, reader.short), (size, short), "{content:?}");
            assert_eq!(reader.entry("x".into()), Entry { path: "x".into(), size, sha256: hash(&out) });
        }
    }
}
