//! The chain that answers a group: its own provider with a model, then its fallbacks for as long as that one cannot
//! answer.
//!
//! This module also refuses settings: a budget in money needs prices, and a dearer fallback needs the operator's
//! consent.

use std::collections::BTreeSet;

use parlor_protocol::default_model;

use super::home::Home;
use super::provider::{self, AUTO, CLAUDE, EXEC, GUIDE, IMAGE, LLM, Means};
use super::secrets;
use super::settings::Settings;
use super::values;
use crate::domain::group::ContainerConfig;
use crate::domain::prices::{Price, Prices};

/// The largest number of fallbacks of a group.
const MOST: usize = 8;
/// The word for a list without fallbacks.
pub const NONE: &str = "none";
/// The allowed lists of fallbacks, for error messages.
pub const ALLOWED: &str = "up to 8 of PROVIDER, PROVIDER:MODEL or MODEL, separated by commas; or none";

/// A provider, and its model if one is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// A name out of [`provider::PROVIDERS`].
    pub provider: &'static str,
    /// The model; None lets the provider choose.
    pub model: Option<String>,
}

impl Choice {
    /// The name for people, also used as a key: `llm:gpt-5.4`, `claude`.
    pub fn name(&self) -> String {
        match &self.model {
            Some(model) => format!("{}:{model}", self.provider),
            None => self.provider.to_owned(),
        }
    }

    /// Parses `PROVIDER`, `PROVIDER:MODEL` or `MODEL`. A model alone is one of the provider `own`.
    pub fn parse(text: &str, own: &'static str) -> Result<Self, String> {
        let text = text.trim();
        let (first, rest) = text.split_once(':').map_or((text, None), |(first, rest)| (first, Some(rest)));
        let choice = match (provider::parse(first), rest) {
            (Ok(provider), model) => Self { provider, model: model.map(str::to_owned) },
            (Err(_), _) => Self { provider: own, model: Some(text.to_owned()) },
        };
        // A comma would end the entry of the list.
        let word = |model: &String| values::model(model).is_ok_and(|plain| plain == *model) && !model.contains(',');
        if !choice.model.as_ref().is_none_or(word) {
            return Err(format!("{text:?} names no model: use one word"));
        }
        if choice.model.is_some() && matches!(choice.provider, GUIDE | EXEC) {
            return Err(format!("{text:?}: the provider {} has no models", choice.provider));
        }
        Ok(choice)
    }

