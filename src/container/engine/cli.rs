//! Calls of an engine's command line: each in its own process group, each with a time limit.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::EngineError;
use super::image_store::Lines;
use crate::container::image::broken_off;

/// The most bytes that are kept of a call's stdout, and of its stderr.
const OUTPUT_LIMIT: u64 = 8 * 1024 * 1024;
/// The longest line that is passed on, and the number of lines that are kept.
const LINE_LIMIT: u64 = 64 * 1024;
const LINES_KEPT: usize = 200;
/// How long a process that outlives its call may hold the pipes.
const PIPE_GRACE: Duration = Duration::from_secs(2);

/// An engine's program, and hints for people if it is missing.
#[derive(Debug, Clone)]
pub struct Cli {
    /// `docker` or `podman`, for people.
    pub name: &'static str,
    /// The program, and arguments that come before the engine's own.
    pub program: Vec<OsString>,
    /// How to install it.
    pub install_hint: &'static str,
    /// How to start it.
    pub start_hint: &'static str,
}

/// The result of a call.
#[derive(Debug)]
pub struct Output {
    /// The exit code; None after a signal.
    pub code: Option<i32>,
    /// Its stdout, trimmed.
    pub stdout: String,
    /// Its stderr, trimmed.
    pub stderr: String,
}

impl Output {
    /// Returns true if the exit code is 0.
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }
}

impl Cli {
    /// Returns the engine's program with arguments, in its own process group.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut words = self.program.iter();
        let mut command = Command::new(words.next().map_or(OsStr::new(self.name), OsString::as_os_str));
        command.args(words).args(args).process_group(0).kill_on_drop(true);
        command
    }

    /// Returns the program, for people.
    pub fn shown(&self) -> String {
        self.program.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    /// Calls the engine without input.
    pub async fn call<S: AsRef<OsStr>>(&self, args: &[S], limit: Duration) -> Result<Output, EngineError> {
        self.call_with(args, Stdio::null(), limit).await
    }

    /// Calls the engine with `stdin` as its input.
    pub async fn call_with<S: AsRef<OsStr>>(
        &self,
        args: &[S],
        stdin: Stdio,
        limit: Duration,
    ) -> Result<Output, EngineError> {
        let action = args.first().map_or_else(String::new, |arg| arg.as_ref().to_string_lossy().into_owned());
        let mut command = self.command(args);
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| self.spawn_error(&action, &e))?;
        let mut group = GroupGuard::new(&child);
        let stdout = read(child.stdout.take());
        let stderr = read(child.stderr.take());
        let Ok(status) = tokio::time::timeout(limit, child.wait()).await else {
            return Err(EngineError::Timeout { engine: self.name.to_owned(), action, after: limit });
        };
        group.disarm();
        let status = status.map_err(|e| self.failed(&action, e.to_string()))?;
        let (stdout, stderr) = tokio::join!(finish(stdout), finish(stderr));
        Ok(Output { code: status.code(), stdout, stderr })
    }

    /// Calls the engine and passes on each line of both streams as it comes; the result has the kept lines as stdout.
    /// A call that is dropped ends in order, in the background: see [`broken_off::all_ended`].
    pub async fn call_with_lines<S: AsRef<OsStr>>(
        &self,
        args: &[S],
        limit: Duration,
        line: Lines<'_>,
    ) -> Result<Output, EngineError> {
        let action = args.first().map_or_else(String::new, |arg| arg.as_ref().to_string_lossy().into_owned());
        let mut command = self.command(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| self.spawn_error(&action, &e))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut client = broken_off::Client::new(child);
        let (to, mut lines) = tokio::sync::mpsc::channel(64);
        forward(stdout, to.clone());
        forward(stderr, to);
        let listen = async {
            let mut kept = VecDeque::new();
            while let Some(text) = lines.recv().await {
                line(&text);
                kept.push_back(text);
                if kept.len() > LINES_KEPT {
                    kept.pop_front();
                }
            }
            (client.wait().await, Vec::from(kept).join("\n"))
        };
        let Ok((status, stdout)) = tokio::time::timeout(limit, listen).await else {
            return Err(EngineError::Timeout { engine: self.name.to_owned(), action, after: limit });
        };
        let status = status.map_err(|e| self.failed(&action, e.to_string()))?;
        Ok(Output { code: status.code(), stdout, stderr: String::new() })
    }

    /// Returns the error for a program that could not be started.
    pub fn spawn_error(&self, action: &str, error: &std::io::Error) -> EngineError {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory => EngineError::Missing {
                engine: self.name.to_owned(),
                program: self.shown(),
                hint: self.install_hint.to_owned(),
            },
            _ => self.failed(action, format!("{} cannot be started: {error}", self.shown())),
        }
    }

    /// Returns the error for a call that failed.
    pub fn call_error(&self, action: &str, output: &Output) -> EngineError {
        let reason = first_lines(&output.stderr)
            .unwrap_or_else(|| output.code.map_or("killed by a signal".to_owned(), |code| format!("exit code {code}")));
        let text = output.stderr.to_lowercase();
        let gone = ["cannot connect to", "daemon running", "error during connect", "connection refused"];
        if text.contains("permission denied") && text.contains(".sock") {
            let hint = "add yourself to its group: `sudo usermod -aG docker $USER`, then log in again";
            return self.unreachable(reason, hint);
        }
        if gone.iter().any(|phrase| text.contains(phrase)) {
            return self.unreachable(reason, self.start_hint);
        }
        self.failed(action, reason)
    }

    /// Returns the error for an engine that does not answer.
    pub fn unreachable(&self, reason: String, hint: &str) -> EngineError {
        EngineError::Unreachable { engine: self.name.to_owned(), reason, hint: hint.to_owned() }
    }

    /// Returns the error for a call that the engine refused.
    pub fn failed(&self, action: &str, reason: String) -> EngineError {
        EngineError::Failed { engine: self.name.to_owned(), action: action.to_owned(), reason }
    }
}

