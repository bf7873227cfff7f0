//! Backups: an installation in one file, made beside a running host, checked after it was written, and put back.
//!
//! The file is a gzipped tar: the database as a consistent copy, the groups' folders, the agents' homes, the files of
//! messages under way, the settings, and last a manifest with the hash of each entry. Folders that agents can write are
//! gone through by handles, and no link is followed.

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

/// The manifest's name, behind all other entries.
const MANIFEST: &str = "manifest.json";
/// The database's name.
const DATABASE: &str = "data/parlor.db";
/// Folders that are in a backup. What else lies in `data/` is of the moment, or is made again.
const TREES: [&str; 4] = ["groups", "data/sessions", "data/inbox-files", "data/outbox-files"];
/// Files that are in a backup where they are there.
const FILES: [&str; 4] = ["parlor.toml", "prices.toml", "data/image-full.json", "data/setup-asked"];
/// The keys, only where they are asked for.
const KEYS: &str = ".env";

/// Why there is no backup, or none was put back.
#[derive(Debug, Error)]
pub enum BackupError {
    /// A file or folder.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is no backup, or is damaged.
    #[error("{path} is not a whole backup: {why}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It must not be done as things are.
    #[error("{0}")]
    Refused(String),
    /// A restore broke off while the installation was moved aside.
    #[error(
        "{source}; a part of what was there before lies in {aside} already, the rest still in {home}: move that part back \
         to the same places in {home}, then restore again",
        aside = .aside.display(), home = .home.display()
    )]
    HalfMoved {
        /// Where a part of the installation lies.
        aside: PathBuf,
        /// Where the rest lies.
        home: PathBuf,
        /// The fault, in words.
        source: Box<BackupError>,
    },
    /// A restore broke off after the installation was moved aside.
    #[error(
        "{source}; what was there before lies whole in {aside}: move it back, or restore again with --replace",
        aside = .aside.display()
    )]
    BrokenOff {
        /// Where the installation lies.
        aside: PathBuf,
        /// The fault, in words.
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
