//! Registering and changing groups.

use chrono::{DateTime, Utc};
use parlor_protocol::limits::{MAX_NAME, MAX_TRIGGER};

use super::{Invalid, container, shorten};
use crate::domain::group::{ContainerConfig, Group};
use crate::domain::ids::{ChatJid, GroupFolder};
use crate::store::{Tx, TxResult, groups};

/// The fields of a requested group, as they were written.
#[derive(Debug, Clone, Copy, Default)]
pub struct GroupFields<'a> {
    /// The chat's id.
    pub jid: &'a str,
    /// The name of the group; the chat's id if empty.
    pub name: &'a str,
    /// The name of its folder.
    pub folder: &'a str,
    /// Its trigger; the default if None or empty.
    pub trigger: Option<&'a str>,
    /// True if it answers only when triggered; None means true.
    pub requires_trigger: Option<bool>,
}

/// A checked new group.
#[derive(Debug, Clone, PartialEq)]
pub struct NewGroup {
    /// The chat of the group.
    pub jid: ChatJid,
    /// The folder of the group.
    pub folder: GroupFolder,
    name: String,
    trigger: Option<String>,
    requires_trigger: bool,
    config: ContainerConfig,
}

impl NewGroup {
    /// Checks the fields. The caller has checked the container settings, because it knows what the asker may set: see
    /// [`agent_config`] for agents.
    pub fn parse(fields: &GroupFields<'_>, config: ContainerConfig) -> Result<Self, Invalid> {
        let jid: ChatJid = fields.jid.parse().map_err(Invalid::of)?;
        let name = fields.name.trim();
        let name = if name.is_empty() { jid.as_str() } else { line("name", name, MAX_NAME)? };
        let trigger = fields.trigger.map(str::trim).filter(|t| !t.is_empty());
        Ok(Self {
            folder: fields.folder.parse().map_err(Invalid::of)?,
            name: name.to_owned(),
            trigger: trigger.map(|t| line("trigger", t, MAX_TRIGGER)).transpose()?.map(str::to_owned),
            requires_trigger: fields.requires_trigger.unwrap_or(true),
            config,
            jid,
        })
    }
}

impl NewGroup {
    /// Returns the given group with this name, trigger and container settings; folder, chat and main stay.
    pub fn apply_to(self, group: Group) -> Group {
        Group {
            name: self.name,
            trigger: self.trigger,
            requires_trigger: self.requires_trigger,
            container_config: self.config,
            ..group
        }
    }
}

/// A change of a group: None leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct GroupChange<'a> {
    /// The name; the chat's id when empty.
    pub name: Option<&'a str>,
    /// The trigger; the default one when empty.
    pub trigger: Option<&'a str>,
    /// Whether it answers only when triggered.
    pub requires_trigger: Option<bool>,
    /// All of its container settings.
    pub config: Option<ContainerConfig>,
}

/// The group with a change, checked by the same rules as a new one. Folder, chat and main stay.
pub fn changed(group: Group, change: GroupChange<'_>) -> Result<Group, Invalid> {
    let config = change.config.unwrap_or_else(|| group.container_config.clone());
    container::check(&config)?;
    let fields = GroupFields {
        jid: group.jid.as_str(),
        name: change.name.unwrap_or(&group.name),
        folder: group.folder.as_str(),
        trigger: change.trigger.or(group.trigger.as_deref()),
        requires_trigger: Some(change.requires_trigger.unwrap_or(group.requires_trigger)),
    };
    Ok(NewGroup::parse(&fields, config)?.apply_to(group))
}

/// One line of visible text.
fn line<'a>(what: &str, text: &'a str, max: usize) -> Result<&'a str, Invalid> {
    if text.chars().count() > max || text.chars().any(char::is_control) {
        let text = shorten(text);
        return Err(Invalid(format!("{what} {text:?} is not allowed: use at most {max} characters on one line")));
    }
    Ok(text)
}

/// Returns the settings that an agent may choose for a group's container: extra mounts (within the allowlist) and the
/// timeout. Ignores everything else.
pub fn agent_config(asked: Option<&serde_json::Value>) -> Result<ContainerConfig, Invalid> {
    let mut config = ContainerConfig::default();
    let Some(asked) = asked.filter(|value| !value.is_null()) else { return Ok(config) };
    let Some(asked) = asked.as_object() else {
        return Err(Invalid(
            "containerConfig is not an object: give additionalMounts and timeout, or leave it out".into(),
        ));
    };
    if let Some(mounts) = asked.get("additionalMounts").filter(|value| !value.is_null()) {
        config.additional_mounts = serde_json::from_value(mounts.clone()).map_err(|e| {
            let why = shorten(&e.to_string());
            Invalid(format!(
                "additionalMounts is not understood ({why}): use [{{hostPath, containerPath?, readonly?}}]"
            ))
        })?;
    }
    if let Some(timeout) = asked.get("timeout").filter(|value| !value.is_null()) {
        let ms = timeout.as_u64().filter(|ms| container::TIMEOUTS.contains(ms));
        config.timeout = Some(ms.ok_or_else(|| {
            Invalid("timeout is not allowed: use whole milliseconds from 1000 to 86400000 (a day)".into())
        })?);
    }
    container::check(&config)?;
    Ok(config)
}

/// Registers a group that is not main. Refuses a chat or folder in use.
pub fn register(tx: &mut Tx<'_>, new: NewGroup, now: DateTime<Utc>) -> TxResult<Group> {
    let group = Group {
        folder: new.folder,
        jid: new.jid,
        name: new.name,
        trigger: new.trigger,
        requires_trigger: new.requires_trigger,
        is_main: false,
        container_config: new.config,
        created_at: now,
        paused: None,
    };
    groups::register(tx, &group)?;
    tracing::info!("group {} is registered for {}", group.folder, group.jid);
    Ok(group)
}
