//! The IPC folders' files: new ids, names that sort by time of writing, and atomic writes.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;

/// Returns a new id of 32 hexadecimal digits, which fits the host's `^[A-Za-z0-9_-]{1,64}$`.
///
/// The first digits are the time in milliseconds, so that ids sort by it; the rest is random. If the container has no
/// access to the system's random source, then time, process id and a counter still keep the ids of one group apart.
pub fn fresh_id() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut random = [0_u8; 8];
    if File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut random)).is_err() {
        random = (u64::from(now.subsec_nanos()) << 32 | u64::from(std::process::id())).to_be_bytes();
    }
    let millis = now.as_millis() as u64 & 0xffff_ffff_ffff;
    format!("{millis:012x}{:04x}{:016x}", counter & 0xffff, u64::from_be_bytes(random))
}

/// Writes `dir/name` atomically: first `name.tmp`, then a rename, so that no reader sees half a file.
///
/// # Errors
/// If the folder is missing or not writable; nothing is left behind then.
pub fn write_atomically(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished = dir.join(format!("{name}.tmp"));
    let written = File::create(&unfinished)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&unfinished, dir.join(name)));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// The folders of an agent. Only tests use others than the fixed ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// The IPC folder, with `messages/`, `tasks/`, `results/` and the snapshots.
    pub ipc: PathBuf,
    /// The folder of this run's follow-ups.
    pub input: PathBuf,
    /// The group's folder.
    pub group: PathBuf,
    /// The memory that all groups share.
    pub global: PathBuf,
}

impl Folders {
    /// Returns the container's folders. The environment can replace each (tests do): `PARLOR_IPC_DIR`,
    /// `PARLOR_INPUT_DIR`, `PARLOR_GROUP_DIR`, `PARLOR_GLOBAL_DIR`.
    pub fn from_env() -> Self {
        let folder = |key, default: &str| std::env::var_os(key).map_or_else(|| default.into(), PathBuf::from);
        Self {
            ipc: folder("PARLOR_IPC_DIR", crate::IPC_DIR),
            input: folder("PARLOR_INPUT_DIR", crate::INPUT_DIR),
            group: folder("PARLOR_GROUP_DIR", crate::GROUP_DIR),
            global: folder("PARLOR_GLOBAL_DIR", crate::GLOBAL_DIR),
        }
    }

    /// Writes a request into `messages/` or `tasks/` under a new id, and returns the id; the host answers with a
    /// result file of that id.
    ///
    /// # Errors If the request is not a JSON object, or the file cannot be written.
    pub fn request(&self, kind: &str, request: &impl Serialize) -> io::Result<String> {
        let id = fresh_id();
        let mut json = serde_json::to_value(request)?;
        let Value::Object(fields) = &mut json else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a request must be a JSON object"));
        };
        fields.insert("id".to_owned(), Value::String(id.clone()));
        let dir = self.ipc.join(kind);
        fs::create_dir_all(&dir)?;
        write_atomically(&dir, &format!("{id}.json"), json.to_string().as_bytes())?;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_ids_are_unique_sort_by_time_and_fit_the_hosts_form() {
        let ids: Vec<String> = (0..1000).map(|_| fresh_id()).collect();
        let mut sorted = ids.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted, ids);
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    }

    #[test]
    fn request_is_one_whole_file_with_its_id() {
        let home = tempfile::tempdir().unwrap();
        let path = || home.path().into();
        let folders = Folders { ipc: path(), input: path(), group: path(), global: path() };
        let id = folders.request("tasks", &serde_json::json!({"type": "refresh_groups"})).unwrap();
        let names: Vec<_> = fs::read_dir(home.path().join("tasks")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, [format!("{id}.json").as_str()]);
        let text = fs::read_to_string(home.path().join("tasks").join(&names[0])).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            serde_json::json!({"type": "refresh_groups", "id": id})
        );
        assert!(folders.request("tasks", &serde_json::json!([1])).is_err());
    }

    #[test]
    fn failed_write_leaves_no_file() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("x.json")).unwrap();
        assert!(write_atomically(home.path(), "x.json", b"{}").is_err());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
