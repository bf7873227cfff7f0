//! Verifies a whole backup: every hash, and the database.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path};

use flate2::read::GzDecoder;
use tar::{Archive, EntryType};

use super::manifest::{Entry, FORMAT, Hashing, Manifest, hash};
use super::pack::Doomed;
use super::{BackupError, DATABASE, FILES, KEYS, MANIFEST, TREES};
use crate::store::copy;

/// The largest manifest, in bytes.
const MAX_MANIFEST: u64 = 1 << 30;

/// Checks that a backup is complete, that all its paths are allowed, and that its database is intact. The database is
/// unpacked into `scratch` for the duration of the check.
pub fn check(file: &Path, scratch: &Path) -> Result<Manifest, BackupError> {
    let database = Doomed(scratch.join(format!("check-{}.db", std::process::id())));
    let found = read(file, &database.0)?;
    copy::check(&database.0).map_err(|e| BackupError::damaged(file, format!("its database: {e}")))?;
    Ok(found)
}

fn read(file: &Path, database: &Path) -> Result<Manifest, BackupError> {
    let damaged = |error: io::Error| BackupError::damaged(file, error.to_string());
    let mut archive = open(file)?;
    let (mut seen, mut manifest) = (Vec::new(), None);
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = entry.path().map_err(damaged)?.into_owned();
        let name = path.to_string_lossy().into_owned();
        if name == MANIFEST {
            manifest = Some(compare(file, entry, &seen)?);
            break;
        }
        if !may_hold(&path) {
            return Err(BackupError::damaged(file, format!("{name:?} does not belong into a backup")));
        }
        let size = entry.size();
        let found = match entry.header().entry_type() {
            EntryType::Directory => Entry { path: name, size: 0, sha256: String::new() },
            EntryType::Symlink => {
                let target = entry.link_name().map_err(damaged)?.unwrap_or_default().into_owned();
                let target = target.as_os_str().as_bytes();
                Entry { path: name, size: target.len() as u64, sha256: hash(target) }
            }
            EntryType::Regular => {
                let mut reader = Hashing::new(&mut entry, size);
                if name == DATABASE {
                    let mut out = private(database).map_err(BackupError::io("create", database))?;
                    io::copy(&mut reader, &mut out).map_err(damaged)?;
                } else {
                    io::copy(&mut reader, &mut io::sink()).map_err(damaged)?;
                }
                if reader.short {
                    return Err(BackupError::damaged(file, format!("{name:?} is cut off")));
                }
                reader.entry(name)
            }
            _ => return Err(BackupError::damaged(file, format!("{name:?} is neither file, folder nor link"))),
        };
        seen.push(found);
    }
    let Some(manifest) = manifest else {
        return Err(BackupError::damaged(file, "it has no manifest at its end"));
    };
    // Reads to the end of the file: its checksum is there.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
    Ok(manifest)
}

fn compare(file: &Path, manifest: impl Read, seen: &[Entry]) -> Result<Manifest, BackupError> {
    let mut bytes = Vec::new();
    manifest.take(MAX_MANIFEST).read_to_end(&mut bytes).map_err(|e| BackupError::damaged(file, e.to_string()))?;
    let manifest: Manifest = serde_json::from_slice(&bytes)
        .map_err(|e| BackupError::damaged(file, format!("its manifest is not understood ({e})")))?;
    if manifest.format > FORMAT {
        return Err(BackupError::damaged(file, "it was made by a newer Parlor: use that one"));
    }
    if let Some((wanted, _)) = manifest.entries.iter().zip(seen).find(|(wanted, seen)| wanted != seen) {
        return Err(BackupError::damaged(file, format!("{:?} is not what was packed", wanted.path)));
    }
    if manifest.entries.len() != seen.len() {
        return Err(BackupError::damaged(file, "its manifest names another number of entries"));
    }
    if !seen.iter().any(|entry| entry.path == DATABASE) {
        return Err(BackupError::damaged(file, "it has no database"));
    }
    Ok(manifest)
}

pub(super) fn open(file: &Path) -> Result<Archive<GzDecoder<BufReader<File>>>, BackupError> {
    let opened = File::open(file).map_err(BackupError::io("read", file))?;
    Ok(Archive::new(GzDecoder::new(BufReader::new(opened))))
}

pub(super) fn private(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// Returns true if a backup may contain this path. Other paths are never written.
pub(super) fn may_hold(path: &Path) -> bool {
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let file = FILES.iter().chain([&KEYS, &DATABASE]).any(|name| path == Path::new(name));
    plain && (file || TREES.iter().any(|tree| path.starts_with(tree)))
}
