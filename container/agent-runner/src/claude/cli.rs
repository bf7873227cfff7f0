//! The CLI: where it is, how it is called, and one live process of it.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::Signal;
use super::chosen::Chosen;
use super::memo::Version;
use crate::process::{self, Working};
use crate::run::Room;
use crate::tool;

/// The first version that keeps the system prompt of a session, so that a changed memory would never be read again.
const KEEPS_SYSTEM_PROMPT: Version = Version([2, 1, 329]);
/// The longest memory that fits an argument.
const MEMORY_LIMIT: usize = 100_000;
/// The longest line of stdout that is read.
const LINE_LIMIT: u64 = 64 << 20;
/// What is kept of stderr to explain a failure.
const STDERR_KEPT: usize = 4096;
/// How long stdout may stay open after the process ended, because something in the background holds it.
const GRACE: Duration = Duration::from_millis(300);

/// What the environment gets where it does not say otherwise: a room reports home to nobody and updates nothing.
const ENVIRONMENT: [(&str, &str); 9] = [
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ("DISABLE_TELEMETRY", "1"),
    ("DISABLE_ERROR_REPORTING", "1"),
    ("DISABLE_AUTOUPDATER", "1"),
    // The host tries again by itself, and tells the chat why.
    ("CLAUDE_CODE_MAX_RETRIES", "3"),
    ("CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD", "1"),
    ("CLAUDE_CODE_EXPERIMENTAL_AGENT_TEAMS", "1"),
    ("CLAUDE_CODE_DISABLE_AUTO_MEMORY", "0"),
    // The room is the sandbox.
    ("IS_SANDBOX", "1"),
];

/// Finds the program: `PARLOR_CLAUDE`, else `claude` in the PATH.
pub fn find() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("PARLOR_CLAUDE") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("claude")).find(|file| file.is_file())
}

/// The arguments of a call.
pub fn arguments(room: &Room, chosen: &Chosen, resume: Option<&str>, version: Version) -> Vec<String> {
    let workspace = room.folders.group.parent().unwrap_or(Path::new("/"));
    let mut args: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| args.extend(words.iter().map(|word| (*word).to_owned()));
    add(&["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--replay-user-messages"]);
    add(&["--permission-mode", "bypassPermissions", "--settings", &settings(chosen)]);
    if let Some(id) = resume {
        add(&["--resume", id]);
    }
    if let Some(model) = chosen.common.chosen_model(&room.input).filter(|model| !model.starts_with('-')) {
        add(&["--model", model]);
    }
    if version >= KEEPS_SYSTEM_PROMPT {
        add(&["--system-prompt-snapshot", "off"]);
    }
    let global = workspace.join("global");
    let mut folders = extra_folders(&workspace.join("extra"));
    let mut told = Vec::new();
    if room.input.is_main {
        // Main writes this memory; it reads it as that of a folder.
        folders.extend(global.is_dir().then(|| global.display().to_string()));
    } else {
        told.extend(memory(&global.join("CLAUDE.md")));
    }
    told.extend(chosen.common.system_prompt.clone());
    if !told.is_empty() {
        add(&["--append-system-prompt", &told.join("\n\n")]);
    }
    for folder in &folders {
        add(&["--add-dir", folder]);
    }
    let server = json!({ "command": own_program(), "args": ["mcp"] });
    add(&["--mcp-config", &chosen.servers(server).to_string()]);
    args.extend(chosen.arguments());
    // Last, because the options before take as many words as come.
    args.extend(["--strict-mcp-config", "--verbose"].map(str::to_owned));
    args
}

/// Settings of this call.
fn settings(chosen: &Chosen) -> String {
    json!({ "hooks": chosen.hooks(&format!("'{}' archive", own_program())) }).to_string()
}

fn own_program() -> String {
    std::env::current_exe().map_or_else(|_| "agent-runner".to_owned(), |path| path.display().to_string())
}

fn extra_folders(extra: &Path) -> Vec<String> {
    let entries = fs::read_dir(extra).into_iter().flatten().flatten();
    let mut folders: Vec<String> =
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).map(|path| path.display().to_string()).collect();
    folders.sort();
    folders
}

fn memory(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok().filter(|text| !text.trim().is_empty())?;
    let Some((end, _)) = text.char_indices().find(|(at, _)| *at > MEMORY_LIMIT) else { return Some(text) };
    Some(format!("{}\n(The rest of {} is too long to be shown here: read the file.)", &text[..end], file.display()))
}

