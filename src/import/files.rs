//! Imports files outside of groups' folders: allowlists, and keys of `.env`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

use super::ImportError;
use super::report::{Kind, Outcome, Report};
use super::source::operators_file;
use crate::config::allowlists::{MOUNTS, SENDERS};
use crate::config::settings::Settings;
use crate::config::{self, Overrides, secrets};
use crate::policy::mounts::MountRules;
use crate::policy::senders::SenderRules;

/// The suffix of files that are not complete yet.
const UNFINISHED: &str = ".parlor-import";

/// Contents of allowlists that are not here yet, by file name.
pub type Lists = BTreeMap<&'static str, String>;

/// Finds the allowlists that can be imported; reports why others cannot.
pub fn find_lists(from: &Path, to: &Path, report: &mut Report) -> Lists {
    let mut lists = Lists::new();
    for name in [MOUNTS, SENDERS] {
        let shown = from.join(name).display().to_string();
        let text = match operators_file(&from.join(name)) {
            Ok(None) => continue,
            Ok(Some(text)) => text,
            Err(error) => {
                report.leave(Kind::Allowlist, shown, error.to_string());
                continue;
            }
        };
        match fs::read(to.join(name)) {
            Ok(here) if here == text.as_bytes() => {
                report.add(Kind::Allowlist, Outcome::Present, shown, 1, "the same file is here");
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => {
                let why = format!("{} is another one: it stays as it is", to.join(name).display());
                report.leave(Kind::Allowlist, shown, why);
                continue;
            }
        }
        report.add(Kind::Allowlist, Outcome::Taken, shown.clone(), 1, "");
        if let Some(problem) = problem(name, &text) {
            let path = to.join(name).display().to_string();
            let why = format!("Parlor does not understand it ({problem}) and allows least until it is mended");
            report.add(Kind::Allowlist, Outcome::Changed, shown, 1, why);
            report.advise(format!("mend {path}: {problem}"));
        }
        lists.insert(name, text);
    }
    lists
}

fn problem(name: &str, text: &str) -> Option<String> {
    let file = Ok(Some(text.to_owned()));
    if name == MOUNTS {
        MountRules::from_file(file).problem().map(str::to_owned)
    } else {
        SenderRules::from_file(file).problem().map(str::to_owned)
    }
}

/// The sender rules after the import.
pub fn senders(lists: &Lists, to: &Path) -> SenderRules {
    let here = match lists.get(SENDERS) {
        Some(text) => Ok(Some(text.clone())),
        None => operators_file(&to.join(SENDERS)).map_err(|error| error.to_string()),
    };
    SenderRules::from_file(here)
}

/// Writes allowlists. A file that appeared meanwhile is kept.
pub fn write_lists(lists: &Lists, to: &Path) -> Result<(), ImportError> {
    if lists.is_empty() {
        return Ok(());
    }
    let fail = |error| ImportError::write(to, error);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(to).map_err(fail)?;
    for (name, text) in lists {
        let unfinished = to.join(format!(".{name}{UNFINISHED}"));
        write_new(&unfinished, text.as_bytes(), None).map_err(fail)?;
        match rustix::fs::renameat_with(CWD, &unfinished, CWD, to.join(name), RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => fs::remove_file(&unfinished).map_err(fail)?,
            Err(error) => return Err(fail(error.into())),
        }
    }
    Ok(())
}

/// Finds the keys that can be imported; reports why others cannot, without their values.
pub fn find_keys(
    env: &BTreeMap<String, String>,
    settings: &Settings,
    report: &mut Report,
) -> Result<BTreeMap<String, String>, ImportError> {
    let path = settings.home.env_file();
    let set = secrets::env_file(&path).map_err(|errors| {
        ImportError::Settings(errors.first().map_or_else(|| path.display().to_string(), ToString::to_string))
    })?;
    let toml = operators_file(&settings.home.settings_file()).ok().flatten();
    let toml: toml::Table = toml.and_then(|text| text.parse().ok()).unwrap_or_default();
    let names: BTreeMap<&str, &str> = config::names().collect();
    let secret: BTreeSet<&str> = settings.secret_keys.iter().map(String::as_str).collect();
    let mut taken = BTreeMap::new();
    for (key, value) in env {
        let is_set = set.get(key).is_some_and(|value| !value.is_empty())
            || names.get(key.as_str()).is_some_and(|name| toml.contains_key(*name));
        if !names.contains_key(key.as_str()) && !secret.contains(key.as_str()) {
            report.leave(Kind::Key, key, "Parlor knows no key of this name");
        } else if is_set {
            report.add(Kind::Key, Outcome::Present, key, 1, "it is set here already");
        } else if let Err(why) = usable(key, value) {
            report.leave(Kind::Key, key, why);
        } else {
            report.add(Kind::Key, Outcome::Taken, key, 1, "");
            taken.insert(key.clone(), value.clone());
        }
    }
    Ok(taken)
}

/// Refuses a value that would keep a host from starting.
fn usable(key: &str, value: &str) -> Result<(), String> {
    if quote(value).is_none() {
        return Err("its value has characters that cannot be written here".to_owned());
    }
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let alone = BTreeMap::from([pair("HOME", "/nonexistent/user"), pair(key, value)]);
    let nowhere = Overrides { home: Some("/nonexistent/home".into()), ..Overrides::default() };
    let found = config::examine_from(&nowhere, &alone, Path::new("/"));
    if found.problems.is_empty() && found.settings.warnings.is_empty() {
        return Ok(());
    }
    // The value may be a secret and is not shown.
    let allowed = found.problems.iter().find(|problem| problem.key == key).map(|p| p.allowed.as_str());
    let odd = found.settings.warnings.first().map(|_| "it is not understood");
    Err(format!("its value is not allowed here: {}", allowed.or(odd).unwrap_or("it needs other settings")))
}

/// Quotes a value for `.env`. Returns None if that is not possible.
fn quote(value: &str) -> Option<String> {
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
    if value.chars().all(bare) {
        return Some(value.to_owned());
    }
    (!value.contains(['\'', '\\']) && !value.chars().any(char::is_control)).then(|| format!("'{value}'"))
}

/// Removes the lines that set one of the keys to nothing.
fn without_empty(text: &[u8], keys: &BTreeMap<String, String>) -> Vec<u8> {
    let empty = |line: &[u8]| {
        let Ok(line) = std::str::from_utf8(line) else { return false };
        let line = line.trim();
        let Some((key, value)) = line.strip_prefix("export ").unwrap_or(line).split_once('=') else { return false };
        keys.contains_key(key.trim()) && matches!(value.trim(), "" | "''" | "\"\"")
    };
    text.split_inclusive(|byte| *byte == b'\n').filter(|line| !empty(line)).flatten().copied().collect()
}

/// Adds keys to `.env`, readable only by its owner. The new file is renamed into place as a whole.
pub fn write_keys(keys: &BTreeMap<String, String>, path: &Path) -> Result<(), ImportError> {
    if keys.is_empty() {
        return Ok(());
    }
    let fail = |error| ImportError::write(path, error);
    // Follows a link to the operator's own file.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (mut text, before) = match fs::read(&path) {
        Ok(text) => (text, Some(fs::metadata(&path).map_err(fail)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), None),
        Err(error) => return Err(fail(error)),
    };
    // The first line of a key counts, so an empty one would hide the imported value.
    text = without_empty(&text, keys);
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    for (key, value) in keys {
        if let Some(value) = quote(value) {
            text.extend(format!("{key}={value}\n").bytes());
        }
    }
    let unfinished = PathBuf::from(format!("{}{UNFINISHED}", path.display()));
    write_new(&unfinished, &text, before.as_ref()).map_err(fail)?;
    fs::rename(&unfinished, &path).map_err(fail)?;
    Ok(())
}

