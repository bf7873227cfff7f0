//! Paths of an installation's folders and files. Code that accesses them must use [`crate::safe_dir`] wherever a
//! container can write.

use std::path::{Path, PathBuf};

use crate::domain::ids::{GroupFolder, RunId};

/// An installation's root folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The installation at this absolute path.
    pub fn new(root: PathBuf) -> Self {
        Self(root)
    }
    /// The root folder.
    pub fn root(&self) -> &Path {
        &self.0
    }
    /// The folder of all groups' workspaces, including `global`. Containers can write below it.
    pub fn groups(&self) -> PathBuf {
        self.0.join("groups")
    }
    /// A group's workspace: its memory and its files.
    pub fn group(&self, folder: &GroupFolder) -> PathBuf {
        self.groups().join(folder.as_str())
    }
    /// The folder with the memory that all groups share.
    pub fn global(&self) -> PathBuf {
        self.groups().join("global")
    }
    /// The host's own state.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }
    /// A group's IPC folder.
    pub fn ipc(&self, folder: &GroupFolder) -> PathBuf {
        self.data().join("ipc").join(folder.as_str())
    }
    /// The folder for the inputs of one run.
    pub fn input(&self, run: RunId) -> PathBuf {
        self.data().join("inputs").join(run.to_string().to_lowercase())
    }
    /// The state of a group's agent: `.claude/` and `agent/`.
    pub fn session(&self, folder: &GroupFolder) -> PathBuf {
        self.data().join("sessions").join(folder.as_str())
    }
    /// The folder of all groups' run logs; never mounted.
    pub fn all_runs(&self) -> PathBuf {
        self.data().join("runs")
    }
    /// The folder of a group's run logs.
    pub fn runs(&self, folder: &GroupFolder) -> PathBuf {
        self.all_runs().join(folder.as_str())
    }
    /// Claimed IPC files; never mounted.
    pub fn claimed(&self) -> PathBuf {
        self.data().join("claimed")
    }
    /// A group's IPC files that could not be handled; never mounted.
    pub fn quarantine(&self, folder: &GroupFolder) -> PathBuf {
        self.data().join("quarantine").join(folder.as_str())
    }
    /// The SQLite database.
    pub fn database(&self) -> PathBuf {
        self.data().join("parlor.db")
    }
    /// The Unix socket of the local API.
    pub fn socket(&self) -> PathBuf {
        self.data().join("parlor.sock")
    }
    /// The lock that prevents a second host.
    pub fn lock(&self) -> PathBuf {
        self.data().join("lock")
    }
    /// The host's log file.
    pub fn host_log(&self) -> PathBuf {
        self.data().join("parlor.log")
    }
    /// The record of the image `full`; it exists once the image was made for this installation.
    pub fn full_image(&self) -> PathBuf {
        self.data().join("image-full.json")
    }
    /// Exists once the setup has asked the operator for a provider.
    pub fn setup_marker(&self) -> PathBuf {
        self.data().join("setup-asked")
    }
    /// The operator's secrets.
    pub fn env_file(&self) -> PathBuf {
        self.0.join(".env")
    }
    /// The operator's settings.
    pub fn settings_file(&self) -> PathBuf {
        self.0.join("parlor.toml")
    }

    /// The operator's prices of models, which add to the shipped list.
    pub fn prices_file(&self) -> PathBuf {
        self.0.join("prices.toml")
    }
}
