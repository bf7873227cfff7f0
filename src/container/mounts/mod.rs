//! A group's mounts and the whole spec of its run, as the documented formats have them. Only plans: other code makes
//! the folders before.

pub mod masks;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use self::masks::Masks;
use crate::config::home::Home;
use crate::config::settings::Settings;
use crate::config::values;
use crate::container::engine::spec::{Mount, MountSource, Network, RunSpec, User};
use crate::domain::group::Group;
use crate::domain::ids::RunId;
use crate::domain::run::AgentNeeds;
use crate::policy::mounts::{HostView, MountRules, engine_safe};

/// The place of the installation in main's container.
const PROJECT: &str = "/workspace/project";
/// The agent's home in the container.
const AGENT_HOME: &str = "/home/node";
/// The most entries of the installation's folder that main sees.
const MAX_ENTRIES: usize = 200;

/// Why a run has no valid spec.
#[derive(Debug, Error)]
pub enum MountError {
    /// A path of the installation that engines cannot mount.
    #[error("cannot mount {0}")]
    Path(String),
    /// The installation's folder cannot be read.
    #[error("cannot read {path}: {source}; check its owner and mode")]
    Unreadable {
        /// The installation's folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A container setting of the group is not valid.
    #[error("container setting {key} of group {group} = {value:?}: use {allowed}")]
    Setting {
        /// The group's folder.
        group: String,
        /// The key of the setting.
        key: String,
        /// The stored value.
        value: String,
        /// The allowed values.
        allowed: String,
    },
}

/// Everything that a run's spec is made from.
#[derive(Debug, Clone)]
pub struct Room<'a> {
    /// The container's name: `parlor-<folder>-<run id, lower case>`.
    pub name: String,
    /// The id of the run.
    pub run: RunId,
    /// The image: the group's, the installation's, or Parlor's own.
    pub image: String,
    /// The id of the installation.
    pub instance: &'a str,
    /// The agent's user in the container.
    pub user: User,
    /// The group of the run.
    pub group: &'a Group,
    /// The settings, with the installation's folders.
    pub settings: &'a Settings,
    /// The agent's needs beyond the folders of every room.
    pub agent: AgentNeeds,
    /// The operator's rules for extra mounts.
    pub rules: &'a MountRules,
    /// The paths that main must not see; used only for main.
    pub masks: &'a Masks,
    /// The name under which rooms of this engine reach this machine.
    pub gateway: &'a str,
}

/// A run's mounts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountPlan {
    /// In mounting order: a mount inside another one comes after it.
    pub mounts: Vec<Mount>,
    /// Why extra mounts are missing or read-only, for the log and the group's owner.
    pub notes: Vec<String>,
}

/// Plans a run's mounts. Extra mounts that the rules refuse are left out, with a note.
pub fn plan(room: &Room<'_>) -> Result<MountPlan, MountError> {
    let (home, group) = (&room.settings.home, room.group);
    let mut plan = MountPlan::default();
    plan.host(home.group(&group.folder), "/workspace/group", true)?;
    // A link here is not a folder: main may have made it.
    if fs::symlink_metadata(home.global()).is_ok_and(|m| m.is_dir()) {
        plan.host(home.global(), "/workspace/global", group.is_main)?;
    }
    if group.is_main {
        plan.project(home, room.masks)?;
    }
    plan.host(home.ipc(&group.folder), "/workspace/ipc", true)?;
    plan.host(home.input(room.run), "/workspace/ipc/input", true)?;
    let session = home.session(&group.folder);
    plan.host(session.join(".claude"), "/home/node/.claude", true)?;
    if let Some(folder) = room.agent.home_folder {
        plan.host(session.join(folder), &format!("{AGENT_HOME}/{folder}"), true)?;
    }
    plan.host(session.join("agent"), "/app/agent", true)?;
    if let Some(src) = &room.agent.runner_src {
        plan.host(src.clone(), "/app/src", true)?;
    }
    plan.extras(room);
    Ok(plan)
}

impl MountPlan {
    fn host(&mut self, path: PathBuf, target: &str, writable: bool) -> Result<(), MountError> {
        engine_safe(&path).map_err(MountError::Path)?;
        self.mounts.push(Mount { source: MountSource::Host(path), target: target.to_owned(), writable });
        Ok(())
    }

    /// Mounts the installation without its secrets. A single mount with masks on top would not do: an editor that
    /// replaces `.env` by renaming would remove the mask with the old file, while an agent is live. Instead, each
    /// entry is mounted into an empty folder, so masked files were never there.
    fn project(&mut self, home: &Home, masks: &Masks) -> Result<(), MountError> {
        self.mounts.push(Mount { source: MountSource::Tmpfs, target: PROJECT.to_owned(), writable: false });
        let unreadable = |source| MountError::Unreadable { path: home.root().to_owned(), source };
        let mut entries =
            fs::read_dir(home.root()).map_err(unreadable)?.collect::<io::Result<Vec<_>>>().map_err(unreadable)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = entry.file_name();
            let plain = entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_file());
            if !plain || masks.covers(&name) {
                continue;
            }
            if let Err(why) = engine_safe(&path) {
                self.notes.push(format!("not shown to main: {why}"));
            } else if self.mounts.len() > MAX_ENTRIES {
                self.notes.push(format!(
                    "{} has more than {MAX_ENTRIES} entries: main sees the first",
                    home.root().display()
                ));
                break;
            } else {
                let target = format!("{PROJECT}/{}", name.to_string_lossy());
                self.mounts.push(Mount { source: MountSource::Host(path), target, writable: false });
            }
        }
        for (path, source) in masks.iter() {
            let target = format!("{PROJECT}/{}", path.display());
            engine_safe(Path::new(&target)).map_err(MountError::Path)?;
            self.mounts.push(Mount { source: source.clone(), target, writable: false });
        }
        Ok(())
    }

    fn extras(&mut self, room: &Room<'_>) {
        let (mut found, mut notes) = extra_mounts(room.settings, room.group, room.rules);
        self.mounts.append(&mut found);
        self.notes.append(&mut notes);
    }
}

