//! The memory of a group: the file `CLAUDE.md` in its folder, a line for each fact.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// The file that holds the memory.
pub const FILE: &str = "CLAUDE.md";
/// A memory that is changed line by line is not larger.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

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

/// The facts in it: lines that begin with a dash, without it.
pub fn facts(folder: &Path) -> Vec<String> {
    let text = read(&folder.join(FILE), MAX_BYTES).map_or_else(String::new, |(text, _)| text);
    text.lines().filter_map(|line| line.strip_prefix("- ")).map(|fact| fact.trim_end().to_owned()).collect()
}

/// Takes the line of a fact out. The file is replaced as a whole.
///
/// # Errors
/// When the file cannot be read or written, or is larger than a memory.
pub fn remove(folder: &Path, fact: &str) -> io::Result<()> {
    let path = folder.join(FILE);
    let (text, left) = read(&path, MAX_BYTES).unwrap_or_default();
    if left > 0 {
        return Err(io::Error::other("it is too large to be changed"));
    }
    let line = format!("- {fact}");
    let kept: String = text.split_inclusive('\n').filter(|one| one.trim_end() != line).collect();
    let fresh = folder.join(format!(".{FILE}.{}.tmp", std::process::id()));
    let mut file = fs::File::create(&fresh)?;
    file.write_all(kept.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, &path)
}

/// The start of a memory file as text, and how many bytes of it are left out. None where there is no plain file, or
/// nothing in it: whatever else bears its name must neither hold up a room nor fill it.
pub fn read(path: &Path, limit: u64) -> Option<(String, u64)> {
    // A pipe is opened without waiting for whoever writes to it.
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).ok()?;
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path).ok()?;
    let meta = file.metadata().ok().filter(fs::Metadata::is_file)?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).ok()?;
    let left = meta.len().saturating_sub(bytes.len() as u64);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (!text.trim().is_empty()).then_some((text, left))
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

    #[test]
    fn only_the_start_of_a_plain_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(read(&path, 10), None);
        fs::write(&path, " \n").unwrap();
        assert_eq!(read(&path, 10), None);
        fs::write(&path, b"one\xfftwo and more").unwrap();
        assert_eq!(read(&path, 7), Some(("one\u{fffd}two".to_owned(), 9)));
        fs::File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read(&path, 3), Some(("one".to_owned(), (1 << 40) - 3)));
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        assert_eq!(read(&path, 10), None);
    }
}
