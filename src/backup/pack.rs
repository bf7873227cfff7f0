//! Makes a backup.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::manifest::{Entry, FORMAT, Hashing, Manifest, hash};
use super::{BackupError, DATABASE, FILES, KEYS, MANIFEST, TREES, check};
use crate::config::home::Home;
use crate::domain::clock::rfc3339;
use crate::safe_dir::{Entries, Kind, Meta, SafeDir, is_unfinished};
use crate::store::copy;

/// The largest depth of nested folders; each level costs two descriptors.
const DEPTH: usize = 128;
/// Left-out entries that are named; the others are only counted.
const NAMED: usize = 20;

/// The options of a backup.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The installation to save.
    pub home: Home,
    /// The backup's file.
    pub file: PathBuf,
    /// True if the keys of `.env` are included.
    pub keys: bool,
    /// True if an existing file may be replaced.
    pub replace: bool,
    /// The present time, for the manifest.
    pub now: DateTime<Utc>,
}

/// The result of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packed {
    /// The number of entries, the database included.
    pub entries: u64,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// Files that changed while they were read; each was saved with its announced size.
    pub changed: u64,
    /// Entries that were left out, each with the reason; only the first of many.
    pub left_out: Vec<String>,
    /// The number of entries that were left out.
    pub left_out_count: u64,
}

/// Makes a backup, checks it, and renames it to its final name.
pub fn pack(wish: &Wish) -> Result<Packed, BackupError> {
    let Wish { home, file, .. } = wish;
    if !home.database().exists() {
        let home = home.root().display();
        return Err(BackupError::Refused(format!("there is no installation in {home} yet: nothing to back up")));
    }
    if !wish.replace && fs::symlink_metadata(file).is_ok() {
        let file = file.display();
        return Err(BackupError::Refused(format!("{file} is there already: choose another name, or add --force")));
    }
    let partial = Doomed(file.with_file_name(format!(
        ".{}.part-{}",
        file.file_name().unwrap_or_default().to_string_lossy(),
        std::process::id()
    )));
    let _ = fs::remove_file(&partial.0);
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(BackupError::io("create", folder))?;
    }
    let out = File::options().write(true).create_new(true).mode(0o600).open(&partial.0);
    let out = out.map_err(BackupError::io("create", &partial.0))?;
    let fail = |error: io::Error| BackupError::Io { action: "write", path: file.clone(), source: error };
    let mut packer = Packer {
        tar: Builder::new(GzEncoder::new(BufWriter::new(out), Compression::fast())),
        entries: Vec::new(),
        packed: Packed::default(),
    };
    packer.all(wish).map_err(|error| match error {
        Fault::Backup(error) => error,
        Fault::Write(error) => fail(error),
    })?;
    let (gz, mut packed) = packer.finish(wish).map_err(fail)?;
    let mut out = gz.finish().map_err(fail)?;
    out.flush().map_err(fail)?;
    let out = out.into_inner().map_err(|e| fail(e.into_error()))?;
    out.sync_all().map_err(fail)?;
    packed.bytes = out.metadata().map_err(fail)?.len();
    drop(out);
    // A backup counts only after it was read back.
    check(&partial.0, &home.data())?;
    fs::rename(&partial.0, file).map_err(fail)?;
    Ok(packed)
}

/// Distinguishes a fault of the installation from a fault in writing the backup.
enum Fault {
    Backup(BackupError),
    Write(io::Error),
}

