//! Finds the installation's folder.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::home::Home;
use super::layers::Layers;
use super::load::Overrides;

/// Where an installation is, below the user's home, unless something else says where.
const DEFAULT_HOME: &str = ".local/share/parlor";

/// The installation's folder: as told, else the current folder when it is one, else below the user's home.
pub(super) fn home(
    layers: &mut Layers,
    overrides: &Overrides,
    environment: &BTreeMap<String, String>,
    here: &Path,
    user_home: Option<&Path>,
) -> Home {
    let told = overrides.home.clone().map(|h| (h, "command line")).or_else(|| {
        environment.get("PARLOR_HOME").filter(|h| !h.is_empty()).map(|h| (PathBuf::from(h), "environment"))
    });
    let (path, source) = match (told, user_home) {
        (Some(told), _) => told,
        (None, _) if is_installation(here) => (here.to_owned(), "current folder"),
        (None, Some(user_home)) => (user_home.join(DEFAULT_HOME), "default"),
        (None, None) => {
            layers.file_problem(
                "PARLOR_HOME",
                "environment",
                "there is no HOME to put the installation below: give --home DIR or set PARLOR_HOME".into(),
            );
            (here.to_owned(), "current folder")
        }
    };
    let path = absolute(here, &path);
    if let Err(why) = plain_path(&path) {
        layers.file_problem("PARLOR_HOME", source, format!("{why}: choose another folder for the installation"));
    }
    Home::new(path)
}

/// Returns true if a folder that nobody named is an installation: it has a `groups/`. Parlor's own sources have one,
/// too, and are none unless a host has run there.
fn is_installation(folder: &Path) -> bool {
    let is_source = || folder.join("Cargo.toml").is_file() && folder.join("container/agent-runner").is_dir();
    folder.join("groups").is_dir() && (!is_source() || folder.join("data/parlor.db").exists())
}

/// Returns where the installation would be in any other folder; None if it is, or was named.
pub(super) fn home_otherwise(home: &Home, here: &Path, user_home: Option<&Path>) -> Option<PathBuf> {
    let default = user_home?.join(DEFAULT_HOME);
    (home.root() == absolute(here, here) && home.root() != absolute(here, &default)).then_some(default)
}

/// Absolute, without links where it exists.
fn absolute(here: &Path, path: &Path) -> PathBuf {
    let joined = here.join(path);
    joined.canonicalize().unwrap_or_else(|_| {
        let mut clean = PathBuf::new();
        for part in joined.components() {
            match part {
                Component::ParentDir => drop(clean.pop()),
                Component::CurDir => {}
                other => clean.push(other),
            }
        }
        // What exists of it may be reached through links all the same.
        match (clean.parent().and_then(|p| p.canonicalize().ok()), clean.file_name()) {
            (Some(parent), Some(name)) => parent.join(name),
            _ => clean,
        }
    })
}

/// Every mount's host path begins with it, and engines take mounts apart at these characters.
fn plain_path(path: &Path) -> Result<(), String> {
    match path.to_str() {
        None => Err(format!("{} is not valid UTF-8", path.display())),
        Some(text) => match text.chars().find(|c| matches!(c, ':' | ',' | '"') || c.is_control()) {
            Some(c) => Err(format!("{text:?} contains {c:?}, which container engines cannot mount")),
            None => Ok(()),
        },
    }
}
