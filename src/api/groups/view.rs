//! The JSON view of a group: its stored row, its folder, and its effective settings.

use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::problem::Problem;
use super::super::router::Api;
use crate::agent;
use crate::config::allowlists::{self, Watched};
use crate::config::settings::Settings;
use crate::config::{provider, secrets};
use crate::container::mounts;
use crate::domain::group::{ContainerConfig, Group};
use crate::policy::mounts::MountRules;
use crate::policy::trigger::Trigger;
use crate::store::StoreError;

/// A registered group with its effective settings.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GroupShown")]
pub(in crate::api) struct Shown {
    #[serde(flatten)]
    group: Group,
    /// Its folder on the host.
    #[schemars(with = "String")]
    path: PathBuf,
    effective: Effective,
}

/// The settings that apply to the group after all defaults.
#[derive(Serialize, JsonSchema)]
struct Effective {
    /// The provider that answers; null if none can.
    provider: Option<&'static str>,
    /// The model chosen for the group, or in the installation's settings, if any.
    model: Option<String>,
    /// The word that calls the agent.
    trigger: String,
}

/// A group after its registration or change.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GroupChanged")]
pub(in crate::api) struct Changed {
    #[serde(flatten)]
    shown: Shown,
    /// Settings that will have no effect, with the reasons.
    notes: Vec<String>,
}

/// The schema of a change of container settings: any key may be null.
pub(super) fn change_of_config(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = ContainerConfig::json_schema(generator);
    let members = schema.ensure_object();
    members.remove("description");
    members.insert("type".into(), json!(["object", "null"]));
    for property in
        members.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(|all| all.values_mut())
    {
        if let Some(own) = property.as_object_mut() {
            own.remove("default");
        }
        *property = json!({ "anyOf": [property.take(), { "type": "null" }] });
    }
    schema
}

/// Makes the view of one group.
pub(super) async fn one(api: &Api, group: Group) -> Result<Shown, Problem> {
    Ok(all(api, vec![group]).await?.pop().ok_or(StoreError::Closed)?)
}

/// Makes the views of all given groups.
pub(super) async fn all(api: &Api, groups: Vec<Group>) -> Result<Vec<Shown>, Problem> {
    let settings = api.deps.settings.clone();
    // Reading the keys is blocking I/O on `.env`.
    let shown = tokio::task::spawn_blocking(move || {
        let keys = secrets::read(&settings.home, &settings.secret_keys).unwrap_or_default();
        let means = provider::Means::of(keys.keys().map(String::as_str), settings.home.full_image().exists());
        groups.into_iter().map(|group| show(&settings, group, means)).collect()
    });
    // Fails only when the host shuts down.
    Ok(shown.await.map_err(|_| StoreError::Closed)?)
}

/// The view of a group after a change, with notes on the mounts that will be refused.
pub(super) async fn changed(api: &Api, group: Group) -> Result<Changed, Problem> {
    let settings = api.deps.settings.clone();
    let of = group.clone();
    let notes = tokio::task::spawn_blocking(move || refused_mounts(&settings, &of)).await.unwrap_or_default();
    Ok(Changed { shown: one(api, group).await?, notes })
}

fn show(settings: &Settings, group: Group, means: provider::Means) -> Shown {
    let config = &group.container_config;
    let effective = Effective {
        provider: provider::choose(settings, config, means).ok().map(|choice| choice.provider),
        model: config.model.clone().or_else(|| settings.model.clone()),
        trigger: Trigger::of(group.trigger.as_deref(), &settings.assistant_name).word().to_owned(),
    };
    Shown { path: settings.home.group(&group.folder), effective, group }
}

/// The reasons why extra mounts of this group will be refused.
fn refused_mounts(settings: &Settings, group: &Group) -> Vec<String> {
    if group.container_config.additional_mounts.is_empty() {
        return Vec::new();
    }
    let rules = Watched::new(settings.config_dir.join(allowlists::MOUNTS), MountRules::from_file);
    mounts::refused(settings, group, &rules.get())
}

/// Makes a group's folder, so that its program and its memory can be put there before its first run. If this fails,
/// the first run tries again and reports the error.
pub(super) async fn make_folder(api: &Api, group: &Group) {
    let (home, folder, owner) = (api.deps.settings.home.clone(), group.folder.clone(), api.deps.owner);
    let path: PathBuf = home.group(&folder);
    let made = tokio::task::spawn_blocking(move || agent::workspace(&home, &folder, owner).map(drop)).await;
    if let Ok(Err(error)) = made {
        tracing::warn!("cannot create the folder of group {}: {error} ({})", group.folder, path.display());
    }
}
