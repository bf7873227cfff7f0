//! Everything that rooms share on a host: Parlor's own images, rules of mounts, and the log's memory of what it said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared as SharedFuture, WeakShared};

use crate::config::allowlists::{self, Watched};
use crate::config::home::Home;
use crate::config::settings::Settings;
use crate::config::{provider, proxies};
use crate::container::build::BuildStep;
use crate::container::engine::ContainerEngine;
use crate::container::full::FullImage;
use crate::container::image::{self, Image};
use crate::container::masks::{Known, Masks};
use crate::container::spec::User;
use crate::domain::ids::GroupFolder;
use crate::policy::mounts::MountRules;
use crate::safe_dir::Owner;

/// What rooms need that is made once per host. Clones share it.
#[derive(Debug, Clone)]
pub struct Rooms(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) user: User,
    pub(super) owner: Option<Owner>,
    pub(super) instance: String,
    /// The name that rooms know this machine by.
    pub(super) gateway: &'static str,
    lite: Image,
    full: FullImage,
    /// References of the images that the engine is known to have, by whether it is the full one.
    ready: Mutex<[Option<String>; 2]>,
    /// Images that are being made: everyone who needs one waits for the same build, which ends with the last who does.
    making: Mutex<[Option<WeakShared<Making>>; 2]>,
    pub(super) mount_rules: Watched<MountRules>,
    /// What searches for secrets have seen, and folders that were said to be hidden from main.
    hidden: Mutex<(Known, BTreeSet<String>)>,
    /// What groups chose and did not get, as far as the log knows it.
    refused: Mutex<BTreeMap<GroupFolder, Vec<String>>>,
    /// Groups that heard that they wait for the image.
    waiting: Mutex<BTreeSet<GroupFolder>>,
}

/// An image on its way.
type Making = BoxFuture<'static, Result<String, Arc<anyhow::Error>>>;

impl Rooms {
    /// Rooms of an engine of this name, whose agents are `user`, and whose files belong to `owner` where that is not
    /// the host's own user.
    pub fn new(settings: &Settings, engine: &str, user: User, owner: Option<Owner>, instance: String) -> Self {
        let lite = Image::new(image::Inputs::system(), settings.home.data());
        let full = FullImage::new(settings);
        let mount_rules = Watched::new(settings.config_dir.join(allowlists::MOUNTS), MountRules::from_file);
        Self(Arc::new(Shared {
            user,
            owner,
            instance,
            gateway: proxies::gateway(engine),
            lite,
            full,
            ready: Mutex::default(),
            making: Mutex::default(),
            mount_rules,
            hidden: Mutex::default(),
            refused: Mutex::default(),
            waiting: Mutex::default(),
        }))
    }

    /// Whom a group's files belong to, where that is not the host's own user.
    pub(super) fn owner(&self) -> Option<Owner> {
        self.0.owner
    }

    /// Makes a provider's image before it is needed; a failure is told again when a room opens.
    pub async fn image_in_advance(&self, engine: &Arc<dyn ContainerEngine>, provider: &str) {
        if let Err(error) = self.image(engine, provider::needs_full_image(provider)).await {
            tracing::warn!("the agent image: {error:#}");
        }
    }

    /// One of Parlor's own images, the full one or the small one, made where the engine does not have it.
    pub(super) async fn image(&self, engine: &Arc<dyn ContainerEngine>, full: bool) -> anyhow::Result<String> {
        if let Some(image) = self.ready()[usize::from(full)].clone() {
            return Ok(image);
        }
        let made = self.making(engine, full).await;
        made.map_err(|error| anyhow::anyhow!("{error:#}"))
    }

    fn ready(&self) -> MutexGuard<'_, [Option<String>; 2]> {
        self.0.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The build that is under way, or a new one.
    fn making(&self, engine: &Arc<dyn ContainerEngine>, full: bool) -> SharedFuture<Making> {
        let mut making = self.0.making.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut making[usize::from(full)];
        if let Some(under_way) = kept.as_ref().and_then(WeakShared::upgrade).filter(|made| made.peek().is_none()) {
            return under_way;
        }
        let (rooms, engine) = (self.clone(), engine.clone());
        let new = async move { rooms.make(&*engine, full).await.map_err(Arc::new) }.boxed().shared();
        *kept = new.downgrade();
        new
    }

    async fn make(&self, engine: &dyn ContainerEngine, full: bool) -> anyhow::Result<String> {
        let image = if full {
            let (title, size) = (self.0.full.title(), self.0.full.size());
            self.0.full.ensure(engine, &|step: &BuildStep| log_step(&title, &size, step)).await?
        } else {
            self.0.lite.ensure(engine, &image::silent).await?
        };
        self.ready()[usize::from(full)] = Some(image.clone());
        if full {
            self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        Ok(image)
    }

    /// Returns what a chat should hear before the full image is made, which takes minutes: once, however often that
    /// fails.
    pub(super) async fn long_build(
        &self,
        engine: &dyn ContainerEngine,
        full: bool,
        folder: &GroupFolder,
    ) -> Option<String> {
        let known = self.ready()[1].is_some();
        if known || !full || self.0.full.status(engine).await.ok()?.present {
            return None;
        }
        if !self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.clone()) {
            return None;
        }
        let (title, size) = (self.0.full.title(), self.0.full.size());
        Some(format!("This room needs {title}, which is made first: {size}. The answer comes after it."))
    }

    /// Returns what main must not see at the moment. Folders that are hidden whole are told in the log, each once for
    /// as long as it stays so. Reads folders: not for the tasks of the runtime.
    pub fn masks(&self, home: &Home) -> anyhow::Result<Masks> {
        let mut hidden = self.0.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, told) = &mut *hidden;
        let masks = Masks::find(home, known)
            .with_context(|| format!("looking for what to hide in {}", home.root().display()))?;
        let whole: BTreeSet<String> = masks.whole().collect();
        let new: Vec<&str> = whole.difference(told).map(String::as_str).collect();
        if !new.is_empty() {
            tracing::warn!(
                "main does not see these folders under /workspace/project: {}. Give agents their keys through the home's own .env, and keep large \
                 folders outside the home",
                new.join(", ")
            );
        }
        *told = whole;
        Ok(masks)
    }

    /// Logs what a group chose and did not get, each once for as long as it stays so.
    pub(super) fn log_refused(&self, folder: &GroupFolder, notes: &[String]) {
        let mut refused = self.0.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let before =
            if notes.is_empty() { refused.remove(folder) } else { refused.insert(folder.clone(), notes.to_vec()) };
        for note in notes.iter().filter(|note| before.as_ref().is_none_or(|before| !before.contains(note))) {
            tracing::warn!("agent.toml of group {folder}: {note}");
        }
    }

    /// An engine that could not start a room may have lost the image.
    pub(super) fn doubt_image(&self) {
        *self.ready() = [None, None];
    }
}

/// A build takes minutes: the operator hears how far it is.
fn log_step(title: &str, size: &str, step: &BuildStep) {
    if step.number == 1 {
        tracing::info!("making {title}: {size}");
    }
    tracing::info!("making {title}, step {} of {}: {}", step.number, step.of, step.label);
}
