//! The memory of a group: the file `CLAUDE.md` in its folder, a line for each fact.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// The file that holds the memory.
pub const FILE: &str = "CLAUDE.md";

/// Adds a line.
///
/// # Errors
/// When the file cannot be read or written.
pub fn append(folder: &Path, fact: &str) -> io::Result<()> {
    let path = folder.join(FILE);
    let before = fs::read(&path).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(Vec::new()),
        _ => Err(error),
    })?;
    let gap = if before.last().is_some_and(|last| *last != b'\n') { "\n" } else { "" };
    let line = format!("{gap}- {}\n", fact.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(line.as_bytes())?;
    file.sync_all()
}
