//! The group's settings from its `agent.toml`, translated for Codex.

use std::collections::BTreeMap;

use parlor_protocol::RunInput;
use serde_json::{Map, Value, json};

use crate::agent_toml::{AgentToml, Way, float, table, text};

/// The levels of effort that a group may choose.
const EFFORTS: [&str; 6] = ["minimal", "low", "medium", "high", "xhigh", "max"];

/// The group's settings, as far as Codex supports them.
#[derive(Debug, Default)]
pub struct Chosen {
    /// The settings that all providers share.
    pub common: AgentToml,
    /// The model's reasoning effort.
    pub effort: Option<String>,
    /// US dollars for a million tokens, input and output.
    pub price: Option<(f64, f64)>,
}

impl Chosen {
    /// Reads the settings of a run.
    pub fn read(input: &RunInput) -> Self {
        Self::of(AgentToml::read(input))
    }

    fn of(mut common: AgentToml) -> Self {
        let (mut effort, mut price) = (None, None);
        common.own(|key, value| match key {
            "effort" => {
                let word = text(value)?;
                let known = EFFORTS.contains(&word.as_str());
                effort = Some(known.then_some(word).ok_or_else(|| format!("it is one of {}", EFFORTS.join(", ")))?);
                Ok(())
            }
            "price" => {
                let table = table(value)?;
                let part = |name: &str| table.get(name).ok_or("it needs input and output").map(|v| float(v, 1e6));
                price = Some((part("input")??, part("output")??));
                Ok(())
            }
            _ => Err("[codex] has no such setting; it has effort, price.input and price.output".to_owned()),
        });
        common.keep_hooks("codex", &[]);
        common.without_tools("codex");
        Self { common, effort, price }
    }

    /// Records a server that did not start, once.
    pub fn without_server(&mut self, name: &str, why: &str) {
        if self.common.servers.remove(name).is_some() {
            // The text after the first sentence is about a file that nobody here has.
            let why = why.split(". ").next().unwrap_or_default();
            let why = if why.is_empty() { "Codex could not start or reach it" } else { why };
            let limit = "start_timeout in its table sets how long it may take";
            self.common.left_out(&format!("mcp.{name}"), format!("{why}; {limit}"));
        }
    }

    /// Returns the MCP servers: the host's and the group's.
    pub fn servers(&self, ours: Value) -> Value {
        let mut all = Map::from_iter([("parlor".to_owned(), ours)]);
        for (name, server) in &self.common.servers {
            let seconds = server.start.as_secs();
            let mut server = match &server.way {
                Way::Program { command, args, env } => {
                    // Codex passes servers only a few variables of its own environment.
                    let all: BTreeMap<_, _> = self.common.env.iter().chain(env).collect();
                    json!({ "command": command, "args": args, "env": all })
                }
                Way::Address { url, headers } => json!({ "url": url, "http_headers": headers }),
            };
            server["startup_timeout_sec"] = json!(seconds);
            all.insert(name.clone(), server);
        }
        Value::Object(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_codex_does_not_support_are_reported() {
        let input = RunInput { provider: Some("codex".into()), ..RunInput::default() };
        let text = "model = 'm'\n[tools]\ndeny = ['shell']\n[[hooks]]\nevent = 'PreToolUse'\ncommand = 'x'\n\
                    [mcp.a]\ncommand = 'x'\n[mcp.b]\nurl = 'https://x'\n[codex]\neffort = 'high'\nprice = { input = 3, output = 15.5 }\ncolour = 'red'\n";
        let chosen = Chosen::of(AgentToml::parse(text, &input));
        let told = chosen.common.problems().join("\n");
        for part in ["a hook is left out: the provider codex has no hooks", "tools is left out", "colour is left out"] {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert_eq!(chosen.common.problems().len(), 3, "{told}");
        assert_eq!((chosen.effort.as_deref(), chosen.price), (Some("high"), Some((3.0, 15.5))));
        let servers = chosen.servers(json!({ "command": "own" }));
        assert_eq!((&servers["parlor"]["command"], &servers["a"]["command"]), (&json!("own"), &json!("x")));
        assert_eq!(servers["b"], json!({ "url": "https://x", "http_headers": {}, "startup_timeout_sec": 60 }));
    }

    #[test]
    fn server_environment_overrides_the_groups() {
        let input = RunInput { provider: Some("codex".into()), ..RunInput::default() };
        let text = "[env]\nTEA = 'green'\nCUP = 'blue'\n[mcp.a]\ncommand = 'x'\nenv = { CUP = 'red' }\n";
        let servers = Chosen::of(AgentToml::parse(text, &input)).servers(json!({}));
        assert_eq!(servers["a"]["env"], json!({ "TEA": "green", "CUP": "red" }));
    }
}
