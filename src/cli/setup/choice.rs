//! The choices of the setup, and the needs of each. Pure.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use crate::config::provider;

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// Nobody with a model.
    Guide,
    /// Claude with a key.
    Claude,
    /// Claude with a subscription.
    ClaudeToken,
    /// Models of `OpenAI`.
    OpenAi,
    /// Google's models.
    Gemini,
    /// The agent of `OpenAI` itself.
    Codex,
    /// Google's own agent.
    GeminiCli,
    /// A server of the operator's own.
    Server,
    /// Nothing now.
    Skip,
}

/// All, in the order of the menu.
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

/// The line of the menu that an answer means: its number, a name, or the only label that holds the words.
pub(super) fn meant(offered: &[Choice], answer: &str) -> Result<Choice, String> {
    let answer = answer.trim().to_lowercase();
    if let Ok(number) = answer.parse::<usize>() {
        let choice = number.checked_sub(1).and_then(|index| offered.get(index));
        return choice.copied().ok_or_else(|| format!("Please type a number from 1 to {}, or a name.", offered.len()));
    }
    if let Some(choice) = offered.iter().find(|choice| choice.names().contains(&answer.as_str())) {
        return Ok(*choice);
    }
    // A letter or two stand in nearly every line.
    let long = answer.chars().count() >= 4;
    let mut holding = offered.iter().filter(|choice| long && choice.label().to_lowercase().contains(&answer));
    match (holding.next(), holding.next()) {
        (Some(choice), None) => Ok(*choice),
        (Some(_), Some(_)) => Err(format!("More than one line has “{answer}” in it: please type its number.")),
        _ => Err(format!("No line has “{answer}” in it: please type a number from 1 to {}.", offered.len())),
    }
}

/// Keys in the order in which they decide who answers, where nothing else does.
const ORDER: [&str; 7] = [
    "CLAUDE_CODE_OAUTH_TOKEN",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "OPENAI_BASE_URL",
    "OPENAI_API_KEY",
    "GEMINI_API_KEY",
    "OLLAMA_HOST",
];

/// Whoever has keys, and the settings that send these elsewhere.
pub(super) struct Vendor {
    /// As people know it.
    pub(super) name: &'static str,
    /// Addresses, the first that is there.
    pub(super) addresses: &'static [&'static str],
    /// Keys that go there. A token of Claude Code is none: it is Anthropic's in any case.
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

/// What is in `.env`.
pub(super) type Env = BTreeMap<String, String>;
/// What is to be there, or not any more.
pub(super) type Changes = BTreeMap<String, Option<SecretString>>;

impl Choice {
    /// Returns what this Parlor can offer.
    pub(super) fn offered() -> Vec<Self> {
        let known = |choice: &Self| choice.provider() == provider::AUTO || provider::parse(choice.provider()).is_ok();
        ALL.into_iter().filter(known).collect()
    }

    /// Returns how the menu names it.
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

    /// Returns what people type for it.
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

    /// Returns what `PARLOR_PROVIDER` has to be for it.
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

    /// Returns who is meant to get the key.
    pub(super) fn vendor(self) -> Option<&'static Vendor> {
        let [anthropic, openai, google] = &VENDORS;
        match self {
            Self::Claude | Self::ClaudeToken => Some(anthropic),
            Self::OpenAi | Self::Codex => Some(openai),
            Self::Gemini | Self::GeminiCli => Some(google),
            Self::Guide | Self::Server | Self::Skip => None,
        }
    }

    /// Returns true if its program is in the image `full` alone.
    pub(super) fn needs_full_image(self) -> bool {
        self == Self::ClaudeToken || provider::needs_full_image(self.provider())
    }

    /// Returns where one gets the key.
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

/// A warning about a key that looks wrong; it may be right all the same.
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

/// Returns which setting an address of a server of one's own is; an error says what is wrong with it.
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

/// Returns true if an address means the machine that it is used on: in a room that is the room itself.
pub(super) fn is_loopback(address: &str) -> bool {
    let host = address.split("://").last().unwrap_or_default();
    let host = host.split('/').next().unwrap_or_default();
    host.starts_with("127.") || host.starts_with("localhost") || host.starts_with("[::1]") || host == "::1"
}

