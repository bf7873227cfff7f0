//! A room's folders on disk: what waits in them, in slices, and taking it over.

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

/// Directory entries read in one turn: a folder with many more is read over several.
const SLICE: usize = 4_096;
/// Seconds after which a file that was never finished has nobody who would finish it.
const UNFINISHED: i64 = 3_600;
/// Names that can neither be taken over nor removed, and are passed over.
const MAX_STUCK: usize = 1_000;

/// Returns true if a file of this name counts: `*.json`, but for the name that is nothing else.
pub(super) fn is_candidate(name: &OsStr) -> bool {
    name.as_bytes().strip_suffix(b".json").is_some_and(|stem| !stem.is_empty())
}

/// Removes what agents that were ended left half written. A folder full of other files is left to later looks.
fn clear_unfinished(dir: &SafeDir, now: i64) -> io::Result<()> {
    for entry in dir.entries()?.take(SLICE) {
        let name = entry?.name;
        // An agent may have set a time that has not come.
        let written = |meta: Meta| meta.mtime.min(meta.changed.0);
        let is_old = || Ok::<_, io::Error>(dir.stat(&name)?.is_some_and(|meta| now - written(meta) > UNFINISHED));
        if name.as_bytes().ends_with(b".json.tmp") && is_old()? {
            // A folder of that name stays; nobody looks at it.
            let _ = dir.remove(&name);
        }
    }
    Ok(())
}

/// One of the two folders that agents drop files into.
#[derive(Debug)]
struct Side {
    kind: Kind,
    dir: SafeDir,
    /// An unfinished look into the folder.
    scan: Option<Entries>,
    /// Found and not yet taken, in the order of names.
    ready: VecDeque<OsString>,
    /// Something may have come since the last look began.
    dirty: bool,
}

impl Side {
    fn new(kind: Kind, dir: SafeDir) -> Self {
        Self { kind, dir, scan: None, ready: VecDeque::new(), dirty: true }
    }

    fn has_work(&self) -> bool {
        self.dirty || self.scan.is_some() || !self.ready.is_empty()
    }

    /// Reads the next slice when nothing is ready.
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
    /// Answers for the agent.
    pub(super) results: Results,
    /// What could not be handled.
    pub(super) quarantine: Quarantine,
}

/// Where a run's own input folder is mounted; an engine would make a missing place as its own user, and could not take
/// anything but a folder.
const INPUT: &str = "input";

fn relative(folder: &GroupFolder) -> std::path::PathBuf {
    Path::new("ipc").join(folder.as_str())
}

/// Returns whether a group without a run left anything; cheap, and makes nothing.
pub(super) fn is_waiting(data: &SafeDir, folder: &GroupFolder) -> io::Result<bool> {
    for kind in [Kind::Message, Kind::Task] {
        let dir = match data.open_dir(&relative(folder).join(kind.folder())) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // A folder full of other files is left to the next run's look.
        for entry in dir.entries()?.take(SLICE) {
            if is_candidate(&entry?.name) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

impl Files {
    /// Opens or makes a room's folders below `data/`; `now` in seconds.
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

    /// Opens folders again that the agent replaced.
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

    /// The room's own folder.
    pub(super) fn room(&self) -> &SafeDir {
        &self.room
    }

    /// The folders that agents drop files into.
    pub(super) fn sides(&self) -> [&SafeDir; 2] {
        [&self.sides[0].dir, &self.sides[1].dir]
    }

    /// Something may have come.
    pub(super) fn dirty(&mut self) {
        self.sides.iter_mut().for_each(|side| side.dirty = true);
    }

    /// Returns true if there is something to look at or to take.
    pub(super) fn has_work(&self) -> bool {
        self.sides.iter().any(Side::has_work)
    }

    /// Takes over at most `most` files: messages first, but half for tasks when there are both.
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
                        // What is claimed must be handled; the error comes again.
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
        // What cannot be moved must not hold up what comes after it.
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