/// Writes a file readable only by its owner, and removes what a killed import left. A file that replaces another
/// keeps its owner.
fn write_new(path: &Path, bytes: &[u8], before: Option<&fs::Metadata>) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    if let Some(before) = before.filter(|before| before.uid() != rustix::process::geteuid().as_raw()) {
        fchown(&file, Some(before.uid()), Some(before.gid()))?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imported_keys_can_be_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        fs::write(&path, "OLD=1").unwrap();
        let keys = [("A", "plain"), ("B", "two words # and $more \"x\""), ("C", "ä=ö")];
        let keys = keys.map(|(key, value)| (key.to_owned(), value.to_owned()));
        write_keys(&BTreeMap::from(keys.clone()), &path).unwrap();
        let mut wanted = BTreeMap::from(keys);
        wanted.insert("OLD".to_owned(), "1".to_owned());
        assert_eq!(secrets::env_file(&path).unwrap(), wanted);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn values_that_prevent_a_start_are_refused_and_not_shown() {
        assert_eq!(usable("LOG_LEVEL", "debug"), Ok(()));
        assert_eq!(usable("ANTHROPIC_API_KEY", "sk-ant-x"), Ok(()));
        for (key, value) in [("LOG_LEVEL", "fatal"), ("TZ", "Mars/Base"), ("IDLE_TIMEOUT", "soon"), ("TZ", "it's")] {
            let why = usable(key, value).unwrap_err();
            assert!(!why.contains(value), "{why}");
        }
    }
}
