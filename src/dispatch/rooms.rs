//! Shared state of a host's rooms: Parlor's own images, rules of mounts, and which problems were already logged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared as SharedFuture, WeakShared};

use crate::config::allowlists::{self, Watched};
use crate::config::home::Home;
use crate::config::settings::Settings;
use crate::config::{provider, proxies};
use crate::container::engine::ContainerEngine;
use crate::container::engine::spec::User;
use crate::container::image::build::BuildStep;
use crate::container::image::full::FullImage;
use crate::container::image::{self, Image};
use crate::container::mounts::masks::{Known, Masks};
use crate::domain::ids::GroupFolder;
use crate::policy::mounts::MountRules;
use crate::safe_dir::Owner;

/// Handle to the shared state. Clones share it.
#[derive(Debug, Clone)]
pub struct Rooms(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) user: User,
    pub(super) owner: Option<Owner>,
    pub(super) instance: String,
    /// The name under which a room reaches this machine.
    pub(super) gateway: &'static str,
    lite: Image,
    full: FullImage,
    /// References of the images that the engine is known to have: the small one, and the full one.
    ready: Mutex<[Option<String>; 2]>,
    /// Image builds under way. Everyone who needs an image waits for the same build; it ends when nobody waits any
    /// more.
    making: Mutex<[Option<WeakShared<Making>>; 2]>,
    pub(super) mount_rules: Watched<MountRules>,
    /// The cache of the search for secrets, and the hidden folders that were already logged.
    hidden: Mutex<(Known, BTreeSet<String>)>,
    /// Settings that groups chose and did not get, as already logged.
    refused: Mutex<BTreeMap<GroupFolder, Vec<String>>>,
    /// Groups whose chats were notified that the image is being made.
    waiting: Mutex<BTreeSet<GroupFolder>>,
}

/// An image build.
type Making = BoxFuture<'static, Result<String, Arc<anyhow::Error>>>;

impl Rooms {
    /// Rooms for the engine `engine`, with agents that run as `user`. Files belong to `owner`, or to the host's own
    /// user if that is None.
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

    /// Returns the owner of groups' files, or None for the host's own user.
    pub(super) fn owner(&self) -> Option<Owner> {
        self.0.owner
    }

    /// Makes a provider's image before it is needed. A failure is reported again when a room opens.
    pub async fn image_in_advance(&self, engine: &Arc<dyn ContainerEngine>, provider: &str) {
        if let Err(error) = self.image(engine, provider::needs_full_image(provider)).await {
            tracing::warn!("cannot make the agent image: {error:#}");
        }
    }

    /// Returns one of Parlor's own images, the full one or the small one; makes it if the engine does not have it.
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

    /// Returns the build under way, or starts one.
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

    /// Returns a notice for the chat before the full image is made, which takes minutes; only once, however often the
    /// build fails.
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

    /// Returns the paths that main must not see now. Logs each folder that is hidden as a whole, once while it stays
    /// hidden. Blocks, because it reads folders.
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

    /// Logs the settings that a group chose and did not get, each once while that lasts.
    pub(super) fn log_refused(&self, folder: &GroupFolder, notes: &[String]) {
        let mut refused = self.0.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let before =
            if notes.is_empty() { refused.remove(folder) } else { refused.insert(folder.clone(), notes.to_vec()) };
        for note in notes.iter().filter(|note| before.as_ref().is_none_or(|before| !before.contains(note))) {
            tracing::warn!("agent.toml of group {folder}: {note}");
        }
    }

    /// Forgets the known images: an engine that could not start a room may have lost them.
    pub(super) fn doubt_image(&self) {
        *self.ready() = [None, None];
    }
}

/// Logs the progress of a build, which takes minutes.
fn log_step(title: &str, size: &str, step: &BuildStep) {
    if step.number == 1 {
        tracing::info!("making {title}: {size}");
    }
    tracing::info!("making {title}, step {} of {}: {}", step.number, step.of, step.label);
}
