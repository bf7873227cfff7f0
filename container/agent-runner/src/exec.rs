//! The provider `exec`: a program in the group's folder is the agent.
//!
//! The program gets the prompt on stdin, and its stdout is the reply. See `docs/WRITING_AGENTS.md`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use parlor_protocol::{ImageAttachment, Output, Status};

use crate::process::{self, Plan};
use crate::provider::{Mail, Provider, Room, failure, refused};
use crate::tool;

/// The program's name in the group's folder.
const PROGRAM: &str = "agent";
/// The longest reply that is kept, in bytes.
const REPLY_LIMIT: usize = 4 * 1024 * 1024;
/// Characters of stderr that a failure shows, from its end.
const STDERR_TAIL: usize = 1000;

/// The program as a provider.
#[derive(Debug)]
pub struct Exec {
    room: Room,
    program: PathBuf,
    /// The program's path as people in the chat know it.
    shown: String,
    /// True before the first prompt: texts that an earlier try sent concern it alone.
    first: bool,
}

impl Exec {
    /// The program is `agent` in the group's folder, or the one that `PARLOR_EXEC` names.
    pub fn new(room: Room) -> Self {
        let other = std::env::var_os("PARLOR_EXEC").map(PathBuf::from);
        // A path in the room means nothing outside it.
        let shown = other.as_ref().map_or_else(
            || format!("groups/{}/{PROGRAM}", room.input.group_folder),
            |program| program.display().to_string(),
        );
        let program = other.unwrap_or_else(|| room.folders.group.join(PROGRAM));
        Self { room, program, shown, first: true }
    }

    fn command(&mut self, pictures: &[ImageAttachment]) -> Command {
        let input = &self.room.input;
        let mut command = Command::new(&self.program);
        command
            .current_dir(&self.room.folders.group)
            .env("PARLOR_SESSION_ID", &self.room.session)
            .env("PARLOR_RUN_ID", input.run_id.as_deref().unwrap_or_default())
            .env("PARLOR_IS_TASK", if input.is_scheduled_task { "1" } else { "0" })
            .env("PARLOR_ASSISTANT_NAME", input.assistant_name.as_deref().unwrap_or_default());
        tool::offer(&mut command, &self.room);
        if !pictures.is_empty() {
            let paths: Vec<_> = pictures.iter().map(|image| image.relative_path.as_str()).collect();
            command.env("PARLOR_IMAGES", paths.join("\n"));
        }
        if std::mem::take(&mut self.first) && !input.resumed.is_empty() {
            command.env("PARLOR_RESUMED", shortened(&input.resumed));
        }
        command
    }
}

impl Provider for Exec {
    fn answer(&mut self, prompts: &[String], mail: &mut Mail<'_>) -> Output {
        if let Err(reason) = usable(&self.program, &self.shown) {
            return refused(reason);
        }
        let prompt = prompts.join("\n");
        let plan = Plan { stdin: &prompt, merge: false, log_stderr: true, keep: REPLY_LIMIT, limit: None };
        let working = self.room.working.clone();
        match process::run(&mut self.command(&mail.pictures()), &plan, &working) {
            Ok(ended) if ended.code == Some(0) => {
                let text = ended.stdout.text();
                let text = text.trim_end();
                let result = (!text.trim().is_empty()).then(|| text.to_owned());
                let session = Some(self.room.session.clone());
                Output { status: Status::Success, result, new_session_id: session, ..Output::default() }
            }
            Ok(ended) => {
                let stderr = ended.stderr.text();
                let said = tail(stderr.trim(), STDERR_TAIL);
                let said = if said.is_empty() { "it wrote nothing to stderr" } else { said };
                failure(format!("The agent program {} ended with {}: {said}", self.shown, ended.how()))
            }
            Err(error) => refused(format!(
                "The agent program {} cannot be started: {error}. Is its first line (#!) right, and is the \
                 interpreter in the image?",
                self.shown
            )),
        }
    }
}

fn usable(program: &Path, shown: &str) -> Result<(), String> {
    let advice = "Put an executable file there (a script with a #! line, or a static binary): it gets the prompt on \
                  stdin, and what it writes to stdout is the reply.";
    match fs::metadata(program) {
        Err(error) => Err(format!("There is no agent program at {shown} ({error}). {advice}")),
        Ok(found) if !found.is_file() => Err(format!("{shown} is not a file. {advice}")),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => {
            Err(format!("{shown} is not executable. Make it so with: chmod +x {shown}"))
        }
        Ok(_) => Ok(()),
    }
}

/// Returns the texts sent before, as JSON: only the beginnings of the last ones, because an environment is small.
fn shortened(sent: &[String]) -> String {
    let last = &sent[sent.len().saturating_sub(20)..];
    let texts: Vec<String> = last.iter().map(|text| text.chars().take(500).collect()).collect();
    serde_json::json!(texts).to_string()
}

/// Returns the last `count` characters.
fn tail(text: &str, count: usize) -> &str {
    text.char_indices().rev().nth(count.saturating_sub(1)).map_or(text, |(at, _)| &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_counts_characters() {
        assert_eq!(tail("aäöü", 2), "öü");
        assert_eq!(tail("a", 2), "a");
    }
}
