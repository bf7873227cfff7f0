//! Registered groups and their container settings.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{ChatJid, GroupFolder};
use super::usage::Budget;

/// A registered group: one chat, one folder.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The folder, which is the group's key.
    pub folder: GroupFolder,
    /// The chat that the group belongs to.
    pub jid: ChatJid,
    /// The display name.
    pub name: String,
    /// The group's own trigger; null for the default one.
    pub trigger: Option<String>,
    /// Whether only triggered messages are answered.
    pub requires_trigger: bool,
    /// Whether this is the owner's group.
    pub is_main: bool,
    /// The settings of the group's containers.
    pub container_config: ContainerConfig,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// Set while a limit of the vendor pauses the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
}

/// The pause of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// The end of the pause.
    pub until: DateTime<Utc>,
    /// The reason, for people.
    pub reason: String,
}

/// A group's container settings, stored as versioned JSON. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerConfig {
    /// The version of this JSON; 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Host folders besides the group's own; only those that the mount allowlist permits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional_mounts: Vec<AdditionalMount>,
    /// Hard timeout in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_000, max = 86_400_000))]
    pub timeout: Option<u64>,
    /// How long the chat must be quiet before its messages start a turn, in milliseconds, instead of the
    /// installation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 60_000))]
    pub settle: Option<u64>,
    /// The image instead of the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The provider instead of the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model, for providers that know models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The providers that answer while that one cannot, in order, instead of the installation's list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Vec<String>>,
    /// Whether those may be dearer, or have no known price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_dearer: Option<bool>,
    /// The kinds of settings that its own `agent.toml` may set, instead of the installation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_may: Option<Vec<String>>,
    /// `none`, `default`, or a network's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The memory limit, for example `2g`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// The CPU limit, for example `2` or `0.5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// The limit of processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Environment variables for the container; never secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The group's daily budget, instead of the installation's.
    #[serde(default, skip_serializing_if = "Budget::is_empty")]
    pub budget: Budget,
}

/// An image that Parlor makes itself. A group chooses it by this name, because the reference changes with each
/// version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParlorsImage {
    /// The image with a shell and Parlor's own agents.
    Lite,
    /// The image with Claude Code and the programs that were requested.
    Full,
}

impl ContainerConfig {
    /// Returns which of Parlor's own images the group chose, if any.
    pub fn parlors_image(&self) -> Option<ParlorsImage> {
        match self.image.as_deref()? {
            "lite" => Some(ParlorsImage::Lite),
            "full" => Some(ParlorsImage::Full),
            _ => None,
        }
    }

    /// Returns true if a run with these settings also satisfies the others. Budget and quiet time do not affect a
    /// run.
    pub fn opens_the_same_room(&self, other: &Self) -> bool {
        let room = |config: &Self| Self { budget: Budget::default(), settle: None, ..config.clone() };
        room(self) == room(other)
    }
}

fn one() -> u32 {
    1
}

impl Default for ContainerConfig {
    fn default() -> Self {
        Self {
            version: 1,
            additional_mounts: Vec::new(),
            timeout: None,
            settle: None,
            image: None,
            provider: None,
            model: None,
            fallback: None,
            fallback_dearer: None,
            agent_may: None,
            network: None,
            memory: None,
            cpus: None,
            pids: None,
            env: BTreeMap::new(),
            budget: Budget::default(),
        }
    }
}

/// An extra mount of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdditionalMount {
    /// A folder or file on the host; `~` is the operator's home.
    pub host_path: String,
    /// The name below `/workspace/extra/`; by default the last part of the host path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_path: Option<String>,
    /// Whether it is read-only; true unless set to false and allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readonly: Option<bool>,
}
