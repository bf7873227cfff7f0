//! The group's settings from its `agent.toml`, translated for the Gemini CLI.

use std::collections::BTreeMap;

use parlor_protocol::RunInput;
use serde_json::{Value, json};

use crate::agent_toml::{AgentToml, Way};

const NAME: &str = "gemini";

/// Reads the group's settings, as far as the Gemini CLI supports them.
pub fn read(input: &RunInput) -> AgentToml {
    fitted(AgentToml::read(input))
}

fn fitted(mut common: AgentToml) -> AgentToml {
    common.own(|_, _| Err("[gemini] has no settings".to_owned()));
    common.keep_hooks(NAME, &[]);
    common.without_tools(NAME);
    common
}

/// Drops the group's servers and records each; returns false if there are none.
pub fn without_servers(common: &mut AgentToml) -> bool {
    let servers = std::mem::take(&mut common.servers);
    for name in servers.keys() {
        common.left_out(&format!("mcp.{name}"), "Gemini CLI did not start in time with this group's servers");
    }
    !servers.is_empty()
}

/// Returns the MCP servers of a session: the host's and the group's.
pub fn servers(common: &AgentToml, ours: &str) -> Value {
    let list = |of: &BTreeMap<String, String>| -> Vec<Value> {
        of.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
    };
    let mut all = vec![json!({ "name": "parlor", "command": ours, "args": ["mcp"], "env": [] })];
    all.extend(common.servers.iter().map(|(name, server)| match &server.way {
        Way::Program { command, args, env } => {
            json!({ "name": name, "command": command, "args": args, "env": list(env) })
        }
        Way::Address { url, headers } => json!({ "type": "http", "name": name, "url": url, "headers": list(headers) }),
    }));
    Value::Array(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supported_settings_are_used_and_the_rest_is_reported() {
        let text = r#"
            model = "gemini-2.5-pro"
            system_prompt = "Be brief."
            [tools]
            deny = ["web_fetch"]
            [mcp.notes]
            command = "notes"
            args = ["-x"]
            env = { DIR = "/n" }
            [mcp.far]
            url = "https://example.org/mcp"
            headers = { token = "t" }
            [[hooks]]
            event = "after_tool"
            command = "true"
            [env]
            LANG = "de_DE.UTF-8"
            [gemini]
            temperature = 1
        "#;
        let input = RunInput { provider: Some("gemini".into()), ..RunInput::default() };
        let common = fitted(AgentToml::parse(text, &input));
        assert_eq!(common.chosen_model(&input), Some("gemini-2.5-pro"));
        assert_eq!(common.env["LANG"], "de_DE.UTF-8");
        let told = common.problems().join("\n");
        for left_out in ["tools is left out", "hook is left out", "temperature is left out"] {
            assert!(told.contains(left_out), "{told}");
        }
        let servers = servers(&common, "/app/agent-runner");
        assert_eq!(servers[0]["name"], "parlor");
        assert_eq!((&servers[1]["type"], &servers[1]["headers"][0]["name"]), (&json!("http"), &json!("token")));
        assert_eq!((&servers[2]["args"][0], &servers[2]["env"][0]["value"]), (&json!("-x"), &json!("/n")));
        let mut common = common;
        assert!(without_servers(&mut common) && !without_servers(&mut common));
        assert!(common.problems().join("\n").contains("mcp.notes is left out"), "{:?}", common.problems());
        assert_eq!(super::servers(&common, "/app/agent-runner").as_array().unwrap().len(), 1);
    }
}
