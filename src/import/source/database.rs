//! Reads the tables of `store/messages.db` from a copy. All versions are accepted: a missing column gives absent
//! values, and values of other types are read as text.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::{RawGroup, RawMessage, RawRun, RawTask, Tables};
use crate::import::ImportError;
use crate::import::report::{Kind, Report};
use crate::safe_dir::SafeDir;

/// The database's name in `store/`.
pub(super) const NAME: &str = "messages.db";
/// The database, and SQLite's files for unfinished changes.
const FILES: [&str; 3] = [NAME, "messages.db-wal", "messages.db-journal"];
/// How often the copying is tried while another process writes the database.
const TRIES: u32 = 20;

/// Copies the database and reads its tables.
pub(super) fn read(store: &SafeDir, scratch: &Path, report: &mut Report) -> Result<Tables, ImportError> {
    let copy = scratch.join(NAME);
    copy_still(store, scratch).map_err(|error| ImportError::Database(error.to_string()))?;
    let db = Connection::open(&copy).map_err(|error| ImportError::Database(error.to_string()))?;
    let sound: String = db
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| ImportError::Database(error.to_string()))?;
    if sound != "ok" {
        return Err(ImportError::Database(format!("it is damaged ({sound})")));
    }
    Ok(Reader { db: &db, report }.all())
}

/// Copies the database's files; starts over if one changes meanwhile.
fn copy_still(store: &SafeDir, scratch: &Path) -> io::Result<()> {
    for _ in 0..TRIES {
        let before = stamps(store)?;
        for name in FILES {
            let target = scratch.join(name);
            match store.open_file(OsStr::new(name)) {
                Ok((mut file, _)) => drop(io::copy(&mut file, &mut fs::File::create(&target)?)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound && name != NAME => {
                    let _ = fs::remove_file(&target);
                }
                Err(error) => return Err(error),
            }
        }
        if stamps(store)? == before {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Err(io::Error::other("it is being written all the time: stop NanoClaw first"))
}

type Stamp = Option<((u64, u64), u64, i64)>;

fn stamps(store: &SafeDir) -> io::Result<Vec<Stamp>> {
    FILES.iter().map(|name| Ok(store.stat(OsStr::new(name))?.map(|m| (m.id, m.size, m.mtime)))).collect()
}

struct Reader<'a> {
    db: &'a Connection,
    report: &'a mut Report,
}

type Row = Vec<Option<String>>;

impl Reader<'_> {
    fn all(&mut self) -> Tables {
        let mut tables = Tables { groups: self.groups(), ..Tables::default() };
        let columns = "id group_folder chat_jid prompt schedule_type schedule_value context_mode next_run last_run \
                       last_result status created_at";
        self.each(Kind::Task, "scheduled_tasks", columns, |row| {
            let [
                id,
                folder,
                jid,
                prompt,
                schedule_type,
                schedule_value,
                context_mode,
                next_run,
                last_run,
                last_result,
                status,
                created_at,
            ] = take(row);
            tables.tasks.push(RawTask {
                id: id.unwrap_or_default(),
                folder: folder.unwrap_or_default(),
                jid: jid.unwrap_or_default(),
                prompt: prompt.unwrap_or_default(),
                schedule_type: schedule_type.unwrap_or_default(),
                schedule_value: schedule_value.unwrap_or_default(),
                context_mode,
                next_run,
                last_run,
                last_result,
                status: status.unwrap_or_default(),
                created_at,
            });
        });
        self.each(Kind::Firing, "task_run_logs", "task_id run_at duration_ms status result error", |row| {
            let [task, run_at, duration, status, result, error] = take(row);
            tables.runs.push(RawRun {
                task: task.unwrap_or_default(),
                run_at: run_at.unwrap_or_default(),
                duration_ms: duration.and_then(|ms| ms.parse().ok()),
                status: status.unwrap_or_default(),
                result,
                error,
            });
        });
        let columns = "id chat_jid sender sender_name content timestamp is_from_me is_bot_message";
        self.each(Kind::Message, "messages", columns, |row| {
            let [id, jid, sender, sender_name, text, timestamp, from_me, from_bot] = take(row);
            tables.messages.push(RawMessage {
                id: id.unwrap_or_default(),
                jid: jid.unwrap_or_default(),
                sender: sender.unwrap_or_default(),
                sender_name: sender_name.unwrap_or_default(),
                text: text.unwrap_or_default(),
                timestamp: timestamp.unwrap_or_default(),
                from_me: from_me.as_deref().and_then(yes) == Some(true),
                from_bot: from_bot.as_deref().and_then(yes),
            });
        });
        self.each(Kind::Chat, "chats", "jid name last_message_time", |row| {
            let [jid, name, last] = take(row);
            tables.chats.push((jid.unwrap_or_default(), name.unwrap_or_default(), last.unwrap_or_default()));
        });
        self.each(Kind::Session, "sessions", "group_folder session_id", |row| {
            let [folder, session] = take(row);
            tables.sessions.push((folder.unwrap_or_default(), session.unwrap_or_default()));
        });
        self.each(Kind::Message, "router_state", "key value", |row| {
            let [key, value] = take(row);
            if key.as_deref() == Some("last_agent_timestamp") {
                tables.last_agent_timestamp = value;
            }
        });
        tables
    }

    fn groups(&mut self) -> Vec<RawGroup> {
        let mut groups = Vec::new();
        let columns = "jid name folder trigger_pattern added_at container_config requires_trigger is_main";
        self.each(Kind::Group, "registered_groups", columns, |row| {
            let [jid, name, folder, trigger, added_at, container_config, requires_trigger, is_main] = take(row);
            groups.push(RawGroup {
                jid: jid.unwrap_or_default(),
                name: name.unwrap_or_default(),
                folder: folder.unwrap_or_default(),
                trigger,
                added_at,
                container_config,
                requires_trigger: requires_trigger.as_deref().and_then(yes),
                is_main: is_main.as_deref().and_then(yes),
            });
        });
        groups
    }

    /// Passes every readable row of a table to `on_row`, in the order of their writing.
    fn each(&mut self, kind: Kind, table: &str, columns: &str, mut on_row: impl FnMut(Row)) {
        if let Err(error) = self.try_each(table, columns, &mut on_row) {
            self.report.leave(kind, format!("table {table}"), format!("the rest of it cannot be read: {error}"));
        }
    }

    fn try_each(&self, table: &str, columns: &str, on_row: &mut impl FnMut(Row)) -> rusqlite::Result<()> {
        let mut names = self.db.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let known: BTreeSet<String> = names.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?;
        if known.is_empty() {
            return Ok(());
        }
        let pick = |name| if known.contains(name) { format!("\"{name}\"") } else { "NULL".to_owned() };
        let picked: Vec<String> = columns.split_whitespace().map(pick).collect();
        let count = picked.len();
        let mut rows = self.db.prepare(&format!("SELECT {} FROM {table}", picked.join(", ")))?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            on_row((0..count).map(|at| row.get_ref(at).ok().and_then(text)).collect());
        }
        Ok(())
    }
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
    }
}

fn yes(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

/// The row's values by position; the query has exactly `N` columns.
fn take<const N: usize>(row: Row) -> [Option<String>; N] {
    let mut values = row.into_iter();
    std::array::from_fn(|_| values.next().flatten())
}
