//! A group's own settings: `/app/agent/agent.toml`, the same file for every provider. The group's agent may write it.
//! A wrong entry is therefore left out and named in the chat, but never fatal: the agent must be able to correct it.

mod bounds;
mod environment;
mod hooks;
mod parse;
mod programs;
mod servers;
mod silent;
mod told;
mod tools;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use parlor_protocol::RunInput;
use parlor_protocol::deep::on_deep_stack;
use toml::{Table, Value};

pub use bounds::Bounds;
pub use hooks::{EVENTS, Hook};
pub use parse::{float, number, table, text};
pub use servers::{Server, Way};
pub use silent::{Silent, late};
pub use told::Notices;
pub use tools::Tools;

/// The largest file that is read. Much of it may become one argument of a program, which Linux limits to 128 KiB.
const FILE_LIMIT: u64 = 32 * 1024;
/// The longest `system_prompt`, in bytes: it shares an argument with the groups' memory.
const PROMPT_LIMIT: usize = 20_000;
/// Tables with the keys of one provider; the other providers ignore them.
const OWN_TABLES: [&str; 7] = ["claude", "codex", "exec", "gemini", "guide", "image", "llm"];
/// Keys of the provider `llm` that may also stand at the top.
const LLM_KEYS: [&str; 5] = ["max_tokens", "temperature", "context_tokens", "max_steps", "price"];
/// The reason why an unknown key is left out.
const KNOWN: &str = "there is no such setting; there are provider, model, system_prompt, tools.allow, tools.deny, [mcp.NAME], [[hooks]], \
                     [env], and a table for each provider's own keys, such as [llm]";

/// The settings of the file, as far as the operator allows them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentToml {
    /// The model, unless the operator chose one for the group: see [`model`](Self::model).
    pub model: Option<String>,
    /// Text that is added to the system prompt.
    pub system_prompt: Option<String>,
    /// The tools that the agent may use.
    pub tools: Tools,
    /// MCP servers by name; none is named `parlor`.
    pub servers: BTreeMap<String, Server>,
    /// Commands that run at events, in the file's order.
    pub hooks: Vec<Hook>,
    /// Environment for the agent and its commands, without reserved names.
    pub env: BTreeMap<String, String>,
    /// Keys of the run's own provider.
    own: Table,
    /// The entries that are not used, each with the reason.
    problems: Vec<String>,
    /// True if a part that may limit the tools cannot be read.
    no_tools: bool,
}

/// Returns true if a text that is not TOML may have limited the tools, and the group may set such limits.
fn bounds_tools(text: &str, bounds: &Bounds) -> bool {
    ["tools", "hooks"].into_iter().any(|part| text.contains(part) && bounds.may(part).is_ok())
}

/// Returns the path of the group's settings file in the room.
pub fn path() -> PathBuf {
    dir().join("agent.toml")
}

/// Returns the group's own folder for its agent. It outlives the room.
pub fn dir() -> PathBuf {
    std::env::var_os("PARLOR_AGENT_DIR").map_or_else(|| "/app/agent".into(), PathBuf::from)
}

impl AgentToml {
    /// Reads the file of this run's group. A missing file sets nothing.
    pub fn read(input: &RunInput) -> Self {
        let path = path();
        let mut found = match load(&path) {
            Ok(Some(text)) => Self::parse(&text, input),
            Ok(None) => Self::default(),
            Err(why) => {
                let problems = vec![format!("it cannot be read: {why}")];
                let no_tools = bounds_tools("tools", &Bounds::of(input));
                Self { problems, no_tools, ..Self::default() }.closed()
            }
        };
        found.problems.splice(0..0, Bounds::of(input).notes);
        let taken: Vec<String> = found.env.keys().filter(|name| std::env::var_os(name).is_some()).cloned().collect();
        for name in taken {
            found.env.remove(&name);
            found.left_out(&format!("env.{name}"), "the room has it already, from its image or from the operator");
        }
        for (name, why) in programs::take_missing(&mut found.servers) {
            found.left_out(&format!("mcp.{name}"), why);
        }
        found
    }

    /// Parses the file's text.
    pub fn parse(text: &str, input: &RunInput) -> Self {
        let mut found = Self::default();
        let bounds = Bounds::of(input);
        // A file that nests too deeply must not end the runner: the agent must be able to correct it.
        let parsed = on_deep_stack(|| text.parse::<Table>().map_err(|error| error.to_string()));
        let table = match parsed.map_err(|error| error.to_string()).and_then(|parsed| parsed) {
            Ok(table) => table,
            Err(error) => {
                found.problem(format!("it is not TOML, so nothing in it counts: {error}"));
                // The text may limit the tools, or have hooks that guard them.
                found.no_tools = bounds_tools(text, &bounds);
                return found.closed();
            }
        };
        let provider = input.provider.as_deref().unwrap_or("guide");
        for (key, value) in &table {
            if let Err(why) = found.set(key, value, provider, &bounds) {
                found.left_out(key, why);
            }
        }
        for name in input.secrets.keys() {
            if found.env.remove(name).is_some() {
                found.left_out(&format!("env.{name}"), "it is a key that the operator set");
            }
        }
        found.closed()
    }

