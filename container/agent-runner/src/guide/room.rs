//! The group's folder, its memory, and commands in the room.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::memory::{self, FILE as MEMORY};
use crate::process::{self, Plan};
use crate::run::Room;
use crate::tool;

/// The most that is shown of a file.
const SHOWN: u64 = 32 * 1024;
/// The most entries of a folder that are listed.
const LISTED: usize = 200;
/// What is kept of a command's output.
const OUTPUT: usize = 24 * 1024;
/// How long a command may take; tests make it shorter with `PARLOR_RUN_LIMIT_MS`.
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// The entries of a folder below the group's.
pub fn list(root: &Path, wanted: &str) -> String {
    let dir = match inside(root, wanted) {
        Ok(dir) => dir,
        Err(reason) => return reason,
    };
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries.filter_map(Result::ok),
        Err(error) => return format!("The folder {} cannot be listed: {error}.", named(wanted)),
    };
    let mut lines: Vec<String> = entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.metadata() {
                Ok(known) if known.is_dir() => format!("- {name}/"),
                Ok(known) if known.is_symlink() => format!("- {name} (link)"),
                Ok(known) => format!("- {name} ({})", size(known.len())),
                Err(_) => format!("- {name}"),
            }
        })
        .collect();
    lines.sort();
    let count = lines.len();
    if count == 0 {
        return format!("{} is empty.", named(wanted));
    }
    lines.truncate(LISTED);
    let more = if count > LISTED { format!("\n… and {} more", count - LISTED) } else { String::new() };
    format!("{} holds:\n{}{more}", named(wanted), lines.join("\n"))
}

/// The text of a file below the group's folder.
pub fn show(root: &Path, wanted: &str) -> String {
    match inside(root, wanted).and_then(|path| text(&path).map_err(|reason| format!("{wanted} {reason}"))) {
        Ok(text) if text.trim().is_empty() => format!("{wanted} is empty."),
        Ok(text) => format!("{wanted}:\n{}", fenced(&text)),
        Err(reason) => reason,
    }
}

/// Adds a line to the group's memory.
pub fn remember(root: &Path, fact: &str) -> String {
    match memory::append(root, fact) {
        Ok(()) => format!("I will remember it: it is in {MEMORY} now."),
        Err(error) => format!("I could not write it to {MEMORY}: {error}."),
    }
}

/// The group's memory.
pub fn recall(root: &Path) -> String {
    match text(&root.join(MEMORY)) {
        Ok(text) if !text.trim().is_empty() => format!("This is in {MEMORY}:\n\n{}", text.trim()),
        Ok(_) => nothing_remembered(),
        Err(_) if !root.join(MEMORY).exists() => nothing_remembered(),
        Err(reason) => format!("{MEMORY} {reason}"),
    }
}

fn nothing_remembered() -> String {
    "I remember nothing yet. Try “remember that Ann likes tea”.".to_owned()
}

/// Runs a shell command in the group's folder.
pub fn run(room: &Room, line: &str) -> String {
    let root = &room.folders.group;
    let limit = std::env::var("PARLOR_RUN_LIMIT_MS").ok().and_then(|text| text.parse().ok());
    let limit = limit.map_or(RUN_LIMIT, Duration::from_millis);
    let plan = Plan { stdin: "", merge: true, log_stderr: false, keep: OUTPUT, limit: Some(limit) };
    let start = |mut shell: Command| {
        shell.arg("-c").arg(line).current_dir(root);
        tool::offer(&mut shell, room);
        process::run(&mut shell, &plan, &room.working)
    };
    let mut busybox = Command::new("busybox");
    busybox.arg("sh");
    let ended = match start(Command::new("sh")) {
        // An image may have the one shell without its name.
        Err(error) if error.kind() == io::ErrorKind::NotFound => start(busybox),
        ended => ended,
    };
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => return format!("The command could not be started: {error}. Is there a shell in the image?"),
    };
    let output = ended.stdout.text();
    let shown = if output.trim().is_empty() { String::new() } else { format!("{}\n", fenced(&output)) };
    if ended.timed_out {
        return format!("{shown}It took longer than {} seconds, so I ended it.", limit.as_secs_f32());
    }
    match ended.code {
        Some(0) if shown.is_empty() => "Done, exit code 0, no output.".to_owned(),
        Some(0) => format!("{shown}exit code 0"),
        _ => format!("{shown}It failed: {}.", ended.how()),
    }
}

