//! The agent's brief about its room: memory files, extra folders, texts of an earlier try, pictures.

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

/// Bytes of a memory file that are passed as text.
const MEMORY_LIMIT: u64 = 100_000;
/// The largest picture that vendors accept, in bytes before it is encoded.
pub const IMAGE_LIMIT: u64 = 3_750_000;
/// Number of texts sent before that the brief has; the next line is the characters of each.
const RESUMED_TEXTS: usize = 20;
const RESUMED_CHARS: usize = 2000;

/// Returns the folder of the memory that all groups share.
pub fn global(room: &Room) -> PathBuf {
    workspace(room).join("global")
}

/// Returns the room's extra folders, in order.
pub fn extra_folders(room: &Room) -> Vec<PathBuf> {
    let entries = fs::read_dir(workspace(room).join("extra")).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn workspace(room: &Room) -> &Path {
    room.folders.group.parent().unwrap_or(Path::new("/"))
}

/// Returns a memory file's text, cut if it is too long; None if there is none or it is empty.
pub fn memory(file: &Path) -> Option<String> {
    let (text, left) = memory::read(file, MEMORY_LIMIT)?;
    if left == 0 {
        return Some(text);
    }
    Some(format!("{text}\n(The rest of {} is too long to be shown here: read the file.)", file.display()))
}

/// Returns the path of this program, which a CLI starts for the host's tools.
pub fn own_program() -> String {
    std::env::current_exe().map_or_else(|_| "agent-runner".to_owned(), |path| path.display().to_string())
}

/// Puts the present time before a message.
pub fn dated(text: &str) -> String {
    format!("[{}]\n{text}", host::now_told(Utc::now(), host::zone()))
}

/// Returns the first message: the time, the run's prompt, whether it is a task, and the texts that an earlier try sent.
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

/// Returns a picture's bytes in base64; the error says why it cannot be shown.
///
/// # Errors
/// If it is not a file, cannot be read, or is too large.
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

/// Returns the text that replaces a picture that cannot be shown.
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
