//! The tool that runs a command in the room.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Call, RESULT_LIMIT};
use crate::process::{self, Plan};
use crate::provider::Room;
use crate::tool;

pub(super) fn run(call: &Call<'_>, room: &Room, env: &BTreeMap<String, String>) -> Result<String, String> {
    let line = call.text("command")?;
    let limit = Duration::from_secs(call.number("timeout_seconds", 120, 3600)?);
    let shell = if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
    let mut command = Command::new(shell);
    command.args(["-c", line]).current_dir(call.root).envs(env);
    tool::offer(&mut command, room);
    let plan = Plan { stdin: "", merge: true, log_stderr: false, keep: RESULT_LIMIT - 200, limit: Some(limit) };
    let ended = process::run(&mut command, &plan, &room.working)
        .map_err(|error| format!("{shell} cannot be started: {error}"))?;
    let end = if ended.timed_out { format!("killed after {} seconds", limit.as_secs()) } else { ended.how() };
    let text = ended.stdout.text();
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    Ok(format!("{text}{newline}({end})"))
}
