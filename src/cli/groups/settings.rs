//! The settings of a group that `parlor groups add` and `update` take.

use std::str::FromStr;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::Failure;
use crate::config::values;
use crate::domain::words;

#[derive(Debug, Args)]
pub(in crate::cli) struct GroupSettings {
    /// The name people see
    #[arg(long)]
    name: Option<String>,
    /// Its own trigger; empty for the default one
    #[arg(long, value_name = "WORD")]
    trigger: Option<String>,
    /// Whether it answers only when triggered
    #[arg(long, value_name = "BOOL")]
    requires_trigger: Option<bool>,
    /// Image instead of the default one: lite or full, Parlor's own, or a reference; this and the next ones: empty
    /// clears
    #[arg(long)]
    image: Option<String>,
    // The global option --provider has the id `provider`.
    /// Provider instead of the default one
    #[arg(id = "agent_provider", long = "agent-provider", value_name = "NAME")]
    provider: Option<String>,
    /// Model, for providers that know models
    #[arg(long)]
    model: Option<String>,
    /// Who answers while that one cannot, in order: PROVIDER, PROVIDER:MODEL or MODEL; or none
    #[arg(long, value_name = "LIST")]
    fallback: Option<String>,
    /// Whether those may be dearer, or of an unknown price
    #[arg(long, value_name = "BOOL")]
    fallback_dearer: Option<bool>,
    /// What its own agent.toml may set: provider, model, prompt, tools, mcp, hooks, env; or none
    #[arg(long, value_name = "LIST")]
    agent_may: Option<String>,
    /// none, default, or a network's name
    #[arg(long)]
    network: Option<String>,
    /// Memory limit, such as 2g
    #[arg(long)]
    memory: Option<String>,
    /// CPU limit, such as 0.5
    #[arg(long)]
    cpus: Option<String>,
    /// Process limit
    #[arg(long)]
    pids: Option<Number>,
    /// US dollars that it may use a day
    #[arg(long, value_name = "USD")]
    budget_usd: Option<Amount>,
    /// Tokens that it may use a day
    #[arg(long, value_name = "TOKENS")]
    budget_tokens: Option<Number>,
    /// Quiet time before messages begin a turn, such as 2s; a bare number is milliseconds
    #[arg(long, value_name = "TIME")]
    settle: Option<Time>,
    /// Hard timeout, such as 30m; a bare number is milliseconds
    #[arg(long, value_name = "TIME")]
    timeout: Option<Time>,
    /// Mount a host path, once allowed by mount-allowlist.json: PATH[:NAME][:rw]; replaces all that were set, and
    /// empty clears
    #[arg(long, value_name = "MOUNT")]
    mount: Vec<String>,
    /// Set a variable in the container, never a secret; KEY= clears it
    #[arg(long, value_name = "KEY=VALUE")]
    env: Vec<String>,
}

/// A number, or an empty value that clears the setting.
#[derive(Debug, Clone, Copy)]
struct Number(Option<u64>);

impl FromStr for Number {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits => Ok(Self(Some(number))),
            _ if text.is_empty() => Ok(Self(None)),
            _ => Err("use a whole number, or nothing to clear it"),
        }
    }
}

/// A time in milliseconds, or an empty value that clears the setting.
#[derive(Debug, Clone, Copy)]
struct Time(Option<u64>);

impl FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let time = words::parse_duration(text).and_then(|time| u64::try_from(time.as_millis()).ok());
        time.map(|ms| Self(Some(ms))).ok_or("use a number with s, m, h or d, such as 30m, or nothing to clear it")
    }
}

/// An amount of money, or an empty value that clears the setting.
#[derive(Debug, Clone, Copy)]
struct Amount(Option<f64>);

impl FromStr for Amount {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match values::dollars(text) {
            _ if text.is_empty() => Ok(Self(None)),
            Some(amount) => Ok(Self(Some(amount))),
            None => Err("use US dollars a day with a point, such as 2.50, or nothing to clear it"),
        }
    }
}

impl GroupSettings {
    /// The request's body with the given settings.
    pub(super) fn body(&self) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        if let Some(name) = &self.name {
            body.insert("name".into(), json!(name));
        }
        if let Some(trigger) = &self.trigger {
            body.insert("trigger".into(), or_null(trigger));
        }
        if let Some(requires) = self.requires_trigger {
            body.insert("requiresTrigger".into(), json!(requires));
        }
        let config = self.config()?;
        if !config.is_empty() {
            body.insert("containerConfig".into(), Value::Object(config));
        }
        Ok(body)
    }

    fn config(&self) -> Result<Map<String, Value>, Failure> {
        let mut config = Map::new();
        let texts = [
            ("image", &self.image),
            ("provider", &self.provider),
            ("model", &self.model),
            ("network", &self.network),
            ("memory", &self.memory),
            ("cpus", &self.cpus),
        ];
        for (key, value) in texts {
            if let Some(value) = value {
                config.insert(key.into(), or_null(value));
            }
        }
        if let Some(list) = &self.agent_may {
            let kinds = || list.split(',').map(str::trim).filter(|kind| !kind.is_empty() && *kind != "none");
            let value = if list.trim().is_empty() { Value::Null } else { kinds().collect() };
            config.insert("agentMay".into(), value);
        }
        if let Some(list) = &self.fallback {
            let others = || list.split(',').map(str::trim).filter(|other| !other.is_empty() && *other != "none");
            let value = if list.trim().is_empty() { Value::Null } else { others().collect() };
            config.insert("fallback".into(), value);
        }
        if let Some(dearer) = self.fallback_dearer {
            config.insert("fallbackDearer".into(), json!(dearer));
        }
        if let Some(Number(pids)) = self.pids {
            config.insert("pids".into(), json!(pids));
        }
        if let Some(Time(timeout)) = self.timeout {
            config.insert("timeout".into(), json!(timeout));
        }
        if let Some(Time(settle)) = self.settle {
            config.insert("settle".into(), json!(settle));
        }
        let mut budget = Map::new();
        if let Some(Amount(usd)) = self.budget_usd {
            budget.insert("usd".into(), json!(usd));
        }
        if let Some(Number(tokens)) = self.budget_tokens {
            budget.insert("tokens".into(), json!(tokens));
        }
        if !budget.is_empty() {
            config.insert("budget".into(), Value::Object(budget));
        }
        if !self.mount.is_empty() {
            let mounts: Vec<Value> =
                self.mount.iter().filter(|text| !text.is_empty()).map(|text| mount(text)).collect();
            config.insert("additionalMounts".into(), if mounts.is_empty() { Value::Null } else { mounts.into() });
        }
        let mut env = Map::new();
        for pair in &self.env {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(Failure::Usage(format!("--env {pair:?} has no `=`: use KEY=VALUE")));
            };
            env.insert(key.into(), or_null(value));
        }
        if !env.is_empty() {
            config.insert("env".into(), Value::Object(env));
        }
        Ok(config)
    }
}

