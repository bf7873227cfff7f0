//! Attacks of a hostile room, made through the mounts of real containers against a running host.

mod authority;
mod files;
mod flood;
mod links;
mod loud;
mod outputs;
mod resources;
mod stubborn;
mod view;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::SOON;
use crate::harness::events::Events;
use crate::harness::host::{Builder, Host};

/// The attacker's chat.
const ROOM: &str = "web:room";
/// The chat of another group, which must not be affected.
const OTHER: &str = "web:other";

/// A host with the groups `main`, `room` (the attacker) and `other`.
struct Stage {
    host: Host,
    canary: PathBuf,
}

/// All properties of a file that an attack could change.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    mode: u32,
    owner: (u32, u32),
    inode: u64,
    changed: (i64, i64),
    bytes: Vec<u8>,
}

impl Stage {
    fn new() -> Self {
        Self::with(Host::builder())
    }

    fn with(builder: Builder) -> Self {
        let host = builder.start();
        host.register_main("web:main", "main");
        host.register(ROOM, "room");
        host.register(OTHER, "other");
        // The target of an attack: a folder that looks like a room's, beside the groups.
        let canary = host.root().join("canary");
        for dir in ["messages", "tasks", "results", "skills"] {
            fs::create_dir_all(canary.join(dir)).unwrap();
        }
        fs::write(canary.join("target.json"), "untouched").unwrap();
        fs::write(canary.join("messages/1.json"), message(ROOM, "from the canary").to_string()).unwrap();
        Self { host, canary }
    }

    /// Runs a script in the attacker's agent; returns its output.
    #[track_caller]
    fn attack(&self, script: &str) -> String {
        // Texts that files request may be sent in the same turn.
        let texts = self.host.ask(ROOM, &format!("!sh echo @@\n{script}"));
        let printed = texts.iter().find_map(|text| text.strip_prefix("@@"));
        printed.unwrap_or_else(|| panic!("{texts:?}")).trim_start().to_owned()
    }

    /// Ends the attacker's run, so that the next message starts a new one.
    #[track_caller]
    fn end_run(&self) {
        let mut events = self.host.events();
        let seq = self.host.send(ROOM, "!exit 0");
        events.turn_done(ROOM, seq, SOON);
        events.wait("end of the run", SOON, |e| e.name == "run" && e.data["state"] == "succeeded");
    }

    /// Returns the canary's present state.
    fn seen(&self) -> Vec<Seen> {
        let mut all = Vec::new();
        look(&self.canary, &mut all);
        all
    }

    /// Returns the path of a folder below `data/`.
    fn data(&self, path: &str) -> PathBuf {
        self.host.root().join("data").join(path)
    }

    /// Returns the recorded refusals, the newest first.
    fn refusals(&self) -> Vec<Value> {
        self.host.api.get("/v1/refusals?limit=1000").expect(200).json()["refusals"].as_array().unwrap().clone()
    }

    /// Returns all stored data that an attack might change.
    fn state(&self) -> [Value; 3] {
        let rows = ["/v1/groups", "/v1/tasks", "/v1/sessions"].map(|path| self.host.api.get(path).expect(200).json());
        rows.map(|mut rows| {
            // The test's own runs change the sessions' ids.
            if let Some(sessions) = rows.get_mut("sessions") {
                *sessions = Value::Null;
            }
            rows
        })
    }
}

fn look(path: &Path, all: &mut Vec<Seen>) {
    let meta = fs::symlink_metadata(path).unwrap();
    all.push(Seen {
        path: path.to_owned(),
        mode: meta.mode(),
        owner: (meta.uid(), meta.gid()),
        inode: meta.ino(),
        changed: (meta.ctime(), meta.ctime_nsec()),
        bytes: if meta.is_file() { fs::read(path).unwrap() } else { Vec::new() },
    });
    if meta.is_dir() {
        let mut entries: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for entry in &entries {
            look(entry, all);
        }
    }
}

fn message(chat: &str, text: &str) -> Value {
    json!({ "type": "message", "chatJid": chat, "text": text })
}

/// Returns the names in a folder as text, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Waits until the host has sent a text that an IPC file requested.
#[track_caller]
fn sent(events: &mut Events, chat: &str, text: &str) {
    events.message(chat, SOON, |t| t == text);
}
