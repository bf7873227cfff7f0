//! An agent's brief about its room: memories, further folders, what an earlier try sent, pictures.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::Utc;
use parlor_protocol::{ImageAttachment, RunInput};

use crate::host;
use crate::memory;
use crate::provider::Room;

/// The longest memory that is handed over as a text.
const MEMORY_LIMIT: u64 = 100_000;
/// The largest picture that vendors take, before it is encoded.
pub const IMAGE_LIMIT: u64 = 3_750_000;
/// The most that the brief holds of texts that were sent before: their number, and characters of each.
const RESUMED_TEXTS: usize = 20;
const RESUMED_CHARS: usize = 2000;

/// Returns where the memory of all groups lies.
pub fn global(room: &Room) -> PathBuf {
    workspace(room).join("global")
}

/// The further folders of the room, in order.
pub fn extra_folders(room: &Room) -> Vec<PathBuf> {
    let entries = fs::read_dir(workspace(room).join("extra")).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn workspace(room: &Room) -> &Path {
    room.folders.group.parent().unwrap_or(Path::new("/"))
}

/// A memory's text, cut where it is too long; None if there is none or nothing in it.
pub fn memory(file: &Path) -> Option<String> {
    let (text, left) = memory::read(file, MEMORY_LIMIT)?;
    if left == 0 {
        return Some(text);
    }
    Some(format!("{text}\n(The rest of {} is too long to be shown here: read the file.)", file.display()))
}

/// The program that runs now: what a CLI calls for the host's tools.
pub fn own_program() -> String {
    std::env::current_exe().map_or_else(|_| "agent-runner".to_owned(), |path| path.display().to_string())
}

/// A message with the time now before it.
pub fn dated(text: &str) -> String {
    format!("[{}]\n{text}", host::now_told(Utc::now(), host::zone()))
}

/// The text of the first message: the time, the run's prompt, whether a task asks it, and what an earlier try sent.
pub fn prompt(input: &RunInput) -> String {
    let mut text = dated("");
    if input.is_scheduled_task {
        text.push_str(
            "[A scheduled task, not a message from somebody in the chat. What you answer is sent to the chat.]\n\n",
        );
    }
    text.push_str(&input.prompt);
    if !input.resumed.is_empty() {
        text.push_str(&resumed(&input.resumed));
    }
    text
}

fn resumed(sent: &[String]) -> String {
    let last = &sent[sent.len().saturating_sub(RESUMED_TEXTS)..];
    let texts: Vec<String> = last.iter().map(|text| text.chars().take(RESUMED_CHARS).collect()).collect();
    format!(
        "\n\n[An earlier try to answer this was cut off. It had already sent the following to the chat; go on from \
         there, and do not send or do it again:\n{}]",
        texts.join("\n---\n")
    )
}

/// A picture's bytes in base64; the error says why it cannot be shown.
///
/// # Errors
/// When it is no file, cannot be read, or is too large.
pub fn picture(image: &ImageAttachment, group: &Path) -> Result<String, String> {
    let path = group.join(&image.relative_path);
    let found = fs::metadata(&path).map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(&path).map_err(|error| error.to_string())?;
    file.take(IMAGE_LIMIT + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > IMAGE_LIMIT {
        return Err(format!(
            "it has {} bytes, and models take at most {IMAGE_LIMIT}; a smaller copy of it can be shown",
            found.len()
        ));
    }
    Ok(BASE64.encode(&bytes))
}

/// Returns what stands in a message for a picture that cannot be shown.
pub fn no_picture(image: &ImageAttachment, why: &str) -> String {
    format!("\n\n[The picture {} cannot be shown: {why}]", image.relative_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_that_does_not_fit_is_cut_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("CLAUDE.md");
        assert_eq!(memory(&file), None);
        fs::write(&file, " \n").unwrap();
        assert_eq!(memory(&file), None);
        fs::write(&file, "short").unwrap();
        assert_eq!(memory(&file).as_deref(), Some("short"));
        fs::write(&file, "ä".repeat(100_000)).unwrap();
        let long = memory(&file).unwrap();
        assert!(long.len() < 100_200 && long.contains("read the file"));
    }
}
