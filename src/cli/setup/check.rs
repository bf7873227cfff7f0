//! The check of a key: a real run asks the agent for a single word.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use secrecy::SecretString;

use super::super::output::harmless;
use super::ask::Asker;
use crate::config::provider;
use crate::config::settings::Settings;
use crate::conformance::seen::Why;
use crate::conformance::{self, Options};
use crate::container::engine::cli_engine::CliOptions;
use crate::container::engine::detect::detect;
use crate::container::image::full::FullImage;
use crate::container::image::{self, Image, Inputs};

/// The time limit of the answer.
const LIMIT: Duration = Duration::from_secs(90);
/// The shortest useful prompt.
const WORD: &str = "This is a check that you can be reached. Answer with the one word: yes";

/// The result of the check.
pub(super) enum Checked {
    /// The agent answered after this time.
    Works(Duration),
    /// The agent was asked and failed, for this reason.
    Fails(String),
    /// The agent could not be asked, for this reason.
    Unknown(String),
}

/// Asks the agent that these settings and keys select. Returns None if it was interrupted.
pub(super) async fn check(
    settings: &Settings,
    agent: &'static str,
    secrets: BTreeMap<String, SecretString>,
    asker: &mut Asker,
) -> Option<Checked> {
    let options = CliOptions { cache: Some(settings.home.data()), ..CliOptions::default() };
    let engine = match detect(settings.runtime.as_deref(), &options).await {
        Ok(engine) => engine,
        Err(error) => return Some(Checked::Unknown(error.to_string())),
    };
    let image = if let Some(image) = &settings.image {
        Ok(image.clone())
    } else if provider::needs_full_image(agent) {
        match FullImage::new(settings).status(&*engine).await {
            Ok(image::Status { image: Some(image), present: true }) => Ok(image),
            Ok(_) => Err("its image is not made yet".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    } else {
        Image::new(Inputs::system(), settings.home.data())
            .ensure(&*engine, &image::silent)
            .await
            .map_err(|error| error.to_string())
    };
    let image = match image {
        Ok(image) => image,
        Err(why) => return Some(Checked::Unknown(why)),
    };
    let settings = Settings { provider: agent.to_owned(), ..settings.clone() };
    let options = Options { image, say: WORD.to_owned(), ipc: None, long: None, secrets: true, timeout: LIMIT };
    let start = Instant::now();
    let answer = conformance::first_answer(engine, &settings, options, secrets, asker.interrupted()).await;
    Some(match answer {
        Ok(None) => return None,
        Ok(Some(Ok(()))) => Checked::Works(start.elapsed()),
        Ok(Some(Err(Why::Failed(why, _)))) => Checked::Fails(harmless(&why).into_owned()),
        Ok(Some(Err(Why::Ended(why)))) => Checked::Fails(format!("the agent ended: {}", harmless(&why))),
        Ok(Some(Err(Why::Silence(limit)))) => {
            Checked::Fails(format!("there was no answer within {} seconds", limit.as_secs()))
        }
        Err(error) => Checked::Unknown(format!("{error:#}")),
    })
}
