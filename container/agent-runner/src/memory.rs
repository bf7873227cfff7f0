//! The memory of a group: the file `CLAUDE.md` in its folder, a line for each fact.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// The file that holds the memory.
pub const FILE: &str = "CLAUDE.md";

/// Adds a line; one that is there already stays the only one, so that a turn that is tried again adds nothing twice.
///
/// # Errors
/// When the file cannot be read or written.
pub fn append(folder: &Path, fact: &str) -> io::Result<()> {
    let path = folder.join(FILE);
    let before = fs::read(&path).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(Vec::new()),
        _ => Err(error),
    })?;
    let line = format!("- {}", fact.split_whitespace().collect::<Vec<_>>().join(" "));
    if before.split(|byte| *byte == b'\n').any(|one| one.trim_ascii_end() == line.as_bytes()) {
        return Ok(());
    }
    let gap = if before.last().is_some_and(|last| *last != b'\n') { "\n" } else { "" };
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{gap}{line}\n").as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let memory = || fs::read_to_string(dir.path().join(FILE)).unwrap();
        fs::write(dir.path().join(FILE), "# Memory").unwrap();
        for _ in 0..2 {
            append(dir.path(), "Ann likes\ntea ").unwrap();
            append(dir.path(), "Ann likes").unwrap();
        }
        assert_eq!(memory(), "# Memory\n- Ann likes tea\n- Ann likes\n");
        fs::write(dir.path().join(FILE), "- a\r\n- b").unwrap();
        append(dir.path(), "a").unwrap();
        append(dir.path(), "b").unwrap();
        assert_eq!(memory(), "- a\r\n- b");
    }
}
