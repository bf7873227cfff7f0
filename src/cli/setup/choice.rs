//! The choices of the setup, and their requirements. Pure.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use crate::config::provider;

/// A choice of the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// The guide, without a model.
    Guide,
    /// Claude with an API key.
    Claude,
    /// Claude with a subscription.
    ClaudeToken,
    /// Models of `OpenAI`.
    OpenAi,
    /// Google's models.
    Gemini,
    /// Codex, the agent of `OpenAI`.
    Codex,
    /// Gemini CLI, Google's agent.
    GeminiCli,
    /// The operator's own server.
    Server,
    /// No change now.
    Skip,
}

/// All choices in the order of the menu.
const ALL: [Choice; 9] = [
    Choice::Guide,
    Choice::Claude,
    Choice::ClaudeToken,
    Choice::OpenAi,
    Choice::Gemini,
    Choice::Codex,
    Choice::GeminiCli,
    Choice::Server,
    Choice::Skip,
];

/// Finds the choice for an answer: its number, a name, or the only label that contains the words.
pub(super) fn meant(offered: &[Choice], answer: &str) -> Result<Choice, String> {
    let answer = answer.trim().to_lowercase();
    if let Ok(number) = answer.parse::<usize>() {
        let choice = number.checked_sub(1).and_then(|index| offered.get(index));
        return choice.copied().ok_or_else(|| format!("Please type a number from 1 to {}, or a name.", offered.len()));
    }
    if let Some(choice) = offered.iter().find(|choice| choice.names().contains(&answer.as_str())) {
        return Ok(*choice);
    }
    // Short answers would be part of nearly every label.
    let long = answer.chars().count() >= 4;
    let mut holding = offered.iter().filter(|choice| long && choice.label().to_lowercase().contains(&answer));
    match (holding.next(), holding.next()) {
        (Some(choice), None) => Ok(*choice),
        (Some(_), Some(_)) => Err(format!("More than one line has “{answer}” in it: please type its number.")),
        _ => Err(format!("No line has “{answer}” in it: please type a number from 1 to {}.", offered.len())),
    }
}

/// The keys in the order in which `auto` prefers them.
const ORDER: [&str; 7] = [
    "CLAUDE_CODE_OAUTH_TOKEN",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "OPENAI_BASE_URL",
    "OPENAI_API_KEY",
    "GEMINI_API_KEY",
    "OLLAMA_HOST",
];

/// A vendor with its keys, and the settings that would send these keys elsewhere.
pub(super) struct Vendor {
    /// The name for people.
    pub(super) name: &'static str,
    /// The settings with an address; the first that is set counts.
    pub(super) addresses: &'static [&'static str],
    /// The keys sent to this address. Claude Code's token is not listed: it always goes to Anthropic.
    keys: &'static [&'static str],
}

static VENDORS: [Vendor; 3] = [
    Vendor {
        name: "Anthropic",
        addresses: &["ANTHROPIC_BASE_URL"],
        keys: &["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"],
    },
    Vendor { name: "OpenAI", addresses: &["OPENAI_BASE_URL"], keys: &["OPENAI_API_KEY", "CODEX_API_KEY"] },
    Vendor {
        name: "Google",
        addresses: &["GEMINI_BASE_URL", "GOOGLE_GEMINI_BASE_URL"],
        keys: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
    },
];

/// The content of `.env`.
pub(super) type Env = BTreeMap<String, String>;
/// New values for `.env`; None removes a key.
pub(super) type Changes = BTreeMap<String, Option<SecretString>>;

impl Choice {
    /// The choices that this version of Parlor offers.
    pub(super) fn offered() -> Vec<Self> {
        let known = |choice: &Self| choice.provider() == provider::AUTO || provider::parse(choice.provider()).is_ok();
        ALL.into_iter().filter(known).collect()
    }

    /// The label in the menu.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Guide => "the guide: reminders, notes and commands; no account, no key",
            Self::Claude => "Claude, with an API key",
            Self::ClaudeToken => "Claude Code, with a subscription",
            Self::OpenAi => "OpenAI's models, with an API key",
            Self::Gemini => "Google's Gemini, with an API key",
            Self::Codex => "OpenAI's agent Codex, with an API key",
            Self::GeminiCli => "Google's agent Gemini CLI, with an API key",
            Self::Server => "a model server of your own: Ollama, or OpenAI-compatible",
            Self::Skip => "nothing now: do not ask again",
        }
    }

    /// The words that people may type for it.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Guide => &["guide"],
            Self::Claude => &["claude", "anthropic"],
            Self::ClaudeToken => &["claude code", "subscription"],
            Self::OpenAi => &["openai", "gpt"],
            Self::Gemini => &["gemini", "google"],
            Self::Codex => &["codex"],
            Self::GeminiCli => &["gemini cli"],
            Self::Server => &["ollama", "server", "local"],
            Self::Skip => &["nothing", "none", "skip", "no"],
        }
    }

    /// The value of `PARLOR_PROVIDER` for it.
    pub(super) fn provider(self) -> &'static str {
        match self {
            Self::Guide => provider::GUIDE,
            Self::Codex => "codex",
            Self::GeminiCli => "gemini",
            _ => provider::AUTO,
        }
    }

    /// The key that it needs.
    pub(super) fn key(self) -> Option<&'static str> {
        match self {
            Self::Claude => Some("ANTHROPIC_API_KEY"),
            Self::ClaudeToken => Some("CLAUDE_CODE_OAUTH_TOKEN"),
            Self::OpenAi | Self::Codex => Some("OPENAI_API_KEY"),
            Self::Gemini | Self::GeminiCli => Some("GEMINI_API_KEY"),
            Self::Guide | Self::Server | Self::Skip => None,
        }
    }

    /// The vendor that gets the key.
    pub(super) fn vendor(self) -> Option<&'static Vendor> {
        let [anthropic, openai, google] = &VENDORS;
        match self {
            Self::Claude | Self::ClaudeToken => Some(anthropic),
            Self::OpenAi | Self::Codex => Some(openai),
            Self::Gemini | Self::GeminiCli => Some(google),
            Self::Guide | Self::Server | Self::Skip => None,
        }
    }

    /// Returns true if its program is only in the image `full`.
    pub(super) fn needs_full_image(self) -> bool {
        self == Self::ClaudeToken || provider::needs_full_image(self.provider())
    }

    /// The place where one gets the key.
    pub(super) fn source(self) -> &'static str {
        match self {
            Self::Claude => "Keys are made at https://console.anthropic.com (API keys).",
            Self::OpenAi | Self::Codex => "Keys are made at https://platform.openai.com (API keys).",
            Self::Gemini | Self::GeminiCli => "Keys are made at https://aistudio.google.com (API keys).",
            Self::ClaudeToken => {
                "`claude setup-token` logs in with the browser and prints a token. It runs wherever Claude Code is \
                 installed: npm install -g @anthropic-ai/claude-code"
            }
            Self::Guide | Self::Server | Self::Skip => "",
        }
    }
}

