//! Routes that list, register, change and remove groups.

mod view;

use axum::Json as Out;
use axum::extract::State;
use parlor_protocol::limits::{MAX_NAME, MAX_TRIGGER};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::{Change, Id, Json};
use super::openapi::{Created, NoContent};
use super::problem::Problem;
use super::router::Api;
use crate::config::answering::{self, Keys};
use crate::domain::group::{ContainerConfig, Group};
use crate::domain::ids::{ChatJid, GroupFolder};
use crate::ops::container::check;
use crate::ops::groups::{GroupChange, GroupFields, NewGroup, changed, register as register_group};
use crate::store::{Connection, Tx, TxError, fallbacks, groups};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewGroup")]
pub(super) struct New {
    /// The chat.
    #[schemars(with = "ChatJid")]
    jid: String,
    /// The display name, on one line; by default the chat's id.
    #[serde(default)]
    #[schemars(length(max = MAX_NAME))]
    name: String,
    /// The folder; unique without regard to case, `global` is reserved.
    #[schemars(with = "GroupFolder")]
    folder: String,
    /// What calls the agent, on one line; the assistant's name without it.
    #[schemars(length(max = MAX_TRIGGER))]
    trigger: Option<String>,
    /// Whether only triggered messages are answered; true by default.
    requires_trigger: Option<bool>,
    container_config: Option<ContainerConfig>,
    /// Whether this becomes the owner's group.
    #[serde(default)]
    is_main: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "GroupChange")]
pub(super) struct Patch {
    #[schemars(length(max = MAX_NAME))]
    name: Option<String>,
    /// Null for the assistant's name.
    #[serde(default)]
    trigger: Change<String>,
    requires_trigger: Option<bool>,
    /// Merged into the stored settings (RFC 7396): null clears a key, or all of them.
    #[serde(default)]
    #[schemars(schema_with = "view::change_of_config")]
    container_config: Option<Value>,
    /// True makes this the owner's group; this role cannot be taken away.
    #[schemars(extend("enum" = [true, null]))]
    is_main: Option<bool>,
}

/// Registered groups.
#[derive(Serialize, JsonSchema)]
pub(super) struct Groups {
    groups: Vec<view::Shown>,
}

pub(super) async fn list(State(api): State<Api>) -> Result<Out<Groups>, Problem> {
    let all = api.deps.store.read(groups::all).await?;
    Ok(Out(Groups { groups: view::all(&api, all).await? }))
}

pub(super) async fn show(State(api): State<Api>, Id(folder): Id<GroupFolder>) -> Result<Out<view::Shown>, Problem> {
    let find = move |db: &Connection| groups::by_folder(db, &folder)?.ok_or_else(|| groups::missing(&folder));
    let group = api.deps.store.read(find).await?;
    Ok(Out(view::one(&api, group).await?))
}

pub(super) async fn register(State(api): State<Api>, Json(new): Json<New>) -> Result<Created<view::Changed>, Problem> {
    let config = new.container_config.unwrap_or_default();
    check(&config).map_err(|e| Problem::bad("invalid_field", e.0))?;
    check_answers(&api, &config).await?;
    let fields = GroupFields {
        jid: &new.jid,
        name: &new.name,
        folder: &new.folder,
        trigger: new.trigger.as_deref(),
        requires_trigger: new.requires_trigger,
    };
    let group = NewGroup::parse(&fields, config).map_err(|e| Problem::bad("invalid_field", e.0))?;
    let now = api.deps.clock.now();
    let write = move |tx: &mut Tx<'_>| {
        let group = register_group(tx, group, now)?;
        if !new.is_main {
            return Ok(group);
        }
        groups::make_main(tx, &group.folder)?;
        groups::by_folder(tx, &group.folder)?.ok_or_else(|| groups::missing(&group.folder))
    };
    let group = api.deps.store.write(write).await?;
    view::make_folder(&api, &group).await;
    Ok(Created(view::changed(&api, group).await?))
}

