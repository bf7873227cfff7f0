//! A room's folders on disk: finding their files in slices, and claiming them.

use std::collections::{HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::claim::{ClaimIds, Claimed, quote};
use super::command::Kind;
use super::quarantine::Quarantine;
use super::results::Results;
use crate::domain::clock::Clock;
use crate::domain::ids::GroupFolder;
use crate::safe_dir::{Entries, Meta, Owner, SafeDir};

/// The directory entries that are read at once; a larger folder is read in several turns.
const SLICE: usize = 4_096;
/// The age in seconds after which an unfinished file has no writer any more.
const UNFINISHED: i64 = 3_600;
/// The most names that can neither be claimed nor removed, and are skipped.
const MAX_STUCK: usize = 1_000;

/// Returns true for a name of a request: `*.json`, but not `.json` itself.
pub(super) fn is_candidate(name: &OsStr) -> bool {
    name.as_bytes().strip_suffix(b".json").is_some_and(|stem| !stem.is_empty())
}

/// Removes half-written files of agents that were ended. Checks one slice; the rest of a full folder is left to later
/// calls.
fn clear_unfinished(dir: &SafeDir, now: i64) -> io::Result<()> {
    for entry in dir.entries()?.take(SLICE) {
        let name = entry?.name;
        // An agent may have set a time in the future.
        let written = |meta: Meta| meta.mtime.min(meta.changed.0);
        let is_old = || Ok::<_, io::Error>(dir.stat(&name)?.is_some_and(|meta| now - written(meta) > UNFINISHED));
        if name.as_bytes().ends_with(b".json.tmp") && is_old()? {
            // A folder of that name stays, and does no harm.
            let _ = dir.remove(&name);
        }
    }
    Ok(())
}

/// One of the two folders for agents' files.
#[derive(Debug)]
struct Side {
    kind: Kind,
    dir: SafeDir,
    /// An unfinished scan of the folder.
    scan: Option<Entries>,
    /// Names found but not claimed, in order.
    ready: VecDeque<OsString>,
    /// True if a file may have come since the last scan began.
    dirty: bool,
}

impl Side {
    fn new(kind: Kind, dir: SafeDir) -> Self {
        Self { kind, dir, scan: None, ready: VecDeque::new(), dirty: true }
    }

    fn has_work(&self) -> bool {
        self.dirty || self.scan.is_some() || !self.ready.is_empty()
    }

    /// Reads the next slice if no name is ready.
    fn look(&mut self, stuck: &HashSet<(Kind, OsString)>) -> io::Result<()> {
        if !self.ready.is_empty() {
            return Ok(());
        }
        if self.scan.is_none() {
            if !self.dirty {
                return Ok(());
            }
            self.dirty = false;
            self.scan = Some(self.dir.entries().inspect_err(|_| self.dirty = true)?);
        }
        let Some(scan) = &mut self.scan else { return Ok(()) };
        let mut found = Vec::new();
        let mut ended = false;
        for _ in 0..SLICE {
            match scan.next().transpose()? {
                Some(entry) if is_candidate(&entry.name) => found.push(entry.name),
                Some(_) => {}
                None => {
                    ended = true;
                    break;
                }
            }
        }
        if ended {
            self.scan = None;
        }
        found.retain(|name| stuck.is_empty() || !stuck.contains(&(self.kind, name.clone())));
        found.sort();
        self.ready = found.into();
        Ok(())
    }
}

/// A room's folders.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) folder: GroupFolder,
    owner: Option<Owner>,
    room: SafeDir,
    sides: [Side; 2],
    stuck: HashSet<(Kind, OsString)>,
    /// Writes answers for the agent.
    pub(super) results: Results,
    /// Keeps files that could not be handled.
    pub(super) quarantine: Quarantine,
}

/// The mount point of a run's own input folder. An engine would create a missing one as its own user, and could only
/// mount on a folder.
const INPUT: &str = "input";

fn relative(folder: &GroupFolder) -> std::path::PathBuf {
    Path::new("ipc").join(folder.as_str())
}