/// Returns the first lines of an engine's complaint, on one line.
fn first_lines(text: &str) -> Option<String> {
    let short: String =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect::<Vec<_>>().join("; ");
    (!short.is_empty()).then(|| short.chars().take(600).collect())
}

/// Sends the lines of a stream; drops the sender at its end.
fn forward(pipe: Option<impl AsyncRead + Send + Unpin + 'static>, to: tokio::sync::mpsc::Sender<String>) {
    let Some(pipe) = pipe else { return };
    tokio::spawn(async move {
        let mut reader = BufReader::new(pipe);
        let mut bytes = Vec::new();
        // A progress bar without line ends is cut at a line's limit.
        while (&mut reader).take(LINE_LIMIT).read_until(b'\n', &mut bytes).await.is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            // Keep reading: a process is killed when it writes into a pipe without a reader, even while it undoes its
            // work.
            let _ = to.send(text).await;
        }
    });
}

fn read(pipe: Option<impl AsyncRead + Send + Unpin + 'static>) -> JoinHandle<Vec<u8>> {
    tokio::spawn(async move {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // Bytes before an error still count.
            let _ = pipe.take(OUTPUT_LIMIT).read_to_end(&mut bytes).await;
        }
        bytes
    })
}

async fn finish(mut reader: JoinHandle<Vec<u8>>) -> String {
    let bytes = if let Ok(Ok(bytes)) = tokio::time::timeout(PIPE_GRACE, &mut reader).await {
        bytes
    } else {
        reader.abort();
        Vec::new()
    };
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// Kills a child's whole process group when dropped.
#[derive(Debug)]
pub struct GroupGuard(Option<Pid>);

impl GroupGuard {
    /// Guards a child that leads its group.
    pub fn new(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }
    /// Leaves the group alone: its leader has ended and been waited for, so its id may soon belong to another
    /// process.
    pub fn disarm(&mut self) {
        self.0 = None;
    }
    /// Kills the group now.
    pub fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // A group that has ended is fine.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for GroupGuard {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    use rustix::process::{Pid, Signal};

    fn shell(program: &[&str]) -> Cli {
        let program = program.iter().map(OsString::from).collect();
        Cli { name: "sh", program, install_hint: "get it", start_hint: "start it" }
    }

    #[tokio::test]
    async fn hanging_call_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        let before = Instant::now();
        let error = shell(&["sh"]).call(&["-c", &script], Duration::from_millis(500)).await.unwrap_err();
        assert!(matches!(error, EngineError::Timeout { .. }), "{error}");
        assert!(before.elapsed() < Duration::from_secs(60));
        let pid: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        for _ in 0..1000 {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("process {pid} outlived its call");
    }

    #[tokio::test]
    async fn call_does_not_wait_for_a_process_that_holds_its_pipes() {
        let before = Instant::now();
        let dir = tempfile::tempdir().unwrap();
        let script = format!("sleep 300 & echo $! > {}/pid", dir.path().display());
        let output = shell(&["sh"]).call(&["-c", &script], Duration::from_secs(100)).await.unwrap();
        let took = before.elapsed();
        let pid = std::fs::read_to_string(dir.path().join("pid")).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        assert!(output.ok() && took < Duration::from_secs(60), "{took:?}");
    }

    #[tokio::test]
    async fn missing_programs_and_refusals_have_different_errors() {
        let missing = shell(&["/nonexistent/engine"]).call(&["ps"], Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(missing.to_string(), "sh is not installed (/nonexistent/engine): get it");
        let cli = shell(&["sh"]);
        let said = |stderr: &str| {
            cli.call_error("ps", &Output { code: Some(1), stdout: String::new(), stderr: stderr.to_owned() })
        };
        let down =
            said("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?");
        assert!(matches!(&down, EngineError::Unreachable { hint, .. } if hint == "start it"), "{down}");
        let denied = said(
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
        );
        assert!(matches!(&denied, EngineError::Unreachable { hint, .. } if hint.contains("usermod")), "{denied}");
        assert_eq!(said("no space left").to_string(), "sh ps: no space left");
        assert_eq!(said("").to_string(), "sh ps: exit code 1");
    }
}
