//! A live process that speaks lines on stdin and stdout.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::signal::Signal;
use crate::process::{self, Working};

/// The longest line of stdout that is read, in bytes.
const LINE_LIMIT: u64 = 64 << 20;
/// Bytes of stderr that are kept to explain a failure.
const STDERR_KEPT: usize = 4096;
/// How long its streams may stay open after the process ended, because something in the background holds them.
const GRACE: Duration = Duration::from_millis(300);

/// A vendor's program at work.
#[derive(Debug)]
pub struct Live {
    lines: Option<Sender<String>>,
    working: Working,
}

impl Live {
    /// Starts the program in its own process group. Its lines and its end are sent as signals; at its end the writer
    /// is gone. A kill is gentle: the program has something to write down first.
    ///
    /// # Errors If it cannot be started.
    pub fn start(command: &mut Command, working: &Working, to: &Sender<Signal>) -> io::Result<Self> {
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        working.be_gentle();
        let mut child = process::start(command, working)?;
        let (lines, queue) = mpsc::channel();
        if let Some(stdin) = child.stdin.take() {
            thread::Builder::new().name("cli-stdin".into()).spawn(move || feed(stdin, &queue))?;
        }
        let (ours, to) = (working.clone(), to.clone());
        thread::Builder::new().name("cli".into()).spawn(move || attend(child, &ours, &to))?;
        Ok(Self { lines: Some(lines), working: working.clone() })
    }

    /// Writes a line, which has its own line end. If the process no longer reads, nothing is lost: at its end the
    /// message is still unanswered.
    pub fn write(&self, line: String) {
        if let Some(lines) = &self.lines {
            let _ = lines.send(line);
        }
    }

    /// Closes stdin: the process completes its work and exits.
    pub fn close(&mut self) {
        self.lines = None;
    }

    /// Ends the process; it has half a second to write its session down.
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

/// Passes on the process's lines, and finally its end.
fn attend(mut child: Child, working: &Working, to: &Sender<Signal>) {
    let said = Arc::new(Mutex::new(String::new()));
    let (done, over) = mpsc::channel::<()>();
    if let Some(stderr) = child.stderr.take() {
        let (said, done) = (Arc::clone(&said), done.clone());
        let _ = thread::Builder::new().name("cli-stderr".into()).spawn(move || {
            let _done = done;
            copy_stderr(stderr, &said);
        });
    }
    if let Some(stdout) = child.stdout.take() {
        let to = to.clone();
        let _ = thread::Builder::new().name("cli-stdout".into()).spawn(move || {
            let _done = done;
            read_lines(BufReader::new(stdout), &to);
        });
    }
    let how = process::collect(&mut child, working);
    // Ends when both readers' senders are dropped, too.
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
        // A line longer than the limit comes in pieces, none of which is an event.
        if to.send(Signal::Line(String::from_utf8_lossy(&line).into_owned())).is_err() {
            return;
        }
    }
}

/// Copies stderr, which is log text; its end may explain a failure.
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

    #[test]
    fn process_lines_are_passed_on_until_its_end() {
        let (to, signals) = mpsc::channel();
        let script = "read a; echo \"got $a\"; echo why >&2; read b || exit 3";
        let mut live = Live::start(Command::new("sh").args(["-c", script]), &Working::default(), &to).unwrap();
        live.write("x\n".to_owned());
        assert!(matches!(signals.recv().unwrap(), Signal::Line(line) if line == "got x\n"));
        live.close();
        let Signal::Ended { how, .. } = signals.recv().unwrap() else { panic!() };
        assert_eq!(how, "exit code 3");
    }
}