pub(super) async fn update(
    State(api): State<Api>,
    Id(folder): Id<GroupFolder>,
    Json(patch): Json<Patch>,
) -> Result<Out<view::Changed>, Problem> {
    if patch.is_main == Some(false) {
        return Err(Problem::bad(
            "invalid_field",
            "isMain cannot be taken away: make another group main instead, there is always one",
        ));
    }
    let of = folder.clone();
    let found = api.deps.store.read(move |db| groups::by_folder(db, &of)?.ok_or_else(|| groups::missing(&of))).await?;
    // Checked before the transaction for a precise answer, and applied again inside it.
    let wanted = apply(found, &patch)?;
    if patch.container_config.is_some() {
        check_answers(&api, &wanted.container_config).await?;
    }
    let group = api
        .deps
        .store
        .write(move |tx| {
            let found = groups::by_folder(tx, &folder)?.ok_or_else(|| groups::missing(&folder))?;
            let group = apply(found, &patch).map_err(|e| TxError::Conflict(e.detail().to_owned()))?;
            groups::update(tx, &group)?;
            if patch.container_config.is_some() {
                fallbacks::end_all(tx, &group.folder)?;
            }
            if patch.is_main == Some(true) {
                groups::make_main(tx, &group.folder)?;
            }
            groups::by_folder(tx, &folder)?.ok_or_else(|| groups::missing(&folder))
        })
        .await?;
    tracing::info!("group {} was changed", group.folder);
    Ok(Out(view::changed(&api, group).await?))
}

/// Applies the patch to the group. The result passes the same checks as a new group.
fn apply(group: Group, patch: &Patch) -> Result<Group, Problem> {
    let config = patch.container_config.as_ref().map(|change| merged(&group.container_config, change)).transpose()?;
    let change = GroupChange {
        name: patch.name.as_deref(),
        trigger: match &patch.trigger {
            Change::Keep => None,
            Change::Set(trigger) => Some(trigger.as_deref().unwrap_or_default()),
        },
        requires_trigger: patch.requires_trigger,
        config,
    };
    changed(group, change).map_err(|e| Problem::bad("invalid_field", e.0))
}

pub(super) async fn remove(State(api): State<Api>, Id(folder): Id<GroupFolder>) -> Result<NoContent, Problem> {
    let (stopped, now) = (folder.clone(), api.deps.clock.now());
    api.deps.store.write(move |tx| groups::remove(tx, &folder, now)).await?;
    tracing::info!("group {stopped} was removed");
    // The container of a removed group must not outlive it.
    api.deps.dispatch.stop(&stopped).await;
    Ok(NoContent)
}

/// Refuses a budget that cannot be kept and providers that cannot stand in. Reads `.env`.
async fn check_answers(api: &Api, config: &ContainerConfig) -> Result<(), Problem> {
    let (settings, config) = (api.deps.settings.clone(), config.clone());
    let checked = tokio::task::spawn_blocking(move || {
        answering::check(&settings, &config, &Keys::read(&settings.home, &settings.secret_keys))
    });
    // The check did not finish: it reports nothing.
    checked.await.unwrap_or(Ok(())).map_err(|why| Problem::bad("invalid_field", format!("containerConfig.{why}")))
}

/// Applies a merge patch to the container settings.
fn merged(config: &ContainerConfig, change: &Value) -> Result<ContainerConfig, Problem> {
    let bad = |detail: String| Problem::bad("invalid_field", format!("containerConfig: {detail}"));
    if !change.is_object() && !change.is_null() {
        return Err(bad("give an object, or null for the defaults".into()));
    }
    let mut value = if change.is_null() { json!({}) } else { serde_json::to_value(config).unwrap_or_default() };
    merge(&mut value, change);
    serde_json::from_value(value).map_err(|e| bad(e.to_string()))
}

fn merge(target: &mut Value, change: &Value) {
    let (Value::Object(target), Value::Object(change)) = (target, change) else { return };
    for (key, value) in change {
        match value {
            Value::Null => {
                target.remove(key);
            }
            _ => match target.get_mut(key) {
                Some(old) if old.is_object() && value.is_object() => merge(old, value),
                _ => {
                    target.insert(key.clone(), value.clone());
                }
            },
        }
    }
}
