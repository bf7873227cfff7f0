//! Compares what was promised with what happened.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::CHATS;
use super::people::Accepted;
use crate::harness::events::Event;
use crate::harness::host::Host;

/// The store's rows, and the installation's folders.
pub struct Ledger {
    db: Connection,
    data: PathBuf,
}

pub fn open(host: &Host) -> Ledger {
    let data = host.root().join("data");
    let db = Connection::open_with_flags(data.join("parlor.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    db.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    Ledger { db, data }
}

impl Ledger {
    pub fn meta(&self, key: &str) -> String {
        self.db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).unwrap()
    }

    /// Describes rows of unfinished work; empty if there are none.
    pub fn under_way(&self) -> String {
        let mut found = String::new();
        for (table, states) in [("inbound", "'in_flight'"), ("runs", "'starting','running'"), ("fires", "'running'")] {
            let count: i64 = self
                .db
                .query_row(&format!("SELECT count(*) FROM {table} WHERE state IN ({states})"), [], |row| row.get(0))
                .unwrap();
            if count > 0 {
                let _ = write!(found, "{count} {table} ");
            }
        }
        found
    }

    /// Describes what is still due; empty if everything is finished.
    pub fn owed(&self) -> String {
        let mut found = self.under_way();
        for (table, waits) in
            [("inbound", "state = 'pending'"), ("fires", "state = 'claimed'"), ("tasks", "status = 'active'")]
        {
            let count: i64 = self
                .db
                .query_row(&format!("SELECT count(*) FROM {table} WHERE {waits}"), [], |row| row.get(0))
                .unwrap();
            if count > 0 {
                let _ = write!(found, "{count} waiting {table} ");
            }
        }
        let dropped = CHATS
            .iter()
            .flat_map(|(_, folder, _)| ["messages", "tasks"].map(|kind| self.data.join("ipc").join(folder).join(kind)));
        for folder in dropped.chain([self.data.join("claimed"), self.data.join("inputs")]) {
            let names: Vec<_> = fs::read_dir(&folder).into_iter().flatten().flatten().map(|e| e.file_name()).collect();
            // A file that a killed agent had only begun to write was never requested.
            let names: Vec<_> = names.into_iter().filter(|name| !name.to_string_lossy().ends_with(".tmp")).collect();
            if !names.is_empty() {
                let _ = write!(found, "{}: {names:?} ", folder.display());
            }
        }
        found
    }

    /// Checks that no firing of a task ran twice, and that each finished one ran once.
    pub fn tasks_fired_once(&self, root: &Path) {
        let twice: i64 = self
            .db
            .query_row(
                "SELECT count(*) FROM (SELECT 1 FROM runs WHERE task_id IS NOT NULL AND state <> 'engine_failed'
                   GROUP BY task_id, due HAVING count(*) > 1)",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(twice, 0, "runs of one firing");
        let mut rows = self
            .db
            .prepare("SELECT folder, task_id, sum(state = 'done'), sum(run_id IS NOT NULL) FROM fires GROUP BY task_id")
            .unwrap();
        let rows = rows.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
        });
        let mut known = HashSet::new();
        for row in rows.unwrap() {
            let (folder, task, done, started) = row.unwrap();
            let count = lines(&root.join("groups").join(&folder).join("ledger.txt"))
                .iter()
                .filter(|line| **line == task)
                .count() as i64;
            assert!((done..=started).contains(&count), "{task}: {done} done of {started} started, ran {count} times");
            known.insert(task);
        }
        for (_, folder, _) in CHATS {
            for line in lines(&root.join("groups").join(folder).join("ledger.txt")) {
                assert!(known.contains(&line), "{line} ran and was never due");
            }
        }
    }

    /// Summarises how much happened.
    pub fn summary(&self) -> String {
        let count = |sql: &str| self.db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        format!(
            "{} runs ({} interrupted), {} firings ({} interrupted), {} texts",
            count("SELECT count(*) FROM runs"),
            count("SELECT count(*) FROM runs WHERE state = 'interrupted'"),
            count("SELECT count(*) FROM fires"),
            count("SELECT count(*) FROM fires WHERE state = 'interrupted'"),
            count("SELECT count(*) FROM outbox"),
        )
    }
}

/// Checks that every accepted message was answered in order, and not again after the end of its turn.
pub fn answered_in_order(events: &[Event], jid: &str, accepted: &[Accepted]) {
    assert!(!accepted.is_empty(), "nobody spoke in {jid}");
    assert!(accepted.is_sorted_by_key(|a| a.seq), "{jid}: numbers out of order");
    let seqs: HashMap<&str, i64> = accepted.iter().map(|a| (a.reply.as_str(), a.seq)).collect();
    assert_eq!(seqs.len(), accepted.len());
    let mut first = Vec::new();
    let mut answered = HashSet::new();
    let mut settled = 0;
    for event in events.iter().filter(|e| e.data["chatJid"] == jid) {
        if event.name == "turn" {
            let through = event.data["throughSeq"].as_i64().unwrap();
            match event.data["state"].as_str().unwrap() {
                "started" => {}
                "done" => settled = settled.max(through),
                other => panic!("{jid}: a turn is {other}: {}", event.data),
            }
        }
        let Some(&seq) = seqs.get(event.text()).filter(|_| event.name == "message") else { continue };
        assert!(seq > settled, "{jid}: {:?} was answered again after its turn was over", event.text());
        if answered.insert(seq) {
            first.push(seq);
        }
    }
    let expected: Vec<i64> = accepted.iter().map(|a| a.seq).collect();
    assert_eq!(first, expected, "{jid}: answers are missing or out of order");
    assert!(settled >= *expected.last().unwrap(), "{jid}: settled through {settled} only");
}

/// Checks that no delivery id occurs twice.
pub fn delivered_once(events: &[Event]) {
    let mut seen = HashSet::new();
    for event in events.iter().filter(|e| e.name == "message") {
        let id = event.data["deliveryId"].as_str().unwrap();
        assert!(seen.insert(id), "delivered twice: {}", event.data);
    }
}

/// Checks that each file that a room wrote had exactly one effect.
pub fn files_acted_on_once(events: &[Event], root: &Path, folder: &str) {
    let room = root.join("groups").join(folder);
    for (kind, effect) in [("messages", "ipc "), ("tasks", "once-")] {
        let dropped = lines(&room.join(format!("dropped-{kind}")));
        for line in dropped.iter().filter(|line| line.starts_with('+')) {
            let name = format!("{effect}{}", &line[1..]);
            let effects = events.iter().filter(|e| match kind {
                "messages" => e.name == "message" && e.text() == name,
                _ => e.name == "task" && e.data["taskId"] == name.as_str() && e.data["change"] == "created",
            });
            let effects = effects.count();
            let surely = dropped.contains(&format!("={}", &line[1..])) && !was_refused(root, folder, &line[1..]);
            assert!(effects == 1 || (effects == 0 && !surely), "{folder}: {name} had {effects} effects");
        }
    }
}

/// Returns true if a task's time had passed before a restarted host read its file.
fn was_refused(root: &Path, folder: &str, id: &str) -> bool {
    let result = fs::read(root.join(format!("data/ipc/{folder}/results/{id}.json"))).unwrap_or_default();
    serde_json::from_slice::<Value>(&result).is_ok_and(|result| result["ok"] == false)
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}
