//! Which provider answers.

use super::settings::Settings;
use crate::domain::group::ContainerConfig;

/// Lets the start decide.
pub const AUTO: &str = "auto";
/// Explains Parlor, needs nothing.
pub const GUIDE: &str = "guide";
/// Runs the group's own program.
pub const EXEC: &str = "exec";
/// The agent that an image of the operator's own brings; it gets the keys and the network.
pub const IMAGE: &str = "image";
/// The agent inside the runner: needs a key, or the address of a local server, and nothing else.
pub const LLM: &str = "llm";
/// Every provider there is.
pub const PROVIDERS: [&str; 4] = [GUIDE, EXEC, IMAGE, LLM];

/// What was chosen, and what the operator should hear about it at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The provider.
    pub provider: &'static str,
    /// Why, where it is not obvious.
    pub note: Option<String>,
}

/// Finds a provider by name. The error says which there are.
pub fn parse(name: &str) -> Result<&'static str, String> {
    let name = name.trim();
    PROVIDERS
        .into_iter()
        .find(|known| *known == name)
        .ok_or_else(|| format!("provider {name:?} is not known: use {} or {AUTO}", PROVIDERS.join(", ")))
}

/// The provider of a group: its own, else the installation's. `has_key` says whether `.env` holds one of the keys that
/// providers may get. `auto` with a key is the agent of the operator's own image where there is one.
pub fn choose(settings: &Settings, config: &ContainerConfig, has_key: bool) -> Result<Choice, String> {
    let own_image = config.image.is_some() || settings.image.is_some();
    match config.provider.as_deref().unwrap_or(&settings.provider).trim() {
        AUTO if has_key && own_image => Ok(Choice { provider: IMAGE, note: None }),
        AUTO if has_key => Ok(Choice { provider: LLM, note: Some("there is a vendor's key in .env".into()) }),
        AUTO => Ok(Choice { provider: GUIDE, note: None }),
        name => match parse(name)? {
            IMAGE if !own_image => {
                Err("provider image needs an image with an agent of its own: set CONTAINER_IMAGE".into())
            }
            provider => Ok(Choice { provider, note: None }),
        },
    }
}

/// Whether a provider talks to the network.
pub fn needs_network(provider: &str) -> bool {
    !matches!(provider, GUIDE | EXEC)
}

/// Whether a provider is given secrets.
pub fn needs_secrets(provider: &str) -> bool {
    !matches!(provider, GUIDE | EXEC)
}
