//! Outgoing files: `data/outbox-files/<delivery id>/<name>`, beside the database and never mounted.
//!
//! A file is complete and on disk before the row that names it is committed, under an id that is known before. So a
//! crash leaves a row with its file, or a file without a row, which the next sweep removes.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Store, StoreError, outbox};
use crate::domain::delivery::FileInfo;
use crate::domain::ids::DeliveryId;

/// The name of the folder in `data/`.
const FOLDER: &str = "outbox-files";
/// The folder of claimed IPC files: the file of an unsettled claim has no row yet.
const CLAIMED: &str = "claimed";

/// Access to the outgoing files.
#[derive(Debug, Clone)]
pub struct OutboxFiles {
    data: PathBuf,
}

impl OutboxFiles {
    /// The outgoing files beside a database.
    pub(super) fn beside(database: &Path) -> Self {
        Self { data: database.parent().unwrap_or(Path::new(".")).to_owned() }
    }

    fn folder(&self, id: DeliveryId) -> PathBuf {
        self.data.join(FOLDER).join(id.to_string())
    }

    /// Returns the path of a delivery's file.
    pub fn path(&self, id: DeliveryId, name: &str) -> PathBuf {
        self.folder(id).join(name)
    }

    /// Keeps a file for a delivery; it replaces the file of an earlier try. When this returns, it is synced to disk.
    /// The name must be one component.
    pub fn keep(&self, id: DeliveryId, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.remove(id)?;
        let written = self.add(id, name, bytes);
        if written.is_err() {
            let _ = self.remove(id);
        }
        written
    }

    /// Keeps one more file for a delivery, or the same once more.
    pub fn add(&self, id: DeliveryId, name: &str, bytes: &[u8]) -> io::Result<()> {
        let folder = self.folder(id);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(name))?;
        let sync = |folder: &Path| File::open(folder)?.sync_all();
        let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| sync(&folder));
        written.and_then(|()| sync(&self.data.join(FOLDER)))
    }

    /// A delivery's file.
    pub fn read(&self, id: DeliveryId, file: &FileInfo) -> io::Result<Vec<u8>> {
        fs::read(self.path(id, &file.name))
    }

    /// Removes a delivery's file. A missing file is no error.
    pub fn remove(&self, id: DeliveryId) -> io::Result<()> {
        match fs::remove_dir_all(self.folder(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns the ids that have a file.
    fn ids(&self) -> io::Result<Vec<DeliveryId>> {
        let entries = match fs::read_dir(self.data.join(FOLDER)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let name = |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name());
        let names = entries.map(name).collect::<io::Result<Vec<OsString>>>()?;
        Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
    }

    /// Returns the ids of unsettled claims.
    fn claimed(&self) -> io::Result<HashSet<DeliveryId>> {
        let entries = match fs::read_dir(self.data.join(CLAIMED)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
            other => other?,
        };
        let id = |entry: fs::DirEntry| entry.file_name().to_str()?.split('.').next()?.parse().ok();
        Ok(entries.filter_map(Result::ok).filter_map(id).collect())
    }
}

/// Removes files without a row. Returns how many.
pub async fn sweep(store: &Store) -> Result<usize, StoreError> {
    let files = store.files();
    let look = {
        let files = files.clone();
        // The order matters: a claim that is settled at the second look has its row at the third.
        move || Ok::<_, io::Error>((files.ids()?, files.claimed()?))
    };
    let (mut ids, claimed) = match tokio::task::spawn_blocking(look).await.map_err(io::Error::other).flatten() {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!("cannot list old files of the outbox: {error}");
            return Ok(0);
        }
    };
    ids.retain(|id| !claimed.contains(id));
    let lost = store.read(move |db| outbox::without_row(db, ids)).await?;
    let remove = move || lost.into_iter().filter(|id| files.remove(*id).is_ok()).count();
    Ok(tokio::task::spawn_blocking(remove).await.unwrap_or(0))
}
