//! The agent's needs on the host before its container starts: its folders, its home, the shipped skills, its secrets.
//!
//! A hostile container may have arranged anything below a group's folders, so all access goes through [`SafeDir`].
//! Blocking; an unchanged group costs well under a millisecond.

mod ownership;
mod skills;
mod source;
mod wanted;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use parlor_protocol::AgentMay;
use secrecy::SecretString;
use thiserror::Error;

use crate::config::extras::Extra;
use crate::config::home::Home;
use crate::config::secrets::{self, EnvFileError};
use crate::config::settings::Settings;
use crate::config::{bounds, provider};
use crate::domain::group::{ContainerConfig, Group, ParlorsImage};
use crate::domain::ids::GroupFolder;
use crate::domain::run::AgentNeeds;
use crate::safe_dir::{Owner, SafeDir};

pub use ownership::{Repaired, repair_ownership};
pub use skills::Skills;

/// The first settings of Claude Code in its home. The group may change them; the host never writes them again.
const CLAUDE_SETTINGS: &str = r#"{
  "env": {
    "CLAUDE_CODE_EXPERIMENTAL_AGENT_TEAMS": "1",
    "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "0"
  }
}
"#;

/// The first settings of a group's agent.
const AGENT_SETTINGS: &str = include_str!("agent.toml");

/// The name of a group's copy of `AGENT_RUNNER_SRC` in its session folder.
pub const RUNNER_SRC: &str = "agent-runner-src";

/// The facts about an agent that its run needs.
#[derive(Debug)]
pub struct AgentPlan {
    /// The provider, by its name for the runner.
    pub provider: &'static str,
    /// The other choices that the group may make, and its choices that were not followed.
    pub may: AgentMay,
    /// The secrets for stdin; empty for providers that need none.
    pub secrets: BTreeMap<String, SecretString>,
    /// True if the provider uses the network.
    pub needs_network: bool,
    /// The group's copy of `AGENT_RUNNER_SRC`, which is mounted at `/app/src`.
    pub runner_src: Option<PathBuf>,
}

impl AgentPlan {
    /// Returns the room's needs for this agent.
    pub fn mounts(&self) -> AgentNeeds {
        AgentNeeds {
            network: self.needs_network,
            runner_src: self.runner_src.clone(),
            home_folder: provider::home_folder(self.provider),
        }
    }
}

/// Why a group's agent could not be prepared.
#[derive(Debug, Error)]
pub enum AgentError {
    /// A folder or file could not be read or written.
    #[error("cannot prepare {path}: {source}; check its owner and mode, and the space on the disk")]
    Io {
        /// The path of the folder or file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The group's provider cannot be used.
    #[error("{0}")]
    Provider(String),
    /// The secrets could not be read.
    #[error(transparent)]
    Secrets(#[from] EnvFileError),
}

trait At<T> {
    fn at(self, path: &Path) -> Result<T, AgentError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, AgentError> {
        self.map_err(|source| AgentError::Io { path: path.to_owned(), source })
    }
}

/// Prepares a group's agent before each run. `owner` owns the group's files; None leaves them to the host's own user.
pub fn prepare(home: &Home, settings: &Settings, group: &Group, owner: Option<Owner>) -> Result<AgentPlan, AgentError> {
    let folder = group.folder.as_str();
    let groups = root(&home.groups(), 0o755)?;
    let workspace = workspace(home, &group.folder, owner)?;
    if let Some(owner) = owner
        && let Err(error) = ownership::adopt(&workspace, owner)
    {
        tracing::warn!("cannot change the owner of group {folder}'s files: {error}");
    }
    if group.is_main {
        groups.ensure_dir(Path::new("global"), owner, 0o755).at(&home.global())?;
    }
    root(&home.data(), 0o700)?;
    let sessions_path = home.data().join("sessions");
    let sessions = root(&sessions_path, 0o755)?;
    let session_path = home.session(&group.folder);
    // The session folder itself is never mounted; it belongs to the host.
    let session = sessions.ensure_dir(Path::new(folder), None, 0o755).at(&session_path)?;
    let claude_path = session_path.join(".claude");
    let claude = session.ensure_dir(Path::new(".claude"), owner, 0o755).at(&claude_path)?;
    once(&claude, "settings.json", CLAUDE_SETTINGS, owner).at(&claude_path.join("settings.json"))?;
    let agent_path = session_path.join("agent");
    let agent = session.ensure_dir(Path::new("agent"), owner, 0o755).at(&agent_path)?;
    once(&agent, wanted::FILE, AGENT_SETTINGS, owner).at(&agent_path.join(wanted::FILE))?;
    let own = operators(home, settings, &group.container_config)?;
    let ((provider, secrets), note) = match chosen(home, settings, group, (&agent, own.0)) {
        Ok(theirs) => (theirs.unwrap_or(own), None),
        Err(why) => (own, Some(format!("provider is left out: {why}"))),
    };
    let browser = has_browser(settings, group, provider);
    if let Err(error) = Skills::find(home, settings).sync(home, &group.folder, &claude, owner, browser) {
        // An agent can answer without skills, and a group that damages its own copy must still get answers.
        tracing::warn!("cannot update the skills of group {folder}: {error}");
    }
    let runner_src = match &settings.agent_runner_src {
        Some(from) => Some(source::copy_once(from, &session, &session_path, owner)?),
        None => None,
    };
    if let Some(folder) = provider::home_folder(provider) {
        session.ensure_dir(Path::new(folder), owner, 0o700).at(&session_path.join(folder))?;
    }
    let may = AgentMay {
        set: bounds::may(settings, &group.container_config).to_vec(),
        models: settings.bounds.models.clone(),
        notes: note.into_iter().collect(),
    };
    Ok(AgentPlan { provider, may, secrets, needs_network: provider::needs_network(provider), runner_src })
}

/// Opens a group's folder, and makes it if it is missing.
pub fn workspace(home: &Home, folder: &GroupFolder, owner: Option<Owner>) -> Result<SafeDir, AgentError> {
    let groups = root(&home.groups(), 0o755)?;
    groups.ensure_dir(Path::new(folder.as_str()), owner, 0o755).at(&home.group(folder))
}

/// Returns true if a group's rooms have the browser, which the shipped skill needs. The operator's own skills are
/// always shipped.
fn has_browser(settings: &Settings, group: &Group, provider: &str) -> bool {
    let config = &group.container_config;
    let full = match config.parlors_image() {
        Some(image) => image == ParlorsImage::Full,
        None => provider::needs_full_image(provider) && config.image.is_none() && settings.image.is_none(),
    };
    settings.skills_dir.is_some() || (settings.image_with.contains(&Extra::Chromium) && full)
}

/// Opens a folder that only the host can write, and makes it if it is missing.
fn root(path: &Path, mode: u32) -> Result<SafeDir, AgentError> {
    match SafeDir::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new().recursive(true).mode(mode).create(path).at(path)?;
            SafeDir::open(path).at(path)
        }
        other => other.at(path),
    }
}

