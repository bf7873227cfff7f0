//! The tools that read, write, edit and list files.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use parlor_protocol::files::write_atomically;

use super::{Call, RESULT_LIMIT};

/// The largest file that can be edited, in bytes.
const EDIT_LIMIT: u64 = 8 << 20;
/// Most entries of a listing.
const LISTED: usize = 500;

pub(super) fn read(call: &Call<'_>) -> Result<String, String> {
    let path = call.path("path")?;
    let (offset, limit) = (call.number("offset", 1, u64::MAX)?, call.number("limit", 1000, 100_000)?);
    let file = open(&path)?;
    let mut reader = BufReader::new(file);
    let (mut text, mut line, mut number) = (String::new(), Vec::new(), 0_u64);
    loop {
        line.clear();
        // A whole file may be one line.
        let read = reader.by_ref().take(1 << 20).read_until(b'\n', &mut line);
        if read.map_err(|error| shown(&path, &error))? == 0 {
            let note =
                if number < offset && number > 0 { format!("(the file has {number} lines)") } else { String::new() };
            return Ok(text + &note);
        }
        number += 1;
        if number < offset {
            continue;
        }
        if line.contains(&0) {
            return Err(format!("{} is no text file.", path.display()));
        }
        if number >= offset.saturating_add(limit) || text.len() + line.len() > RESULT_LIMIT - 200 {
            if text.is_empty() {
                text = String::from_utf8_lossy(&line[..line.len().min(RESULT_LIMIT - 200)]).into_owned();
                number += 1;
            }
            let _ = write!(text, "\n(there is more: go on with offset {number})");
            return Ok(text);
        }
        text.push_str(&String::from_utf8_lossy(&line));
    }
}

pub(super) fn write(call: &Call<'_>) -> Result<String, String> {
    let (path, content) = (call.path("path")?, call.text("content")?);
    put(&path, content.as_bytes())?;
    Ok(format!("Done: {} has {} bytes.", path.display(), content.len()))
}

pub(super) fn edit(call: &Call<'_>) -> Result<String, String> {
    let (path, old, new) = (call.path("path")?, call.text("old")?, call.text("new")?);
    if old.is_empty() {
        return Err("old is empty; use write_file to write a whole file.".to_owned());
    }
    let mut bytes = Vec::new();
    open(&path)?.take(EDIT_LIMIT + 1).read_to_end(&mut bytes).map_err(|error| shown(&path, &error))?;
    if bytes.len() as u64 > EDIT_LIMIT {
        return Err(format!("{} is too large to be edited; use shell.", path.display()));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("{} is no text file.", path.display()))?;
    match text.matches(old).count() {
        0 => Err(format!("the text is not in {}: read the file, and take the text exactly as it is.", path.display())),
        1 => {
            put(&path, text.replacen(old, new, 1).as_bytes())?;
            Ok(format!("Done: {} is changed.", path.display()))
        }
        count => Err(format!("the text is in {} {count} times: take more of what surrounds it.", path.display())),
    }
}

pub(super) fn list(call: &Call<'_>) -> Result<String, String> {
    let path = call.path_or_root("path")?;
    let depth = call.number("depth", 1, 8)?;
    let mut lines = Vec::new();
    walk(&path, Path::new(""), depth, &mut lines).map_err(|error| shown(&path, &error))?;
    let more = if lines.len() >= LISTED { format!("\n(only the first {LISTED} are listed)") } else { String::new() };
    Ok(if lines.is_empty() { "(the folder is empty)".to_owned() } else { lines.join("\n") + &more })
}

fn walk(root: &Path, below: &Path, depth: u64, lines: &mut Vec<String>) -> std::io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(root.join(below))?.filter_map(Result::ok).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if lines.len() >= LISTED {
            return Ok(());
        }
        let inside = below.join(entry.file_name());
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            lines.push(format!("{}/", inside.display()));
            if depth > 1 {
                // A folder without read permission is listed, but not entered.
                let _ = walk(root, &inside, depth - 1, lines);
            }
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            lines.push(format!("{} -> {}", inside.display(), target.display()));
        } else {
            let size = entry.metadata().map_or(0, |meta| meta.len());
            lines.push(format!("{} ({size} bytes)", inside.display()));
        }
    }
    Ok(())
}

/// Opens a regular file: a pipe would block.
fn open(path: &Path) -> Result<File, String> {
    let meta = fs::metadata(path).map_err(|error| shown(path, &error))?;
    if !meta.is_file() {
        return Err(format!("{} is not a file.", path.display()));
    }
    File::open(path).map_err(|error| shown(path, &error))
}

/// Writes the file atomically, and keeps an existing file's mode.
fn put(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(format!("{} is no name for a file.", path.display()));
    };
    let mode = fs::metadata(&path).ok().map(|meta| meta.permissions());
    fs::create_dir_all(dir).map_err(|error| shown(dir, &error))?;
    write_atomically(dir, name, bytes).map_err(|error| shown(&path, &error))?;
    if let Some(mode) = mode {
        let _ = fs::set_permissions(&path, mode);
    }
    Ok(())
}

fn shown(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn with(root: &Path, args: &Value, work: impl Fn(&Call<'_>) -> Result<String, String>) -> Result<String, String> {
        work(&Call { args: args.as_object().unwrap(), root })
    }

    #[test]
    fn files_are_written_read_in_parts_edited_and_listed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let lines = (1..=50).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n") + "\n";
        with(root, &json!({"path": "a/b.txt", "content": lines}), write).unwrap();
        assert_eq!(with(root, &json!({"path": "a/b.txt"}), read).unwrap(), lines);
        let part = with(root, &json!({"path": "a/b.txt", "offset": 10, "limit": 2}), read).unwrap();
        assert_eq!(part, "line 10\nline 11\n\n(there is more: go on with offset 12)");
        assert_eq!(with(root, &json!({"path": "a/b.txt", "offset": 99}), read).unwrap(), "(the file has 50 lines)");
        let edited = |old: &str, new: &str| with(root, &json!({"path": "a/b.txt", "old": old, "new": new}), edit);
        assert!(edited("line 1", "x").unwrap_err().contains("11 times"));
        assert!(edited("nowhere", "x").unwrap_err().contains("not in"));
        edited("line 50", "the last").unwrap();
        assert!(fs::read_to_string(root.join("a/b.txt")).unwrap().ends_with("line 49\nthe last\n"));
        assert_eq!(with(root, &json!({"depth": 2}), list).unwrap(), "a/\na/b.txt (392 bytes)");
        assert!(with(root, &json!({"path": "a"}), read).unwrap_err().contains("not a file"));
        assert!(with(root, &json!({"path": "none"}), read).is_err());
    }

    #[test]
    fn long_files_are_read_in_pages_and_binary_ones_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("long"), "x".repeat(3 * RESULT_LIMIT)).unwrap();
        let text = with(dir.path(), &json!({"path": "long"}), read).unwrap();
        assert!(text.len() < RESULT_LIMIT && text.ends_with("offset 2)"));
        fs::write(dir.path().join("bin"), [0, 1, 2]).unwrap();
        assert!(with(dir.path(), &json!({"path": "bin"}), read).unwrap_err().contains("no text"));
    }
}
