//! The group's settings from its `agent.toml`, translated for Claude Code.

use parlor_protocol::RunInput;
use serde_json::{Map, Value, json};

use crate::agent_toml::{AgentToml, Way, text};
use crate::tools;

/// The levels of effort that a group may choose.
const EFFORTS: [&str; 5] = ["low", "medium", "high", "xhigh", "max"];

/// The group's settings, as far as Claude Code supports them.
#[derive(Debug, Default)]
pub struct Chosen {
    /// The settings that all providers share.
    pub common: AgentToml,
    effort: Option<String>,
    /// The built-in tools to offer; None offers all.
    built_in: Option<Vec<String>>,
    /// Tools, and names of whole servers, to leave out.
    without: Vec<String>,
}

impl Chosen {
    /// Reads the settings of a run.
    pub fn read(input: &RunInput) -> Self {
        Self::of(AgentToml::read(input), input.is_main)
    }

    fn of(common: AgentToml, is_main: bool) -> Self {
        let mut chosen = Self { common, ..Self::default() };
        let mut effort = None;
        chosen.common.own(|key, value| match key {
            "effort" => {
                let word = text(value)?;
                let known = EFFORTS.contains(&word.as_str());
                effort = Some(known.then_some(word).ok_or_else(|| format!("it is one of {}", EFFORTS.join(", ")))?);
                Ok(())
            }
            _ => Err("[claude] has no such setting; it has effort".to_owned()),
        });
        chosen.effort = effort;
        chosen.without.clone_from(&chosen.common.tools.deny);
        if let Some(allow) = chosen.common.tools.allow.clone() {
            chosen.only(&allow, is_main);
        }
        chosen
    }

    /// Offers only these tools. Claude Code selects its built-in tools by name, but of servers it can only leave tools
    /// out.
    fn only(&mut self, allow: &[String], is_main: bool) {
        if allow.iter().any(|name| name == "*") {
            return;
        }
        let mut built_in = Vec::new();
        for name in allow.iter().filter(|name| !name.starts_with("mcp__")) {
            if name.contains(['(', '*']) {
                self.common
                    .left_out(&format!("{name} in tools.allow"), "only whole tools can be allowed; deny takes rules");
            } else {
                built_in.push(name.clone());
            }
        }
        self.built_in = Some(built_in);
        let servers: Vec<String> = self.common.servers.keys().cloned().chain(["parlor".to_owned()]).collect();
        for server in servers {
            let (whole, start) = (format!("mcp__{server}"), format!("mcp__{server}__"));
            if allow.iter().any(|name| *name == whole || *name == format!("{start}*") || name == "mcp__*") {
                continue;
            }
            if !allow.iter().any(|name| name.starts_with(&start)) {
                self.without.push(whole);
            } else if server == "parlor" {
                let names = tools::offered(is_main).map(|tool| format!("{start}{}", tool.name));
                self.without.extend(names.filter(|name| !self.common.tools.allows(name)));
            } else {
                let why =
                    "Claude Code cannot offer single tools of a server: all of it are; name the others in tools.deny";
                self.common.left_out(&format!("{start}… in tools.allow"), why);
            }
        }
    }

    /// Records servers that did not start, each once.
    pub fn without_servers(&mut self, failed: &[String]) {
        for name in failed {
            if self.common.servers.remove(name).is_some() {
                self.common.left_out(&format!("mcp.{name}"), "Claude Code could not start or reach it");
            }
        }
    }

    /// Returns arguments for tools and effort. None of them may come last: they take as many words as follow.
    pub fn arguments(&self) -> Vec<String> {
        let mut args = Vec::new();
        if let Some(effort) = &self.effort {
            args.extend(["--effort".to_owned(), effort.clone()]);
        }
        if let Some(names) = &self.built_in {
            args.extend(["--tools".to_owned(), names.join(",")]);
        }
        if !self.without.is_empty() {
            args.push("--disallowedTools".to_owned());
            args.extend(self.without.iter().cloned());
        }
        args
    }

    /// Returns the MCP servers: the host's and the group's.
    pub fn servers(&self, ours: Value) -> Value {
        let mut all = Map::from_iter([("parlor".to_owned(), ours)]);
        for (name, server) in &self.common.servers {
            let server = match &server.way {
                Way::Program { command, args, env } => json!({ "command": command, "args": args, "env": env }),
                Way::Address { url, headers } => json!({ "type": "http", "url": url, "headers": headers }),
            };
            all.insert(name.clone(), server);
        }
        json!({ "mcpServers": all })
    }

