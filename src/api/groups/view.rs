//! A group as it is shown: what is stored of it, where its folder lies, and what its settings come to.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::router::Api;
use crate::agent;
use crate::config::allowlists::{self, Watched};
use crate::config::settings::Settings;
use crate::config::{provider, secrets};
use crate::container::mounts;
use crate::domain::group::Group;
use crate::policy::mounts::MountRules;
use crate::policy::trigger::Trigger;

/// One group.
pub(super) async fn one(api: &Api, group: Group) -> Value {
    all(api, vec![group]).await.pop().unwrap_or_default()
}

/// All groups.
pub(super) async fn all(api: &Api, groups: Vec<Group>) -> Vec<Value> {
    let settings = api.deps.settings.clone();
    // It reads `.env`.
    let shown = tokio::task::spawn_blocking(move || {
        let keys = secrets::read(&settings.home, &settings.secret_keys).unwrap_or_default();
        let means = provider::Means::of(keys.keys().map(String::as_str), settings.home.full_image().exists());
        groups.iter().map(|group| show(&settings, group, means)).collect()
    });
    shown.await.unwrap_or_default()
}

/// A group whose settings were just given, with what will not come of them.
pub(super) async fn changed(api: &Api, group: Group) -> Value {
    let settings = api.deps.settings.clone();
    let of = group.clone();
    let notes = tokio::task::spawn_blocking(move || refused_mounts(&settings, &of)).await.unwrap_or_default();
    let mut shown = one(api, group).await;
    shown["notes"] = json!(notes);
    shown
}

fn show(settings: &Settings, group: &Group, means: provider::Means) -> Value {
    let mut shown = serde_json::to_value(group).unwrap_or_default();
    let config = &group.container_config;
    let choice = provider::choose(settings, config, means);
    shown["path"] = json!(settings.home.group(&group.folder));
    shown["effective"] = json!({
        "provider": choice.map_or(Value::Null, |choice| json!(choice.provider)),
        "model": config.model.as_ref().or(settings.model.as_ref()),
        "trigger": Trigger::of(group.trigger.as_deref(), &settings.assistant_name).word(),
    });
    shown
}

/// Why each of a group's extra mounts that its rooms will not have is refused.
fn refused_mounts(settings: &Settings, group: &Group) -> Vec<String> {
    if group.container_config.additional_mounts.is_empty() {
        return Vec::new();
    }
    let rules = Watched::new(settings.config_dir.join(allowlists::MOUNTS), MountRules::from_file);
    mounts::refused(settings, group, &rules.get())
}

/// Makes a group's folder, so that its program and its memory can be put there before its first run. A folder that
/// cannot be made is made, or its fault told, by that run.
pub(super) async fn make_folder(api: &Api, group: &Group) {
    let (home, folder, owner) = (api.deps.settings.home.clone(), group.folder.clone(), api.deps.owner);
    let path: PathBuf = home.group(&folder);
    let made = tokio::task::spawn_blocking(move || agent::workspace(&home, &folder, owner).map(drop)).await;
    if let Ok(Err(error)) = made {
        tracing::warn!("the folder of group {} was not made: {error} ({})", group.folder, path.display());
    }
}
