//! Checks of the container engine and of the agent's image.

use std::path::PathBuf;

use super::{Finding, rooms};
use crate::config::settings::Settings;
use crate::config::{provider, secrets};
use crate::container::engine::ContainerEngine;
use crate::container::engine::cli_engine::CliOptions;
use crate::container::engine::detect::detect;
use crate::container::engine::user;
use crate::container::image::full::FullImage;
use crate::container::image::{Image, Inputs};
use crate::domain::group::ContainerConfig;

pub(super) async fn all(settings: &Settings) -> Vec<Finding> {
    let options = CliOptions { cache: None, ..CliOptions::default() };
    let engine = match detect(settings.runtime.as_deref(), &options).await {
        Ok(engine) => engine,
        Err(error) => {
            let todo = "install and start docker or podman: without an engine no agent can run";
            return vec![Finding::bad("engine", error.to_string(), todo)];
        }
    };
    let can = engine.capabilities();
    let mode = if can.rootless { ", rootless" } else { "" };
    let answers = format!("{} {}{mode} answers", engine.name(), can.version);
    let mut findings = vec![match user::misfit(rustix::process::geteuid().as_raw(), &can) {
        None => Finding::good("engine", answers),
        Some(why) => Finding::bad("engine", answers, why),
    }];
    for limit in &can.unsupported {
        let found = format!("{} cannot be enforced: {}", limit.what, limit.why);
        findings.push(Finding::warn(
            "limits",
            found,
            "agents run without this limit; use an engine or system with cgroup v2",
        ));
    }
    if engine.name() == "podman" && !has_init() {
        let todo =
            "install catatonit (`apt install catatonit`), unless init_path in containers.conf names another init";
        findings.push(Finding::warn("init", "podman has no catatonit, without which it cannot start rooms", todo));
    }
    findings.push(image(settings, &*engine).await);
    findings.extend(rooms::folders(settings, &*engine).await);
    findings.extend(rooms::addresses(settings, engine.name()));
    findings.extend(rooms::proxies(settings, engine.name()));
    findings.extend(program(settings, &*engine).await);
    findings
}

/// Returns true if podman finds the init that it puts into containers.
fn has_init() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = ["/usr/libexec/podman", "/usr/lib/podman"].map(PathBuf::from);
    own.into_iter().chain(std::env::split_paths(&path)).any(|folder| folder.join("catatonit").is_file())
}

async fn image(settings: &Settings, engine: &dyn ContainerEngine) -> Finding {
    const WHAT: &str = "image";
    if let Some(name) = &settings.image {
        return match engine.images().exists(name).await {
            Ok(true) => Finding::good(WHAT, format!("{name} is there")),
            Ok(false) => {
                let todo = format!("`{} pull {name}`, or unset CONTAINER_IMAGE to use Parlor's own", engine.name());
                Finding::bad(WHAT, format!("{name} (CONTAINER_IMAGE) is not there"), todo)
            }
            Err(error) => Finding::bad(WHAT, error.to_string(), "make the engine answer first"),
        };
    }
    let inputs = Inputs::system();
    let buildable = inputs.check();
    match (Image::new(inputs, settings.home.data()).status(engine).await, buildable) {
        (Ok(status), _) if status.present => {
            Finding::good(WHAT, format!("{} is there", status.image.unwrap_or_default()))
        }
        (Ok(_), Ok(())) => Finding::warn(
            WHAT,
            "not made yet, everything for it is there",
            "the first start makes it, or `parlor image build`",
        ),
        (Ok(_), Err(error)) => Finding::bad(WHAT, error.to_string(), "then `parlor image build`"),
        (Err(error), _) => Finding::bad(WHAT, error.to_string(), "make the engine answer first"),
    }
}

/// Checks that the vendor's program that is to answer has its image and a key.
async fn program(settings: &Settings, engine: &dyn ContainerEngine) -> Option<Finding> {
    let keys = secrets::read(&settings.home, &settings.secret_keys).unwrap_or_default();
    let means = provider::Means::of(keys.keys().map(String::as_str), settings.home.full_image().exists());
    let chosen = provider::choose(settings, &ContainerConfig::default(), means).ok()?.provider;
    let what = match chosen {
        name if provider::needs_full_image(name) => name,
        _ if means.claude_key => provider::CLAUDE,
        _ => return None,
    };
    if settings.image.is_some() {
        return None;
    }
    let wanted = provider::answers_with(what);
    let key = wanted.iter().any(|name| keys.contains_key(*name));
    let full = FullImage::new(settings);
    let status = match full.status(engine).await {
        Ok(status) => status,
        Err(error) => return Some(Finding::bad(what, error.to_string(), "make the engine answer first")),
    };
    let build = format!("`parlor image build full` ({})", full.size());
    Some(match (status.present, key) {
        (true, true) => Finding::good(what, format!("{} and a key are there", status.image.unwrap_or_default())),
        (true, false) => {
            let todo = format!("`parlor setup`, or put one of these into .env: {}", wanted.join(", "));
            Finding::bad(what, "its image is there, but no key", todo)
        }
        (false, _) => {
            Finding::warn(what, "its image is not made yet: the guide answers, or the first run makes it", build)
        }
    })
}