/// Returns true if a group without a run left any files. Cheap, and makes nothing.
pub(super) fn is_waiting(data: &SafeDir, folder: &GroupFolder) -> io::Result<bool> {
    for kind in [Kind::Message, Kind::Task] {
        let dir = match data.open_dir(&relative(folder).join(kind.folder())) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // The rest of a full folder is left to the next run.
        for entry in dir.entries()?.take(SLICE) {
            if is_candidate(&entry?.name) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

impl Files {
    /// Opens a room's folders below `data/`, and makes missing ones; `now` in seconds.
    pub(super) fn open(data: &SafeDir, folder: &GroupFolder, owner: Option<Owner>, now: i64) -> io::Result<Self> {
        let room = data.ensure_dir(&relative(folder), owner, 0o755)?;
        let open = |name: &str| room.ensure_dir(Path::new(name), owner, 0o755);
        let sides = [Kind::Message, Kind::Task].map(|kind| open(kind.folder()).map(|dir| Side::new(kind, dir)));
        for side in sides.iter().flatten() {
            clear_unfinished(&side.dir, now)?;
        }
        let [messages, tasks] = sides;
        let results = Results::new(open("results")?, owner, now)?;
        open(INPUT)?;
        Ok(Self {
            folder: folder.clone(),
            owner,
            sides: [messages?, tasks?],
            stuck: HashSet::new(),
            results,
            quarantine: Quarantine::open(data, folder)?,
            room,
        })
    }

    /// Opens folders again that the agent has replaced.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        for side in &mut self.sides {
            let dir = self.room.ensure_dir(Path::new(side.kind.folder()), self.owner, 0o755)?;
            if dir.meta()?.id != side.dir.meta()?.id {
                *side = Side::new(side.kind, dir);
            }
        }
        self.results.reopen(self.room.ensure_dir(Path::new("results"), self.owner, 0o755)?);
        self.room.ensure_dir(Path::new(INPUT), self.owner, 0o755)?;
        self.dirty();
        Ok(())
    }

    /// Returns the room's own folder.
    pub(super) fn room(&self) -> &SafeDir {
        &self.room
    }

    /// Returns the folders for agents' files.
    pub(super) fn sides(&self) -> [&SafeDir; 2] {
        [&self.sides[0].dir, &self.sides[1].dir]
    }

    /// Notes that files may have come.
    pub(super) fn dirty(&mut self) {
        self.sides.iter_mut().for_each(|side| side.dirty = true);
    }

    /// Returns true if there is something to scan or to claim.
    pub(super) fn has_work(&self) -> bool {
        self.sides.iter().any(Side::has_work)
    }

    /// Claims at most `most` files: messages first, but half are tasks if there are both.
    pub(super) fn claim(
        &mut self,
        most: usize,
        claims: &SafeDir,
        ids: &ClaimIds,
        clock: &dyn Clock,
    ) -> io::Result<Vec<Claimed>> {
        for side in &mut self.sides {
            side.look(&self.stuck)?;
        }
        let tasks = self.sides[1].ready.len().min(most / 2);
        let mut claimed = Vec::new();
        for (side, share) in [(0, most - tasks), (1, most)] {
            while claimed.len() < share
                && let Some(name) = self.sides[side].ready.pop_front()
            {
                let claim = Claimed::new(ids.next(clock), &self.folder, self.sides[side].kind, &name);
                match self.take(side, &name, claims, &claim) {
                    Ok(true) => claimed.push(claim),
                    Ok(false) => {}
                    Err(error) => {
                        self.sides[side].ready.push_front(name);
                        // The claimed files must be handled first; the error will come again.
                        return if claimed.is_empty() { Err(error) } else { Ok(claimed) };
                    }
                }
            }
        }
        Ok(claimed)
    }

    fn take(&mut self, side: usize, name: &OsStr, claims: &SafeDir, claim: &Claimed) -> io::Result<bool> {
        let Side { dir, kind, .. } = &self.sides[side];
        let error = match dir.move_to(name, claims, &claim.file()) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => error,
        };
        if error.kind() == io::ErrorKind::CrossesDevices || error.kind() == io::ErrorKind::StorageFull {
            let problem = format!(
                "files of {} cannot be moved to data/claimed ({error}): both must be on one file system with room",
                self.folder
            );
            return Err(io::Error::new(error.kind(), problem));
        }
        // A file that cannot be moved must not delay later ones.
        if dir.remove_tree(name).is_err() {
            if self.stuck.len() >= MAX_STUCK {
                self.stuck.clear();
            }
            self.stuck.insert((*kind, name.to_owned()));
        }
        let (folder, kind, name) = (&self.folder, kind.folder(), quote(name));
        tracing::warn!("group {folder}: {kind}/{name} cannot be taken over and is removed or passed over: {error}");
        Ok(false)
    }
}
