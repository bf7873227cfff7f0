//! Compares a file of the source with the file of the same name here.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::safe_dir::{Meta, SafeDir};

/// The initial memories of a new installation: a file with these bytes was never changed, and may be replaced.
const MEMORIES: [&str; 2] =
    [include_str!("../../groups/main/CLAUDE.md"), include_str!("../../groups/global/CLAUDE.md")];

/// The relation of a file here to the file to be copied.
pub(super) enum Here {
    /// It has the same bytes.
    Same,
    /// It is an initial memory that nobody has changed.
    Untouched,
    /// It has other bytes.
    Other,
}

/// Compares with the file of this name here. The given file is at its start before and after.
pub(super) fn here_is(to: &SafeDir, name: &OsStr, file: &File, meta: &Meta) -> Here {
    let Ok((here, there)) = to.open_file(name) else { return Here::Other };
    if there.size == meta.size && file.try_clone().is_ok_and(|file| same_bytes(file, &here)) {
        return Here::Same;
    }
    let mut text = Vec::new();
    let largest = MEMORIES.iter().map(|memory| memory.len()).max().unwrap_or(0) as u64;
    let read = to.open_file(name).and_then(|(file, _)| file.take(largest + 1).read_to_end(&mut text));
    if read.is_ok() && MEMORIES.iter().any(|memory| memory.as_bytes() == text) { Here::Untouched } else { Here::Other }
}

/// Compares all bytes; the first file is at its start again afterwards.
fn same_bytes(mut a: File, mut b: &File) -> bool {
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let same = loop {
        let Ok(count) = a.read(&mut left) else { break false };
        if count == 0 {
            break true;
        }
        if b.read_exact(&mut right[..count]).is_err() || left[..count] != right[..count] {
            break false;
        }
    };
    // The clone and the original share one position.
    io::Seek::rewind(&mut a).is_ok() && same
}

/// Returns true for `groups/<folder>/logs/container-….log`.
pub(super) fn is_run_log(rel: &Path) -> bool {
    let parts: Vec<_> = rel.iter().map(OsStr::to_string_lossy).collect();
    matches!(parts.as_slice(), [groups, _, logs, name] if groups == "groups" && logs == "logs"
        && name.starts_with("container-") && Path::new(name.as_ref()).extension() == Some(OsStr::new("log")))
}