/// Keys that would decide in favour of somebody else.
pub(super) fn rivals<'a>(choice: Choice, own: &str, env: &'a Env) -> Vec<&'a str> {
    if choice.provider() != provider::AUTO || choice == Choice::Claude {
        return Vec::new();
    }
    let vendor = own.split('_').next().unwrap_or_default();
    let before = ORDER.iter().position(|key| *key == own).unwrap_or_default();
    // With a token Claude Code still prefers a key.
    let before = if choice == Choice::ClaudeToken { &ORDER[1..3] } else { &ORDER[..before] };
    let rival = |key: &&str| !key.starts_with(vendor) && before.contains(key) && value(env, key).is_some();
    env.keys().map(String::as_str).filter(rival).collect()
}

/// A value that is not empty.
pub(super) fn value<'a>(env: &'a Env, key: &str) -> Option<&'a str> {
    env.get(key).map(String::as_str).filter(|value| !value.trim().is_empty())
}

/// Keys that stay in `.env` and would go to a server that they were not given for, each with that server.
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
            // Of a server that is chosen it was said that it needs no key, or another one.
            let unwanted = *key == "OPENAI_API_KEY" && own == "OPENAI_BASE_URL";
            let stays = *key != own && !changes.contains_key(*key) && value(env, key).is_some();
            if stays && (moved || unwanted) {
                strays.push((*key, now.map_or_else(|| (*name).to_owned(), place)));
            }
        }
    }
    strays
}

