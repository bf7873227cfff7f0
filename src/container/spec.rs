//! The description of a container, in no engine's words.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything an engine needs to know to start a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSpec {
    /// Unique name: `parlor-<folder>-<run id, lower case>`.
    pub name: String,
    /// Image reference.
    pub image: String,
    /// Labels: `parlor.instance`, `parlor.kind`, `parlor.group`, `parlor.run`.
    pub labels: BTreeMap<String, String>,
    /// Environment; nothing secret, ever.
    pub env: BTreeMap<String, String>,
    /// In mounting order.
    pub mounts: Vec<Mount>,
    /// User in the container.
    pub user: User,
    /// Network.
    pub network: Network,
    /// A name by which the room is to reach this machine, unless its engine gives it one anyway.
    pub gateway: Option<String>,
    /// Memory limit, for example `2g`; none leaves it out.
    pub memory: Option<String>,
    /// CPU limit, for example `2`.
    pub cpus: Option<String>,
    /// Process limit.
    pub pids: Option<u32>,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it comes from.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    /// True if the container may write.
    pub writable: bool,
}

/// Where a mount comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A folder or file of the host.
    Host(PathBuf),
    /// An empty memory file system that hides what lies below.
    Tmpfs,
    /// `/dev/null`, to hide a file.
    Null,
}

/// Who the agent is in the container.
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
    /// None at all.
    None,
    /// The engine's default.
    Default,
    /// A named one.
    Named(String),
}
