//! Files that could not be handled: `data/quarantine/<folder>/<claim>`, each with a `<claim>.reason`. The oldest are
//! removed when a group exceeds its share. The folder is never mounted, so only the host changes names in it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use super::claim::Claimed;
use crate::domain::ids::GroupFolder;
use crate::safe_dir::{Kind, SafeDir};

/// The most files of a group, without the reasons.
const MAX_FILES: usize = 1_000;
/// The most bytes of these files.
const MAX_BYTES: u64 = 50 << 20;

/// One group's quarantine.
#[derive(Debug)]
pub(super) struct Quarantine {
    dir: SafeDir,
    /// The oldest first, with sizes.
    kept: VecDeque<(OsString, u64)>,
    bytes: u64,
}

impl Quarantine {
    /// Opens the quarantine below `data/`, or makes it.
    pub(super) fn open(data: &SafeDir, folder: &GroupFolder) -> io::Result<Self> {
        let dir = data.ensure_dir(&Path::new("quarantine").join(folder.as_str()), None, 0o700)?;
        let mut names: Vec<OsString> = dir.names(usize::MAX)?;
        names.retain(|name| Path::new(name).extension() != Some(OsStr::new("reason")));
        // Claim ids increase with time.
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

    /// Moves a claimed file into quarantine. A folder that is not empty, or a file over the limit, is removed; its
    /// reason stays.
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