    fn worth(&self, prices: &Prices) -> Worth {
        match (self.provider, &self.model) {
            (GUIDE | EXEC, _) => Worth::Nothing,
            (_, Some(model)) => prices.of(model).map_or(Worth::Unknown, Worth::Known),
            (_, None) => Worth::Unknown,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Worth {
    Nothing,
    Known(Price),
    Unknown,
}

/// The names of the keys and the image that an installation has; with the settings, they decide who answers.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    names: BTreeSet<String>,
    full_image: bool,
}

impl Keys {
    /// Finds those of an installation. Reads `.env`; an unreadable file counts as empty and is reported elsewhere.
    pub fn read(home: &Home, secret_keys: &[String]) -> Self {
        let names = secrets::read(home, secret_keys).unwrap_or_default().into_keys().collect();
        Self { names, full_image: home.full_image().exists() }
    }

    fn means(&self) -> Means {
        Means::of(self.names.iter().map(String::as_str), self.full_image)
    }

    fn has(&self, provider: &str) -> bool {
        match provider::answers_with(provider) {
            keys if keys.is_empty() => !provider::needs_secrets(provider) || self.means().any(),
            keys => keys.iter().any(|key| self.names.contains(*key)),
        }
    }
}

/// Returns the group's own provider and model.
pub fn first(settings: &Settings, config: &ContainerConfig, keys: &Keys) -> Result<Choice, String> {
    let provider = provider::choose(settings, config, keys.means())?.provider;
    let own = config.model.clone();
    let model = if provider == LLM { own.or_else(|| house_model(settings, keys)) } else { own };
    Ok(Choice { provider, model })
}

/// The model of `llm` for groups that name none.
fn house_model(settings: &Settings, keys: &Keys) -> Option<String> {
    let by_keys = || default_model::by_keys(|key| keys.names.contains(key)).map(str::to_owned);
    settings.model.clone().or_else(by_keys)
}

/// All providers that may answer a group, in order, its own first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// The group's own provider, then its fallbacks.
    pub all: Vec<Choice>,
    /// The reasons for fallbacks left out, for the operator.
    pub refused: Vec<String>,
}

/// Builds the chain. Returns an error if the group's own provider cannot be chosen.
pub fn chain(settings: &Settings, config: &ContainerConfig, keys: &Keys) -> Result<Chain, String> {
    let own = first(settings, config, keys)?;
    let mut chain = Chain { all: vec![own.clone()], refused: Vec::new() };
    let listed = config.fallback.as_ref().unwrap_or(&settings.fallback);
    let dearer = config.fallback_dearer.unwrap_or(settings.fallback_dearer);
    for text in listed {
        let before = chain.all.last().unwrap_or(&own);
        match stand_in(settings, config, keys, text, (before, dearer)) {
            Ok(next) if chain.all.contains(&next) => chain.refused.push(format!("{} is there twice", next.name())),
            Ok(next) => chain.all.push(next),
            Err(why) => chain.refused.push(why),
        }
    }
    Ok(chain)
}

fn stand_in(
    settings: &Settings,
    config: &ContainerConfig,
    keys: &Keys,
    text: &str,
    (before, dearer): (&Choice, bool),
) -> Result<Choice, String> {
    let mut next = Choice::parse(text, before.provider)?;
    if next.provider == LLM && next.model.is_none() {
        next.model = house_model(settings, keys);
    }
    let name = next.name();
    if next.provider == IMAGE && config.image.is_none() && settings.image.is_none() {
        return Err(format!("{name} needs an image with an agent of its own: set CONTAINER_IMAGE"));
    }
    if !keys.has(next.provider) {
        let needed = provider::answers_with(next.provider).first().copied().unwrap_or("ANTHROPIC_API_KEY");
        return Err(format!("{name} has no key: put one such as {needed} into .env"));
    }
    if dearer {
        return Ok(next);
    }
    let (old, new) = (before.worth(&settings.prices), next.worth(&settings.prices));
    let remedy = "leave it out, or allow what is dearer with --fallback-dearer true (fallback_dearer)";
    match (old, new) {
        (_, Worth::Nothing) => Ok(next),
        (Worth::Known(old), Worth::Known(new)) if !new.is_above(&old) => Ok(next),
        (Worth::Known(old), Worth::Known(new)) => Err(format!(
            "{name} is dearer than {} (${} in and ${} out instead of ${} and ${} for a million tokens): {remedy}",
            before.name(),
            new.input,
            new.output,
            old.input,
            old.output
        )),
        (Worth::Nothing, _) => Err(format!("{name} is dearer than {}, which costs nothing: {remedy}", before.name())),
        (_, Worth::Unknown) => Err(format!("{name} {}: {}; or {remedy}", no_price(&next), give_price(&next))),
        (Worth::Unknown, _) => Err(format!(
            "{name} may be dearer than {}, which {}: {}; or {remedy}",
            before.name(),
            no_price(before),
            give_price(before)
        )),
    }
}

fn no_price(choice: &Choice) -> &'static str {
    if choice.model.is_some() { "has no price" } else { "names no model, and so has no price" }
}

fn give_price(choice: &Choice) -> String {
    match &choice.model {
        Some(model) => format!("give {model} one in prices.toml"),
        None => "name its model".to_owned(),
    }
}

