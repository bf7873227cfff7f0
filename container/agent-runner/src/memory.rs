//! A group's memory: the file `CLAUDE.md` in its folder, with one line per fact.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// The file's name.
pub const FILE: &str = "CLAUDE.md";
/// The largest memory, in bytes, that is changed line by line.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Adds a line. An existing line is not added again, so that a repeated turn changes nothing.
///
/// # Errors
/// If the file cannot be read or written.
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

/// Returns the facts: the lines that begin with a dash, without the dash.
pub fn facts(folder: &Path) -> Vec<String> {
    let text = read(&folder.join(FILE), MAX_BYTES).map_or_else(String::new, |(text, _)| text);
    text.lines().filter_map(|line| line.strip_prefix("- ")).map(|fact| fact.trim_end().to_owned()).collect()
}

/// Removes a fact's line. The file is replaced as a whole.
///
/// # Errors
/// If the file cannot be read or written, or is too large.
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

/// Returns the beginning of a memory file as text, and the number of bytes left out. None if it is empty or not a
/// regular file: other kinds of file must not block a room or fill its memory.
pub fn read(path: &Path, limit: u64) -> Option<(String, u64)> {
    // A pipe is opened without waiting for its writer.
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
    fn fact_is_written_once() {
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
    fn read_returns_only_the_start_of_a_regular_file() {
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
