//! The choice of the provider that answers.

use super::secrets::DEFAULT_KEYS;
use super::settings::Settings;
use crate::domain::group::ContainerConfig;

/// The provider is chosen by the available keys.
pub const AUTO: &str = "auto";
/// Explains Parlor; needs no key.
pub const GUIDE: &str = "guide";
/// Runs the group's own program.
pub const EXEC: &str = "exec";
/// Claude Code, in Parlor's image `full`; it gets the keys and the network.
pub const CLAUDE: &str = "claude";
/// The agent in an image of the operator's own; it gets the keys and the network.
pub const IMAGE: &str = "image";
/// The agent inside the runner: needs only a key, or the address of a local server.
pub const LLM: &str = "llm";
/// Codex, in Parlor's image `full` if that includes it; it gets its vendor's keys and the network.
pub const CODEX: &str = "codex";
/// Google's Gemini CLI, in the same way.
pub const GEMINI: &str = "gemini";
/// All providers.
pub const PROVIDERS: [&str; 7] = [GUIDE, EXEC, CLAUDE, CODEX, GEMINI, LLM, IMAGE];

/// The chosen provider, with a note for the operator at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// A name out of [`PROVIDERS`].
    pub provider: &'static str,
    /// The reason, if it is not obvious.
    pub note: Option<String>,
}

/// Finds a provider by its name. The error lists all names.
pub fn parse(name: &str) -> Result<&'static str, String> {
    let name = name.trim();
    PROVIDERS
        .into_iter()
        .find(|known| *known == name)
        .ok_or_else(|| format!("provider {name:?} is not known: use {} or {AUTO}", PROVIDERS.join(", ")))
}

/// The keys and the image of an installation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Means {
    /// `.env` has a key or token for Claude Code.
    pub claude_key: bool,
    /// `.env` has a key or address for the agent in the runner.
    pub model_key: bool,
    /// `.env` has a key that only Codex or Gemini CLI takes.
    pub other_key: bool,
    /// The image `full` was made for this installation.
    pub full_image: bool,
}

/// The token that only Claude Code takes, and the keys that the agent in the runner takes, too.
const OF_CLAUDE_CODE: [&str; 1] = ["CLAUDE_CODE_OAUTH_TOKEN"];
const OF_CLAUDE: [&str; 2] = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"];
/// The keys and the address that Codex takes.
const OF_CODEX: [&str; 3] = ["OPENAI_API_KEY", "OPENAI_BASE_URL", "CODEX_API_KEY"];
/// The keys and addresses that Gemini CLI takes.
const OF_GEMINI: [&str; 4] = ["GEMINI_API_KEY", "GEMINI_BASE_URL", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL"];
/// The keys with which Gemini CLI can answer.
const KEYS_OF_GEMINI: [&str; 2] = ["GEMINI_API_KEY", "GOOGLE_API_KEY"];
/// Keys that only Codex or only Gemini CLI takes.
const OF_THEM_ALONE: [&str; 2] = ["CODEX_API_KEY", "GOOGLE_API_KEY"];
/// Addresses that are useless without a key.
const ADDRESSES: [&str; 3] = ["ANTHROPIC_BASE_URL", "GEMINI_BASE_URL", "GOOGLE_GEMINI_BASE_URL"];

impl Means {
    /// Derives them from the names of the keys in `.env`.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a str>, full_image: bool) -> Self {
        let mut means = Self { full_image, ..Self::default() };
        for key in keys {
            let only_code = OF_CLAUDE_CODE.contains(&key);
            means.claude_key |= only_code || OF_CLAUDE.contains(&key);
            let only_them = OF_THEM_ALONE.contains(&key);
            means.other_key |= only_them;
            // Further names that the operator allowed count as vendors' keys by their suffix.
            let of_a_vendor = DEFAULT_KEYS.contains(&key) || key.ends_with("_API_KEY");
            means.model_key |= of_a_vendor && !only_code && !only_them && !ADDRESSES.contains(&key);
        }
        means
    }

    /// An installation with keys of every kind.
    pub fn all(full_image: bool) -> Self {
        Self { claude_key: true, model_key: true, other_key: true, full_image }
    }

    /// Returns true if there is any key.
    pub fn any(self) -> bool {
        self.claude_key || self.model_key || self.other_key
    }
}

/// The provider of a group: its own setting, else the installation's. With a key, `auto` chooses the agent of the
/// operator's own image, else Claude Code if its image was made, else the agent in the runner; otherwise the guide.
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

/// Returns true if the provider's agent gets the ids of messages, so that it can reply to one. The formats for
/// NanoClaw v1's images and scripts have no ids.
pub fn knows_ids(provider: &str) -> bool {
    !matches!(provider, GUIDE | EXEC | IMAGE)
}

/// Returns true if the provider's program is in the image `full`, and not in `lite`.
pub fn needs_full_image(provider: &str) -> bool {
    matches!(provider, CLAUDE | CODEX | GEMINI)
}

/// The names in `.env` of which any one lets a vendor's program answer; the first is the one to recommend.
pub fn answers_with(provider: &str) -> Vec<&'static str> {
    match provider {
        CLAUDE => OF_CLAUDE.into_iter().chain(OF_CLAUDE_CODE).collect(),
        CODEX => OF_CODEX.to_vec(),
        GEMINI => KEYS_OF_GEMINI.to_vec(),
        _ => Vec::new(),
    }
}

/// The provider's own folder in the agent's home, which other providers' runs do not see. Returns None if it uses the
/// folder that every group has.
pub fn home_folder(provider: &str) -> Option<&'static str> {
    match provider {
        CODEX => Some(".codex"),
        GEMINI => Some(".gemini"),
        _ => None,
    }
}

/// Returns true if the provider needs the network.
pub fn needs_network(provider: &str) -> bool {
    !matches!(provider, GUIDE | EXEC)
}

/// Returns true if the provider may get this key. A vendor's program passes its keys on to child processes, so it
/// gets no keys of other vendors. Keys that the operator added go to every provider with secrets.
pub fn may_have(provider: &str, key: &str) -> bool {
    let named_besides = !DEFAULT_KEYS.contains(&key);
    match provider {
        CLAUDE => named_besides || key.starts_with("ANTHROPIC_") || OF_CLAUDE_CODE.contains(&key),
        CODEX => named_besides || OF_CODEX.contains(&key),
        GEMINI => named_besides || OF_GEMINI.contains(&key),
        _ => needs_secrets(provider),
    }
}

/// Returns true if the provider gets secrets.
pub fn needs_secrets(provider: &str) -> bool {
    !matches!(provider, GUIDE | EXEC)
}
