//! The operator's limits for `agent.toml`, in which a group's agent may choose settings of its own.

use super::provider::{self, EXEC, GUIDE};
use super::settings::Settings;
use crate::domain::group::ContainerConfig;

/// The kinds of settings in `agent.toml`.
pub const KINDS: [&str; 7] = [PROVIDER, "model", "prompt", "tools", "mcp", "hooks", "env"];
/// The only kind that the host itself reads.
pub const PROVIDER: &str = "provider";
/// The word for an empty list of kinds.
const NONE: &str = "none";
/// The allowed lists of kinds, for error messages.
pub const ALLOWED: &str = "a list out of provider, model, prompt, tools, mcp, hooks, env; or none";
/// The largest number of entries of a list.
const COUNT: usize = 100;

/// The limits for all groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// `PARLOR_AGENT_MAY`: the kinds of settings that a group's file may set.
    pub may: Vec<String>,
    /// `PARLOR_AGENT_MODELS`: the models that may be chosen; a `*` at the end stands for any rest. An empty list
    /// allows all.
    pub models: Vec<String>,
    /// `PARLOR_AGENT_PROVIDERS`: the providers that may be chosen; None allows those that get no keys.
    pub providers: Option<Vec<String>>,
}

impl Default for Bounds {
    fn default() -> Self {
        let may = KINDS.into_iter().filter(|kind| *kind != PROVIDER).map(str::to_owned).collect();
        Self { may, models: Vec::new(), providers: None }
    }
}

/// Parses kinds of settings. Returns None if one is unknown.
pub fn kinds(text: &str) -> Option<Vec<String>> {
    let kinds = words(text)?;
    if kinds == [NONE] {
        return Some(Vec::new());
    }
    check_kinds(&kinds).then_some(kinds)
}

/// Returns true if all kinds are known.
pub fn check_kinds(kinds: &[String]) -> bool {
    kinds.len() <= KINDS.len() && kinds.iter().all(|kind| KINDS.contains(&kind.as_str()))
}

/// Parses names of models. Returns None if one has a `*` before its end.
pub fn models(text: &str) -> Option<Vec<String>> {
    let fine = |name: &String| {
        let start = name.strip_suffix('*').unwrap_or(name);
        name.len() <= 256 && !start.contains(|c: char| c == '*' || c.is_whitespace() || c.is_control())
    };
    words(text).filter(|names| names.iter().all(fine))
}

/// Parses names of providers. Returns None if one is unknown.
pub fn providers(text: &str) -> Option<Vec<String>> {
    words(text).filter(|names| names.iter().all(|name| provider::parse(name).is_ok()))
}

fn words(text: &str) -> Option<Vec<String>> {
    let words: Vec<String> = text.split(',').map(str::trim).filter(|w| !w.is_empty()).map(str::to_owned).collect();
    (words.len() <= COUNT).then_some(words)
}

/// The kinds that a group's agent may set: the group's setting, else the installation's.
pub fn may<'a>(settings: &'a Settings, config: &'a ContainerConfig) -> &'a [String] {
    config.agent_may.as_deref().unwrap_or(&settings.bounds.may)
}

/// Checks whether a group's agent may choose a provider. The error says why not.
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
    fn bounds_lists_are_parsed_and_checked() {
        assert_eq!(kinds("model, prompt"), Some(vec!["model".to_owned(), "prompt".to_owned()]));
        assert_eq!((kinds("none"), kinds("none, model"), kinds("colour")), (Some(Vec::new()), None, None));
        assert_eq!(models("claude-*, gpt-5.4").map(|list| list.len()), Some(2));
        assert!(models("a*b").is_none() && models("a b").is_none());
        assert_eq!(providers("guide, llm").map(|list| list.len()), Some(2));
        assert!(providers("auto").is_none() && providers("nobody").is_none());
        assert!(Bounds::default().may.iter().all(|kind| kind != PROVIDER));
    }
}