/// A warning about a key that looks wrong; it may still be right.
pub(super) fn oddity(key: &str, value: &str) -> Option<String> {
    let prefix = match key {
        "ANTHROPIC_API_KEY" => "sk-ant-api",
        "CLAUDE_CODE_OAUTH_TOKEN" => "sk-ant-oat",
        "OPENAI_API_KEY" => "sk-",
        _ => "",
    };
    if !value.starts_with(prefix) {
        let other = match value {
            v if v.starts_with("sk-ant-oat") => " It looks like a token of `claude setup-token`.",
            v if v.starts_with("sk-ant-") => " It looks like a key of Anthropic.",
            _ => "",
        };
        return Some(format!("This does not look like {key}: its values usually begin with {prefix}.{other}"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if value.chars().count() < 20 {
        return Some("This is shorter than keys usually are.".to_owned());
    }
    (!value.chars().all(plain)).then(|| "This has characters that keys usually do not have.".to_owned())
}

/// Finds the setting for the address of an own server. The error says what is wrong with the address.
pub(super) fn server(address: &str) -> Result<(&'static str, String), String> {
    let address = address.trim().trim_end_matches('/');
    let rest = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
    if rest.is_none() && address.contains("://") || address.contains(char::is_whitespace) || address.ends_with(':') {
        return Err("use an address such as http://192.168.1.5:11434 (Ollama) or http://192.168.1.5:8080/v1".to_owned());
    }
    match rest {
        Some(rest) if rest.contains('/') => Ok(("OPENAI_BASE_URL", address.to_owned())),
        _ => Ok(("OLLAMA_HOST", address.to_owned())),
    }
}

/// Returns true if an address is a loopback address: in a container it would mean the container.
pub(super) fn is_loopback(address: &str) -> bool {
    let host = address.split("://").last().unwrap_or_default();
    let host = host.split('/').next().unwrap_or_default();
    host.starts_with("127.") || host.starts_with("localhost") || host.starts_with("[::1]") || host == "::1"
}

/// Keys that would make `auto` choose another provider.
pub(super) fn rivals<'a>(choice: Choice, own: &str, env: &'a Env) -> Vec<&'a str> {
    if choice.provider() != provider::AUTO || choice == Choice::Claude {
        return Vec::new();
    }
    let vendor = own.split('_').next().unwrap_or_default();
    let before = ORDER.iter().position(|key| *key == own).unwrap_or_default();
    // Even with a token, Claude Code prefers an API key.
    let before = if choice == Choice::ClaudeToken { &ORDER[1..3] } else { &ORDER[..before] };
    let rival = |key: &&str| !key.starts_with(vendor) && before.contains(key) && value(env, key).is_some();
    env.keys().map(String::as_str).filter(rival).collect()
}

/// A value that is not empty.
pub(super) fn value<'a>(env: &'a Env, key: &str) -> Option<&'a str> {
    env.get(key).map(String::as_str).filter(|value| !value.trim().is_empty())
}

/// Keys that stay in `.env` and would go to a server for which they were not given, each with that server.
pub(super) fn strays(own: &str, env: &Env, changes: &Changes) -> Vec<(&'static str, String)> {
    let is = |key: &str| match changes.get(key) {
        Some(change) => change.as_ref().map(ExposeSecret::expose_secret),
        None => value(env, key),
    };
    let mut strays = Vec::new();
    for Vendor { name, addresses, keys } in &VENDORS {
        let now = addresses.iter().find_map(|key| is(key));
        let moved = now != addresses.iter().find_map(|key| value(env, key));
        for key in *keys {
            // For a chosen server, the person said that it needs no key or another one.
            let unwanted = *key == "OPENAI_API_KEY" && own == "OPENAI_BASE_URL";
            let stays = *key != own && !changes.contains_key(*key) && value(env, key).is_some();
            if stays && (moved || unwanted) {
                strays.push((*key, now.map_or_else(|| (*name).to_owned(), place)));
            }
        }
    }
    strays
}

/// An address with its login hidden.
pub(super) fn place(address: &str) -> String {
    match (address.split_once("://"), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        (None, Some((_, host))) => format!("…@{host}"),
        (_, None) => address.to_owned(),
    }
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
