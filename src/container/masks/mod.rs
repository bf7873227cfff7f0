//! The parts of the installation that main must not see: every `.env*` wherever it lies, found before each of its runs.
//!
//! A mask is mounted on a name, and only the operator's names stand still. In a group's folder a live room could put a
//! link in a name's place between the search and the mount, and so choose what of main's own is hidden, or keep main
//! from starting. So nothing is ever mounted below a group's folder: one that holds a `.env*` is hidden whole.
//!
//! The search has a budget. What it does not cover is hidden whole, too.

mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use search::{Found, PER_FOLDER, Search, is_env, kind};
pub use search::{Known, Why};

use super::spec::MountSource;
use crate::config::home::Home;
use crate::policy::mounts::engine_safe;
use crate::safe_dir::{Kind, SafeDir};

/// For one folder of the installation.
const FOLDER_BUDGET: usize = 10_000;
/// For all of them together.
const ALL_FOLDERS: usize = 40_000;
/// For one group's folder, where there are few.
const GROUP_BUDGET: usize = 10_000;
/// Shared among all groups.
const ALL_GROUPS: usize = 60_000;
/// For one group's folder, however many there are.
const GROUP_LEAST: usize = 64;
/// Masks of the installation's own folders; then each further folder that needs one is hidden whole.
const OWN_MASKS: usize = 64;
/// Groups that are hidden one by one; with more all are.
const GROUP_MASKS: usize = 200;

/// Everything that is hidden from main at the moment, by path relative to the installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Masks {
    masks: BTreeMap<PathBuf, MountSource>,
    whole: BTreeMap<PathBuf, Why>,
}

impl Masks {
    /// Searches an installation; `known` is what earlier searches of it have seen. Fails when its own folder cannot be
    /// read.
    pub fn find(home: &Home, known: &mut Known) -> io::Result<Self> {
        let root = SafeDir::open(home.root())?;
        let mut found = Self::default();
        found.masks.insert("data".into(), MountSource::Tmpfs);
        // Also where there is none yet: it may come while the agent lives.
        let env = if home.env_file().is_dir() { MountSource::Tmpfs } else { MountSource::Null };
        found.masks.insert(".env".into(), env);
        let mut links = Vec::new();
        let mut folders = Vec::new();
        for entry in root.entries()? {
            let entry = entry?;
            let kind = kind(&root, &entry)?;
            let path = PathBuf::from(&entry.name);
            // What has such a name is not shown at all.
            if engine_safe(&path).is_err() || entry.name == "data" || entry.name == "groups" {
            } else if is_env(&entry.name) {
                // The rest is not shown either; a mask of its own only tells the agent that there is something.
                if found.masks.len() < OWN_MASKS {
                    note(path, kind, &mut found.masks, &mut links);
                }
            } else if entry.name == "parlor.toml" {
                // It may hold a token.
                found.masks.insert(path, MountSource::Null);
            } else if kind == Kind::Dir {
                folders.push(path);
            }
        }
        folders.sort();
        found.folders(&root, folders, &mut links, known);
        found.groups(&root, home, &mut links, known);
        known.turn();
        for link in links {
            found.link(home, &link);
        }
        found.settle();
        Ok(found)
    }

    /// The installation's own folders, which rooms cannot write.
    fn folders(&mut self, root: &SafeDir, folders: Vec<PathBuf>, links: &mut Vec<PathBuf>, known: &mut Known) {
        let mut left = ALL_FOLDERS;
        for path in folders {
            let budget = left.min(FOLDER_BUDGET);
            let mut search = Search { left: budget, first: false, links, known };
            let masks = search.enter(root, path.as_ref(), &path, 1);
            left -= budget - search.left;
            match masks {
                Ok(masks) if masks.len() + self.masks.len() > OWN_MASKS => self.hide(path, Why::TooMany),
                Ok(masks) => masks.into_iter().for_each(|mask| self.add(mask)),
                Err(why) => self.hide(path, why),
            }
        }
    }