/// Returns the extra mounts that a group's rooms do not get, each with the reason, for their author.
pub fn refused(settings: &Settings, group: &Group, rules: &MountRules) -> Vec<String> {
    extra_mounts(settings, group, rules).1
}

/// Returns a group's extra mounts that the rules allow, and a note on each that is refused or read-only.
fn extra_mounts(settings: &Settings, group: &Group, rules: &MountRules) -> (Vec<Mount>, Vec<String>) {
    let home = &settings.home;
    let resolve = |path: &Path| path.canonicalize();
    // No extra mount may show these to any group: other groups, the state, the secrets, the rules themselves.
    let protected: Vec<PathBuf> =
        [home.data(), home.groups(), home.env_file(), home.settings_file(), settings.config_dir.clone()]
            .into_iter()
            .map(|path| path.canonicalize().unwrap_or(path))
            .collect();
    let view = HostView { user_home: settings.user_home.as_deref(), protected: &protected, resolve: &resolve };
    let (mut taken, mut found, mut notes) = (BTreeSet::new(), Vec::new(), Vec::new());
    for wanted in &group.container_config.additional_mounts {
        match rules.validate(wanted, group.is_main, &view) {
            Ok(allowed) if !taken.insert(allowed.target.clone()) => {
                notes.push(format!("extra mount {:?} is refused: {} is taken", wanted.host_path, allowed.target));
            }
            Ok(allowed) => {
                if let Some(note) = allowed.note {
                    notes.push(format!("extra mount {:?} is read-only: {note}", wanted.host_path));
                }
                found.push(Mount {
                    source: MountSource::Host(allowed.host),
                    target: allowed.target,
                    writable: allowed.writable,
                });
            }
            Err(refusal) => notes.push(refusal),
        }
    }
    // Parents before children: the shorter path sorts first.
    found.sort_by(|a, b| a.target.cmp(&b.target));
    (found, notes)
}

/// Makes a run's spec: a group's settings before the installation's, each checked. Logs extra mounts that are missing
/// or read-only.
pub fn run_spec(room: &Room<'_>) -> Result<RunSpec, MountError> {
    let (settings, group) = (room.settings, room.group);
    let mounts = plan(room)?;
    for note in &mounts.notes {
        tracing::warn!("group {}: {note}", group.folder);
    }
    let config = &group.container_config;
    let refuse = |key: &str, value: &str, allowed: &str| MountError::Setting {
        group: group.folder.to_string(),
        key: key.to_owned(),
        value: value.chars().take(200).collect(),
        allowed: allowed.to_owned(),
    };
    let check = |key: &str, value: &str, check: fn(&str) -> Result<String, &'static str>| {
        check(value).map_err(|allowed| refuse(key, value, allowed))
    };
    let memory = config.memory.as_deref().unwrap_or(&settings.limits.memory);
    let cpus = config.cpus.as_deref().unwrap_or(&settings.limits.cpus);
    let pids = config.pids.unwrap_or(settings.limits.pids);
    let network = match (&config.network, room.agent.network) {
        (Some(own), _) => own.as_str(),
        (None, true) => settings.network.as_deref().unwrap_or("default"),
        (None, false) => "none",
    };
    let mut env = std::collections::BTreeMap::new();
    for (key, value) in &config.env {
        if !values::env_name(key) || value.contains('\0') {
            return Err(refuse("env", key, "names of letters, digits and `_`, and values without NUL"));
        }
        if settings.secret_keys.contains(key) || key == "PARLOR_TOKEN" {
            return Err(refuse("env", key, ".env for secrets: an environment can be read from outside"));
        }
        env.insert(key.clone(), value.clone());
    }
    let mut gateway = None;
    if network != "none" {
        let given = settings.proxies.for_rooms(room.gateway);
        gateway = (!given.rewritten.is_empty()).then(|| room.gateway.to_owned());
        for (key, value) in given.env {
            // The group's own variables have priority, in upper or lower case.
            if !config.env.keys().any(|own| own.eq_ignore_ascii_case(&key)) {
                env.insert(key, value);
            }
        }
    }
    env.insert("TZ".to_owned(), settings.timezone.name().to_owned());
    env.insert("HOME".to_owned(), AGENT_HOME.to_owned());
    let labels = [
        ("parlor.instance", room.instance.to_owned()),
        ("parlor.kind", "run".to_owned()),
        ("parlor.group", group.folder.to_string()),
        ("parlor.run", room.run.to_string()),
    ];
    Ok(RunSpec {
        name: room.name.clone(),
        image: check("image", &room.image, values::image)?,
        labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        env,
        mounts: mounts.mounts,
        user: room.user,
        network: match check("network", network, values::network)?.as_str() {
            "none" => Network::None,
            "default" => Network::Default,
            name => Network::Named(name.to_owned()),
        },
        gateway,
        memory: Some(check("memory", memory, values::memory)?),
        cpus: Some(check("cpus", cpus, values::cpus)?),
        pids: Some(values::pids(pids.into()).map_err(|allowed| refuse("pids", &pids.to_string(), allowed))?),
    })
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;
