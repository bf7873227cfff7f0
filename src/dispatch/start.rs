//! Opening a room: from the request to the start of the engine.

use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};
use parlor_protocol::{ImageAttachment, RunInput};
use secrecy::ExposeSecret;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Deps;
use super::fallback::{self, Answering};
use super::prompt::{self, View};
use super::rooms::Rooms;
use super::steps;
use crate::agent::{self, AgentPlan};
use crate::config::provider;
use crate::config::secrets::Redactor;
use crate::config::settings::{LogLevel, Settings};
use crate::container::mounts::masks::Masks;
use crate::container::mounts::{self, Room};
use crate::container::run::inputs::Inputs;
use crate::container::run::timers::Limits;
use crate::container::run::{self, Plan, Redact, RunEvent, RunHandle};
use crate::domain::group::{Group, ParlorsImage};
use crate::domain::ids::{DeliveryId, GroupFolder, RunId};
use crate::domain::message::Batch;
use crate::domain::run::Lane;
use crate::store::sessions::{self, Session};
use crate::store::told::Told;
use crate::store::{Connection, TxResult, outbox};

/// A request to start a run.
#[derive(Debug)]
pub(super) struct StartRequest {
    pub(super) group: Group,
    pub(super) run: RunId,
    pub(super) lane: Lane,
    pub(super) prompt: String,
    pub(super) images: Vec<ImageAttachment>,
    /// The messages of the prompt; None for a task.
    pub(super) batch: Option<Batch>,
    pub(super) past: Past,
    pub(super) resumed: Vec<String>,
    pub(super) task: bool,
    /// Texts that were sent to the chat outside its session.
    pub(super) news: Vec<Told>,
    pub(super) now: DateTime<Utc>,
}

/// The stored facts about the group's earlier runs.
#[derive(Debug)]
pub(super) struct Past {
    /// The run resumes its provider's session.
    sessions: Vec<Session>,
    known: fallback::Known,
}

impl Past {
    /// Reads it from the store. A run without the group's session resumes nothing.
    pub(super) fn of(db: &Connection, group: &Group, resumes: bool) -> TxResult<Self> {
        let sessions = if resumes { sessions::of_group(db, &group.folder)? } else { Vec::new() };
        Ok(Self { sessions, known: fallback::Known::of(db, group)? })
    }
}

/// A started run.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) handle: RunHandle,
    pub(super) events: mpsc::Receiver<RunEvent>,
    /// The provider that answers.
    pub(super) provider: &'static str,
    /// The provider, and whether it is a fallback.
    pub(super) answering: Answering,
    /// The session that the run resumes.
    pub(super) session: Option<String>,
}

/// The facts in a prompt beside the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sees {
    /// Nothing, as for images of NanoClaw v1.
    V1,
    /// Times with their offset, and texts from outside the session: scripts.
    Times,
    /// The same, and the messages' ids.
    Ids,
}

impl Sees {
    pub(super) fn of(provider: &str) -> Self {
        match provider {
            provider::IMAGE => Self::V1,
            _ if provider::knows_ids(provider) => Self::Ids,
            _ => Self::Times,
        }
    }
}

/// The name of a run's container: `parlor-<folder>-<run id>`.
pub(super) fn container_name(folder: &GroupFolder, run: RunId) -> String {
    format!("parlor-{folder}-{}", run.to_string().to_lowercase())
}

