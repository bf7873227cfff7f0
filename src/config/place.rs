//! Finds the installation's folder.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::home::Home;
use super::layers::Layers;
use super::load::Overrides;

/// The default folder of an installation, below the user's home.
const DEFAULT_HOME: &str = ".local/share/parlor";

/// The installation's folder: the one given, else the current folder if it is an installation, else the default.
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

/// Returns true if a folder is an installation: it has a `groups/`. A checkout of Parlor's sources has one, too, but
/// is an installation only after a host has run there.
fn is_installation(folder: &Path) -> bool {
    let is_source = || folder.join("Cargo.toml").is_file() && folder.join("container/agent-runner").is_dir();
    folder.join("groups").is_dir() && (!is_source() || folder.join("data/parlor.db").exists())
}

/// Returns the default folder of the installation. Returns None if it is in use, or a folder was named.
pub(super) fn home_otherwise(home: &Home, here: &Path, user_home: Option<&Path>) -> Option<PathBuf> {
    let default = user_home?.join(DEFAULT_HOME);
    (home.root() == absolute(here, here) && home.root() != absolute(here, &default)).then_some(default)
}

/// Makes a path absolute, and resolves links as far as it exists.
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
        // The parent may exist and be reached through links.
        match (clean.parent().and_then(|p| p.canonicalize().ok()), clean.file_name()) {
            (Some(parent), Some(name)) => parent.join(name),
            _ => clean,
        }
    })
}

/// Every mount's source begins with this path, and engines split mounts at these characters.
fn plain_path(path: &Path) -> Result<(), String> {
    match path.to_str() {
        None => Err(format!("{} is not valid UTF-8", path.display())),
        Some(text) => match text.chars().find(|c| matches!(c, ':' | ',' | '"') || c.is_control()) {
            Some(c) => Err(format!("{text:?} contains {c:?}, which container engines cannot mount")),
            None => Ok(()),
        },
    }
}
