//! The choice of the provider that answers.

use super::secrets::DEFAULT_KEYS;
use super::settings::Settings;
use crate::domain::group::ContainerConfig;

/// Lets the start decide.
pub const AUTO: &str = "auto";
/// Explains Parlor, needs nothing.
pub const GUIDE: &str = "guide";
/// Runs the group's own program.
pub const EXEC: &str = "exec";
/// Claude Code, in Parlor's image `full`; it gets the keys and the network.
pub const CLAUDE: &str = "claude";
/// The agent that an image of the operator's own brings; it gets the keys and the network.
pub const IMAGE: &str = "image";
/// The agent inside the runner: needs a key, or the address of a local server, and nothing else.
pub const LLM: &str = "llm";
/// Codex, in Parlor's image `full` where that was made with it; it gets its vendor's keys and the network.
pub const CODEX: &str = "codex";
/// Google's Gemini CLI, likewise.
pub const GEMINI: &str = "gemini";
/// Every provider there is.
pub const PROVIDERS: [&str; 7] = [GUIDE, EXEC, CLAUDE, CODEX, GEMINI, LLM, IMAGE];

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

/// What an installation has that providers need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Means {
    /// `.env` holds a key or token that Claude Code takes.
    pub claude_key: bool,
    /// `.env` holds a key or address that the agent in the runner takes.
    pub model_key: bool,
    /// `.env` holds a key that only Codex or Gemini CLI takes.
    pub other_key: bool,
    /// The image `full` was made for this installation.
    pub full_image: bool,
}

/// What only Claude Code takes, and what both it and the agent in the runner do.
const OF_CLAUDE_CODE: [&str; 1] = ["CLAUDE_CODE_OAUTH_TOKEN"];
const OF_CLAUDE: [&str; 2] = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"];
/// What Codex takes, and what it alone does.
const OF_CODEX: [&str; 3] = ["OPENAI_API_KEY", "OPENAI_BASE_URL", "CODEX_API_KEY"];
/// What Gemini CLI takes.
const OF_GEMINI: [&str; 4] = ["GEMINI_API_KEY", "GEMINI_BASE_URL", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL"];
/// What Gemini CLI answers with.
const KEYS_OF_GEMINI: [&str; 2] = ["GEMINI_API_KEY", "GOOGLE_API_KEY"];
/// Keys that only these two take.
const OF_THEM_ALONE: [&str; 2] = ["CODEX_API_KEY", "GOOGLE_API_KEY"];
/// An address alone is no key: it only says where one is used.
const ADDRESSES: [&str; 3] = ["ANTHROPIC_BASE_URL", "GEMINI_BASE_URL", "GOOGLE_GEMINI_BASE_URL"];

impl Means {
    /// By the names of the keys that `.env` holds.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a str>, full_image: bool) -> Self {
        let mut means = Self { full_image, ..Self::default() };
        for key in keys {
            let only_code = OF_CLAUDE_CODE.contains(&key);
            means.claude_key |= only_code || OF_CLAUDE.contains(&key);
            let only_them = OF_THEM_ALONE.contains(&key);
            means.other_key |= only_them;
            // Names that the operator added are keys of vendors where they are called so.
            let of_a_vendor = DEFAULT_KEYS.contains(&key) || key.ends_with("_API_KEY");
            means.model_key |= of_a_vendor && !only_code && !only_them && !ADDRESSES.contains(&key);
        }
        means
    }

    /// Everything there may be.
    pub fn all(full_image: bool) -> Self {
        Self { claude_key: true, model_key: true, other_key: true, full_image }
    }

    /// Returns true if there is any key.
    pub fn any(self) -> bool {
        self.claude_key || self.model_key || self.other_key
    }
}

/// The provider of a group: its own, else the installation's. `auto` with a key is the agent of the operator's own
/// image where there is one, else Claude Code where its image was made.
pub fn choose(settings: &Settings, config: &ContainerConfig, means: Means) -> Result<Choice, String> {
    let own_image = match config.parlors_image() {
        Some(_) => false,
        None => config.image.is_some() || settings.image.is_some(),
    };
    match config.provider.as_deref().unwrap_or(&settings.provider).trim() {
        AUTO if means.any() && own_image => Ok(Choice { provider: IMAGE, note: None }),
        AUTO if means.claude_key && means.full_image => Ok(Choice { provider: CLAUDE, note: None }),
        AUTO if means.model_key => Ok(Choice { provider: LLM, note: Some("there is a vendor's key in .env".into()) }),
        AUTO if means.claude_key => Ok(Choice {
            provider: GUIDE,
            note: Some(
                "there is a token of Claude, but no image with Claude Code: the guide answers until \
                 `parlor image build full` has made it"
                    .into(),
            ),
        }),
        AUTO if means.other_key => {
            let note = "the key in .env is one of Codex or Gemini CLI, which answer where PARLOR_PROVIDER names them";
            Ok(Choice { provider: GUIDE, note: Some(note.into()) })
        }
        AUTO => Ok(Choice { provider: GUIDE, note: None }),
        name => match parse(name)? {
            IMAGE if !own_image => {
                Err("provider image needs an image with an agent of its own: set CONTAINER_IMAGE".into())
            }
            provider => Ok(Choice { provider, note: None }),
        },
    }
}

/// Returns true if a provider's agent is told the ids of messages, so that it can reply to one. What NanoClaw v1's
/// images and scripts are given has none.
pub fn knows_ids(provider: &str) -> bool {
    !matches!(provider, GUIDE | EXEC | IMAGE)
}

/// Returns true if a provider's program is in the image `full`, and not in `lite`.
pub fn needs_full_image(provider: &str) -> bool {
    matches!(provider, CLAUDE | CODEX | GEMINI)
}

/// Returns what of `.env` lets a vendor's program answer, any one of them; the first is what to put there.
pub fn answers_with(provider: &str) -> Vec<&'static str> {
    match provider {
        CLAUDE => OF_CLAUDE.into_iter().chain(OF_CLAUDE_CODE).collect(),
        CODEX => OF_CODEX.to_vec(),
        GEMINI => KEYS_OF_GEMINI.to_vec(),
        _ => Vec::new(),
    }
}

/// The folder of the agent's home that a provider's program keeps its things in, where it is not the one that every
/// group has: other providers' rooms do not see it.
pub fn home_folder(provider: &str) -> Option<&'static str> {
    match provider {
        CODEX => Some(".codex"),
        GEMINI => Some(".gemini"),
        _ => None,
    }
}

/// Returns true if a provider talks to the network.
pub fn needs_network(provider: &str) -> bool {
    !matches!(provider, GUIDE | EXEC)
}

/// Returns true if a provider is given one of the keys. A vendor's program hands its own to things it starts: other
/// vendors' are none of its business. What the operator named besides goes to all that get secrets.
pub fn may_have(provider: &str, key: &str) -> bool {
    let named_besides = !DEFAULT_KEYS.contains(&key);
    match provider {
        CLAUDE => named_besides || key.starts_with("ANTHROPIC_") || OF_CLAUDE_CODE.contains(&key),
        CODEX => named_besides || OF_CODEX.contains(&key),
        GEMINI => named_besides || OF_GEMINI.contains(&key),
        _ => needs_secrets(provider),
    }
}

/// Returns true if a provider is given secrets.
pub fn needs_secrets(provider: &str) -> bool {
    !matches!(provider, GUIDE | EXEC)
}
