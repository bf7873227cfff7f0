//! Test doubles for the API's neighbours.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::api::Work;
use crate::config::home::Home;
use crate::config::proxies::Proxies;
use crate::config::settings::{Limits, LogLevel, Settings};
use crate::container::engine::image_store::{Build, ImageStore, Lines, NamedImage};
use crate::container::engine::spec::RunSpec;
use crate::container::engine::{Attached, Capabilities, ContainerEngine, EngineError, Unsupported};
use crate::dispatch::GroupActivity;
use crate::domain::ids::{ChatJid, GroupFolder, RunId};
use crate::domain::typing::Typing;

/// Test double: a dispatcher with a run in the group `busy`, and none elsewhere.
pub(super) struct FakeWork {
    pub(super) typing: broadcast::Sender<Typing>,
}

#[async_trait]
impl Work for FakeWork {
    async fn stop(&self, folder: &GroupFolder) -> bool {
        folder.as_str() == "busy"
    }
    async fn stop_run(&self, jid: &ChatJid, _: RunId) -> bool {
        jid.as_str() == "web:busy"
    }
    async fn go_on(&self, _: &ChatJid) {}
    async fn activity(&self, folder: &GroupFolder) -> GroupActivity {
        let waiting = (folder.as_str() == "busy").then(|| "waits for a slot".to_owned());
        GroupActivity { runs: Vec::new(), waiting }
    }
    fn typing(&self) -> broadcast::Receiver<Typing> {
        self.typing.subscribe()
    }
}

/// Test double: an engine that starts nothing.
#[derive(Debug)]
pub(super) struct FakeEngine;

fn nothing<T>() -> Result<T, EngineError> {
    Err(EngineError::Failed { engine: "fake".into(), action: "anything".into(), reason: "a test double".into() })
}

#[async_trait]
impl ContainerEngine for FakeEngine {
    fn name(&self) -> &'static str {
        "fake"
    }
    fn capabilities(&self) -> Capabilities {
        let unsupported = vec![Unsupported { what: "cpus", why: "no controller".into() }];
        Capabilities { version: "1.2".into(), rootless: false, keep_id: false, unsupported }
    }
    async fn probe(&self) -> Result<Capabilities, EngineError> {
        Ok(self.capabilities())
    }
    async fn start(&self, _: &RunSpec) -> Result<Attached, EngineError> {
        nothing()
    }
    fn describe(&self, _: &RunSpec) -> Vec<String> {
        Vec::new()
    }
    async fn stop(&self, _: &str, _: Duration) -> Result<(), EngineError> {
        nothing()
    }
    async fn kill(&self, _: &str) -> Result<(), EngineError> {
        nothing()
    }
    async fn exists(&self, _: &str) -> Result<bool, EngineError> {
        nothing()
    }
    async fn list(&self, _: &str, _: &str) -> Result<Vec<String>, EngineError> {
        nothing()
    }
    async fn remove(&self, _: &[String]) -> Result<(), EngineError> {
        nothing()
    }
    fn images(&self) -> &dyn ImageStore {
        self
    }
}

#[async_trait]
impl ImageStore for FakeEngine {
    async fn exists(&self, _: &str) -> Result<bool, EngineError> {
        nothing()
    }
    async fn list(&self) -> Result<Vec<NamedImage>, EngineError> {
        nothing()
    }
    async fn tag(&self, _: &str, _: &str) -> Result<(), EngineError> {
        nothing()
    }
    async fn remove(&self, _: &str) -> Result<(), EngineError> {
        nothing()
    }
    async fn import(&self, _: &Path, _: &str, _: &[&str], _: &str) -> Result<(), EngineError> {
        nothing()
    }
    async fn build(&self, _: &Build<'_>, _: Lines<'_>) -> Result<(), EngineError> {
        nothing()
    }
}

/// Settings of an installation in a folder, without TCP.
pub(crate) fn settings(root: &Path) -> Settings {
    Settings {
        home_otherwise: None,
        proxies: Proxies::default(),
        log_format: crate::config::settings::LogFormat::Text,
        warnings: Vec::new(),
        home: Home::new(root.to_owned()),
        config_dir: root.join("config"),
        user_home: None,
        assistant_name: "Andy".into(),
        image: None,
        image_base: "docker.io/library/debian:12-slim".into(),
        claude_version: "2.1.329".into(),
        image_with: Vec::new(),
        codex_version: "0.169.0".into(),
        gemini_version: "0.61.0".into(),
        container_timeout: Duration::from_secs(1800),
        idle_timeout: Duration::from_secs(1800),
        max_log_bytes: 10 << 20,
        max_output_bytes: 128 << 20,
        max_file_bytes: 20 << 20,
        max_attachment_bytes: 25 << 20,
        turn_limit: Duration::from_secs(4 * 3600),
        max_containers: 5,
        timezone: chrono_tz::UTC,
        log_level: LogLevel::Info,
        runtime: None,
        provider: "auto".into(),
        model: None,
        fallback: Vec::new(),
        fallback_dearer: false,
        prices: crate::domain::prices::Prices::default(),
        bounds: crate::config::bounds::Bounds::default(),
        listen: None,
        token: None,
        secret_keys: Vec::new(),
        agent_runner_src: None,
        skills_dir: None,
        budget: crate::domain::usage::Budget::default(),
        limits: Limits { memory: "2g".into(), cpus: "2".into(), pids: 512 },
        network: None,
        keep_days: Some(90),
        trigger_anywhere: false,
        trigger_max_age: Some(Duration::from_secs(3 * 24 * 3600)),
        shutdown_grace: Duration::from_secs(5),
        settle: Duration::ZERO,
    }
}
