//! The description of a container, independent of any engine.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything that an engine needs to start a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSpec {
    /// Unique name: `parlor-<folder>-<run id, lower case>`.
    pub name: String,
    /// Image reference.
    pub image: String,
    /// Labels: `parlor.instance`, `parlor.kind`, `parlor.group`, `parlor.run`.
    pub labels: BTreeMap<String, String>,
    /// Environment variables; never a secret.
    pub env: BTreeMap<String, String>,
    /// In mounting order.
    pub mounts: Vec<Mount>,
    /// User in the container.
    pub user: User,
    /// The network of the container.
    pub network: Network,
    /// The name by which the room reaches this machine, if its engine does not provide one.
    pub gateway: Option<String>,
    /// Memory limit, for example `2g`; None for no limit.
    pub memory: Option<String>,
    /// CPU limit, for example `2`; None for no limit.
    pub cpus: Option<String>,
    /// Process limit; None for no limit.
    pub pids: Option<u32>,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The source on the host, or an empty one.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    /// True if the container may write to it.
    pub writable: bool,
}

/// The source of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A folder or file of the host.
    Host(PathBuf),
    /// An empty memory file system that hides the folder below.
    Tmpfs,
    /// `/dev/null`, to hide a file.
    Null,
}

/// The agent's user in the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// True if the engine maps the host's own user to the same id inside (rootless podman's keep-id).
    pub keep_id: bool,
}

/// The container's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// No network.
    None,
    /// The engine's default network.
    Default,
    /// A network by its name.
    Named(String),
}