    /// The groups' folders, where a mask would stand on the room's own names.
    fn groups(&mut self, root: &SafeDir, home: &Home, links: &mut Vec<PathBuf>, known: &mut Known) {
        let name = Path::new("groups");
        // The operator may keep the groups elsewhere; then main does not see them.
        if !std::fs::symlink_metadata(home.groups()).is_ok_and(|meta| meta.is_dir()) {
            return;
        }
        let mut rooms = Vec::new();
        let before = self.masks.len();
        let listed = root.open_dir(name).and_then(|groups| {
            for entry in groups.entries()? {
                let entry = entry?;
                let kind = kind(&groups, &entry)?;
                if is_env(&entry.name) {
                    note(name.join(entry.name), kind, &mut self.masks, links);
                } else if kind == Kind::Dir {
                    rooms.push(entry.name);
                }
            }
            Ok(groups)
        });
        let groups = match listed {
            Ok(groups) => groups,
            Err(error) => return self.hide(name.into(), Why::Unreadable(error.kind())),
        };
        if self.masks.len() - before > PER_FOLDER {
            return self.hide(name.into(), Why::TooMany);
        }
        rooms.sort();
        let budget = (ALL_GROUPS / rooms.len().max(1)).clamp(GROUP_LEAST, GROUP_BUDGET);
        let mut hidden = 0;
        for room in rooms {
            let path = name.join(&room);
            let mut search = Search { left: budget, first: true, links, known };
            if let Err(why) = search.enter(&groups, &room, &path, 2) {
                hidden += 1;
                if hidden > GROUP_MASKS {
                    return self.hide(name.into(), Why::TooMany);
                }
                self.hide(path, why);
            }
        }
    }

    fn add(&mut self, (path, mask): (PathBuf, Found)) {
        match mask {
            Found::File => drop(self.masks.insert(path, MountSource::Null)),
            Found::Folder(None) => drop(self.masks.insert(path, MountSource::Tmpfs)),
            Found::Folder(Some(why)) => self.hide(path, why),
        }
    }

    fn hide(&mut self, path: PathBuf, why: Why) {
        self.masks.insert(path.clone(), MountSource::Tmpfs);
        self.whole.insert(path, why);
    }

    /// A link of the operator's: a mask cannot be put on it, so what it leads to is hidden, where that is shown.
    fn link(&mut self, home: &Home, link: &Path) {
        let Ok(real) = home.root().join(link).canonicalize() else { return };
        let Ok(path) = real.strip_prefix(home.root()) else { return };
        let mut names = path.iter();
        let (first, second, more) = (names.next(), names.next(), names.next().is_some());
        match (first, second) {
            (None, _) => {}
            (Some(first), _) if first == "data" => {}
            (Some(first), Some(room)) if first == "groups" && (more || real.is_dir()) => {
                self.hide(Path::new(first).join(room), Why::Env);
            }
            _ if real.is_dir() => drop(self.masks.insert(path.to_owned(), MountSource::Tmpfs)),
            _ => drop(self.masks.insert(path.to_owned(), MountSource::Null)),
        }
    }

    /// What engines cannot mount hides the folder above, and what lies in a hidden folder needs no mask.
    fn settle(&mut self) {
        while let Some(path) = self.masks.keys().find(|path| engine_safe(path).is_err()).cloned() {
            self.masks.remove(&path);
            self.whole.remove(&path);
            // At the top it is not shown anyway.
            if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
                self.hide(above.to_owned(), Why::Name);
            }
        }
        let hidden: BTreeSet<PathBuf> =
            self.masks.iter().filter(|(_, source)| **source == MountSource::Tmpfs).map(|(p, _)| p.clone()).collect();
        let inside = |path: &Path| path.ancestors().skip(1).any(|above| hidden.contains(above));
        self.masks.retain(|path, _| !inside(path));
        self.whole.retain(|path, _| !inside(path));
    }

    /// Paths and what to mount on them, parents first.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &MountSource)> {
        self.masks.iter().map(|(path, source)| (path.as_path(), source))
    }

    /// Returns true if an entry of the installation's folder is masked itself.
    pub fn covers(&self, name: &OsStr) -> bool {
        is_env(name) || self.masks.contains_key(Path::new(name))
    }

    /// Folders that are hidden although they are not secret themselves, and why.
    pub fn whole(&self) -> impl Iterator<Item = String> {
        self.whole.iter().map(|(path, why)| format!("{} ({why})", path.display()))
    }
}

impl fmt::Display for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Always first: it is what people look for.
        f.write_str("data")?;
        self.masks
            .keys()
            .filter(|path| **path != Path::new("data"))
            .try_for_each(|path| write!(f, ", {}", path.display()))
    }
}

fn note(path: PathBuf, kind: Kind, masks: &mut BTreeMap<PathBuf, MountSource>, links: &mut Vec<PathBuf>) {
    match kind {
        Kind::Link => links.push(path),
        Kind::Dir => drop(masks.insert(path, MountSource::Tmpfs)),
        _ => drop(masks.insert(path, MountSource::Null)),
    }
}

#[cfg(test)]
mod tests;
