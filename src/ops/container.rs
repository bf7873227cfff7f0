//! The check of a group's container settings. Values that an engine or a program would refuse only at the next run,
//! when nobody looks, are refused when they are set.

use std::ops::RangeInclusive;

use super::{Invalid, shorten};
use crate::config::{answering, bounds, provider, values};
use crate::domain::group::ContainerConfig;
use crate::policy::mounts;

/// A group's timeout in milliseconds: a second to a day.
pub const TIMEOUTS: RangeInclusive<u64> = 1_000..=86_400_000;
/// The most mounts of a group.
const MAX_MOUNTS: usize = 32;
/// The most variables of a group; they go through a command line.
const MAX_ENV: usize = 100;
/// The most bytes of one value.
const MAX_ENV_VALUE: usize = 32 << 10;

/// Checks every field. The error names the field and the allowed values.
pub fn check(config: &ContainerConfig) -> Result<(), Invalid> {
    let bad = |field: &str, why: String| Err(Invalid(format!("containerConfig.{field}: {why}")));
    if config.version != 1 {
        return bad("version", format!("{} is not known: use 1, or leave it out", config.version));
    }
    if config.timeout.is_some_and(|ms| !TIMEOUTS.contains(&ms)) {
        return bad("timeout", "use whole milliseconds from 1000 to 86400000 (a day); null clears it".into());
    }
    if config.settle.is_some_and(|ms| ms > values::MAX_SETTLE_MS) {
        return bad("settle", "use whole milliseconds from 0 to 60000 (a minute); null clears it".into());
    }
    let words = [
        ("memory", config.memory.as_deref().map(|text| values::memory(text).map(drop))),
        ("cpus", config.cpus.as_deref().map(|text| values::cpus(text).map(drop))),
        ("pids", config.pids.map(|number| values::pids(number.into()).map(drop))),
        ("network", config.network.as_deref().map(|text| values::network(text).map(drop))),
        ("image", config.image.as_deref().map(|text| values::image(text).map(drop))),
        ("model", config.model.as_deref().map(|text| values::model(text).map(drop))),
    ];
    for (field, result) in words {
        if let Some(Err(allowed)) = result {
            return bad(field, format!("use {allowed}; null clears it"));
        }
    }
    // The other checks ignore white space around a value, but it would be stored.
    let texts = [
        ("memory", &config.memory),
        ("cpus", &config.cpus),
        ("network", &config.network),
        ("image", &config.image),
        ("model", &config.model),
        ("provider", &config.provider),
    ];
    for (field, text) in texts {
        if text.as_deref().is_some_and(|text| text.trim() != text) {
            return bad(field, "it begins or ends with white space: leave that out".into());
        }
    }
    if let Some(Err(why)) = config.provider.as_deref().map(provider::parse) {
        return bad("provider", why.chars().take(200).collect());
    }
    if let Some(Err(why)) = config.fallback.as_deref().map(answering::check_list) {
        return bad("fallback", format!("{why}; null clears it"));
    }
    if config.agent_may.as_deref().is_some_and(|kinds| !bounds::check_kinds(kinds)) {
        return bad("agentMay", format!("use a list out of {}; null clears it", bounds::KINDS.join(", ")));
    }
    if config.budget.usd.is_some_and(|usd| !values::is_budget_usd(usd)) {
        return bad("budget.usd", format!("use {}; null clears it", values::BUDGET_USD));
    }
    if config.budget.tokens.is_some_and(|tokens| !(1..=values::MAX_BUDGET_TOKENS).contains(&tokens)) {
        return bad("budget.tokens", format!("use {}; null clears it", values::BUDGET_TOKENS));
    }
    if config.additional_mounts.len() > MAX_MOUNTS {
        return bad("additionalMounts", format!("it has more than {MAX_MOUNTS} entries"));
    }
    for (n, mount) in config.additional_mounts.iter().enumerate() {
        mounts::check(mount).map_err(|why| Invalid(format!("containerConfig.additionalMounts[{n}].{why}")))?;
    }
    environment(config).or_else(|why| bad("env", why))
}