/// Checks that a group's budget in money can be kept. The error names the remedy.
pub fn check_budget(settings: &Settings, config: &ContainerConfig, keys: &Keys) -> Result<(), String> {
    let Some(usd) = config.budget.or(settings.budget).usd else { return Ok(()) };
    // A missing provider is reported elsewhere.
    let Ok(chain) = chain(settings, config, keys) else { return Ok(()) };
    // The programs of these report their costs themselves, as far as those can be known.
    let own_account = |choice: &&Choice| !matches!(choice.provider, CLAUDE | IMAGE);
    let blind = |choice: &&Choice| choice.worth(&settings.prices) == Worth::Unknown;
    match chain.all.iter().filter(own_account).find(blind) {
        None => Ok(()),
        Some(choice) => Err(format!(
            "a budget of ${usd:.2} has no effect on {}, which {}: {}, or set a budget in tokens instead",
            choice.name(),
            no_price(choice),
            match &choice.model {
                Some(_) => give_price(choice),
                None => "choose a model (PARLOR_MODEL, or --model for the group)".to_owned(),
            }
        )),
    }
}

/// Checks a group's fallbacks and its budget. The error names the remedy.
pub fn check(settings: &Settings, config: &ContainerConfig, keys: &Keys) -> Result<(), String> {
    if let Ok(chain) = chain(settings, config, keys)
        && let Some(why) = chain.refused.first()
    {
        return Err(format!("fallback: {why}"));
    }
    check_budget(settings, config, keys).map_err(|why| format!("budget.usd: {why}"))
}

/// Parses a list of fallbacks.
pub fn list(text: &str) -> Option<Vec<String>> {
    let items: Vec<String> =
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect();
    if items == [NONE] {
        return Some(Vec::new());
    }
    check_list(&items).is_ok().then_some(items)
}

