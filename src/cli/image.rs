//! `parlor image`.

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::{Subcommand, ValueEnum};
use indicatif::ProgressBar;
use serde_json::json;

use super::client::{Client, ClientError};
use super::output::{has_progress, say, say_json};
use super::{Done, Failure};
use crate::config::settings::Settings;
use crate::container::engine::cli_engine::CliOptions;
use crate::container::engine::detect::detect;
use crate::container::engine::{ContainerEngine, EngineError};
use crate::container::image::build::BuildStep;
use crate::container::image::full::{self, FullImage};
use crate::container::image::{self, Inputs, Step};
use crate::lifecycle::Signals;

#[derive(Debug, Subcommand)]
pub(super) enum Image {
    /// Make the agent's image where the engine does not have it
    Build {
        /// `lite` has a shell and Parlor's own agents; `full` has Claude Code, too, and what `PARLOR_IMAGE_WITH` names
        #[arg(value_enum, default_value_t = Which::Lite, hide_possible_values = true)]
        which: Which,
    },
    /// Show which images are there; exit code 1 when the one that rooms use is not
    #[command(visible_alias = "ls")]
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove Parlor's own images of earlier versions, which nothing here uses
    #[command(visible_aliases = ["rm", "delete"])]
    Prune {
        /// Say what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Names that stay the same in all versions, for images built upon them.
const LITE: &str = "parlor-agent:lite";
const FULL: &str = "parlor-agent:full";

/// Which of Parlor's images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Which {
    /// For the guide and for programs of the group's own.
    Lite,
    /// With Claude Code.
    Full,
}

impl Image {
    pub(super) async fn run(self, settings: &Settings, client: &Client) -> Done {
        let engine = engine(settings).await?;
        let own = image::Image::new(Inputs::system(), settings.home.data());
        match self {
            Self::Build { which } => {
                // A build is a separate process group: it must be ended here, or it would go on.
                let mut signals = Signals::catch()?;
                tokio::select! {
                    made = make(which, settings, &own, &*engine) => made,
                    () = signals.next() => Err(Failure::Failed("interrupted: the image was not made".into())),
                }
            }
            Self::Prune { dry_run, json } => prune(&*engine, settings, client, (dry_run, json)).await,
            Self::Status { json } => {
                // An image chosen by the operator replaces Parlor's.
                let (name, present) = if let Some(name) = &settings.image {
                    (Some(name.clone()), engine.images().exists(name).await?)
                } else {
                    let status = own.status(&*engine).await?;
                    (status.image, status.present)
                };
                let full = FullImage::new(settings).status(&*engine).await?;
                if json {
                    let full = json!({ "image": full.image, "present": full.present });
                    let status = json!({ "engine": engine.name(), "image": name, "present": present, "full": full });
                    say_json(&status)?;
                } else {
                    let shown = name.as_deref().unwrap_or("The agent's image");
                    let is = if present { "is there" } else { "is not there: `parlor image build` makes it" };
                    say(&format!("{shown} {is} ({}).\n", engine.name()))?;
                    let shown = full.image.as_deref().unwrap_or("The image with Claude Code");
                    let is = if full.present { "is there" } else { "is not there: `parlor image build full` makes it" };
                    say(&format!("{shown} {is} ({}).\n", engine.name()))?;
                }
                if present { Ok(()) } else { Err(Failure::Said) }
            }
        }
    }
}

/// Removes images of earlier versions that no group, no setting and no container uses.
async fn prune(
    engine: &dyn ContainerEngine,
    settings: &Settings,
    client: &Client,
    (dry_run, json): (bool, bool),
) -> Done {
    let lite = image::Image::new(Inputs::system(), settings.home.data()).status(engine).await?.image;
    let Some(lite) = lite else {
        // Without its name, the image in use could not be distinguished from the others.
        return Err(Failure::Failed("what the small image is made of is not there: see `parlor doctor`".into()));
    };
    let full = FullImage::new(settings).status(engine).await?.image;
    let groups = match client.get("/v1/groups").await {
        Ok(answer) => answer["groups"].as_array().cloned().unwrap_or_default(),
        Err(ClientError::NoHost(_)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let named = groups.iter().filter_map(|group| group["containerConfig"]["image"].as_str()).map(str::to_owned);
    let kept: BTreeSet<String> = named.chain([lite]).chain(full).chain(settings.image.clone()).collect();
    let (mut removed, mut used) = (Vec::new(), Vec::new());
    for image in engine.images().list().await? {
        if !is_old(&image.name, &kept) {
            continue;
        }
        match if dry_run { Ok(()) } else { engine.images().remove(&image.name).await } {
            Ok(()) => removed.push(image),
            Err(error) => used.push((image, error.to_string())),
        }
    }
    if json {
        let removed: Vec<&str> = removed.iter().map(|image| image.name.as_str()).collect();
        let used: Vec<&str> = used.iter().map(|(image, _)| image.name.as_str()).collect();
        return say_json(&json!({ "removed": removed, "used": used, "dryRun": dry_run }));
    }
    let verb = if dry_run { "Would remove" } else { "Removed" };
    for image in &removed {
        say(&format!("{verb} {} ({}).\n", image.name, image.size))?;
    }
    for (image, why) in &used {
        say(&format!("Kept {}: {why}\n", image.name))?;
    }
    if removed.is_empty() && used.is_empty() { say("There are no images of earlier versions.\n") } else { Ok(()) }
}

/// Returns true if Parlor made the image and nothing here names it.
fn is_old(name: &str, kept: &BTreeSet<String>) -> bool {
    let hash = [image::NAME, full::NAME].iter().find_map(|prefix| name.strip_prefix(prefix));
    let own = hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    own && !kept.contains(name)
}

/// Builds the image `full` if the engine lacks it, and shows the cost and the progress.
pub(super) async fn make_full(settings: &Settings) -> Done {
    let engine = engine(settings).await?;
    let full = FullImage::new(settings);
    if !full.status(&*engine).await?.present {
        say(&format!("Making {}: {}.\n", full.title(), full.size()))?;
    }
    let bar = Bar::new();
    let progress = |step: &BuildStep| {
        bar.show(step.number, step.of, &step.label);
        if !bar.is_shown() {
            // Without a terminal, steps are printed as lines; a failed write is no reason to stop.
            let _ = say(&format!("[{}/{}] {}\n", step.number, step.of, step.label));
        }
    };
    let built = full.ensure(&*engine, &progress).await;
    bar.clear();
    let built = built?;
    engine.images().tag(&built, FULL).await?;
    say(&format!("{built} is ready in {}, also as {FULL}.\n", engine.name()))
}

/// Builds one of Parlor's own images.
async fn make(which: Which, settings: &Settings, lite: &image::Image, engine: &dyn ContainerEngine) -> Done {
    if which == Which::Full {
        return make_full(settings).await;
    }
    let bar = Bar::new();
    let progress = |step: Step| bar.show(step.number, step.of, step.label);
    let built = lite.ensure(engine, &progress).await;
    bar.clear();
    let built = built?;
    engine.images().tag(&built, LITE).await?;
    say(&format!("{built} is ready in {}, also as {LITE}.\n", engine.name()))
}

/// Returns true if the image `full` exists; false if the engine does not answer.
pub(super) async fn has_full(settings: &Settings) -> bool {
    let Ok(engine) = engine(settings).await else { return false };
    FullImage::new(settings).status(&*engine).await.is_ok_and(|status| status.present)
}

async fn engine(settings: &Settings) -> Result<Arc<dyn ContainerEngine>, EngineError> {
    let options = CliOptions { cache: Some(settings.home.data()), ..CliOptions::default() };
    detect(settings.runtime.as_deref(), &options).await
}

/// A progress bar on a terminal; nothing elsewhere.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new() -> Self {
        Self(has_progress().then(ProgressBar::new_spinner))
    }

    fn is_shown(&self) -> bool {
        self.0.is_some()
    }

    fn show(&self, number: usize, of: usize, label: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(format!("[{number}/{of}] {label}"));
            bar.enable_steady_tick(std::time::Duration::from_millis(100));
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_images_are_parlors_own_that_nothing_names() {
        let kept = BTreeSet::from(["parlor-agent:lite-0123456789abcdef".to_owned()]);
        for old in ["parlor-agent:lite-1123456789abcdef", "parlor-agent:full-0123456789abcdef"] {
            assert!(is_old(old, &kept), "{old}");
        }
        for other in [
            "parlor-agent:lite-0123456789abcdef",
            "parlor-agent:lite",
            "parlor-agent:full",
            "parlor-agent:lite-mine",
            "parlor-agent:full-0123456789abcdefg",
            "debian:12",
            "registry.example/parlor-agent:lite-1123456789abcdef",
        ] {
            assert!(!is_old(other, &kept), "{other}");
        }
    }
}
