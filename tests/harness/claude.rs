//! Hosts whose agents are vendors' programs, in Parlor's image `full`.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::host::{Builder, Host};
use super::image;

/// The optional parts of the image. One image with all of them serves every test: a second one would take minutes.
const IMAGE_WITH: &str = "chromium,codex,gemini";

/// A host whose rooms have Claude Code and can reach the stand-in.
pub fn builder(dot_env: &str) -> Builder {
    Host::builder()
        .env("CONTAINER_IMAGE", "")
        .env("PARLOR_IMAGE_BASE", image::full_base())
        .env("PARLOR_IMAGE_WITH", IMAGE_WITH)
        .env("PARLOR_PROVIDER", "auto")
        .dot_env(dot_env)
}

/// Builds the image with the command that people use; only the first build takes long.
pub fn build(host: &Host) -> String {
    // One build at a time: on a fresh machine each test would download all packages.
    static BUILDING: Mutex<()> = Mutex::new(());
    let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let output = parlor(host, &["image", "build", "full"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let name = text.lines().last().and_then(|line| line.split_whitespace().next()).unwrap_or_default();
    assert!(name.starts_with("parlor-agent:full-"), "{text}");
    name.to_owned()
}

/// A command of the program, as the host would run it.
pub fn parlor(host: &Host, words: &[&str]) -> Command {
    let mut command = host.command();
    command.args(words).env("PARLOR_IMAGE_BASE", image::full_base()).env("PARLOR_IMAGE_WITH", IMAGE_WITH);
    command.env("PARLOR_PROVIDER", "auto");
    command
}
