//! `parlor image`.

use std::io::IsTerminal;

use clap::Subcommand;
use indicatif::ProgressBar;
use serde_json::json;

use super::output::{say, say_json};
use super::{Done, Failure};
use crate::config::settings::Settings;
use crate::container::cli_engine::CliOptions;
use crate::container::detect::detect;
use crate::container::image::{self, Inputs, Step};

#[derive(Debug, Subcommand)]
pub(super) enum Image {
    /// Make the agent's image where the engine does not have it
    Build,
    /// Show whether the image is there; exit code 1 when not
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Image {
    pub(super) async fn run(self, settings: &Settings) -> Done {
        let options = CliOptions { cache: Some(settings.home.data()), ..CliOptions::default() };
        let engine = detect(settings.runtime.as_deref(), &options).await?;
        let own = image::Image::new(Inputs::system(), settings.home.data());
        match self {
            Self::Build => {
                let bar = std::io::stderr().is_terminal().then(ProgressBar::new_spinner);
                let progress = |step: Step| {
                    if let Some(bar) = &bar {
                        bar.set_message(format!("[{}/{}] {}", step.number, step.of, step.label));
                        bar.enable_steady_tick(std::time::Duration::from_millis(100));
                    }
                };
                let built = own.ensure(&*engine, &progress).await;
                if let Some(bar) = &bar {
                    bar.finish_and_clear();
                }
                say(&format!("{} is ready in {}.\n", built?, engine.name()))
            }
            Self::Status { json } => {
                // An image of the operator's own choice is used instead of Parlor's.
                let (name, present) = if let Some(name) = &settings.image {
                    (Some(name.clone()), engine.image_exists(name).await?)
                } else {
                    let status = own.status(&*engine).await?;
                    (status.image, status.present)
                };
                if json {
                    say_json(&json!({ "engine": engine.name(), "image": name, "present": present }))?;
                } else {
                    let shown = name.as_deref().unwrap_or("The agent's image");
                    let is = if present { "is there" } else { "is not there: `parlor image build` makes it" };
                    say(&format!("{shown} {is} ({}).\n", engine.name()))?;
                }
                if present { Ok(()) } else { Err(Failure::Said) }
            }
        }
    }
}