    /// Returns the hooks: the group's, and ours, which archives a conversation before it is compacted.
    pub fn hooks(&self, archive: &str) -> Value {
        let mut events = Map::new();
        let mut add = |event: &str, entry: Value| {
            if let Value::Array(list) = events.entry(event).or_insert_with(|| json!([])) {
                list.push(entry);
            }
        };
        add("PreCompact", json!({ "hooks": [{ "type": "command", "command": archive }] }));
        for hook in &self.common.hooks {
            let command = json!({ "type": "command", "command": hook.command, "timeout": hook.timeout });
            let mut entry = json!({ "hooks": [command] });
            if let Some(matcher) = &hook.matcher {
                entry["matcher"] = json!(matcher);
            }
            add(&hook.event, entry);
        }
        Value::Object(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str) -> Chosen {
        let input = RunInput { provider: Some("claude".into()), ..RunInput::default() };
        Chosen::of(AgentToml::parse(text, &input), false)
    }

    #[test]
    fn tools_allow_offers_only_the_allowed_tools() {
        let nothing = chosen("");
        assert_eq!(nothing.arguments(), Vec::<String>::new());
        let text = "[tools]\nallow = ['Bash', 'Task', 'Web*', 'mcp__files', 'mcp__parlor__send_message', 'mcp__wiki__read']\n\
                    deny = ['Bash(rm *)']\n[mcp.files]\ncommand = 'f'\n[mcp.other]\ncommand = 'o'\n[mcp.wiki]\ncommand = 'w'\n\
                    [claude]\neffort = 'low'\ncolour = 'red'\n";
        let chosen = chosen(text);
        let args = chosen.arguments();
        assert_eq!(args[..5], ["--effort", "low", "--tools", "Bash,Task", "--disallowedTools"]);
        let without = &args[5..];
        assert!(without.iter().any(|name| name == "Bash(rm *)") && without.iter().any(|name| name == "mcp__other"));
        assert!(without.iter().any(|name| name == "mcp__parlor__schedule_task"), "{without:?}");
        for kept in ["mcp__files", "mcp__wiki", "mcp__parlor", "mcp__parlor__send_message"] {
            assert!(!without.iter().any(|name| name == kept), "{kept} in {without:?}");
        }
        let told = chosen.common.problems().join("\n");
        for part in ["Web* in tools.allow", "mcp__wiki__… in tools.allow", "colour is left out: [claude] has no such"]
        {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert_eq!(chosen.common.problems().len(), 3, "{told}");
    }

    #[test]
    fn tools_allow_may_be_empty_and_a_star_allows_all() {
        assert_eq!(chosen("[tools]\nallow = []").arguments(), ["--tools", "", "--disallowedTools", "mcp__parlor"]);
        assert_eq!(chosen("[tools]\nallow = ['*']").arguments(), Vec::<String>::new());
    }

    #[test]
    fn hooks_and_servers_of_the_group_are_added_to_ours() {
        let text = "[[hooks]]\nevent = 'PreCompact'\ncommand = 'theirs'\n[[hooks]]\nevent = 'PreToolUse'\nmatcher = 'Bash'\n\
                    command = 'check'\ntimeout = 5\n[mcp.a]\ncommand = 'x'\n[mcp.b]\nurl = 'https://x'\n";
        let chosen = chosen(text);
        let hooks = chosen.hooks("ours");
        let commands: Vec<&Value> =
            hooks["PreCompact"].as_array().unwrap().iter().map(|h| &h["hooks"][0]["command"]).collect();
        assert_eq!(commands, ["ours", "theirs"]);
        let check = json!({ "matcher": "Bash", "hooks": [{ "type": "command", "command": "check", "timeout": 5 }] });
        assert_eq!(hooks["PreToolUse"], json!([check]));
        let servers = chosen.servers(json!({ "command": "own" }));
        assert_eq!(servers["mcpServers"]["parlor"]["command"], "own");
        assert_eq!(servers["mcpServers"]["a"]["command"], "x");
        assert_eq!(servers["mcpServers"]["b"], json!({ "type": "http", "url": "https://x", "headers": {} }));
    }
}
