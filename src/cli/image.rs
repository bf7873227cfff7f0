//! `parlor image`.

use std::sync::Arc;

use clap::{Subcommand, ValueEnum};
use indicatif::ProgressBar;
use serde_json::json;

use super::output::{has_progress, say, say_json};
use super::{Done, Failure};
use crate::config::settings::Settings;
use crate::container::build::BuildStep;
use crate::container::cli_engine::CliOptions;
use crate::container::detect::detect;
use crate::container::engine::{ContainerEngine, EngineError};
use crate::container::full::FullImage;
use crate::container::image::{self, Inputs, Step};

#[derive(Debug, Subcommand)]
pub(super) enum Image {
    /// Make the agent's image where the engine does not have it
    Build {
        /// `lite` has a shell and Parlor's own agents; `full` has Claude Code, too, and what `PARLOR_IMAGE_WITH` names
        #[arg(value_enum, default_value_t = Which::Lite, hide_possible_values = true)]
        which: Which,
    },
    /// Show which images are there; exit code 1 when the one that rooms use is not
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which of Parlor's images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Which {
    /// For the guide and for programs of the group's own.
    Lite,
    /// With Claude Code.
    Full,
}

impl Image {
    pub(super) async fn run(self, settings: &Settings) -> Done {
        let engine = engine(settings).await?;
        let own = image::Image::new(Inputs::system(), settings.home.data());
        match self {
            Self::Build { which: Which::Lite } => {
                let bar = Bar::new();
                let progress = |step: Step| bar.show(step.number, step.of, step.label);
                let built = own.ensure(&*engine, &progress).await;
                bar.clear();
                say(&format!("{} is ready in {}.\n", built?, engine.name()))
            }
            Self::Build { which: Which::Full } => make_full(settings).await,
            Self::Status { json } => {
                // An image of the operator's own choice is used instead of Parlor's.
                let (name, present) = if let Some(name) = &settings.image {
                    (Some(name.clone()), engine.image_exists(name).await?)
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

/// Makes the image `full` where the engine does not have it, and tells what that takes and how far it is.
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
            // Whoever watches no terminal sees the steps as lines; one that is lost is no reason to stop.
            let _ = say(&format!("[{}/{}] {}\n", step.number, step.of, step.label));
        }
    };
    let built = full.ensure(&*engine, &progress).await;
    bar.clear();
    say(&format!("{} is ready in {}.\n", built?, engine.name()))
}

/// Whether the image `full` is there; an engine that does not answer has none.
pub(super) async fn has_full(settings: &Settings) -> bool {
    let Ok(engine) = engine(settings).await else { return false };
    FullImage::new(settings).status(&*engine).await.is_ok_and(|status| status.present)
}

async fn engine(settings: &Settings) -> Result<Arc<dyn ContainerEngine>, EngineError> {
    let options = CliOptions { cache: Some(settings.home.data()), ..CliOptions::default() };
    detect(settings.runtime.as_deref(), &options).await
}

/// Progress on a terminal; nothing elsewhere.
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