/// A path below the group's folder, links resolved; everything else is refused.
fn inside(root: &Path, wanted: &str) -> Result<PathBuf, String> {
    let gone = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("There is no {wanted} in my folder. “list files” shows what there is."),
        _ => format!("{wanted} cannot be opened: {error}."),
    };
    let root = root.canonicalize().map_err(|error| format!("My folder cannot be opened: {error}."))?;
    let path = root.join(wanted).canonicalize().map_err(gone)?;
    if path.starts_with(&root) { Ok(path) } else { Err(format!("{wanted} is outside my folder, so I leave it alone.")) }
}

/// A file's text, or why there is none (continuing the file's name).
fn text(path: &Path) -> Result<String, String> {
    let known = fs::metadata(path).map_err(|error| format!("cannot be read: {error}."))?;
    if known.is_dir() {
        return Err("is a folder. Try “list files in” and its name.".to_owned());
    }
    if !known.is_file() {
        return Err("is not a regular file, so I leave it alone.".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SHOWN).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}."))?;
    let cut = known.len() > SHOWN;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        // The cut may go through a character; anywhere else it is no text.
        Err(error) if cut && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return Err(format!("is no text ({}), so I do not show it.", size(known.len()))),
    };
    if text.contains('\0') {
        return Err(format!("is no text ({}), so I do not show it.", size(known.len())));
    }
    let note = if cut { format!("\n… the first {} of {}", size(SHOWN), size(known.len())) } else { String::new() };
    Ok(format!("{text}{note}"))
}

/// A code block, with a fence longer than any inside it.
fn fenced(text: &str) -> String {
    let longest = text.lines().map(|line| line.trim_start().bytes().take_while(|byte| *byte == b'`').count()).max();
    let fence = "`".repeat(longest.unwrap_or(0).max(2) + 1);
    format!("{fence}\n{}\n{fence}", text.trim_end_matches('\n'))
}

fn named(wanted: &str) -> String {
    if wanted.is_empty() || wanted == "." { "My folder".to_owned() } else { format!("My folder's {wanted}") }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..=1023 => format!("{bytes} bytes"),
        1024..=1_048_575 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_shown_only_from_inside_and_only_as_text() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("group");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(home.path().join("secret"), "secret").unwrap();
        fs::write(root.join("a.txt"), "```\nhi\n").unwrap();
        fs::write(root.join("b.bin"), [0, 159, 146, 150]).unwrap();
        fs::write(root.join("long"), "ä".repeat(40_000)).unwrap();
        std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
        assert_eq!(show(&root, "a.txt"), "a.txt:\n````\n```\nhi\n````");
        for outside in ["../secret", "link", "/etc/passwd", "sub/../../secret"] {
            assert!(show(&root, outside).contains("outside my folder"), "{outside}: {}", show(&root, outside));
        }
        assert!(show(&root, "b.bin").contains("is no text (4 bytes)"));
        assert!(show(&root, "sub").contains("is a folder"));
        assert!(show(&root, "none").contains("There is no none"));
        let long = show(&root, "long");
        assert!(long.contains("… the first 32 KiB of 78 KiB") && long.len() < 34_000);
        assert_eq!(
            list(&root, ""),
            "My folder holds:\n- a.txt (7 bytes)\n- b.bin (4 bytes)\n- link (link)\n- long (78 KiB)\n- sub/"
        );
        assert_eq!(list(&root, "sub"), "My folder's sub is empty.");
        assert!(list(&root, "..").contains("outside"));
    }

    #[test]
    fn memory_is_kept_line_by_line() {
        let home = tempfile::tempdir().unwrap();
        assert!(recall(home.path()).contains("nothing yet"));
        fs::write(home.path().join(MEMORY), "# Notes").unwrap();
        assert!(remember(home.path(), "Ann\nlikes  tea").contains("I will remember"));
        assert!(remember(home.path(), "Bob too").contains("I will remember"));
        assert!(recall(home.path()).ends_with("# Notes\n- Ann likes tea\n- Bob too"));
    }
}
