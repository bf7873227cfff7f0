//! Formats a group for people: one line for each setting, with its origin.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::cli::output::{harmless, text};
use crate::cli::times;
use crate::domain::words;

/// Formats everything about a group.
pub(super) fn page(group: &Value) -> String {
    let config = &group["containerConfig"];
    let effective = &group["effective"];
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            // Writing into memory cannot fail.
            let _ = writeln!(out, "{name:<11} {}", harmless(&value).replace('\n', "\n            "));
        }
    };
    line("folder", text(&group["folder"]));
    line("path", text(&group["path"]));
    line("chat", text(&group["jid"]));
    line("name", text(&group["name"]));
    line("main", text(&group["isMain"]));
    line("trigger", trigger(group));
    line("provider", owned(&effective["provider"], &config["provider"]));
    line("model", owned(&effective["model"], &config["model"]));
    line("fallback", config["fallback"].as_array().map(|all| may(all)).unwrap_or_default());
    if config["fallbackDearer"] == true {
        line("", "those may be dearer".to_owned());
    }
    for name in ["image", "network", "memory", "cpus", "pids"] {
        line(name, text(&config[name]));
    }
    for name in ["timeout", "settle"] {
        let time = config[name].as_u64().map(|ms| words::duration(Duration::from_millis(ms)));
        line(name, time.unwrap_or_default());
    }
    line("budget", budget(&config["budget"]));
    line("may set", config["agentMay"].as_array().map(|kinds| may(kinds)).unwrap_or_default());
    line("mounts", config["additionalMounts"].as_array().map(|all| joined(all, mount)).unwrap_or_default());
    let env = config["env"].as_object().into_iter().flatten();
    line("env", env.map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join("\n"));
    line("registered", times::at(&group["createdAt"]));
    if group["paused"].is_object() {
        line("paused", format!("until {}: {}", times::at(&group["paused"]["until"]), text(&group["paused"]["reason"])));
    }
    out
}

fn trigger(group: &Value) -> String {
    if group["requiresTrigger"] == false {
        return "not needed".to_owned();
    }
    owned(&group["effective"]["trigger"], &group["trigger"])
}

/// Formats a value, and marks it as the installation's if the group has none of its own.
fn owned(effective: &Value, own: &Value) -> String {
    match (effective.is_null(), own.is_null()) {
        (true, _) => String::new(),
        (false, false) => text(effective),
        (false, true) => format!("{} (the installation's)", text(effective)),
    }
}

fn budget(budget: &Value) -> String {
    let usd = budget["usd"].as_f64().map(|usd| format!("${usd:.2} a day"));
    let tokens = budget["tokens"].as_u64().map(|tokens| format!("{} a day", words::count(tokens, "token")));
    usd.into_iter().chain(tokens).collect::<Vec<_>>().join(", ")
}

fn may(kinds: &[Value]) -> String {
    if kinds.is_empty() { "none".to_owned() } else { kinds.iter().map(text).collect::<Vec<_>>().join(", ") }
}

fn joined(all: &[Value], line: impl Fn(&Value) -> String) -> String {
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn mount(mount: &Value) -> String {
    let name = mount["containerPath"].as_str().map(|name| format!(" as {name}")).unwrap_or_default();
    let writable = if mount["readonly"] == false { ", writable" } else { "" };
    format!("{}{name}{writable}", text(&mount["hostPath"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn group_page_has_a_line_for_each_setting() {
        let group = json!({
            "folder": "lab", "path": "/srv/parlor/groups/lab", "jid": "web:lab", "name": "Lab\u{1b}[2J", "isMain": false,
            "trigger": null, "requiresTrigger": true, "createdAt": "2026-12-24T17:00:00Z",
            "effective": {"provider": "llm", "model": "m-1", "trigger": "@Andy"},
            "containerConfig": {"version": 1, "model": "m-1", "timeout": 1_800_000, "settle": 2_000, "budget": {"usd": 2.5},
                "agentMay": [], "additionalMounts": [{"hostPath": "/srv/x", "containerPath": "x", "readonly": false},
                {"hostPath": "/srv/y"}], "env": {"A": "b", "C": "d"}},
            "paused": {"until": "2026-12-25T00:00:00Z", "reason": "a limit"},
        });
        insta::assert_snapshot!(page(&group), @r"
        folder      lab
        path        /srv/parlor/groups/lab
        chat        web:lab
        name        Lab�[2J
        main        no
        trigger     @Andy (the installation's)
        provider    llm (the installation's)
        model       m-1
        timeout     30 minutes
        settle      2 seconds
        budget      $2.50 a day
        may set     none
        mounts      /srv/x as x, writable
                    /srv/y
        env         A=b
                    C=d
        registered  2026-12-24 17:00:00 (UTC)
        paused      until 2026-12-25 00:00:00 (UTC): a limit
        ");
    }
}
