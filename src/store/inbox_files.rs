//! Incoming files: `data/inbox-files/<id>/`, beside the database and never mounted.
//!
//! A message's files are complete and on disk here before any of them reaches the group's folder, and a plan of their
//! places is written first. So a crash leaves a message with its files, or a folder here with the list of files to
//! remove.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::StoreError;
use crate::domain::ids::{ChatJid, GroupFolder};

/// The name of the folder in `data/`.
const FOLDER: &str = "inbox-files";
/// The file with the plan in a message's folder.
const PLAN: &str = "plan.json";
/// Bytes that files leave free on the disk, so that the store works when files find no room.
const RESERVE: u64 = 32 << 20;

/// Access to the incoming files.
#[derive(Debug, Clone)]
pub struct InboxFiles {
    folder: PathBuf,
}

/// The places for a message's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The chat of the message.
    pub jid: ChatJid,
    /// The platform's id of the message.
    pub platform_id: String,
    /// The folder of the group.
    pub folder: GroupFolder,
    /// The names of the files in the group's folder for attachments.
    pub names: Vec<String>,
}

impl InboxFiles {
    /// The incoming files beside a database.
    pub(super) fn beside(database: &Path) -> Self {
        Self { folder: database.parent().unwrap_or(Path::new(".")).join(FOLDER) }
    }

    /// Begins the upload of a message's files, if the disk has room.
    pub fn begin(&self, id: Ulid) -> Result<Upload, StoreError> {
        let upload = Upload { folder: self.folder.join(id.to_string()), left: false };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&upload.folder);
        made.map_err(|error| upload.failed(&error))?;
        upload.room_for(0)?;
        Ok(upload)
    }

    /// Returns the uploads that the last host left behind.
    pub fn left(&self) -> io::Result<Vec<Upload>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        entries.map(|entry| entry.map(|entry| Upload { folder: entry.path(), left: false })).collect()
    }
}

/// The uploaded files of one message. Dropping it removes all files that are still in it.
#[derive(Debug)]
pub struct Upload {
    folder: PathBuf,
    left: bool,
}

impl Upload {
    /// Returns the path of the n-th file.
    pub fn path(&self, n: usize) -> PathBuf {
        self.folder.join(n.to_string())
    }

    /// Returns the folder of the files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Creates the n-th file.
    pub fn create(&self, n: usize) -> Result<File, StoreError> {
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(self.path(n));
        made.map_err(|error| self.failed(&error))
    }

    /// Removes the n-th file.
    pub fn remove(&self, n: usize) {
        // If this fails, the file goes with the folder.
        let _ = fs::remove_file(self.path(n));
    }

    /// Returns an error if `bytes` more would leave the store too little room.
    pub fn room_for(&self, bytes: u64) -> Result<(), StoreError> {
        let stat = rustix::fs::statvfs(&self.folder).map_err(|error| self.failed(&error.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free >= bytes.saturating_add(RESERVE) { Ok(()) } else { Err(StoreError::Full { path: self.folder.clone() }) }
    }

    /// Writes the plan. When this returns, the plan and the names of the files are synced to disk.
    pub fn note(&self, plan: &Plan) -> Result<(), StoreError> {
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.folder.join(PLAN))?;
            file.write_all(&serde_json::to_vec(plan)?)?;
            file.sync_all()?;
            File::open(&self.folder)?.sync_all()?;
            File::open(self.folder.parent().unwrap_or(&self.folder))?.sync_all()
        };
        write().map_err(|error| self.failed(&error))
    }

    /// Keeps the folder, which the next start checks.
    pub fn leave(mut self) {
        self.left = true;
    }

    /// Returns the plan; None if there is none yet, so that no file has left this folder.
    pub fn plan(&self) -> Option<Plan> {
        serde_json::from_slice(&fs::read(self.folder.join(PLAN)).ok()?).ok()
    }

    /// Returns a disk error as an error of the store.
    pub fn failed(&self, error: &io::Error) -> StoreError {
        let path = self.folder.clone();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path },
            _ => StoreError::ReadOnly { path, reason: error.to_string() },
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.left
            && let Err(error) = fs::remove_dir_all(&self.folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}, the next start retries: {error}", self.folder.display());
        }
    }
}
