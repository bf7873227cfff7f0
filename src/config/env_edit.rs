//! Changes keys of `.env`: other lines and comments stay as they are.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::env_file;
use super::secrets::{self, EnvFileError};

/// Reasons why `.env` was not changed.
#[derive(Debug, Error)]
pub enum EditError {
    /// The file cannot be read, or one of its lines is wrong.
    #[error(transparent)]
    Read(#[from] EnvFileError),
    /// No line can hold the value.
    #[error("the value of {0} has characters that cannot stand in .env: quotes or control characters")]
    Value(String),
    /// The file has lines that cannot be changed safely.
    #[error("{path} has lines that cannot be changed safely, such as a value over several lines: change {key} by hand")]
    Unsafe {
        /// The file's path.
        path: String,
        /// The key that was to be changed.
        key: String,
    },
    /// The file cannot be written.
    #[error("{path} cannot be written: {source}; check the owner and mode of its folder, and the space on the disk")]
    Write {
        /// The file's path.
        path: String,
        /// The system's error.
        source: io::Error,
    },
}

/// Sets keys, or removes those with None. The new file replaces the old one as a whole, and only its owner can read
/// it.
pub fn change(path: &Path, changes: &[(&str, Option<&str>)]) -> Result<(), EditError> {
    // A link stays, and its target is changed.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut expected = secrets::env_file(path).map_err(|mut errors| errors.remove(0))?;
    let mut text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(failed(path, source)),
    };
    for (key, value) in changes {
        text = edited(&text, key, *value).ok_or_else(|| EditError::Value((*key).to_owned()))?;
        match value {
            Some(value) => drop(expected.insert((*key).to_owned(), (*value).to_owned())),
            None => drop(expected.remove(*key)),
        }
        if parsed(&text).as_ref() != Some(&expected) {
            return Err(EditError::Unsafe { path: path.display().to_string(), key: (*key).to_owned() });
        }
    }
    replace(path, &text).map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: io::Error) -> EditError {
    EditError::Write { path: path.display().to_string(), source }
}

/// Returns the text with a new value of the key, or without the key. Returns None if no line can hold the value.
fn edited(text: &str, key: &str, value: Option<&str>) -> Option<String> {
    let fresh = match value {
        Some(value) => Some(format!("{key}={}", quoted(value)?)),
        None => None,
    };
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let (mut out, mut written) = (String::with_capacity(text.len() + 64), false);
    for line in text.split_inclusive('\n') {
        match &fresh {
            _ if !holds(line, key) => out.push_str(line),
            // The first line of a key counts; further ones are removed.
            Some(fresh) if !written => {
                out.push_str(fresh);
                out.push_str(end);
                written = true;
            }
            _ => {}
        }
    }
    if let Some(fresh) = fresh.filter(|_| !written) {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push_str(end);
        }
        out.push_str(&fresh);
        out.push_str(end);
    }
    Some(out)
}

/// Returns true if a line sets a key.
fn holds(line: &str, key: &str) -> bool {
    let line = line.trim_start_matches('\u{feff}').trim_start();
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
}

/// Quotes a value for a line. Returns None if that is not possible.
fn quoted(value: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/+=@,%".contains(c);
    if value.chars().all(plain) {
        return Some(value.to_owned());
    }
    (!value.contains('\'') && !value.contains(char::is_control)).then(|| format!("'{value}'"))
}

fn parsed(text: &str) -> Option<BTreeMap<String, String>> {
    let file = env_file::parse(text);
    let values = file.values.into_iter().map(|(name, entry)| (name, entry.value));
    file.wrong.is_empty().then(|| values.collect())
}

/// Replaces the file by a rename: a reader sees the whole old file or the whole new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // Named like this, the file is hidden from main, as `.env` is.
    let fresh = Fresh(folder.join(format!(".env.{}.tmp", std::process::id())));
    // A dead process with the same id may have left one.
    let _ = fs::remove_file(&fresh.0);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh.0)?;
    file.write_all(text.as_bytes())?;
    if let Ok(before) = fs::metadata(path) {
        // The file keeps its owner if root changes it.
        std::os::unix::fs::fchown(&file, Some(before.uid()), Some(before.gid()))?;
    }
    file.sync_all()?;
    fs::rename(&fresh.0, path)?;
    File::open(folder)?.sync_all()
}

/// A temporary file: removed on drop, unless it was renamed.
struct Fresh(PathBuf);

impl Drop for Fresh {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn env_edit_keeps_other_lines() {
        let (dir, path) = file("# mine\nTZ=UTC\nexport  KEY = old # why\n\nB=\"two words\"\nKEY=later\nKEYS=x");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        change(&path, &[("KEY", Some("sk-new_1.2")), ("URL", Some("http://box:1/v1")), ("TZ", None)]).unwrap();
        let expected = "# mine\nKEY=sk-new_1.2\n\nB=\"two words\"\nKEYS=x\nURL=http://box:1/v1\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn env_edit_makes_a_missing_file_and_follows_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("home/.env"));
        change(&link, &[("A", Some("a b$c"))]).unwrap();
        assert_eq!(fs::read_to_string(&link).unwrap(), "A='a b$c'\n");
        assert_eq!(secrets::env_file(&link).unwrap()["A"], "a b$c");
        fs::rename(&link, &real).unwrap();
        symlink(&real, &link).unwrap();
        change(&link, &[("A", Some("x"))]).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "A=x\n");
    }

    #[test]
    fn env_edit_refuses_lines_that_cannot_be_changed_safely() {
        for (text, value) in
            [("A='one\nKEY=inside\ntwo'\n", "x"), ("not a line\n", "x"), ("A=1\n", "qu'o te"), ("A=1\n", "a\nb")]
        {
            let (_dir, path) = file(text);
            let error = change(&path, &[("KEY", Some(value))]).unwrap_err().to_string();
            assert!(!error.contains(value) || value == "x", "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