/// An address without the login that may be in it.
pub(super) fn place(address: &str) -> String {
    match (address.split_once("://"), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        (None, Some((_, host))) => format!("…@{host}"),
        (_, None) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_keys_are_told_and_not_refused() {
        assert_eq!(oddity("ANTHROPIC_API_KEY", "sk-ant-api03-0123456789abcdef"), None);
        assert_eq!(oddity("GEMINI_API_KEY", "AIzaSy0123456789abcdefg"), None);
        let why = |key, value| oddity(key, value).unwrap();
        assert!(why("ANTHROPIC_API_KEY", "sk-ant-oat01-0123456789").contains("setup-token"));
        assert!(why("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-api03-01234567").contains("key of Anthropic"));
        assert!(why("OPENAI_API_KEY", "sk-1").contains("shorter"));
        assert!(why("GEMINI_API_KEY", "AIzaSy/0123456789abcdefgé").contains("characters"));
    }

    #[test]
    fn addresses_say_whose_they_are() {
        assert_eq!(server("box"), Ok(("OLLAMA_HOST", "box".into())));
        assert_eq!(server("http://box:11434/"), Ok(("OLLAMA_HOST", "http://box:11434".into())));
        assert_eq!(server(" https://box/v1/ "), Ok(("OPENAI_BASE_URL", "https://box/v1".into())));
        for wrong in ["ftp://box", "a b", "http://"] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
        assert!(is_loopback("http://localhost:1/v1") && is_loopback("127.0.0.1:11434") && !is_loopback("http://box"));
    }

    #[test]
    fn whoever_comes_first_is_a_rival() {
        let env: BTreeMap<String, String> =
            [("ANTHROPIC_API_KEY", "k"), ("OPENAI_BASE_URL", "u"), ("OPENAI_API_KEY", "k"), ("TZ", "UTC")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
        assert_eq!(rivals(Choice::OpenAi, "OPENAI_API_KEY", &env), ["ANTHROPIC_API_KEY"]);
        assert_eq!(
            rivals(Choice::Gemini, "GEMINI_API_KEY", &env),
            ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"]
        );
        assert_eq!(rivals(Choice::ClaudeToken, "CLAUDE_CODE_OAUTH_TOKEN", &env), ["ANTHROPIC_API_KEY"]);
        assert_eq!(rivals(Choice::Claude, "ANTHROPIC_API_KEY", &env), Vec::<&str>::new());
    }

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn changes(pairs: &[(&str, Option<&str>)]) -> Changes {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.map(SecretString::from))).collect()
    }

    #[test]
    fn every_vendor_has_the_key_that_it_is_asked_for_and_addresses_that_agents_read() {
        for choice in ALL {
            assert_eq!(choice.vendor().is_some(), choice.key().is_some(), "{choice:?}");
        }
        let of = |choice: Choice| choice.vendor().unwrap().addresses;
        assert_eq!((of(Choice::OpenAi), of(Choice::Codex)), (&["OPENAI_BASE_URL"][..], &["OPENAI_BASE_URL"][..]));
        assert_eq!((of(Choice::Claude), of(Choice::ClaudeToken)), (&["ANTHROPIC_BASE_URL"][..], of(Choice::Claude)));
        assert_eq!(of(Choice::Gemini), ["GEMINI_BASE_URL", "GOOGLE_GEMINI_BASE_URL"]);
        assert_eq!(of(Choice::GeminiCli), of(Choice::Gemini));
        let known = crate::config::secrets::DEFAULT_KEYS;
        let addresses = known.iter().filter(|key| key.ends_with("_BASE_URL")).count();
        assert_eq!(VENDORS.iter().map(|vendor| vendor.addresses.len()).sum::<usize>(), addresses);
        assert!(
            VENDORS.iter().flat_map(|vendor| vendor.keys.iter().chain(vendor.addresses)).all(|key| known.contains(key))
        );
    }

    #[test]
    fn a_key_for_a_vendor_does_not_go_to_a_server_of_ones_own() {
        let real = env(&[("OPENAI_API_KEY", "real"), ("CODEX_API_KEY", "real, too"), ("GEMINI_API_KEY", "g")]);
        let url = ("OPENAI_BASE_URL", Some("http://ann:pw@box/v1"));
        let both = [("OPENAI_API_KEY", "http://…@box/v1".to_owned()), ("CODEX_API_KEY", "http://…@box/v1".to_owned())];
        assert_eq!(strays("OPENAI_BASE_URL", &real, &changes(&[url])), both);
        // What was given for it, and what is taken out, is none.
        let given = changes(&[url, ("OPENAI_API_KEY", Some("its own")), ("CODEX_API_KEY", None)]);
        assert_eq!(strays("OPENAI_BASE_URL", &real, &given), []);
        // The same address once more, and "it needs none".
        let old = env(&[("OPENAI_BASE_URL", "http://box/v1"), ("OPENAI_API_KEY", "k"), ("CODEX_API_KEY", "k")]);
        let same = changes(&[("OPENAI_BASE_URL", Some("http://box/v1"))]);
        assert_eq!(strays("OPENAI_BASE_URL", &old, &same), [("OPENAI_API_KEY", "http://box/v1".to_owned())]);
    }

    #[test]
    fn a_key_for_a_server_of_ones_own_does_not_go_to_the_vendor() {
        let old = env(&[
            ("ANTHROPIC_BASE_URL", "http://a"),
            ("ANTHROPIC_AUTH_TOKEN", "t"),
            ("OPENAI_BASE_URL", "http://o/v1"),
            ("OPENAI_API_KEY", "k"),
            ("GEMINI_BASE_URL", ""),
            ("GOOGLE_GEMINI_BASE_URL", "http://g"),
            ("GOOGLE_API_KEY", "k"),
        ]);
        let strays = |own: &str, gone: &str| strays(own, &old, &changes(&[(gone, None)]));
        assert_eq!(strays("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"), [("ANTHROPIC_AUTH_TOKEN", "Anthropic".into())]);
        assert_eq!(strays("OLLAMA_HOST", "OPENAI_BASE_URL"), [("OPENAI_API_KEY", "OpenAI".into())]);
        assert_eq!(strays("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"), [("GOOGLE_API_KEY", "Google".into())]);
        // Kept knowingly, or as it was.
        assert_eq!(strays("OPENAI_API_KEY", "OPENAI_BASE_URL"), []);
        assert_eq!(strays("OPENAI_API_KEY", "TZ"), []);
    }

    #[test]
    fn addresses_are_shown_without_logins() {
        assert_eq!(place("http://box/v1"), "http://box/v1");
        assert_eq!(place("https://ann:p@ss/w@box/v1"), "https://…@box/v1");
        assert_eq!(place("ann:pw@box"), "…@box");
    }

    #[test]
    fn an_answer_may_be_a_number_or_a_name() {
        let offered = Choice::offered();
        for (answer, choice) in [
            ("1", Choice::Guide),
            ("guide", Choice::Guide),
            ("Claude", Choice::Claude),
            (" ollama ", Choice::Server),
            ("codex", Choice::Codex),
            ("nothing", Choice::Skip),
            ("subscr", Choice::ClaudeToken),
        ] {
            assert_eq!(meant(&offered, answer).as_ref(), Ok(&choice), "{answer}");
        }
        for answer in ["0", "99", "key", "with", "x", "oracle", "-1"] {
            let why = meant(&offered, answer).unwrap_err();
            assert!(why.contains("number"), "{answer}: {why}");
        }
    }

    #[test]
    fn only_agents_that_there_are_are_offered() {
        let offered = Choice::offered();
        assert_eq!(offered[0], Choice::Guide);
        assert_eq!(offered.contains(&Choice::Codex), provider::parse("codex").is_ok());
        assert_eq!(offered.last(), Some(&Choice::Skip));
    }
}
