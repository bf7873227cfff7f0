//! Files that could not be handled: `data/quarantine/<folder>/<claim>` and beside it `<claim>.reason`. The oldest go
//! when a group has more than its share. Never mounted, so that names and links in it are the host's alone.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use super::claim::Claimed;
use crate::domain::ids::GroupFolder;
use crate::safe_dir::{Kind, SafeDir};

/// Files a group may have here, reasons not counted.
const MAX_FILES: usize = 1_000;
/// Bytes they may have together.
const MAX_BYTES: u64 = 50 << 20;

/// One group's quarantine.
#[derive(Debug)]
pub(super) struct Quarantine {
    dir: SafeDir,
    /// Oldest first, with sizes.
    kept: VecDeque<(OsString, u64)>,
    bytes: u64,
}

impl Quarantine {
    /// Opens or makes it below `data/`.
    pub(super) fn open(data: &SafeDir, folder: &GroupFolder) -> io::Result<Self> {
        let dir = data.ensure_dir(&Path::new("quarantine").join(folder.as_str()), None, 0o700)?;
        let mut names: Vec<OsString> = dir.names(usize::MAX)?;
        names.retain(|name| Path::new(name).extension() != Some(OsStr::new("reason")));
        // Claim ids rise with time.
        names.sort();
        let mut this = Self { dir, kept: VecDeque::new(), bytes: 0 };
        for name in names {
            let size = this.dir.stat(&name)?.map_or(0, |meta| meta.size);
            this.keep(name, size);
        }
        this.trim()?;
        Ok(this)
    }

    fn keep(&mut self, name: OsString, size: u64) {
        self.bytes = self.bytes.saturating_add(size);
        self.kept.push_back((name, size));
    }

    /// Takes a claimed file over. A folder with something in it and a file over the limit are removed; the reason
    /// stays.
    pub(super) fn take(&mut self, claims: &SafeDir, claimed: &Claimed, why: &str) -> io::Result<()> {
        let name = claimed.file();
        let reason = format!("{}/{}: {why}\n", claimed.kind.folder(), claimed.name);
        let size = match claims.stat(&name)? {
            Some(meta) if meta.kind == Kind::Dir => {
                claims.remove_tree(&name)?;
                0
            }
            Some(meta) if meta.size > MAX_BYTES => {
                claims.remove(&name)?;
                0
            }
            Some(meta) => {
                if let Err(error) = claims.move_to(&name, &self.dir, &name) {
                    tracing::warn!("{name:?} cannot be moved to quarantine and is removed: {error}");
                    claims.remove(&name)?;
                }
                meta.size
            }
            None => 0,
        };
        let mut reason_name = name.clone();
        reason_name.push(".reason");
        self.dir.write_atomic(&reason_name, reason.as_bytes(), None, 0o600)?;
        self.keep(name, size);
        self.trim()
    }

    fn trim(&mut self) -> io::Result<()> {
        while self.kept.len() > MAX_FILES || self.bytes > MAX_BYTES {
            let Some((name, size)) = self.kept.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(size);
            self.dir.remove_tree(&name)?;
            let mut reason = name;
            reason.push(".reason");
            self.dir.remove(&reason)?;
        }
        Ok(())
    }
}
