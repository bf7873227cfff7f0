//! The group's hooks: before and after a tool's call, and at a turn's end. A hook gets the event as JSON on stdin; exit
//! code 2 refuses, and the model gets the hook's stderr. Any other failure is only logged.

use std::process::Command;
use std::time::Duration;

use regex::Regex;
use serde_json::{Value, json};

use crate::agent_toml::{AgentToml, Hook};
use crate::process::{self, Plan};
use crate::provider::Room;
use crate::tool;

/// The events that this provider supports.
pub const EVENTS: [&str; 3] = [PRE, POST, STOP];
const PRE: &str = "PreToolUse";
const POST: &str = "PostToolUse";
const STOP: &str = "Stop";
/// Bytes of a hook's output that are kept.
const KEEP: usize = 4000;

/// The hooks of a run.
#[derive(Debug)]
pub struct Hooks<'a> {
    room: &'a Room,
    settings: &'a AgentToml,
}

impl<'a> Hooks<'a> {
    /// Takes the hooks from the settings.
    pub fn new(room: &'a Room, settings: &'a AgentToml) -> Self {
        Self { room, settings }
    }

    /// Runs the hooks before a call. If one refuses, the model gets the error instead of a result.
    pub fn before(&self, tool: &str, args: &Value) -> Result<(), String> {
        let event = json!({ "tool_name": tool, "tool_input": args });
        match self.refused(PRE, Some(tool), event) {
            Some(why) => Err(format!("Error: a hook of this group refused the call: {why}")),
            None => Ok(()),
        }
    }

    /// Runs the hooks after a call. Returns a text for the model beside the result.
    pub fn after(&self, tool: &str, args: &Value, result: &str) -> Option<String> {
        let event = json!({ "tool_name": tool, "tool_input": args, "tool_response": result });
        self.refused(POST, Some(tool), event)
    }

    /// Runs the hooks at a turn's end. Returns why the turn must go on; `again` is true if it did so once already.
    pub fn at_end(&self, text: &str, again: bool) -> Option<String> {
        self.refused(STOP, None, json!({ "stop_hook_active": again, "last_assistant_message": text }))
    }

    /// Runs an event's hooks, up to the first that refuses, and returns its reason.
    fn refused(&self, event: &str, tool: Option<&str>, mut about: Value) -> Option<String> {
        about["hook_event_name"] = json!(event);
        about["session_id"] = json!(self.room.session);
        about["cwd"] = json!(self.room.folders.group);
        let about = about.to_string();
        let mut hooks = self.settings.hooks.iter().filter(|hook| hook.event == event && is_for(hook, tool));
        hooks.find_map(|hook| self.run(hook, &about))
    }

    fn run(&self, hook: &Hook, about: &str) -> Option<String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &hook.command]).current_dir(&self.room.folders.group).envs(&self.settings.env);
        tool::offer(&mut command, self.room);
        let limit = Some(Duration::from_secs(hook.timeout));
        let plan = Plan { stdin: about, merge: false, log_stderr: true, keep: KEEP, limit };
        match process::run(&mut command, &plan, &self.room.working) {
            Ok(ended) if ended.code == Some(2) => {
                let why = ended.stderr.text().trim().to_owned();
                Some(if why.is_empty() { "(it did not say why)".to_owned() } else { why })
            }
            Ok(ended) if ended.code == Some(0) => None,
            Ok(ended) => {
                eprintln!("a hook at {} failed ({}): {}", hook.event, ended.how(), hook.command);
                None
            }
            Err(error) => {
                eprintln!("a hook at {} cannot be started: {error}", hook.event);
                None
            }
        }
    }
}

/// Returns true if a hook is for a tool: its matcher is the tool's whole name, or a pattern that matches it.
fn is_for(hook: &Hook, tool: Option<&str>) -> bool {
    match (hook.matcher.as_deref(), tool) {
        (None | Some("*"), _) | (_, None) => true,
        (Some(pattern), Some(tool)) => Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|regex| regex.is_match(tool)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matcher_is_a_whole_name_or_a_pattern() {
        let hook = |matcher: Option<&str>| Hook {
            event: PRE.into(),
            matcher: matcher.map(str::to_owned),
            command: "true".into(),
            timeout: 1,
        };
        for (matcher, tool, fits) in [
            (None, "shell", true),
            (Some("*"), "shell", true),
            (Some("shell"), "shell", true),
            (Some("shell|fetch"), "fetch", true),
            (Some("files__.*"), "files__read", true),
            (Some("shell"), "shell_x", false),
            (Some("read|shell"), "read_file", false),
        ] {
            assert_eq!(is_for(&hook(matcher), Some(tool)), fits, "{matcher:?} {tool}");
        }
    }
}
