//! The folders of an installation. Paths only: who touches what lies below must go through [`crate::safe_dir`] wherever
//! a container can write.

use std::path::{Path, PathBuf};

use crate::domain::ids::{GroupFolder, RunId};

/// An installation's root folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The installation at an absolute path.
    pub fn new(root: PathBuf) -> Self {
        Self(root)
    }
    /// The root.
    pub fn root(&self) -> &Path {
        &self.0
    }
    /// All groups' workspaces, `global` among them. Writable by containers below.
    pub fn groups(&self) -> PathBuf {
        self.0.join("groups")
    }
    /// A group's workspace.
    pub fn group(&self, folder: &GroupFolder) -> PathBuf {
        self.groups().join(folder.as_str())
    }
    /// Memory shared with every group.
    pub fn global(&self) -> PathBuf {
        self.groups().join("global")
    }
    /// Runtime state.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }
    /// A group's IPC folder.
    pub fn ipc(&self, folder: &GroupFolder) -> PathBuf {
        self.data().join("ipc").join(folder.as_str())
    }
    /// One run's input folder.
    pub fn input(&self, run: RunId) -> PathBuf {
        self.data().join("inputs").join(run.to_string().to_lowercase())
    }
    /// A group's agent state: `.claude/` and `agent/`.
    pub fn session(&self, folder: &GroupFolder) -> PathBuf {
        self.data().join("sessions").join(folder.as_str())
    }
    /// All groups' run logs; never mounted.
    pub fn all_runs(&self) -> PathBuf {
        self.data().join("runs")
    }
    /// A group's run logs.
    pub fn runs(&self, folder: &GroupFolder) -> PathBuf {
        self.all_runs().join(folder.as_str())
    }
    /// IPC files taken over; never mounted.
    pub fn claimed(&self) -> PathBuf {
        self.data().join("claimed")
    }
    /// IPC files that could not be handled; never mounted.
    pub fn quarantine(&self, folder: &GroupFolder) -> PathBuf {
        self.data().join("quarantine").join(folder.as_str())
    }
    /// The database.
    pub fn database(&self) -> PathBuf {
        self.data().join("parlor.db")
    }
    /// The local API's socket.
    pub fn socket(&self) -> PathBuf {
        self.data().join("parlor.sock")
    }
    /// The lock that makes a second host impossible.
    pub fn lock(&self) -> PathBuf {
        self.data().join("lock")
    }
    /// The host's log.
    pub fn host_log(&self) -> PathBuf {
        self.data().join("parlor.log")
    }
    /// Returns what is known of the image `full`; there once it was made for this installation.
    pub fn full_image(&self) -> PathBuf {
        self.data().join("image-full.json")
    }
    /// There once the operator was asked who is to answer.
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

    /// Returns what models cost that the shipped list does not know.
    pub fn prices_file(&self) -> PathBuf {
        self.0.join("prices.toml")
    }
}