    /// A faulty part never widens what is allowed: if it may have limited the tools, the agent gets none.
    fn closed(mut self) -> Self {
        if std::mem::take(&mut self.no_tools) {
            self.tools = Tools::none();
            self.problem(
                "until that is put right, the agent has no tools: somebody else must change the file".to_owned(),
            );
        }
        self
    }

    fn set(&mut self, key: &str, value: &Value, provider: &str, bounds: &Bounds) -> Result<(), String> {
        match key {
            // The host reads `provider`, and reports itself why it does not use it.
            "provider" => {}
            "model" => {
                bounds.may("model")?;
                self.model = Some(bounds.model(parse::word(value)?)?);
            }
            "system_prompt" => {
                bounds.may("prompt")?;
                let prompt = text(value)?;
                if prompt.len() > PROMPT_LIMIT {
                    return Err(format!(
                        "it has more than {PROMPT_LIMIT} bytes: put the rest into the memory CLAUDE.md"
                    ));
                }
                self.system_prompt = Some(prompt);
            }
            "tools" => {
                bounds.may("tools")?;
                let (tools, faults) = Tools::parse(value);
                self.tools = tools;
                self.no_tools |= !faults.is_empty();
                for (key, why) in faults {
                    self.left_out(&key, why);
                }
            }
            "mcp" => {
                bounds.may("mcp")?;
                for (name, result) in servers::parse(table(value)?) {
                    match result {
                        Ok(server) => drop(self.servers.insert(name, server)),
                        Err(why) => self.left_out(&format!("mcp.{name}"), why),
                    }
                }
            }
            "hooks" => {
                bounds.may("hooks")?;
                let all = hooks::parse(value).unwrap_or_else(|why| vec![Err(why)]);
                // A hook that is left out may have been there to refuse calls of tools.
                self.no_tools |= all.iter().any(Result::is_err);
                for result in all {
                    match result {
                        Ok(hook) => self.hooks.push(hook),
                        Err(why) => self.left_out("a hook", why),
                    }
                }
            }
            "env" => {
                bounds.may("env")?;
                for (name, result) in environment::parse(table(value)?) {
                    match result {
                        Ok(value) => drop(self.env.insert(name, value)),
                        Err(why) => self.left_out(&format!("env.{name}"), why),
                    }
                }
            }
            own if own == provider => {
                bounds.may("model")?;
                self.own.extend(table(value)?.clone());
            }
            other if OWN_TABLES.contains(&other) => {}
            old if LLM_KEYS.contains(&old) && provider == "llm" => {
                bounds.may("model")?;
                self.own.entry(old).or_insert_with(|| value.clone());
            }
            old if LLM_KEYS.contains(&old) => {
                return Err(format!("the provider {provider} does not know it; in a table [llm] it is for llm alone"));
            }
            _ => return Err(KNOWN.to_owned()),
        }
        Ok(())
    }

    /// Returns the model to use: the operator's choice for the group, else the file's, else the installation's.
    pub fn model<'a>(&'a self, input: &'a RunInput) -> Option<&'a str> {
        self.chosen_model(input).or(input.default_model.as_deref())
    }

    /// Like [`model`](Self::model), but without the installation's model, for providers that have their own default.
    pub fn chosen_model<'a>(&'a self, input: &'a RunInput) -> Option<&'a str> {
        input.model.as_deref().or(self.model.as_deref())
    }

    /// Passes the provider its own keys one by one; those that it refuses are reported to the chat.
    pub fn own(&mut self, mut set: impl FnMut(&str, &Value) -> Result<(), String>) {
        for (key, value) in std::mem::take(&mut self.own) {
            if let Err(why) = set(&key, &value) {
                self.left_out(&key, why);
            }
        }
    }

    /// Drops the hooks of events that the provider does not have.
    pub fn keep_hooks(&mut self, provider: &str, events: &[&str]) {
        for hook in std::mem::take(&mut self.hooks) {
            if events.contains(&hook.event.as_str()) {
                self.hooks.push(hook);
            } else if events.is_empty() {
                self.left_out("a hook", format!("the provider {provider} has no hooks"));
            } else {
                let there = events.join(", ");
                self.left_out("a hook", format!("the provider {provider} has no event {}; it has {there}", hook.event));
            }
        }
    }

    /// Drops `tools`, for a provider that cannot limit its own tools.
    pub fn without_tools(&mut self, provider: &str) {
        if std::mem::take(&mut self.tools) != Tools::default() {
            self.left_out("tools", format!("the provider {provider} cannot leave out tools"));
        }
    }

    /// Records that a key is not used.
    pub fn left_out(&mut self, key: &str, why: impl Display) {
        self.problem(format!("{key} is left out: {why}"));
    }

    /// Records a problem for the chat.
    pub fn problem(&mut self, text: String) {
        self.problems.push(text);
    }

    /// Returns the problems, which the chat gets once.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

/// Returns the file's text, or None if there is no file. Reads only a regular file of limited size: a pipe would block.
fn load(path: &Path) -> Result<Option<String>, String> {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if !meta.is_file() {
        return Err("it is not a file".to_owned());
    }
    let too_long = || format!("it has more than {FILE_LIMIT} bytes");
    if meta.len() > FILE_LIMIT {
        return Err(too_long());
    }
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_LIMIT + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_LIMIT { Err(too_long()) } else { Ok(Some(text)) }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
