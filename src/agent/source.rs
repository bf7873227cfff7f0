//! A group's own copy of the agent sources that NanoClaw v1 images compile: made once, then the group's.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{AgentError, At, RUNNER_SRC};
use crate::safe_dir::{Owner, SafeDir};

/// The most bytes of a source tree; more means that the folder is wrong.
const MAX_BYTES: u64 = 64 << 20;
/// The most nested folders.
const MAX_DEPTH: usize = 32;
/// The name of the copy until it is complete.
const PARTIAL: &str = "agent-runner-src.partial";

/// Returns the group's copy, and makes it if it is missing. The session folder is not mounted, so no agent can
/// disturb the copying.
pub(super) fn copy_once(
    from: &Path,
    session: &SafeDir,
    session_path: &Path,
    owner: Option<Owner>,
) -> Result<PathBuf, AgentError> {
    let path = session_path.join(RUNNER_SRC);
    if session.exists(OsStr::new(RUNNER_SRC)).at(&path)? {
        return Ok(path);
    }
    // Left by a host that died.
    session.remove_tree(OsStr::new(PARTIAL)).at(&path)?;
    let to = session.ensure_dir(Path::new(PARTIAL), owner, 0o755).at(&path)?;
    let mut left = MAX_BYTES;
    copy(from, &to, owner, &mut left, 0).at(from)?;
    session.move_to(OsStr::new(PARTIAL), session, OsStr::new(RUNNER_SRC)).at(&path)?;
    Ok(path)
}

fn copy(from: &Path, to: &SafeDir, owner: Option<Owner>, left: &mut u64, depth: usize) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!("{} is too deep", from.display())));
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let name = entry.file_name();
        if kind.is_dir() {
            let inner = to.ensure_dir(Path::new(&name), owner, 0o755)?;
            copy(&entry.path(), &inner, owner, left, depth + 1)?;
        } else if kind.is_file() {
            let meta = entry.metadata()?;
            *left = left
                .checked_sub(meta.len())
                .ok_or_else(|| io::Error::other("more than 64 MiB: AGENT_RUNNER_SRC is to be a folder of sources"))?;
            let mode = if meta.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
            to.write_atomic(&name, &fs::read(entry.path())?, owner, mode)?;
        } else {
            tracing::warn!("{} is neither file nor folder: it is not copied", entry.path().display());
        }
    }
    Ok(())
}
