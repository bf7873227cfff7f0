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
    /// The folder; the group's key.
    pub folder: GroupFolder,
    /// The chat.
    pub jid: ChatJid,
    /// The name people see.
    pub name: String,
    /// The group's own trigger; the default one when none.
    pub trigger: Option<String>,
    /// Whether only triggered messages are answered.
    pub requires_trigger: bool,
    /// Whether this is the owner's group.
    pub is_main: bool,
    /// Container settings.
    pub container_config: ContainerConfig,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// Set while a limit of the vendor holds the group back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
}

/// Why and how long a group is held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// Until when.
    pub until: DateTime<Utc>,
    /// Why, for people.
    pub reason: String,
}

/// A group's container settings, versioned JSON in the store. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerConfig {
    /// Version of this JSON; 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Host folders beyond the group's own; only through the mount allowlist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional_mounts: Vec<AdditionalMount>,
    /// Hard timeout in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_000, max = 86_400_000))]
    pub timeout: Option<u64>,
    /// How long the chat must be quiet before its messages begin a turn, in milliseconds, instead of the installation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 60_000))]
    pub settle: Option<u64>,
    /// Image instead of the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Provider instead of the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Model for providers that know models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Who answers while that one cannot, in order, instead of the installation's list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Vec<String>>,
    /// Whether those may be dearer, or of an unknown price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_dearer: Option<bool>,
    /// Kinds of settings that its own `agent.toml` may hold, instead of the installation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_may: Option<Vec<String>>,
    /// `none`, `default`, or a network's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Memory limit, for example `2g`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// CPU limit, for example `2` or `0.5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// Process limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Environment for the container; never secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What the group may use a day, instead of the installation's budget.
    #[serde(default, skip_serializing_if = "Budget::is_empty")]
    pub budget: Budget,
}

/// One of the images that Parlor makes itself. A group names it so, because its reference changes with each version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParlorsImage {
    /// With a shell and Parlor's own agents.
    Lite,
    /// With Claude Code, and what was asked for besides.
    Full,
}

impl ContainerConfig {
    /// Which of Parlor's own images the group chose, if it chose one of them.
    pub fn parlors_image(&self) -> Option<ParlorsImage> {
        match self.image.as_deref()? {
            "lite" => Some(ParlorsImage::Lite),
            "full" => Some(ParlorsImage::Full),
            _ => None,
        }
    }

    /// Whether a room that was opened with these settings has what the others ask for. A budget is kept outside of it.
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

/// One extra mount a group asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdditionalMount {
    /// Folder or file on the host; `~` is the operator's home.
    pub host_path: String,
    /// Name below `/workspace/extra/`; the last part of the host path when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_path: Option<String>,
    /// Read-only unless set to false and allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readonly: Option<bool>,
}