fn environment(config: &ContainerConfig) -> Result<(), String> {
    if config.env.len() > MAX_ENV {
        return Err(format!("it has more than {MAX_ENV} variables"));
    }
    for (name, value) in &config.env {
        let shown = shorten(name);
        if !values::env_name(name) || name.len() > 256 {
            return Err(format!("{shown:?} is not allowed: use letters, digits and `_`, starting with no digit"));
        }
        if value.contains('\0') || value.len() > MAX_ENV_VALUE {
            return Err(format!("the value of {shown:?} holds a NUL character or more than {MAX_ENV_VALUE} bytes"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(config: &Value) -> Result<(), String> {
        check(&serde_json::from_value(config.clone()).unwrap()).map_err(|error| error.0)
    }

    #[test]
    fn invalid_settings_are_refused_with_their_name() {
        for (config, field) in [
            (json!({"version": 2}), "version"),
            (json!({"timeout": 999}), "timeout"),
            (json!({"timeout": 86_400_001}), "timeout"),
            (json!({"memory": "lots"}), "memory"),
            (json!({"memory": " 1g"}), "memory"),
            (json!({"network": "none "}), "network"),
            (json!({"cpus": "-1"}), "cpus"),
            (json!({"pids": 1}), "pids"),
            (json!({"network": "host"}), "network"),
            (json!({"image": "--privileged"}), "image"),
            (json!({"image": ""}), "image"),
            (json!({"provider": "nobody"}), "provider"),
            (json!({"model": "--x"}), "model"),
            (json!({"model": "-m"}), "model"),
            (json!({"model": ""}), "model"),
            (json!({"model": "two words"}), "model"),
            (json!({"model": "m\n"}), "model"),
            (json!({"model": "m".repeat(257)}), "model"),
            (json!({"fallback": ["two words"]}), "fallback"),
            (json!({"fallback": ["guide", "auto"]}), "fallback"),
            (json!({"fallback": vec!["guide"; 9]}), "fallback"),
            (json!({"agentMay": ["everything"]}), "agentMay"),
            (json!({"budget": {"usd": 0}}), "budget.usd"),
            (json!({"budget": {"tokens": 0}}), "budget.tokens"),
            (json!({"env": {"1A": "x"}}), "env"),
            (json!({"env": {"A=B": "x"}}), "env"),
            (json!({"env": {"A": "x\0"}}), "env"),
            (json!({"env": {"A": "x".repeat(40_000)}}), "env"),
            (json!({"additionalMounts": vec![json!({"hostPath": "/a"}); 33]}), "additionalMounts"),
        ] {
            let error = checked(&config).unwrap_err();
            assert!(error.starts_with(&format!("containerConfig.{field}: ")), "{error}");
        }
        let fine = json!({"timeout": 1000, "memory": "1g", "cpus": "1", "pids": 64, "network": "none", "image": "a/b:1",
            "provider": "llm", "model": "vendor/m-1:free", "agentMay": [], "budget": {"usd": 1.5}, "env": {"A": "line\nline"}});
        assert_eq!(checked(&fine), Ok(()));
    }

    #[test]
    fn mounts_that_no_list_could_allow_are_refused() {
        let mount = |host: &str, container: Option<&str>| {
            checked(&json!({"additionalMounts": [{"hostPath": "/ok"}, {"hostPath": host, "containerPath": container}]}))
        };
        for host in
            ["", "relative", "/a/../b", "~/../x", "~user/x", "/a:b", "/a,b", "/a\nb", &format!("/{}", "x".repeat(4096))]
        {
            let error = mount(host, None).unwrap_err();
            assert!(error.starts_with("containerConfig.additionalMounts[1].hostPath: "), "{host:?}: {error}");
        }
        for container in ["", "../../etc", "/etc", "a/../b", "..", ".", "a:b", "a\0b", &"x".repeat(256)] {
            let error = mount("/srv", Some(container)).unwrap_err();
            assert!(error.starts_with("containerConfig.additionalMounts[1].containerPath: "), "{container:?}: {error}");
        }
        assert!(mount("/", None).is_err());
        for (host, container) in [("~", None), ("~/x", None), ("/srv/photos", Some("a/b")), ("/", Some("all"))] {
            assert_eq!(mount(host, container), Ok(()), "{host}");
        }
    }
}
