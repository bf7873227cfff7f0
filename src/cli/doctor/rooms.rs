//! Checks from inside a container: the installation's folders, and addresses and proxies that have another meaning
//! there.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::Finding;
use crate::config::proxies::{self, is_loopback, with_host};
use crate::config::secrets;
use crate::config::settings::Settings;
use crate::container::engine::ContainerEngine;
use crate::container::engine::user;
use crate::container::image::{self, Image, Inputs};
use crate::container::look::{LookError, look};
use crate::domain::clock::{Clock, SystemClock};

/// Runs a container on the installation's folders, if there is an image, and checks what it sees.
pub(super) async fn folders(settings: &Settings, engine: &dyn ContainerEngine) -> Option<Finding> {
    const WHAT: &str = "rooms";
    let data = settings.home.data();
    let image = Image::new(Inputs::system(), data.clone()).status(engine).await.ok().filter(|status| status.present)?;
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let user = user::user_for(uid, gid, user::sudo_ids(), &engine.capabilities());
    if let Err(error) = image::make_data(&data) {
        return Some(Finding::bad(WHAT, format!("{}: {error}", data.display()), "check owner and mode"));
    }
    let token = SystemClock.ulid().to_string();
    let looked = look(engine, &image.image.unwrap_or_default(), &data, user, &token).await;
    Some(match looked {
        Ok(()) => Finding::good(WHAT, "they see the home, and what they write belongs to the right user"),
        Err(error) => {
            let todo = remedy(&error, engine.name(), settings.home.root());
            Finding::bad(WHAT, error.to_string(), todo)
        }
    })
}

fn remedy(error: &LookError, engine: &str, home: &Path) -> String {
    match error {
        LookError::Folder { .. } => "run this as the user who runs the host; check owner and mode".to_owned(),
        LookError::Slow => format!("look at {engine}'s log, and try again when the machine has less to do"),
        LookError::Owner { .. } => {
            "run the host as the user whose engine it is; do not let a root docker map its users (userns-remap)"
                .to_owned()
        }
        LookError::Engine(_) | LookError::Blind { .. } => format!(
            "use an engine of this machine that sees {}: not one from a snap, of another machine (DOCKER_HOST, `docker \
             context`), or outside the container that this runs in; CONTAINER_RUNTIME=podman takes podman instead, and \
             --home another folder",
            home.display()
        ),
    }
}

/// Finds loopback addresses that agents are given: in a container they mean the container.
pub(super) fn addresses(settings: &Settings, engine: &str) -> Vec<Finding> {
    if settings.network.as_deref() == Some("host") {
        return Vec::new();
    }
    let keys = secrets::read(&settings.home, &settings.secret_keys).unwrap_or_default();
    keys.iter().filter_map(|(name, value)| address(name, value, engine)).collect()
}

fn address(name: &str, value: &SecretString, engine: &str) -> Option<Finding> {
    let named = ["_HOST", "_URL", "_ENDPOINT", "_BASE"].iter().any(|end| name.ends_with(end));
    if !named || !is_loopback(value.expose_secret()) {
        return None;
    }
    // A login in the address is not shown.
    let bare = value.expose_secret().rsplit('@').next().unwrap_or_default();
    let there = with_host(bare, proxies::gateway(engine));
    Some(Finding::warn(
        "addresses",
        format!(
            "{name} in .env is an address of this machine itself: in a room it means the room, where nothing answers"
        ),
        format!(
            "write this machine's address in its network (`hostname -I`), such as {}, and let the server listen there, not on \
             loopback alone (Ollama: OLLAMA_HOST=0.0.0.0 for `ollama serve`); {engine} may also know it as {there}",
            with_host(bare, "192.168.1.5")
        ),
    ))
}

/// Reports the proxies that containers with a network get.
pub(super) fn proxies(settings: &Settings, engine: &str) -> Vec<Finding> {
    const WHAT: &str = "proxies";
    let given = settings.proxies.for_rooms(proxies::gateway(engine));
    let mut findings = Vec::new();
    if !given.withheld.is_empty() {
        let found = format!("{} holds a login, which a room's environment would show", given.withheld.join(", "));
        let todo = "rooms go without it: give this machine a proxy without a login, or a group its own with \
                    `parlor groups update GROUP --env HTTPS_PROXY=…`";
        findings.push(Finding::warn(WHAT, found, todo));
    }
    if !given.rewritten.is_empty() {
        let gateway = proxies::gateway(engine);
        let found = format!("{} leads to this machine itself; rooms are given {gateway}", given.rewritten.join(", "));
        let todo = "let the proxy listen on an address that rooms reach, not on loopback alone";
        findings.push(Finding::warn(WHAT, found, todo));
    }
    if findings.is_empty() && !given.env.is_empty() {
        let names: Vec<&str> = settings.proxies.names().collect();
        findings.push(Finding::good(WHAT, format!("rooms with a network and image builds get {}", names.join(", "))));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_address_is_reported_with_a_replacement() {
        let told = |name: &str, value: &str| address(name, &SecretString::from(value.to_owned()), "docker");
        let finding = told("OLLAMA_HOST", "http://me:word@localhost:11434").unwrap();
        assert!(finding.found.starts_with("OLLAMA_HOST in .env"), "{}", finding.found);
        assert!(finding.todo.contains("192.168.1.5:11434") && finding.todo.contains("host.docker.internal:11434"));
        assert!(!finding.todo.contains("word"), "{}", finding.todo);
        assert!(
            told("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1").unwrap().todo.contains("http://192.168.1.5:8000/v1")
        );
        assert!(told("OPENAI_BASE_URL", "https://models.lan/v1").is_none());
        assert!(told("ANTHROPIC_API_KEY", "localhost").is_none());
    }
}
