//! Installations of NanoClaw for the import tests, and the visible results of an import.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::Value;

use crate::harness::host::{Host, scratch};
use crate::harness::rows;

/// The path of a transcript of Claude Code.
pub const SESSION: &str = "data/sessions/family/.claude/projects/-workspace-group/session-family.jsonl";

/// NanoClaw's folder, and the files outside it.
pub struct Nanoclaw {
    pub dir: tempfile::TempDir,
}

impl Nanoclaw {
    pub fn new(sql: &str, files: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new().prefix("nc-").tempdir_in(scratch()).unwrap();
        let new = Self { dir };
        fs::create_dir_all(new.path("store")).unwrap();
        Connection::open(new.path("store/messages.db")).unwrap().execute_batch(sql).unwrap();
        for (name, text) in files {
            new.write(name, text);
        }
        new
    }

    /// An installation of the last version.
    pub fn current() -> Self {
        let files = [
            ("groups/main/CLAUDE.md", "I am the owner's."),
            ("groups/family/CLAUDE.md", "We are a family."),
            ("groups/family/notes.txt", "milk and bread"),
            ("groups/family/conversations/2026-05-01.md", "long ago"),
            ("groups/family/logs/container-2026.log", "a run"),
            ("groups/work_team/a/b/c.txt", "deep"),
            ("groups/global/CLAUDE.md", "For all."),
            ("groups/unregistered/CLAUDE.md", "Nobody's yet."),
            ("groups/not a folder/x", "x"),
            (SESSION, "{\"type\":\"transcript\"}"),
            ("data/sessions/family/.claude/settings.json", "{\"env\":{\"MINE\":\"1\"}}"),
            ("data/sessions/family/agent-runner-src/index.ts", "code"),
            ("data/ipc/family/tasks/1.json", "{}"),
            ("config/mount-allowlist.json", r#"{"allowedRoots":[],"blockedPatterns":[],"nonMainReadOnly":true}"#),
            (
                "config/sender-allowlist.json",
                r#"{"default":{"allow":"*","mode":"trigger"},"chats":{},"logDenied":true}"#,
            ),
            (
                ".env",
                "ANTHROPIC_API_KEY=sk-ant-the-key\nASSISTANT_NAME=\"Andy\"\nLOG_LEVEL=fatal\nTELEGRAM_BOT_TOKEN=tok-123\n",
            ),
        ];
        let new = Self::new(include_str!("../fixtures/nanoclaw.sql"), &files);
        symlink("/etc/passwd", new.path("groups/family/link")).unwrap();
        symlink("/etc", new.path("groups/family/linked")).unwrap();
        assert!(Command::new("mkfifo").arg(new.path("groups/family/pipe")).status().unwrap().success());
        let script = new.path("groups/family/notes.txt");
        fs::set_permissions(script, fs::Permissions::from_mode(0o4750)).unwrap();
        new
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn command(&self, host: &Host, args: &[&str]) -> Command {
        let mut command = host.command();
        command.arg("import").arg(self.dir.path()).arg("--config").arg(self.path("config")).args(args);
        command.stdin(Stdio::null());
        command
    }

    #[track_caller]
    pub fn import(&self, host: &Host, args: &[&str]) -> Report {
        let output = self.command(host, args).arg("--json").output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        Report(serde_json::from_slice(&output.stdout).unwrap())
    }

    #[track_caller]
    pub fn refused(&self, host: &Host, args: &[&str]) -> String {
        let output = self.command(host, args).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }
}

pub struct Report(pub Value);

impl Report {
    /// Returns `name: detail` of every item with an outcome.
    pub fn of(&self, kind: &str, outcome: &str) -> Vec<String> {
        let items = self.0["items"].as_array().unwrap().iter();
        let fits = items.filter(|item| item["kind"] == kind && item["outcome"] == outcome);
        fits.map(|i| format!("{}: {}", i["name"].as_str().unwrap(), i["detail"].as_str().unwrap_or_default())).collect()
    }

    #[track_caller]
    pub fn has(&self, kind: &str, outcome: &str, words: &[&str]) {
        let found = self.of(kind, outcome);
        assert!(found.iter().any(|line| words.iter().all(|word| line.contains(word))), "{words:?}: {:#}", self.0);
    }

    pub fn count(&self, kind: &str, outcome: &str) -> u64 {
        let items = self.0["items"].as_array().unwrap().iter();
        items.filter(|i| i["kind"] == kind && i["outcome"] == outcome).map(|i| i["count"].as_u64().unwrap()).sum()
    }
}

/// Describes everything below a folder: mode, owner, size, time, content.
pub fn tree(root: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, dir: &Path, all: &mut BTreeMap<String, String>) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        for entry in entries {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_file() { format!("{:?}", fs::read(&path).unwrap()) } else { String::new() };
            // A folder's time changes with locks and copies, and `.env` is rewritten.
            let time = if meta.is_dir() || path.ends_with(".env") { 0 } else { meta.mtime() };
            let (mode, uid) = (meta.mode(), meta.uid());
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            all.insert(name, format!("{mode:o} {uid} {time} {content}"));
            if meta.is_dir() {
                walk(root, &path, all);
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(root, root, &mut all);
    all
}

/// Compares files; a failure names only the differences.
#[track_caller]
pub fn same_files(found: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) {
    let other: Vec<_> = found.iter().filter(|(name, what)| wanted.get(*name) != Some(what)).collect();
    let missing: Vec<_> = wanted.keys().filter(|name| !found.contains_key(*name)).collect();
    assert!(other.is_empty() && missing.is_empty(), "other: {other:?}\nmissing: {missing:?}");
}

/// Compares rows; a failure names only the differences.
#[track_caller]
pub fn same_rows(found: &[String], wanted: &[String]) {
    let other: Vec<_> = found.iter().filter(|row| !wanted.contains(row)).collect();
    let missing: Vec<_> = wanted.iter().filter(|row| !found.contains(row)).collect();
    assert!(other.is_empty() && missing.is_empty(), "other: {other:#?}\nmissing: {missing:#?}");
    assert_eq!(found, wanted, "the same rows in another order");
}

/// Describes a home's files, except for the database's own and the lock.
pub fn home_files(host: &Host) -> BTreeMap<String, String> {
    tree(host.root())
        .into_iter()
        .filter(|(name, _)| !name.starts_with("data/parlor.db") && name != "data/lock")
        .collect()
}

/// Returns every row of a home's database without its random ids.
pub fn all_rows(host: &Host) -> Vec<String> {
    let db = rows::database(host);
    let mut all = Vec::new();
    for table in ["groups", "chats", "inbound", "sessions", "tasks", "fires", "outbox", "meta"] {
        let mut s = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns: Vec<String> = s.column_names().map(str::to_owned).collect();
        let mut found = s.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let cell = |at: usize| match columns[at].as_str() {
                "updated_at" | "received_at" => String::new(),
                _ => match row.get_ref(at).unwrap() {
                    ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    other => format!("{other:?}"),
                },
            };
            let line = format!("{table} {}", (0..columns.len()).map(cell).collect::<Vec<_>>().join(" "));
            if !line.contains("store_id") && !line.contains("instance_") {
                all.push(line);
            }
        }
    }
    all
}

pub fn json_of(host: &Host, args: &[&str]) -> Value {
    let output = host.command().args(args).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns texts that wait, or failed, for a chat that no channel serves.
pub fn replies(host: &Host, jid: &str) -> Vec<String> {
    let db = rows::database(host);
    let mut s = db.prepare("SELECT text FROM outbox WHERE jid = ?1 ORDER BY seq").unwrap();
    s.query_map([jid], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}
