//! What a hostile room must not achieve, played through the mounts of real containers against a running host.

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

/// The attacker's chat and folder.
const ROOM: &str = "web:room";
/// The chat of the group that must not notice anything.
const OTHER: &str = "web:other";

/// A host with `main`, the attacker's `room` and `other`.
struct Stage {
    host: Host,
    canary: PathBuf,
}

/// Everything that could change about a file.
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
        // What an attack wants to reach: a folder that looks like a room's, beside the groups.
        let canary = host.root().join("canary");
        for dir in ["messages", "tasks", "results", "skills"] {
            fs::create_dir_all(canary.join(dir)).unwrap();
        }
        fs::write(canary.join("target.json"), "untouched").unwrap();
        fs::write(canary.join("messages/1.json"), message(ROOM, "from the canary").to_string()).unwrap();
        Self { host, canary }
    }

    /// Has the attacker's agent run a script; returns what it printed.
    #[track_caller]
    fn attack(&self, script: &str) -> String {
        // What files ask for may be said in the same turn.
        let texts = self.host.ask(ROOM, &format!("!sh echo @@\n{script}"));
        let printed = texts.iter().find_map(|text| text.strip_prefix("@@"));
        printed.unwrap_or_else(|| panic!("{texts:?}")).trim_start().to_owned()
    }

    /// Ends the attacker's run, so that the next message starts another.
    #[track_caller]
    fn end_run(&self) {
        let mut events = self.host.events();
        let seq = self.host.send(ROOM, "!exit 0");
        events.turn_done(ROOM, seq, SOON);
        events.wait("end of the run", SOON, |e| e.name == "run" && e.data["state"] == "succeeded");
    }

    /// The canary as it is.
    fn seen(&self) -> Vec<Seen> {
        let mut all = Vec::new();
        look(&self.canary, &mut all);
        all
    }

    /// What lies in a folder below `data/`.
    fn data(&self, path: &str) -> PathBuf {
        self.host.root().join("data").join(path)
    }

    /// Recorded refusals, newest first.
    fn refusals(&self) -> Vec<Value> {
        self.host.api.get("/v1/refusals?limit=1000").expect(200).json()["refusals"].as_array().unwrap().clone()
    }

    /// Everything stored that an attack might want to change.
    fn state(&self) -> [Value; 3] {
        let rows = ["/v1/groups", "/v1/tasks", "/v1/sessions"].map(|path| self.host.api.get(path).expect(200).json());
        rows.map(|mut rows| {
            // Session ids of the runs that the test itself makes are its own doing.
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

/// Names in a folder, sorted, as text.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Waits until the host has sent a text that an IPC file asked for.
#[track_caller]
fn sent(events: &mut Events, chat: &str, text: &str) {
    events.message(chat, SOON, |t| t == text);
}
