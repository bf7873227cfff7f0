//! Files that belong to the wrong user, because an operator copied them as root, or an engine made them. Repaired at
//! the start.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::config::home::Home;
use crate::safe_dir::{Kind, Owner, SafeDir};

/// The entries of a folder that are checked before it counts as right.
const LOOK: usize = 64;

/// The result of a repair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repaired {
    /// The number of checked folders.
    pub folders: u64,
    /// The number of files and folders whose owner was changed.
    pub changed: u64,
    /// The number that could not be changed.
    pub skipped: u64,
}

/// Gives every group's trees to their owner if they belong to another user. Blocking; thousands of groups take a
/// second or more, so it is meant for the background. Continues after errors.
pub fn repair_ownership(home: &Home, owner: Owner) -> Repaired {
    let mut done = Repaired::default();
    repair_all(&home.groups(), &[""], owner, &mut done);
    repair_all(&home.data().join("ipc"), &[""], owner, &mut done);
    repair_all(&home.data().join("inputs"), &[""], owner, &mut done);
    repair_all(
        &home.data().join("sessions"),
        &[".claude", ".codex", ".gemini", "agent", super::RUNNER_SRC],
        owner,
        &mut done,
    );
    if done.changed > 0 || done.skipped > 0 {
        tracing::info!(
            "owner of groups' files set to {}:{}: {} changed, {} left as they are",
            owner.uid,
            owner.gid,
            done.changed,
            done.skipped
        );
    }
    done
}

/// Repairs every folder below `root`, or only these folders in each of them.
fn repair_all(root: &Path, inner: &[&str], owner: Owner, done: &mut Repaired) {
    let entries = SafeDir::open(root).and_then(|dir| dir.entries().map(|entries| (dir, entries)));
    let (dir, entries) = match entries {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return tracing::warn!("cannot check the owner of {}: {error}", root.display()),
    };
    for entry in entries.flatten() {
        for name in inner {
            let below: PathBuf =
                if name.is_empty() { PathBuf::from(&entry.name) } else { Path::new(&entry.name).join(name) };
            let Ok(folder) = dir.open_dir(&below) else { continue };
            done.folders += 1;
            if let Err(error) = repair(&folder, owner, done) {
                done.skipped += 1;
                tracing::warn!("{:?} cannot be given to {}:{}: {error}", root.join(below), owner.uid, owner.gid);
            }
        }
    }
}

/// Repairs one folder before a run, because the operator, who is root here, may have added files.
pub(super) fn adopt(folder: &SafeDir, owner: Owner) -> io::Result<()> {
    if looks_wrong(folder, owner)? { repair(folder, owner, &mut Repaired::default()) } else { Ok(()) }
}

fn repair(folder: &SafeDir, owner: Owner, done: &mut Repaired) -> io::Result<()> {
    let result = folder.chown_tree(owner)?;
    done.changed += result.changed;
    done.skipped += result.skipped;
    Ok(())
}

fn looks_wrong(folder: &SafeDir, owner: Owner) -> io::Result<bool> {
    let right = |uid: u32, gid: u32| (uid, gid) == (owner.uid, owner.gid);
    let own = rustix::fs::fstat(folder.as_fd())?;
    if !right(own.st_uid, own.st_gid) {
        return Ok(true);
    }
    for entry in folder.entries()?.take(LOOK) {
        // A file of another user with a second name stays as it is, and needs no check at every start.
        let meta = folder.stat(&entry?.name)?;
        if meta.is_some_and(|m| !right(m.uid, m.gid) && (m.kind == Kind::Dir || m.links == 1)) {
            return Ok(true);
        }
    }
    Ok(false)
}