/// Checks the form of a list of fallbacks.
pub fn check_list(items: &[String]) -> Result<(), String> {
    if items.len() > MOST {
        return Err(format!("{} are too many: use {ALLOWED}", items.len()));
    }
    items.iter().try_for_each(|item| match item.trim() {
        AUTO | NONE => Err(format!("{item:?} is nobody in particular: use {ALLOWED}")),
        item => Choice::parse(item, LLM).map(drop),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::config::{Overrides, load_from};

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let mut all: BTreeMap<String, String> =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        all.insert("HOME".into(), "/nonexistent/user".into());
        let overrides = Overrides { home: Some("/nonexistent/home".into()), ..Overrides::default() };
        load_from(&overrides, &all, Path::new("/")).unwrap()
    }

    fn keys(names: &[&str]) -> Keys {
        Keys { names: names.iter().map(|name| (*name).to_owned()).collect(), full_image: false }
    }

    fn config(provider: &str, model: Option<&str>, fallback: &[&str]) -> ContainerConfig {
        ContainerConfig {
            provider: Some(provider.to_owned()),
            model: model.map(str::to_owned),
            fallback: Some(fallback.iter().map(|one| (*one).to_owned()).collect()),
            ..ContainerConfig::default()
        }
    }

    #[test]
    fn model_names_may_have_colons() {
        let read = |text| Choice::parse(text, LLM).map(|choice| choice.name());
        assert_eq!(read("gpt-5.4"), Ok("llm:gpt-5.4".into()));
        assert_eq!(read("qwen3:8b"), Ok("llm:qwen3:8b".into()));
        assert_eq!(read("llm:qwen3:8b"), Ok("llm:qwen3:8b".into()));
        assert_eq!(read(" claude "), Ok("claude".into()));
        for bad in ["", "llm:", "guide:x", "two words", "llm:-x", "-x"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert_eq!(list("claude, llm:gpt-5.4"), Some(vec!["claude".into(), "llm:gpt-5.4".into()]));
        assert_eq!((list("none"), list("none,guide"), list("auto")), (Some(Vec::new()), None, None));
        assert_eq!(list(&"guide,".repeat(9)), None);
    }

    #[test]
    fn dearer_fallbacks_need_consent() {
        let house = settings(&[]);
        let all = keys(&["ANTHROPIC_API_KEY", "OPENAI_API_KEY"]);
        let why = |config: &ContainerConfig| check(&house, config, &all).err().unwrap_or_default();
        let own = Some("claude-sonnet-5");
        assert_eq!(why(&config("llm", own, &["gpt-5-mini", "gpt-5-nano", "guide"])), "");
        assert_eq!(why(&config("claude", own, &["llm:gpt-5-mini"])), "");
        for (config, part) in [
            (config("llm", own, &["gpt-5.4"]), "llm:gpt-5.4 is dearer than llm:claude-sonnet-5 ($2.5 in and $15 out"),
            (config("llm", own, &["gpt-5-nano", "gpt-5-mini"]), "llm:gpt-5-mini is dearer than llm:gpt-5-nano"),
            (config("llm", own, &["qwen3"]), "llm:qwen3 has no price: give qwen3 one in prices.toml"),
            (config("llm", own, &["claude"]), "claude names no model, and so has no price"),
            (config("claude", None, &["llm:gpt-5-nano"]), "may be dearer than claude, which names no model"),
            (config("guide", None, &["llm:gpt-5-nano"]), "which costs nothing"),
            (config("llm", own, &["gemini:gemini-2.5-flash"]), "has no key: put one such as GEMINI_API_KEY"),
            (config("llm", own, &["image"]), "set CONTAINER_IMAGE"),
            (config("llm", own, &["claude-sonnet-5"]), "is there twice"),
        ] {
            assert!(why(&config).contains(part), "{part}: {}", why(&config));
        }
        let asked = ContainerConfig { fallback_dearer: Some(true), ..config("llm", own, &["gpt-5.4", "qwen3"]) };
        assert_eq!(why(&asked), "");
        let chain = chain(&house, &config("llm", own, &["gpt-5.4", "gpt-5-nano"]), &all).unwrap();
        assert_eq!(chain.all.len(), 2, "who may not is left out, the rest counts: {chain:?}");
    }

    #[test]
    fn budget_in_money_needs_prices() {
        let limited = |usd| ContainerConfig {
            budget: crate::domain::usage::Budget { usd: Some(usd), tokens: None },
            ..ContainerConfig::default()
        };
        let house = settings(&[]);
        let why = |config: &ContainerConfig, names: &[&str]| check_budget(&house, config, &keys(names)).err();
        assert_eq!(why(&limited(1.0), &["ANTHROPIC_API_KEY"]), None, "the default model has a price");
        assert_eq!(why(&limited(1.0), &[]), None, "the guide costs nothing");
        let own = ContainerConfig { model: Some("qwen3".into()), ..limited(1.0) };
        let told = why(&own, &["ANTHROPIC_API_KEY"]).unwrap();
        assert!(told.contains("llm:qwen3, which has no price: give qwen3 one in prices.toml"), "{told}");
        let server = why(&limited(0.5), &["OPENAI_API_KEY", "OPENAI_BASE_URL"]).unwrap();
        assert!(
            server.starts_with("a budget of $0.50 has no effect on llm") && server.contains("PARLOR_MODEL"),
            "{server}"
        );
        let codex = ContainerConfig { provider: Some("codex".into()), ..limited(1.0) };
        assert!(why(&codex, &["OPENAI_API_KEY"]).unwrap().contains("choose a model"));
        let claude = ContainerConfig { provider: Some("claude".into()), ..limited(1.0) };
        assert_eq!(why(&claude, &["ANTHROPIC_API_KEY"]), None, "it reports what it costs");
        let tokens = ContainerConfig { model: own.model, ..ContainerConfig::default() };
        assert_eq!(why(&tokens, &["ANTHROPIC_API_KEY"]), None);
    }
}
