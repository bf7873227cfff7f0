//! Files on their way in: `data/inbox-files/<id>/`, beside the database and never mounted.
//!
//! What a message brings is whole and on disk here before any of it reaches the group's folder, and where it goes there
//! is written down first. So a crash leaves a message with its files, or a folder here that says what to remove.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::StoreError;
use crate::domain::ids::{ChatJid, GroupFolder};

/// The folder's name in `data/`.
const FOLDER: &str = "inbox-files";
/// Where a message's folder says what becomes of its files.
const PLAN: &str = "plan.json";
/// Bytes that files leave free on the disk: the store goes on when they find no room any more.
const RESERVE: u64 = 32 << 20;

/// Files on their way in.
#[derive(Debug, Clone)]
pub struct InboxFiles {
    folder: PathBuf,
}

/// Where files of a message go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The message's chat.
    pub jid: ChatJid,
    /// The platform's id of the message.
    pub platform_id: String,
    /// The group.
    pub folder: GroupFolder,
    /// Their names in the group's folder for attachments.
    pub names: Vec<String>,
}

impl InboxFiles {
    /// Those beside a database.
    pub(super) fn beside(database: &Path) -> Self {
        Self { folder: database.parent().unwrap_or(Path::new(".")).join(FOLDER) }
    }

    /// Begins to take files of a message, if there is room for any.
    pub fn begin(&self, id: Ulid) -> Result<Upload, StoreError> {
        let upload = Upload { folder: self.folder.join(id.to_string()), left: false };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&upload.folder);
        made.map_err(|error| upload.failed(&error))?;
        upload.room_for(0)?;
        Ok(upload)
    }

    /// Returns what an earlier life of the host left behind.
    pub fn left(&self) -> io::Result<Vec<Upload>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        entries.map(|entry| entry.map(|entry| Upload { folder: entry.path(), left: false })).collect()
    }
}

/// Files of one message. Gone with all that is still in it when it is dropped.
#[derive(Debug)]
pub struct Upload {
    folder: PathBuf,
    left: bool,
}

impl Upload {
    /// Returns where the n-th file lies.
    pub fn path(&self, n: usize) -> PathBuf {
        self.folder.join(n.to_string())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the n-th file.
    pub fn create(&self, n: usize) -> Result<File, StoreError> {
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(self.path(n));
        made.map_err(|error| self.failed(&error))
    }

    /// Removes the n-th file.
    pub fn remove(&self, n: usize) {
        // What is left goes with the folder.
        let _ = fs::remove_file(self.path(n));
    }

    /// Returns whether so many more bytes leave the store enough.
    pub fn room_for(&self, bytes: u64) -> Result<(), StoreError> {
        let stat = rustix::fs::statvfs(&self.folder).map_err(|error| self.failed(&error.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free >= bytes.saturating_add(RESERVE) { Ok(()) } else { Err(StoreError::Full { path: self.folder.clone() }) }
    }

    /// Writes down where the files go. It is on disk when this returns, and so are the names of the files.
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

    /// Stays for the next start to look at.
    pub fn leave(mut self) {
        self.left = true;
    }

    /// Returns what was written down; None if nothing was yet, so that nothing has left this folder.
    pub fn plan(&self) -> Option<Plan> {
        serde_json::from_slice(&fs::read(self.folder.join(PLAN)).ok()?).ok()
    }

    /// A failure of the disk, as the store tells it.
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
            tracing::warn!("{} was not removed, the next start tries again: {error}", self.folder.display());
        }
    }
}