fn or_null(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

/// Parses `PATH[:NAME][:rw]`; a path has no colon.
fn mount(text: &str) -> Value {
    let (rest, writable) = match text.strip_suffix(":rw") {
        Some(rest) => (rest, true),
        None => (text.strip_suffix(":ro").unwrap_or(text), false),
    };
    let mut mount = match rest.split_once(':') {
        Some((path, name)) => json!({ "hostPath": path, "containerPath": name }),
        None => json!({ "hostPath": rest }),
    };
    if writable {
        mount["readonly"] = json!(false);
    }
    mount
}

/// Replaces a field's name in a refusal by the option that the person typed.
pub(super) fn in_words_of_options(detail: &str) -> String {
    const NAMES: [(&str, &str); 15] = [
        ("memory", "--memory"),
        ("cpus", "--cpus"),
        ("pids", "--pids"),
        ("network", "--network"),
        ("image", "--image"),
        ("provider", "--agent-provider"),
        ("model", "--model"),
        ("fallback", "--fallback"),
        ("agentMay", "--agent-may"),
        ("budget.usd", "--budget-usd"),
        ("budget.tokens", "--budget-tokens"),
        ("additionalMounts", "--mount"),
        ("env", "--env"),
        ("timeout", "--timeout"),
        ("settle", "--settle"),
    ];
    let Some(rest) = detail.strip_prefix("containerConfig") else { return detail.to_owned() };
    let rest = rest.trim_start_matches(['.', ':', ' ']).replace("; null clears it", "; an empty value clears it");
    let Some((field, why)) = rest.split_once(": ") else { return rest };
    // A field of one of several mounts has an index and a part.
    let name = field.split('[').next().unwrap_or(field);
    let option = NAMES.iter().find(|(key, _)| *key == name).map(|(_, option)| *option);
    option.map_or_else(|| rest.clone(), |option| format!("{option}: {why}"))
}

/// Checks a chat's id: an id that no channel can serve is refused; an id that no channel serves yet gives a warning.
pub(super) fn check_chat(jid: &str) -> Result<Option<String>, Failure> {
    match jid.split_once(':') {
        Some(("tty" | "web", name)) if !name.is_empty() => Ok(None),
        Some(("tty" | "web", _)) => Err(Failure::Usage(format!("chat {jid:?} has no name: use tty:NAME or web:NAME"))),
        Some(_) => Ok(Some(unserved(jid))),
        // The form of WhatsApp.
        None if jid.contains('@') => Ok(Some(unserved(jid))),
        None => Err(Failure::Usage(format!(
            "chat {jid:?} names no channel: use tty:{jid} for a terminal, or web:{jid} for clients of the API"
        ))),
    }
}

fn unserved(jid: &str) -> String {
    format!(
        "no channel of this Parlor serves {jid}: nobody can write there, and what its agent says waits; tty: and web: chats are served"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_option_that_was_typed() {
        for (detail, said) in [
            (
                "containerConfig.provider: provider \"gpt\" is not known: use a",
                "--agent-provider: provider \"gpt\" is not known: use a",
            ),
            ("containerConfig.memory: use x; null clears it", "--memory: use x; an empty value clears it"),
            ("containerConfig.budget.usd: use x", "--budget-usd: use x"),
            ("containerConfig.env: \"1\" is not allowed", "--env: \"1\" is not allowed"),
            ("containerConfig.additionalMounts[1].hostPath: use x", "--mount: use x"),
            ("containerConfig.version: 2", "version: 2"),
            ("containerConfig: give an object", "give an object"),
            ("name is too long", "name is too long"),
        ] {
            assert_eq!(in_words_of_options(detail), said);
        }
        assert!("1,50".parse::<Amount>().unwrap_err().contains("2.50"));
        assert!("-1".parse::<Number>().is_err() && "+1".parse::<Number>().is_err());
        assert_eq!("30m".parse::<Time>().unwrap().0, Some(1_800_000));
        assert!("soon".parse::<Time>().unwrap_err().contains("30m"));
    }

    #[test]
    fn chats_without_a_channel_give_a_warning() {
        for fine in ["tty:a", "web:a"] {
            assert!(matches!(check_chat(fine), Ok(None)), "{fine}");
        }
        for odd in ["wa:1", "123@g.us", "tg:5"] {
            assert!(matches!(check_chat(odd), Ok(Some(_))), "{odd}");
        }
        for bad in ["family2", "tty:", "web:"] {
            assert!(matches!(check_chat(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }
}
