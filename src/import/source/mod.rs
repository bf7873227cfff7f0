//! Reads a NanoClaw v1 installation, and never writes to it. Containers could write its folders, so they are read as
//! hostile, without following links.

mod database;
mod json;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::ImportError;
use super::report::{Kind, Report};
use crate::safe_dir::{Kind as Entry, SafeDir};

/// The largest settings file of the source, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// A group's row, unchecked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawGroup {
    pub jid: String,
    pub name: String,
    pub folder: String,
    pub trigger: Option<String>,
    pub added_at: Option<String>,
    pub container_config: Option<String>,
    pub requires_trigger: Option<bool>,
    /// None in versions without the column; there, main is the folder `main`.
    pub is_main: Option<bool>,
}

/// A task's row, unchecked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawTask {
    pub id: String,
    pub folder: String,
    pub jid: String,
    pub prompt: String,
    pub schedule_type: String,
    pub schedule_value: String,
    pub context_mode: Option<String>,
    pub next_run: Option<String>,
    pub last_run: Option<String>,
    pub last_result: Option<String>,
    pub status: String,
    pub created_at: Option<String>,
}

/// A row of a task's history, unchecked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawRun {
    pub task: String,
    pub run_at: String,
    pub duration_ms: Option<i64>,
    pub status: String,
    pub result: Option<String>,
    pub error: Option<String>,
}

/// A message's row, unchecked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawMessage {
    pub id: String,
    pub jid: String,
    pub sender: String,
    pub sender_name: String,
    pub text: String,
    pub timestamp: String,
    pub from_me: bool,
    /// None in versions without the column; there, the beginning of the text shows it.
    pub from_bot: Option<bool>,
}

/// The content of the tables and of old state files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    pub groups: Vec<RawGroup>,
    pub tasks: Vec<RawTask>,
    pub runs: Vec<RawRun>,
    pub messages: Vec<RawMessage>,
    /// Chat, name, time of the last message.
    pub chats: Vec<(String, String, String)>,
    /// Folder and session.
    pub sessions: Vec<(String, String)>,
    /// JSON that maps each chat to a time.
    pub last_agent_timestamp: Option<String>,
}

/// Names of groups' folders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folders {
    /// Those below `groups/`, including `global`.
    pub groups: Vec<String>,
    /// Those below `data/sessions/`.
    pub sessions: Vec<String>,
}

/// The data of an installation.
#[derive(Debug)]
pub struct Source {
    pub root: PathBuf,
    pub tables: Tables,
    pub folders: Folders,
    pub env: BTreeMap<String, String>,
    /// The number of IPC files that NanoClaw had not read.
    pub unread_ipc: u64,
}

impl Source {
    /// Reads the installation at `root`; `scratch` is a private folder for copies. Irregularities are reported.
    pub fn read(root: &Path, scratch: &Path, report: &mut Report) -> Result<Self, ImportError> {
        let dir = SafeDir::open(root).map_err(|e| ImportError::read(root, e))?;
        let database = dir.open_dir(Path::new("store")).ok();
        let data = dir.open_dir(Path::new("data")).ok();
        let has_database =
            matches!(&database, Some(store) if store.exists(OsStr::new(database::NAME)).unwrap_or(false));
        let mut tables = match &database {
            Some(store) if has_database => database::read(store, scratch, report)?,
            _ => Tables::default(),
        };
        let has_json = data.as_ref().is_some_and(|data| json::merge(data, &mut tables, report));
        if !has_database && !has_json {
            return Err(ImportError::NoSource(root.to_owned()));
        }
        let folders = Folders {
            groups: subfolders(&dir, Path::new("groups"), report),
            sessions: subfolders(&dir, Path::new("data/sessions"), report),
        };
        let env = env(&dir, report);
        let unread_ipc = data.as_ref().map_or(0, unread_ipc);
        Ok(Self { root: root.to_owned(), tables, folders, env, unread_ipc })
    }
}

/// Reads a small file as text. Returns None if it is missing.
fn text(dir: &SafeDir, name: &str) -> io::Result<Option<String>> {
    let (file, _) = match dir.open_file(OsStr::new(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("it has more than {MAX_FILE} bytes")));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn subfolders(dir: &SafeDir, below: &Path, report: &mut Report) -> Vec<String> {
    let mut names = Vec::new();
    let entries = match dir.open_dir(below).and_then(|dir| dir.entries().map(|entries| (dir, entries))) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return names,
        Err(error) => {
            report.leave(Kind::File, below.to_string_lossy(), format!("it cannot be read: {error}"));
            return names;
        }
    };
    let (dir, entries) = entries;
    for entry in entries.flatten() {
        let shown = below.join(&entry.name).to_string_lossy().into_owned();
        // The listing may lack the type of an entry.
        match dir.stat(&entry.name).ok().flatten().map(|meta| meta.kind) {
            Some(Entry::Dir) => match entry.name.to_str() {
                Some(name) => names.push(name.to_owned()),
                None => report.leave(Kind::File, shown, "its name is not UTF-8"),
            },
            Some(kind) => report.leave(Kind::File, shown, format!("it is {kind}, not a group's folder")),
            None => {}
        }
    }
    names.sort();
    names
}

/// Parses `.env` like NanoClaw: lines with `=`, quotes around values removed, nothing else special.
fn env(dir: &SafeDir, report: &mut Report) -> BTreeMap<String, String> {
    let text = match text(dir, ".env") {
        Ok(text) => text.unwrap_or_default(),
        Err(error) => {
            report.leave(Kind::File, ".env", error.to_string());
            return BTreeMap::new();
        }
    };
    let mut values = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim(), value.trim());
        let bare = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        let value = bare.unwrap_or(value);
        if !key.is_empty() && !value.is_empty() {
            values.insert(key.to_owned(), value.to_owned());
        }
    }
    values
}

fn unread_ipc(data: &SafeDir) -> u64 {
    let Ok(ipc) = data.open_dir(Path::new("ipc")) else { return 0 };
    let Ok(groups) = ipc.entries() else { return 0 };
    let mut unread = 0;
    for group in groups.flatten() {
        for kind in ["messages", "tasks"] {
            let Ok(dir) = ipc.open_dir(&Path::new(&group.name).join(kind)) else { continue };
            let Ok(entries) = dir.entries() else { continue };
            unread += entries.flatten().filter(|e| Path::new(&e.name).extension() == Some(OsStr::new("json"))).count();
        }
    }
    unread as u64
}

/// Reads an operator's file, which containers cannot reach, as text. Returns None if it is missing.
pub(super) fn operators_file(path: &Path) -> io::Result<Option<String>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(meta) if !meta.is_file() => Err(io::Error::other("it is not a file")),
        Ok(meta) if meta.len() > MAX_FILE => Err(io::Error::other(format!("it has more than {MAX_FILE} bytes"))),
        Ok(_) => fs::read_to_string(path).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_file_is_parsed_as_nanoclaw_did() {
        let dir = tempfile::tempdir().unwrap();
        let text = "# no\nA = one two \nB=\"x=y\"\n\nC='z'\nEMPTY=\nnothing\nD=\"half\n";
        fs::write(dir.path().join(".env"), text).unwrap();
        let mut report = Report::default();
        let found = env(&SafeDir::open(dir.path()).unwrap(), &mut report);
        let found: Vec<_> = found.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(found, ["A=one two", "B=x=y", "C=z", "D=\"half"]);
        assert!(report.items.is_empty());
    }
}
