//! The tool that searches files with a regular expression.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use regex::bytes::{Regex, RegexBuilder};

use super::Call;

/// Most matches that are shown.
const MATCHES: usize = 200;
/// Most files that are searched.
const FILES: usize = 20_000;
/// Files with more bytes are skipped.
const FILE_LIMIT: u64 = 4 << 20;
/// Most bytes of a line that are shown.
const LINE: usize = 300;
/// Time limit of a search.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn run(call: &Call<'_>) -> Result<String, String> {
    let regex = RegexBuilder::new(call.text("pattern")?).size_limit(1 << 20).dfa_size_limit(1 << 20).build();
    let regex = regex.map_err(|error| format!("the pattern is no regular expression: {error}"))?;
    let path = call.path_or_root("path")?;
    let meta = fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut search = Search { regex, found: Vec::new(), files: 0, end: Instant::now() + PATIENCE };
    let whole = if meta.is_dir() { search.folder(&path, &path, 0) } else { search.file(&path, &path) };
    let mut text = if search.found.is_empty() { "(no match)".to_owned() } else { search.found.join("\n") };
    if whole.is_none() {
        text.push_str("\n(there may be more: search in a smaller place)");
    }
    Ok(text)
}

struct Search {
    regex: Regex,
    found: Vec<String>,
    files: usize,
    end: Instant,
}

impl Search {
    /// Searches a folder. Returns None if a limit was reached.
    fn folder(&mut self, root: &Path, dir: &Path, depth: usize) -> Option<()> {
        let mut entries: Vec<_> = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let Ok(kind) = entry.file_type() else { continue };
            // Links are not followed: they may form a circle.
            if kind.is_dir() && depth < 32 && ![".git", "node_modules"].iter().any(|skip| entry.file_name() == *skip) {
                self.folder(root, &entry.path(), depth + 1)?;
            } else if kind.is_file() {
                self.file(root, &entry.path())?;
            }
        }
        Some(())
    }

    fn file(&mut self, root: &Path, path: &Path) -> Option<()> {
        self.files += 1;
        if self.files > FILES || Instant::now() > self.end {
            return None;
        }
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(FILE_LIMIT + 1).read_to_end(&mut bytes));
        if read.is_err() || bytes.len() as u64 > FILE_LIMIT || bytes[..bytes.len().min(8192)].contains(&0) {
            return Some(());
        }
        let name = path.strip_prefix(root).ok().filter(|name| !name.as_os_str().is_empty()).unwrap_or(path);
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if !self.regex.is_match(line) {
                continue;
            }
            if self.found.len() >= MATCHES {
                return None;
            }
            let shown = String::from_utf8_lossy(&line[..line.len().min(LINE)]).into_owned();
            self.found.push(format!("{}:{}: {}", name.display(), number + 1, shown.trim_end()));
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn matches_are_found_and_limited() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("a.txt"), "one\nTwo\n").unwrap();
        fs::write(dir.path().join("sub/b.txt"), "two\n".repeat(MATCHES + 1)).unwrap();
        fs::write(dir.path().join("bin"), b"\0two").unwrap();
        std::os::unix::fs::symlink("..", dir.path().join("sub/round")).unwrap();
        let search = |pattern: &str, path: &str| {
            let args = json!({"pattern": pattern, "path": path});
            run(&Call { args: args.as_object().unwrap(), root: dir.path() })
        };
        assert_eq!(search("(?i)two", "a.txt").unwrap(), format!("{}:2: Two", dir.path().join("a.txt").display()));
        assert_eq!(search("^o.e$", ".").unwrap(), "a.txt:1: one");
        assert_eq!(search("three", ".").unwrap(), "(no match)");
        let many = search("two", ".").unwrap();
        assert!(many.lines().count() == MATCHES + 1 && many.contains("there may be more"));
        assert!(search("(", ".").unwrap_err().contains("regular expression"));
    }
}
