//! The first lines of a host's log: its home, its engine, its provider, and the ways to reach it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::answering::{self, Keys};
use crate::config::settings::Settings;
use crate::config::{provider, secrets};
use crate::container::engine::{Capabilities, ContainerEngine};
use crate::dispatch::Rooms;
use crate::domain::group::{ContainerConfig, Group};
use crate::store::{Store, groups};

/// Collects and logs the facts concurrently with the start, so that the first message does not wait.
pub(super) async fn run(
    settings: Arc<Settings>,
    store: Store,
    engine: Arc<dyn ContainerEngine>,
    rooms: Rooms,
    tcp: Option<SocketAddr>,
) {
    let groups = store.read(groups::all).await.unwrap_or_default();
    // Reading folders may be slow.
    let _ = tokio::task::spawn_blocking(move || say(&settings, &*engine, &rooms, tcp, &groups)).await;
}

/// Logs the facts, one line for each subject.
fn say(settings: &Settings, engine: &dyn ContainerEngine, rooms: &Rooms, tcp: Option<SocketAddr>, groups: &[Group]) {
    let home = &settings.home;
    tracing::info!("Parlor {}, home {}", env!("CARGO_PKG_VERSION"), home.root().display());
    let can = engine.capabilities();
    tracing::info!("engine: {} {}{}", engine.name(), can.version, if can.rootless { ", rootless" } else { "" });
    // Info, not a warning: `parlor chat` starts a host each time, and the operator cannot change these limits.
    if let Some(gaps) = gaps(&can) {
        tracing::info!("{} {gaps}", engine.name());
    }
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    say_provider(settings);
    match rooms.masks(home) {
        Ok(masks) => tracing::info!("hidden from main: {masks}"),
        Err(error) => tracing::warn!("main's runs will fail: {error:#}"),
    }
    tracing::info!("API: {}", home.socket().display());
    if let Some(address) = tcp {
        tracing::info!("API: http://{address}, with the token");
    }
    let keys = Keys::read(home, &settings.secret_keys);
    for group in groups {
        if let Err(why) = answering::check(settings, &group.container_config, &keys) {
            tracing::error!("group {}: {why}", group.folder);
        }
    }
    let main = groups.iter().find(|group| group.is_main);
    match (groups.len(), main) {
        (0, _) => tracing::info!("no groups yet: `parlor chat` makes the first one and talks to it"),
        (count, None) => tracing::info!("groups: {count}, none of them is main: `parlor groups set-main` chooses one"),
        (count, Some(main)) => tracing::info!("groups: {count}, main is {} ({}){}", main.folder, main.jid, talk(main)),
    }
}

/// Returns a hint how to talk to main, if its channel is local.
fn talk(main: &Group) -> &'static str {
    match main.jid.channel() {
        "tty" | "web" => ": `parlor chat` talks to it",
        _ => ", a chat of another platform: `parlor chat` says how to talk to an agent from here",
    }
}

/// Returns the limits that an engine cannot enforce here, in one sentence.
fn gaps(can: &Capabilities) -> Option<String> {
    let mut reasons: Vec<&str> = can.unsupported.iter().map(|limit| limit.why.as_str()).collect();
    reasons.dedup();
    let names: Vec<&str> = can.unsupported.iter().map(|limit| limit.what).collect();
    let (last, rest) = names.split_last()?;
    let names = if rest.is_empty() { (*last).to_owned() } else { format!("{} and {last}", rest.join(", ")) };
    Some(format!("cannot limit {names} here, so rooms run without that: {}", reasons.join("; ")))
}

/// Logs the provider of groups without their own, and the reason for the choice.
fn say_provider(settings: &Settings) {
    let keys = match secrets::read(&settings.home, &settings.secret_keys) {
        Ok(keys) => keys,
        Err(error) => return tracing::warn!("provider: not known, {error}"),
    };
    let means = provider::Means::of(keys.keys().map(String::as_str), settings.home.full_image().exists());
    match provider::choose(settings, &ContainerConfig::default(), means) {
        Ok(choice) if settings.provider != provider::AUTO => {
            tracing::info!("provider: {}, as PARLOR_PROVIDER says", choice.provider);
        }
        Ok(choice) => {
            let why = choice.note.unwrap_or_else(|| match choice.provider {
                provider::IMAGE => "CONTAINER_IMAGE is set, and there is a key for it".to_owned(),
                provider::CLAUDE => "there is a key, and the image with Claude Code".to_owned(),
                _ => "there is no vendor's key in .env".to_owned(),
            });
            tracing::info!("provider: {} ({why})", choice.provider);
        }
        Err(why) => tracing::warn!("provider: none, runs will fail: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::engine::Unsupported;

    #[test]
    fn unenforced_limits_are_one_sentence() {
        let can = |limits: &[(&'static str, &str)]| Capabilities {
            version: "1".into(),
            rootless: true,
            keep_id: false,
            unsupported: limits.iter().map(|&(what, why)| Unsupported { what, why: why.into() }).collect(),
        };
        assert_eq!(gaps(&can(&[])), None);
        let all = gaps(&can(&[("memory", "no cgroups"), ("cpus", "no cgroups"), ("pids", "no cgroups")]));
        assert_eq!(all.unwrap(), "cannot limit memory, cpus and pids here, so rooms run without that: no cgroups");
        assert_eq!(
            gaps(&can(&[("cpus", "off"), ("pids", "old")])).unwrap(),
            "cannot limit cpus and pids here, so rooms run without that: off; old"
        );
        assert_eq!(gaps(&can(&[("pids", "x")])).unwrap(), "cannot limit pids here, so rooms run without that: x");
    }
}
