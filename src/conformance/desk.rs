//! The host's end of the IPC folder during a run: takes the agent's files, parses them like the host, and answers
//! those that ask for a result. No command is carried out.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};
use tokio_util::sync::CancellationToken;

use super::house::LONG_AGO;
use super::seen::Asked;
use crate::ipc;
use crate::safe_dir::{Owner, SafeDir};

/// The interval of polling.
const LOOK: Duration = Duration::from_millis(50);
/// The largest number of files per poll, and of files that are recorded.
const MOST: usize = 200;
const RESULT: &[u8] = br#"{"ok": true, "taskId": "conformance", "nextRun": null}"#;

/// The temporary name of a result.
const ASIDE: &str = ".result";

/// The files and reads recorded in all runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Counter(Arc<Mutex<(Vec<Asked>, usize)>>);

impl Counter {
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// The number of results that the agent read.
    pub(super) fn read(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn add(&self, asked: Asked) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.0.len() < MOST {
            all.0.push(asked);
        }
    }

    fn saw_read(&self, count: usize) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.1 = all.1.max(count);
    }
}

/// Polls an IPC folder until it is closed.
#[derive(Debug)]
pub(super) struct Desk {
    closed: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Desk {
    pub(super) fn open(ipc: SafeDir, owner: Option<Owner>, counter: Counter) -> Self {
        let closed = CancellationToken::new();
        let ends = closed.clone();
        let task = tokio::task::spawn_blocking(move || {
            loop {
                // One more round after the end, because the agent may just have written its last files.
                let last = ends.is_cancelled();
                for folder in ["messages", "tasks"] {
                    if let Err(error) = take(&ipc, folder, owner, &counter) {
                        tracing::debug!("{folder}: {error}");
                    }
                }
                if let Ok(results) = ipc.open_dir(Path::new("results")) {
                    counter.saw_read(count_read(&results));
                }
                if last {
                    return;
                }
                std::thread::sleep(LOOK);
            }
        });
        Self { closed, task }
    }

    pub(super) async fn close(&mut self) {
        self.closed.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

fn take(ipc: &SafeDir, folder: &str, owner: Option<Owner>, counter: &Counter) -> std::io::Result<()> {
    let dir = ipc.open_dir(Path::new(folder))?;
    let results = ipc.open_dir(Path::new("results"))?;
    for name in dir.names(MOST)? {
        if !is_json(&name) {
            continue;
        }
        let path = format!("{folder}/{}", name.to_string_lossy());
        let read = dir.read(&name, ipc::MAX_FILE);
        dir.remove(&name)?;
        let (id, what) = match read {
            Ok(bytes) => ipc::understand(folder == "tasks", &bytes),
            Err(error) => (None, Err(error.to_string())),
        };
        if let Some(id) = &id {
            let name = format!("{id}.json");
            // An agent may read the result as soon as it exists, so its access time is set back before.
            ipc.write_atomic(OsStr::new(ASIDE), RESULT, owner, 0o644)?;
            unread(ipc, ASIDE);
            ipc.move_to(OsStr::new(ASIDE), &results, OsStr::new(&name))?;
        }
        counter.add(Asked { path, what, with_id: id.is_some() });
    }
    Ok(())
}

fn is_json(name: &OsString) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "json")
}

/// Sets a file's access time back, so that the next read shows: file systems update it only if it is older than the
/// last change.
pub(super) fn unread(dir: &SafeDir, name: &str) {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: 0 },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    if let Err(error) = utimensat(CWD, dir.proc_path().join(name), &times, AtFlags::SYMLINK_NOFOLLOW) {
        tracing::debug!("{name}: {error}");
    }
}

/// Returns true if the file was read since [`unread`].
pub(super) fn was_read(dir: &SafeDir, name: &str) -> bool {
    let meta = std::fs::symlink_metadata(dir.proc_path().join(name));
    meta.and_then(|meta| meta.accessed()).is_ok_and(|read| read > LONG_AGO)
}

pub(super) fn count_read(results: &SafeDir) -> usize {
    let names = results.names(MOST).unwrap_or_default();
    names.iter().filter_map(|name| name.to_str()).filter(|name| was_read(results, name)).count()
}

/// Files for the host whose names the host does not accept.
pub(super) fn leftover(ipc: &SafeDir) -> Vec<String> {
    let mut left = Vec::new();
    for folder in ["messages", "tasks"] {
        let names = ipc.open_dir(Path::new(folder)).and_then(|dir| dir.names(MOST)).unwrap_or_default();
        left.extend(names.iter().filter(|n| !is_json(n)).map(|n| format!("{folder}/{}", n.to_string_lossy())));
    }
    left.sort();
    left
}
