//! The real runner binary with its own folders, and a double of the host that answers requests.

#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)] // helpers of tests; each program uses a part

pub mod page;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use parlor_protocol::files::write_atomically;
use parlor_protocol::{OUTPUT_END, OUTPUT_START, Output};
use serde_json::{Value, json};

pub const RUNNER: &str = env!("CARGO_BIN_EXE_agent-runner");
const PATIENCE: Duration = Duration::from_secs(20);

/// The folders of one group.
pub struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        let home = Self { dir: tempfile::tempdir().unwrap() };
        for name in ["ipc/input", "ipc/messages", "ipc/tasks", "ipc/results", "group", "home/.claude"] {
            fs::create_dir_all(home.path(name)).unwrap();
        }
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn environment(&self, command: &mut Command) {
        command
            .env("PARLOR_IPC_DIR", self.path("ipc"))
            .env("PARLOR_INPUT_DIR", self.path("ipc/input"))
            .env("PARLOR_GROUP_DIR", self.path("group"))
            .env("HOME", self.path("home"))
            .env("TZ", "Europe/Berlin");
    }

    pub fn follow_up(&self, name: &str, text: &str) {
        self.follow_up_with(name, text, &[]);
    }

    /// Adds a follow-up with pictures, by their paths in the group's folder.
    pub fn follow_up_with(&self, name: &str, text: &str, pictures: &[&str]) {
        let mut json = json!({"type": "message", "text": text});
        if !pictures.is_empty() {
            let one = |path: &&str| json!({"relativePath": path, "mediaType": "image/png"});
            json["images"] = pictures.iter().map(one).collect();
        }
        let json = json.to_string();
        write_atomically(&self.path("ipc/input"), name, json.as_bytes()).unwrap();
    }

    pub fn close(&self) {
        fs::write(self.path("ipc/input/_close"), "").unwrap();
    }

    /// Writes an agent program into the group's folder.
    pub fn program(&self, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path("group/agent");
        // Under another name first, so that a half-written program is never run.
        fs::write(self.path("group/agent.new"), script).unwrap();
        fs::set_permissions(self.path("group/agent.new"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(self.path("group/agent.new"), path).unwrap();
    }

    /// Starts a double of the host, which answers the next requests of a kind in order, and returns them.
    pub fn host(&self, kind: &str, answers: Vec<Value>) -> thread::JoinHandle<Vec<Value>> {
        let (dir, results) = (self.path("ipc").join(kind), self.path("ipc/results"));
        thread::spawn(move || answers.into_iter().map(|answer| answer_one(&dir, &results, &answer)).collect())
    }
}

fn answer_one(dir: &Path, results: &Path, answer: &Value) -> Value {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let found = fs::read_dir(dir).unwrap().filter_map(|entry| Some(entry.ok()?.path()));
        if let Some(path) = found.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "json")) {
            let request: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            fs::remove_file(path).unwrap();
            let name = format!("{}.json", request["id"].as_str().unwrap());
            write_atomically(results, &name, answer.to_string().as_bytes()).unwrap();
            return request;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("no request came")
}

/// A running agent.
pub struct Agent {
    child: Child,
    lines: Receiver<String>,
}

impl Agent {
    pub fn start(home: &Home, input: &Value) -> Self {
        Self::start_with(home, &input.to_string(), &[])
    }

    pub fn start_with(home: &Home, stdin: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(RUNNER);
        home.environment(&mut command);
        command.envs(environment.iter().copied());
        Self::spawn(command, stdin)
    }

    /// Starts a shell script in the runner's place.
    pub fn start_program(home: &Home, script: &Path, input: &Value) -> Self {
        let mut command = Command::new("sh");
        command.arg(script);
        home.environment(&mut command);
        Self::spawn(command, &input.to_string())
    }

    fn spawn(mut command: Command, stdin: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    /// Returns the next output; everything on stdout must belong to an output.
    pub fn output(&self) -> Output {
        let line = || self.lines.recv_timeout(PATIENCE).expect("the next line of an output");
        assert_eq!(line(), OUTPUT_START);
        let output = serde_json::from_str(&line()).unwrap();
        assert_eq!(line(), OUTPUT_END);
        output
    }

    /// Returns the text of the next output, which must end a turn.
    pub fn reply(&self) -> String {
        let output = self.output();
        assert_eq!(output.turn, Some(parlor_protocol::Turn::Done), "{output:?}");
        output.result.unwrap_or_else(|| panic!("a reply without a text: {:?}", output.error))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stderr(&mut self) -> ChildStderr {
        self.child.stderr.take().unwrap()
    }

    pub fn end(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(2));
        }
        panic!("the runner does not end")
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.pid().to_string()]).status().unwrap().success());
    }
}

/// A failed test must not leave its runner behind.
impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a condition is true.
pub fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < end, "never came true: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