impl From<BackupError> for Fault {
    fn from(error: BackupError) -> Self {
        Self::Backup(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// A temporary file: removed on drop, unless it was renamed.
pub(super) struct Doomed(pub(super) PathBuf);

impl Drop for Doomed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

struct Packer<W: Write> {
    tar: Builder<W>,
    entries: Vec<Entry>,
    packed: Packed,
}

impl<W: Write> Packer<W> {
    fn all(&mut self, wish: &Wish) -> Result<(), Fault> {
        let root = wish.home.root();
        // The database comes first: the files that it names are already on disk, and files of messages are kept
        // longer than a backup takes.
        let database = Doomed(wish.home.data().join(format!("backup-{}.db", std::process::id())));
        let _ = fs::remove_file(&database.0);
        copy::copy(&wish.home.database(), &database.0).map_err(BackupError::from)?;
        self.plain(&database.0, DATABASE)?;
        drop(database);
        for name in FILES.into_iter().chain(wish.keys.then_some(KEYS)) {
            if root.join(name).is_file() {
                self.plain(&root.join(name), name)?;
            }
        }
        for name in TREES {
            match SafeDir::open(&root.join(name)) {
                Ok(dir) => self.tree(dir, name)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(BackupError::io("read", &root.join(name))(error).into()),
            }
        }
        Ok(())
    }

    /// Adds a file that only the host can write.
    fn plain(&mut self, path: &Path, name: &str) -> Result<(), Fault> {
        let file = File::open(path).map_err(BackupError::io("read", path))?;
        let meta = file.metadata().map_err(BackupError::io("read", path))?;
        let head = Head { mode: meta.mode(), uid: meta.uid(), gid: meta.gid(), mtime: meta.mtime(), size: meta.len() };
        Ok(self.file(Path::new(name), file, &head)?)
    }

    /// Adds a folder and everything below it.
    fn tree(&mut self, root: SafeDir, name: &str) -> Result<(), Fault> {
        let fail = |path: &Path| BackupError::io("read", path);
        let top = PathBuf::from(name);
        self.folder(&top, &root.meta().map_err(fail(&top))?)?;
        let entries = root.entries().map_err(fail(&top))?;
        let mut open: Vec<(SafeDir, Entries, PathBuf)> = vec![(root, entries, top)];
        while let Some((dir, entries, path)) = open.last_mut() {
            let Some(entry) = entries.next() else {
                open.pop();
                continue;
            };
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let path = path.clone();
                    self.leave(&path, &error.to_string());
                    open.pop();
                    continue;
                }
            };
            let below = path.join(&entry.name);
            let step = self.entry(dir, &entry.name, &below)?;
            match step {
                Some(_) if open.len() >= DEPTH => self.leave(&below, "it lies too deep"),
                Some(inner) => match inner.entries() {
                    Ok(entries) => open.push((inner, entries, below)),
                    Err(error) => self.leave(&below, &error.to_string()),
                },
                None => {}
            }
        }
        Ok(())
    }

    /// Adds one entry of a folder; returns the opened folder if it is one.
    fn entry(&mut self, dir: &SafeDir, name: &OsStr, path: &Path) -> io::Result<Option<SafeDir>> {
        // Skips files that are being written, and entries that vanished since the folder was read.
        let Some(meta) = dir.stat(name).ok().flatten().filter(|_| !is_unfinished(name)) else { return Ok(None) };
        match meta.kind {
            Kind::Dir => match dir.open_dir(Path::new(name)) {
                Ok(inner) => {
                    self.folder(path, &meta)?;
                    return Ok(Some(inner));
                }
                Err(error) => self.leave(path, &error.to_string()),
            },
            Kind::File => match dir.open_file(name) {
                Ok((file, meta)) => self.file(path, file, &Head::of(&meta))?,
                Err(error) => self.leave(path, &error.to_string()),
            },
            Kind::Link => match rustix::fs::readlinkat(dir, name, Vec::new()) {
                Ok(target) => self.link(path, target.as_bytes(), &meta)?,
                Err(error) => self.leave(path, &error.to_string()),
            },
            other => self.leave(path, &format!("it is {other}")),
        }
        Ok(None)
    }

    fn file(&mut self, path: &Path, file: impl Read, head: &Head) -> io::Result<()> {
        let mut reader = Hashing::new(file, head.size);
        self.tar.append_data(&mut head.header(EntryType::Regular), path, &mut reader)?;
        self.packed.changed += u64::from(reader.short);
        self.entries.push(reader.entry(path.to_string_lossy().into_owned()));
        Ok(())
    }

    fn folder(&mut self, path: &Path, meta: &Meta) -> io::Result<()> {
        let head = Head { size: 0, ..Head::of(meta) };
        self.tar.append_data(&mut head.header(EntryType::Directory), path, io::empty())?;
        self.entries.push(Entry { path: path.to_string_lossy().into_owned(), size: 0, sha256: String::new() });
        Ok(())
    }

    fn link(&mut self, path: &Path, target: &[u8], meta: &Meta) -> io::Result<()> {
        use std::os::unix::ffi::OsStrExt;
        let head = Head { size: 0, ..Head::of(meta) };
        self.tar.append_link(&mut head.header(EntryType::Symlink), path, OsStr::from_bytes(target))?;
        let path = path.to_string_lossy().into_owned();
        self.entries.push(Entry { path, size: target.len() as u64, sha256: hash(target) });
        Ok(())
    }

    fn leave(&mut self, path: &Path, why: &str) {
        self.packed.left_out_count += 1;
        if self.packed.left_out.len() < NAMED {
            self.packed.left_out.push(format!("{}: {why}", path.display()));
        }
    }

    /// Writes the manifest and ends the tar.
    fn finish(mut self, wish: &Wish) -> io::Result<(W, Packed)> {
        self.packed.entries = self.entries.len() as u64;
        let manifest = Manifest {
            format: FORMAT,
            parlor: env!("CARGO_PKG_VERSION").to_owned(),
            created: rfc3339(wish.now),
            home: wish.home.root().to_string_lossy().into_owned(),
            keys: wish.keys,
            entries: self.entries,
        };
        let bytes = serde_json::to_vec_pretty(&manifest)?;
        let head = Head { mode: 0o600, uid: 0, gid: 0, mtime: wish.now.timestamp(), size: bytes.len() as u64 };
        self.tar.append_data(&mut head.header(EntryType::Regular), MANIFEST, &bytes[..])?;
        Ok((self.tar.into_inner()?, self.packed))
    }
}

/// An entry's metadata.
struct Head {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: i64,
    size: u64,
}

impl Head {
    fn of(meta: &Meta) -> Self {
        Self { mode: meta.mode, uid: meta.uid, gid: meta.gid, mtime: meta.mtime, size: meta.size }
    }

    fn header(&self, kind: EntryType) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(self.mode & 0o777);
        header.set_uid(self.uid.into());
        header.set_gid(self.gid.into());
        header.set_mtime(u64::try_from(self.mtime).unwrap_or(0));
        header.set_size(self.size);
        header
    }
}