/// A live CLI.
#[derive(Debug)]
pub struct Cli {
    lines: Option<Sender<String>>,
    working: Working,
}

impl Cli {
    /// Starts it. What it says and its end are sent as signals; at its end the writer is gone.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command, room: &Room, to: &Sender<Signal>) -> io::Result<Self> {
        command.current_dir(&room.folders.group).process_group(0);
        tool::offer(&mut command, room);
        for (key, value) in ENVIRONMENT.iter().filter(|(key, _)| std::env::var_os(key).is_none()) {
            command.env(key, value);
        }
        // Here and nowhere else: no other child of ours has them.
        command.envs(&room.input.secrets);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        room.working.be_gentle();
        let mut child = process::start(&mut command, &room.working)?;
        let (lines, queue) = mpsc::channel();
        if let Some(stdin) = child.stdin.take() {
            thread::Builder::new().name("claude-stdin".into()).spawn(move || feed(stdin, &queue))?;
        }
        let (working, to) = (room.working.clone(), to.clone());
        thread::Builder::new().name("claude".into()).spawn(move || attend(child, &working, &to))?;
        Ok(Self { lines: Some(lines), working: room.working.clone() })
    }

    /// Writes a line. One that the CLI no longer reads is not lost: its end tells of what was not answered.
    pub fn write(&self, line: String) {
        if let Some(lines) = &self.lines {
            let _ = lines.send(line);
        }
    }

    /// No more is written: it finishes what it has and exits.
    pub fn close(&mut self) {
        self.lines = None;
    }

    /// Ends it; it may take half a second to write down what was said.
    pub fn end(&self) {
        self.working.end();
    }
}

fn feed(mut stdin: ChildStdin, lines: &Receiver<String>) {
    for line in lines {
        if stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

/// Passes on what the CLI says, and its end as the last.
fn attend(mut child: Child, working: &Working, to: &Sender<Signal>) {
    let said = Arc::new(Mutex::new(String::new()));
    if let Some(stderr) = child.stderr.take() {
        let said = Arc::clone(&said);
        let _ = thread::Builder::new().name("claude-stderr".into()).spawn(move || copy_stderr(stderr, &said));
    }
    let (done, over) = mpsc::channel::<()>();
    if let Some(stdout) = child.stdout.take() {
        let to = to.clone();
        let _ = thread::Builder::new().name("claude-stdout".into()).spawn(move || {
            let _done = done;
            read_lines(BufReader::new(stdout), &to);
        });
    }
    let how = process::collect(&mut child, working);
    // Ends when the reader's sender is dropped, too.
    let _ = over.recv_timeout(GRACE);
    let said = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let _ = to.send(Signal::Ended { how, said });
}

fn read_lines(mut stdout: impl BufRead, to: &Sender<Signal>) {
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut stdout).take(LINE_LIMIT).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        // What is longer than the limit comes in pieces, none of which is an event.
        if to.send(Signal::Line(String::from_utf8_lossy(&line).into_owned())).is_err() {
            return;
        }
    }
}

/// stderr is log text; its end may explain a failure.
fn copy_stderr(mut stderr: impl Read, said: &Mutex<String>) {
    let mut buffer = vec![0; 8192];
    while let Ok(read) = stderr.read(&mut buffer)
        && read > 0
    {
        let _ = io::stderr().write_all(&buffer[..read]);
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.push_str(&String::from_utf8_lossy(&buffer[..read]));
        if let Some((at, _)) = said.char_indices().rev().nth(STDERR_KEPT) {
            said.drain(..at);
        }
    }
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
        fs::write(&file, "ä".repeat(MEMORY_LIMIT)).unwrap();
        let long = memory(&file).unwrap();
        assert!(long.len() < MEMORY_LIMIT + 200 && long.contains("read the file"));
    }

    #[test]
    fn lines_of_any_length_are_passed_on() {
        let (to, signals) = mpsc::channel();
        read_lines(&b"one\ntw\xffo\nend"[..], &to);
        let lines: Vec<String> = signals
            .try_iter()
            .filter_map(|signal| match signal {
                Signal::Line(line) => Some(line),
                _ => None,
            })
            .collect();
        assert_eq!(lines, ["one\n", "tw\u{fffd}o\n", "end"]);
    }
}
