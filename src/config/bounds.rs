//! The operator's bounds of groups' own choices, in the `agent.toml` that their agents may write.

use super::provider::{self, EXEC, GUIDE};
use super::settings::Settings;
use crate::domain::group::ContainerConfig;

/// Kinds of settings.
pub const KINDS: [&str; 7] = [PROVIDER, "model", "prompt", "tools", "mcp", "hooks", "env"];
/// The one that the host looks at itself.
pub const PROVIDER: &str = "provider";
/// The word for no kind at all.
const NONE: &str = "none";
/// What the settings are told to be.
pub const ALLOWED: &str = "a list out of provider, model, prompt, tools, mcp, hooks, env; or none";
/// Entries a list may have.
const COUNT: usize = 100;

/// The operator's bounds for groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// `PARLOR_AGENT_MAY`: the kinds of settings that count in a group's file.
    pub may: Vec<String>,
    /// `PARLOR_AGENT_MODELS`: models that may be chosen, with a `*` at the end for any rest; none allows all.
    pub models: Vec<String>,
    /// `PARLOR_AGENT_PROVIDERS`: providers that may be chosen; none allows those that get no keys.
    pub providers: Option<Vec<String>>,
}

impl Default for Bounds {
    fn default() -> Self {
        let may = KINDS.into_iter().filter(|kind| *kind != PROVIDER).map(str::to_owned).collect();
        Self { may, models: Vec::new(), providers: None }
    }
}

/// Reads kinds of settings from a text.
pub fn kinds(text: &str) -> Option<Vec<String>> {
    let kinds = words(text)?;
    if kinds == [NONE] {
        return Some(Vec::new());
    }
    check_kinds(&kinds).then_some(kinds)
}

/// Returns true if there are such kinds.
pub fn check_kinds(kinds: &[String]) -> bool {
    kinds.len() <= KINDS.len() && kinds.iter().all(|kind| KINDS.contains(&kind.as_str()))
}

/// Reads names of models from a text; a `*` only at their end.
pub fn models(text: &str) -> Option<Vec<String>> {
    let fine = |name: &String| {
        let start = name.strip_suffix('*').unwrap_or(name);
        name.len() <= 256 && !start.contains(|c: char| c == '*' || c.is_whitespace() || c.is_control())
    };
    words(text).filter(|names| names.iter().all(fine))
}

/// Reads names of providers from a text.
pub fn providers(text: &str) -> Option<Vec<String>> {
    words(text).filter(|names| names.iter().all(|name| provider::parse(name).is_ok()))
}

fn words(text: &str) -> Option<Vec<String>> {
    let words: Vec<String> = text.split(',').map(str::trim).filter(|w| !w.is_empty()).map(str::to_owned).collect();
    (words.len() <= COUNT).then_some(words)
}

/// The kinds of settings that count for a group: its own, else the installation's.
pub fn may<'a>(settings: &'a Settings, config: &'a ContainerConfig) -> &'a [String] {
    config.agent_may.as_deref().unwrap_or(&settings.bounds.may)
}

/// Returns whether a group may choose a provider. The error says why not.
pub fn may_choose(settings: &Settings, config: &ContainerConfig, name: &'static str) -> Result<(), String> {
    if let Some(own) = &config.provider {
        return Err(format!("the operator chose {own} for this group"));
    }
    if !may(settings, config).iter().any(|kind| kind == PROVIDER) {
        return Err(format!("the operator keeps it to himself (agent_may has no {PROVIDER:?})"));
    }
    let allowed = match &settings.bounds.providers {
        Some(names) => names.iter().any(|allowed| allowed == name),
        None => matches!(name, GUIDE | EXEC),
    };
    if allowed {
        return Ok(());
    }
    let names = match &settings.bounds.providers {
        Some(names) => names.join(", "),
        None => format!("{GUIDE}, {EXEC}"),
    };
    Err(format!("{name} is not among what the operator allows (agent_providers): {names}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_checked() {
        assert_eq!(kinds("model, prompt"), Some(vec!["model".to_owned(), "prompt".to_owned()]));
        assert_eq!((kinds("none"), kinds("none, model"), kinds("colour")), (Some(Vec::new()), None, None));
        assert_eq!(models("claude-*, gpt-5.4").map(|list| list.len()), Some(2));
        assert!(models("a*b").is_none() && models("a b").is_none());
        assert_eq!(providers("guide, llm").map(|list| list.len()), Some(2));
        assert!(providers("auto").is_none() && providers("nobody").is_none());
        assert!(Bounds::default().may.iter().all(|kind| kind != PROVIDER));
    }
}