/// Writes a file once; from then on it belongs to the group.
fn once(dir: &SafeDir, name: &str, text: &str, owner: Option<Owner>) -> io::Result<()> {
    let name = OsStr::new(name);
    if !dir.exists(name)? {
        dir.create_new(name, text.as_bytes(), owner, 0o644)?;
    }
    Ok(())
}

/// Returns the provider that the group itself chose, if it may choose it and it differs from the operator's. Only
/// then does it get keys. The error says why the choice is not followed.
fn chosen(
    home: &Home,
    settings: &Settings,
    group: &Group,
    (dir, own): (&SafeDir, &str),
) -> Result<Option<Provided>, String> {
    let config = &group.container_config;
    let may = bounds::may(settings, config).iter().any(|kind| kind == bounds::PROVIDER);
    let wanted = match wanted::provider(dir) {
        Ok(wanted) => wanted.filter(|name| *name != own),
        // An unreadable file matters only if it would be followed.
        Err(why) => return if may { Err(why) } else { Ok(None) },
    };
    let Some(name) = wanted else { return Ok(None) };
    bounds::may_choose(settings, config, name)?;
    let missing = |what: &str| Err(format!("{name} needs {what}, which this installation does not have"));
    let full_image = home.full_image().exists();
    if provider::needs_full_image(name) && !full_image && config.image.is_none() && settings.image.is_none() {
        return missing("the image full");
    }
    let config = ContainerConfig { provider: Some(name.to_owned()), ..config.clone() };
    let found = operators(home, settings, &config).map_err(|error| {
        // The chat need not see paths of the host.
        tracing::warn!("group {} cannot have the provider {name}: {error}", group.folder);
        format!("{name} cannot be used here; the host's log says why")
    })?;
    if provider::needs_secrets(name) && found.1.is_empty() {
        return missing("a key in .env");
    }
    Ok(Some(found))
}

/// A provider, and its secrets for stdin.
type Provided = (&'static str, BTreeMap<String, SecretString>);

/// Returns the operator's choice for a group.
fn operators(home: &Home, settings: &Settings, config: &ContainerConfig) -> Result<Provided, AgentError> {
    let read = || secrets::read(home, &settings.secret_keys);
    let full_image = home.full_image().exists();
    let with_key =
        provider::choose(settings, config, provider::Means::all(full_image)).map_err(AgentError::Provider)?;
    // `.env` is read only if it may matter.
    if !provider::needs_secrets(with_key.provider) {
        return Ok((with_key.provider, BTreeMap::new()));
    }
    let found = read()?;
    let means = provider::Means::of(found.keys().map(String::as_str), full_image);
    let choice = provider::choose(settings, config, means).map_err(AgentError::Provider)?;
    let secrets = found.into_iter().filter(|(key, _)| provider::may_have(choice.provider, key)).collect();
    Ok((choice.provider, secrets))
}

#[cfg(test)]
mod tests;