/// Why a room was not opened.
#[derive(Debug, Error)]
pub(super) enum NotOpened {
    /// It was not needed any more.
    #[error("the room is not needed any more")]
    Cancelled,
    /// It could not be opened.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

/// Opens the room and starts its container. `cancel` is checked wherever this may take long: while an image is made
/// (the build ends when nobody else waits for it), while the engine is asked, and while folders are searched.
pub(super) async fn start(
    deps: Arc<Deps>,
    mut request: StartRequest,
    cancel: CancellationToken,
) -> Result<Started, NotOpened> {
    let deps = &deps;
    // The search runs in parallel with the rest.
    let masks = request.group.is_main.then(|| {
        let (rooms, settings) = (deps.rooms.clone(), deps.settings.clone());
        tokio::task::spawn_blocking(move || rooms.masks(&settings.home))
    });
    let (settings, owner, mut group) = (deps.settings.clone(), deps.rooms.0.owner, request.group.clone());
    let (known, now) = (std::mem::take(&mut request.past.known), deps.clock.now());
    let prepared = tokio::task::spawn_blocking(move || {
        let (answering, foreign_model) = fallback::pick(&settings, &mut group, known, now);
        let mut agent = agent::prepare(&settings.home, &settings, &group, owner)?;
        if foreign_model {
            // The model's name belongs to another provider.
            agent.may.set.retain(|kind| kind != "model");
        }
        Ok::<_, agent::AgentError>((agent, answering, group))
    });
    let (agent, answering, group) = prepared.await.map_err(anyhow::Error::from)?.context("the agent's folders")?;
    request.group = group;
    deps.rooms.log_refused(&request.group.folder, &agent.may.notes);
    let provider = agent.provider;
    let config = &request.group.container_config;
    let parlors = config.parlors_image();
    let own_image = config.image.clone().or_else(|| deps.settings.image.clone());
    let image = if let (Some(image), None) = (own_image, parlors) {
        image
    } else {
        let full = parlors.map_or_else(|| provider::needs_full_image(agent.provider), |one| one == ParlorsImage::Full);
        unless(&cancel, image_for(deps, &request.group, full)).await??
    };
    let redactor = Redactor::of(&agent.secrets);
    let opened = deps.ipc.open_room(&request.group, request.run, request.lane, &redactor).await;
    opened.context("the room's IPC folder cannot be made")?;
    let masks = match masks {
        Some(search) => unless(&cancel, search).await?.map_err(anyhow::Error::from)??,
        None => Masks::default(),
    };
    let (settings, rooms) = (deps.settings.clone(), deps.rooms.clone());
    let plan = move || plan(&settings, &rooms, image, request, &agent, &masks, redactor);
    let plan = tokio::task::spawn_blocking(plan).await.map_err(anyhow::Error::from)??;
    if cancel.is_cancelled() {
        return Err(NotOpened::Cancelled);
    }
    let session = plan.input.session_id.clone();
    let (handle, events) = run::start(deps.engine.clone(), &deps.clock, plan).await.map_err(anyhow::Error::from)?;
    Ok(Started { handle, events, provider, answering, session })
}

/// Returns the result of `work`, unless `cancel` comes first.
async fn unless<T>(cancel: &CancellationToken, work: impl Future<Output = T>) -> Result<T, NotOpened> {
    cancel.run_until_cancelled(work).await.ok_or(NotOpened::Cancelled)
}

/// Returns one of Parlor's own images. The group's chat is notified of a build that takes long.
async fn image_for(deps: &Deps, group: &Group, full: bool) -> anyhow::Result<String> {
    if let Some(news) = deps.rooms.long_build(&*deps.engine, full, &group.folder).await {
        tell(deps, group, news).await;
    }
    deps.rooms.image(&deps.engine, full).await.context("the agent image cannot be made")
}

/// Sends a notice to the group's chat. A failure is only logged, because the log has the content as well.
async fn tell(deps: &Deps, group: &Group, text: String) {
    let new = steps::notice(&group.jid, DeliveryId(deps.clock.ulid()), text);
    let (route, now) = (deps.registry.route(&group.jid), deps.clock.now());
    if let Err(error) = deps.store.write(move |tx| outbox::put(tx, &new, route, false, now).map(drop)).await {
        tracing::warn!("cannot store a notice for {}: {error}", group.jid);
    }
}

/// Returns the mounts, secrets and input of a run.
fn plan(
    settings: &Settings,
    rooms: &Rooms,
    image: String,
    request: StartRequest,
    agent: &AgentPlan,
    masks: &Masks,
    redactor: Redactor,
) -> anyhow::Result<Plan> {
    let shared = &*rooms.0;
    let StartRequest { group, run, lane: _, prompt, images, batch, past, resumed, task, news, now } = request;
    let sees = Sees::of(agent.provider);
    let view = View { ids: sees == Sees::Ids, now, zone: settings.timezone, told: &news };
    let prompt = match batch {
        Some(batch) if sees != Sees::V1 => prompt::format(&batch, Some(&view)),
        // A script gets its task's text unchanged.
        None if sees == Sees::Ids => format!("{}{prompt}", prompt::context(&view)),
        _ => prompt,
    };
    let inputs = Inputs::create(&settings.home, run, shared.owner).context("the run's input folder")?;
    let spec = mounts::run_spec(&Room {
        name: container_name(&group.folder, run),
        run,
        image,
        instance: &shared.instance,
        user: shared.user,
        group: &group,
        settings,
        agent: agent.mounts(),
        rules: &shared.mount_rules.get(),
        masks,
        gateway: shared.gateway,
    })?;
    let limits = Limits::new(
        group.container_config.timeout.map_or(settings.container_timeout, std::time::Duration::from_millis),
        settings.idle_timeout,
        settings.turn_limit,
        task,
    );
    let secrets = agent.secrets.iter().map(|(k, v)| (k.clone(), v.expose_secret().to_owned())).collect();
    let input = RunInput {
        prompt,
        session_id: sessions::resumed_by(&past.sessions, agent.provider).map(str::to_owned),
        group_folder: group.folder.to_string(),
        chat_jid: group.jid.to_string(),
        is_main: group.is_main,
        is_scheduled_task: task,
        assistant_name: Some(settings.assistant_name.clone()),
        secrets,
        image_attachments: images,
        run_id: Some(run.to_string()),
        provider: Some(agent.provider.to_string()),
        model: group.container_config.model.clone(),
        default_model: settings.model.clone(),
        agent_may: Some(agent.may.clone()),
        resumed,
    };
    Ok(Plan {
        id: run,
        spec,
        input,
        inputs,
        limits,
        max_output: settings.max_output_bytes,
        max_log: settings.max_log_bytes,
        log_dir: settings.home.runs(&group.folder),
        verbose: settings.log_level >= LogLevel::Debug,
        redact: redact_with(redactor),
    })
}

fn redact_with(redactor: Redactor) -> Redact {
    Arc::new(move |text| match redactor.redact(text) {
        std::borrow::Cow::Owned(clean) => Some(clean),
        std::borrow::Cow::Borrowed(_) => None,
    })
}

/// After a run's container is gone: handles its last IPC files, and removes its input folder.
pub(super) async fn clean_up(deps: &Arc<Deps>, folder: &GroupFolder, run: RunId) {
    deps.ipc.close_room(folder, run).await;
    let home = deps.settings.home.clone();
    let removed = tokio::task::spawn_blocking(move || Inputs::remove(&home, run)).await;
    if let Ok(Err(error)) = removed
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!("cannot remove the input folder of run {run}: {error}");
    }
}
