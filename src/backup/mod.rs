//! Backups: saves an installation to one file beside a running host, checks the file, and restores it.
//!
//! The file is a gzipped tar: a consistent copy of the database, the groups' folders, the agents' homes, the files of
//! waiting messages, the settings, and last a manifest with each entry's hash. Folders that agents can write are read
//! through handles, and no link is followed.

mod check;
mod manifest;
mod pack;
mod restore;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::store::StoreError;

pub use check::check;
pub use manifest::{Entry, Manifest};
pub use pack::{Packed, Wish, pack};
pub use restore::{Restored, restore};

/// The manifest's path; it is the last entry.
const MANIFEST: &str = "manifest.json";
/// The database's path.
const DATABASE: &str = "data/parlor.db";
/// The folders in a backup. Everything else in `data/` is temporary or can be made again.
const TREES: [&str; 4] = ["groups", "data/sessions", "data/inbox-files", "data/outbox-files"];
/// Files that a backup contains if they exist.
const FILES: [&str; 4] = ["parlor.toml", "prices.toml", "data/image-full.json", "data/setup-asked"];
/// The file with the keys; in a backup only on request.
const KEYS: &str = ".env";

/// Reasons why a backup was not made or not restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// A file or folder cannot be used.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io {
        /// The action that failed: a verb for the message.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The database cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is not a backup, or is damaged.
    #[error("{path} is not a whole backup: {why}", path = .path.display())]
    Damaged {
        /// The backup's file.
        path: PathBuf,
        /// The fault that was found.
        why: String,
    },
    /// The present state does not allow it; the text says why.
    #[error("{0}")]
    Refused(String),
    /// The restore failed while it moved the old installation aside.
    #[error(
        "{source}; a part of what was there before lies in {aside} already, the rest still in {home}: move that part back \
         to the same places in {home}, then restore again",
        aside = .aside.display(), home = .home.display()
    )]
    HalfMoved {
        /// The folder with the part already moved.
        aside: PathBuf,
        /// The home, with the rest.
        home: PathBuf,
        /// The error that interrupted the restore.
        source: Box<BackupError>,
    },
    /// The restore failed after it had moved the old installation aside.
    #[error(
        "{source}; what was there before lies whole in {aside}: move it back, or restore again with --replace",
        aside = .aside.display()
    )]
    BrokenOff {
        /// The folder with the old installation.
        aside: PathBuf,
        /// The error that interrupted the restore.
        source: Box<BackupError>,
    },
}

impl BackupError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    fn damaged(path: &Path, why: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), why: why.into() }
    }
}
