//! The parts of the installation that main must not see: every `.env*` at any depth, found before each of its runs.
//!
//! A mask is mounted on a name, and only the operator's names cannot move. In a group's folder, a live room could
//! replace the name by a link between the search and the mount, and so choose which of main's own files is hidden, or
//! keep main from starting. So nothing is ever mounted below a group's folder: a group's folder with a `.env*` is
//! hidden as a whole.
//!
//! The search has a budget. Folders that it does not cover are hidden as a whole, too.

mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use search::{Found, PER_FOLDER, Search, is_env, kind};
pub use search::{Known, Why};

use crate::config::home::Home;
use crate::container::engine::spec::MountSource;
use crate::policy::mounts::engine_safe;
use crate::safe_dir::{Kind, SafeDir};

/// The budget for one folder of the installation.
const FOLDER_BUDGET: usize = 10_000;
/// The budget for all of them together.
const ALL_FOLDERS: usize = 40_000;
/// The most for one group's folder, if there are few groups.
const GROUP_BUDGET: usize = 10_000;
/// The budget that all groups share.
const ALL_GROUPS: usize = 60_000;
/// The least for one group's folder, for any number of groups.
const GROUP_LEAST: usize = 64;
/// The most masks of the installation's own folders; beyond it, each further folder that needs one is hidden as a
/// whole.
const OWN_MASKS: usize = 64;
/// The most groups that are hidden one by one; beyond it, all are.
const GROUP_MASKS: usize = 200;

/// All paths that are hidden from main now, relative to the installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Masks {
    masks: BTreeMap<PathBuf, MountSource>,
    whole: BTreeMap<PathBuf, Why>,
}

impl Masks {
    /// Searches an installation; `known` has the results of earlier searches. Returns an error if the installation's
    /// folder cannot be read.
    pub fn find(home: &Home, known: &mut Known) -> io::Result<Self> {
        let root = SafeDir::open(home.root())?;
        let mut found = Self::default();
        found.masks.insert("data".into(), MountSource::Tmpfs);
        // Even without a `.env`, because it may appear while the agent lives.
        let env = if home.env_file().is_dir() { MountSource::Tmpfs } else { MountSource::Null };
        found.masks.insert(".env".into(), env);
        let mut links = Vec::new();
        let mut folders = Vec::new();
        for entry in root.entries()? {
            let entry = entry?;
            let kind = kind(&root, &entry)?;
            let path = PathBuf::from(&entry.name);
            // Entries with such names are not mounted at all.
            if engine_safe(&path).is_err() || entry.name == "data" || entry.name == "groups" {
            } else if is_env(&entry.name) {
                // Entries beyond the limit are not mounted; a mask only shows the agent that there is something.
                if found.masks.len() < OWN_MASKS {
                    note(path, kind, &mut found.masks, &mut links);
                }
            } else if entry.name == "parlor.toml" {
                // The file may hold a token.
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

    /// Searches the installation's own folders, which rooms cannot write.
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

    /// Searches the groups' folders, where a mask would be mounted on a name that the room can move.
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

    /// Handles a link of the operator: a mask cannot be mounted on it, so its target is hidden if main sees it.
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

    /// Hides the folder above a path that engines cannot mount, and drops masks inside hidden folders.
    fn settle(&mut self) {
        while let Some(path) = self.masks.keys().find(|path| engine_safe(path).is_err()).cloned() {
            self.masks.remove(&path);
            self.whole.remove(&path);
            // At the top, it is not mounted anyway.
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

    /// Returns the paths and their mounts, parents first.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &MountSource)> {
        self.masks.iter().map(|(path, source)| (path.as_path(), source))
    }

    /// Returns true if an entry of the installation's folder is masked itself.
    pub fn covers(&self, name: &OsStr) -> bool {
        is_env(name) || self.masks.contains_key(Path::new(name))
    }

    /// Returns the folders that are hidden as a whole, and why.
    pub fn whole(&self) -> impl Iterator<Item = String> {
        self.whole.iter().map(|(path, why)| format!("{} ({why})", path.display()))
    }
}

impl fmt::Display for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Always first, because people look for it.
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
