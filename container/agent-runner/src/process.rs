//! Runs a command to its end: in its own process group, with limits on time and output, and a kill from another thread.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// Time that a stream may stay open after its process ended, because a background process holds it.
const GRACE: Duration = Duration::from_millis(300);

/// The process group that runs at the moment, so that the signal thread can kill it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Working {
    group: Arc<Mutex<Option<Pid>>>,
    gentle: Arc<AtomicBool>,
}

/// Time that a gentle end may take.
const GENTLE: Duration = Duration::from_millis(500);

impl Working {
    fn lock(&self) -> MutexGuard<'_, Option<Pid>> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes [`end`](Self::end) send SIGTERM before it kills: the program has files to write first.
    pub fn be_gentle(&self) {
        self.gentle.store(true, Ordering::Relaxed);
    }

    /// Ends the whole group, if there is one: at once, or gently.
    pub fn end(&self) {
        if self.gentle.load(Ordering::Relaxed) {
            if let Some(group) = *self.lock() {
                let _ = kill_process_group(group, Signal::TERM);
            }
            let end = Instant::now() + GENTLE;
            while self.lock().is_some() && Instant::now() < end {
                thread::sleep(Duration::from_millis(5));
            }
        }
        self.kill();
    }

    /// Kills the whole group, if there is one.
    pub fn kill(&self) {
        if let Some(group) = *self.lock() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The kept part of a stream: its first and its last bytes.
#[derive(Debug, Default, Clone)]
pub struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    half: usize,
    total: u64,
}

impl Capture {
    fn new(limit: usize) -> Self {
        Self { half: limit.div_ceil(2), ..Self::default() }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let fits = bytes.len().min(self.half - self.head.len());
        self.head.extend_from_slice(&bytes[..fits]);
        let rest = &bytes[fits..];
        self.tail.extend(&rest[rest.len().saturating_sub(self.half)..]);
        let over = self.tail.len().saturating_sub(self.half);
        self.tail.drain(..over);
    }

    /// Returns the number of bytes that were not kept.
    pub fn left_out(&self) -> u64 {
        self.total - (self.head.len() + self.tail.len()) as u64
    }

    /// Returns the text, with a note if something was left out.
    pub fn text(&self) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if self.left_out() == 0 {
            return String::from_utf8_lossy(&[self.head.as_slice(), &tail].concat()).into_owned();
        }
        let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&tail));
        format!("{head}\n… {} bytes left out …\n{tail}", self.left_out())
    }
}

/// The end of a command.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; None after a signal.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// True if it was killed because its time was over.
    pub timed_out: bool,
    /// Its stdout, or both streams if they were merged.
    pub stdout: Capture,
    /// Its stderr; empty if it was merged.
    pub stderr: Capture,
}

impl Ended {
    /// Returns the end in words: `exit code 3`, `killed by signal 9`.
    pub fn how(&self) -> String {
        how(self.code, self.signal)
    }
}

/// Limits and streams of a command.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The text that it gets on stdin.
    pub stdin: &'a str,
    /// True if stdout and stderr are captured as one stream, in the order written.
    pub merge: bool,
    /// True if stderr is copied to ours, as log text.
    pub log_stderr: bool,
    /// Bytes to keep per stream.
    pub keep: usize,
    /// It is killed after this time; None sets no limit.
    pub limit: Option<Duration>,
}

/// Runs a command to its end.
///
/// # Errors
/// If it cannot be started.
pub fn run(command: &mut Command, plan: &Plan<'_>, working: &Working) -> io::Result<Ended> {
    command.process_group(0).stdin(Stdio::piped());
    let (out, out_writer) = io::pipe()?;
    let (err, err_writer) = io::pipe()?;
    if plan.merge {
        command.stderr(out_writer.try_clone()?);
    } else {
        command.stderr(err_writer.try_clone()?);
    }
    command.stdout(out_writer);
    drop(err_writer);

    let mut child = start(command, working)?;
    // The command holds our ends of the pipes; until it drops them, no stream would end.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    feed(&mut child, plan.stdin);
    let stdout = Stream::read(out.into(), plan.keep, false);
    let stderr = Stream::read(err.into(), plan.keep, plan.log_stderr);
    let watchdog = plan.limit.map(|limit| Watchdog::start(limit, working.clone()));

    release(&child, working);
    let timed_out = watchdog.is_some_and(Watchdog::stop);
    let status = child.wait()?;
    let end = Instant::now() + GRACE;
    Ok(Ended {
        code: status.code(),
        signal: status.signal(),
        timed_out,
        stdout: stdout.collect(end),
        stderr: stderr.collect(end),
    })
}

/// Waits for the end without reaping, so that the process id stays valid until nobody can signal it any more.
fn release(child: &Child, working: &Working) {
    let pid = Pid::from_child(child);
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {}
    *working.lock() = None;
}

/// Waits for the end of a command that [`start`] started, and returns its end in words.
pub(crate) fn collect(child: &mut Child, working: &Working) -> String {
    release(child, working);
    child.wait().map_or_else(|error| error.to_string(), |status| how(status.code(), status.signal()))
}

/// Describes the end: `exit code 3`, `killed by signal 9`.
fn how(code: Option<i32>, signal: Option<i32>) -> String {
    match (code, signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "an unknown end".to_owned(),
    }
}

/// Starts the command under the lock that a kill needs, so that a kill finds the group or comes before it exists.
pub(crate) fn start(command: &mut Command, working: &Working) -> io::Result<Child> {
    let mut tries_left = 20;
    loop {
        let mut group = working.lock();
        match command.spawn() {
            Ok(child) => {
                *group = Some(Pid::from_child(&child));
                return Ok(child);
            }
            // A program that was just written is "busy" while any process holds it open for writing.
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && tries_left > 0 => tries_left -= 1,
            Err(error) => return Err(error),
        }
        drop(group);
        thread::sleep(Duration::from_millis(10));
    }
}

/// Writes stdin on a thread: a program that does not read it must not block us, and an exited one is not an error.
fn feed(child: &mut Child, text: &str) {
    if let Some(mut stdin) = child.stdin.take() {
        let text = text.to_owned();
        let _ = thread::Builder::new().name("stdin".into()).spawn(move || stdin.write_all(text.as_bytes()));
    }
}

/// A stream that a thread reads.
struct Stream {
    shared: Arc<(Mutex<(Capture, bool)>, Condvar)>,
}

impl Stream {
    fn read(source: OwnedFd, keep: usize, log: bool) -> Self {
        let shared = Arc::new((Mutex::new((Capture::new(keep), false)), Condvar::new()));
        let ours = Arc::clone(&shared);
        let mut source = std::fs::File::from(source);
        let started = thread::Builder::new().name("stream".into()).spawn(move || {
            let mut buffer = vec![0; 32 * 1024];
            loop {
                let read = source.read(&mut buffer).unwrap_or(0);
                if log && read > 0 {
                    let _ = io::stderr().write_all(&buffer[..read]);
                }
                let mut state = ours.0.lock().unwrap_or_else(PoisonError::into_inner);
                if read == 0 {
                    state.1 = true;
                    ours.1.notify_one();
                    return;
                }
                state.0.push(&buffer[..read]);
            }
        });
        if started.is_err() {
            shared.0.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        }
        Self { shared }
    }

    fn collect(self, end: Instant) -> Capture {
        let state = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = end.saturating_duration_since(Instant::now());
        let (mut state, _) =
            self.shared.1.wait_timeout_while(state, left, |state| !state.1).unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.0)
    }
}

/// Kills the group when its time is over.
struct Watchdog {
    state: Arc<(Mutex<Clockwork>, Condvar)>,
}

#[derive(Default)]
struct Clockwork {
    stopped: bool,
    fired: bool,
}

impl Watchdog {
    fn start(limit: Duration, working: Working) -> Self {
        let state = Arc::new((Mutex::new(Clockwork::default()), Condvar::new()));
        let ours = Arc::clone(&state);
        let _ = thread::Builder::new().name("watchdog".into()).spawn(move || {
            let clockwork = ours.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (mut clockwork, _) = ours
                .1
                .wait_timeout_while(clockwork, limit, |clockwork| !clockwork.stopped)
                .unwrap_or_else(PoisonError::into_inner);
            if !clockwork.stopped {
                clockwork.fired = true;
                working.kill();
            }
        });
        Self { state }
    }

    /// Stops the watchdog. Returns true if it had to kill.
    fn stop(self) -> bool {
        let mut clockwork = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        clockwork.stopped = true;
        self.state.1.notify_one();
        clockwork.fired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, plan: &Plan<'_>) -> Ended {
        run(Command::new("sh").args(["-c", script]), plan, &Working::default()).unwrap()
    }

    const PLAN: Plan<'_> = Plan { stdin: "", merge: true, log_stderr: false, keep: 1000, limit: None };

    #[test]
    fn streams_merge_in_order_and_the_exit_code_is_returned() {
        let ended = shell("echo a; echo b >&2; cat; exit 3", &Plan { stdin: "c\n", ..PLAN });
        assert_eq!((ended.stdout.text().as_str(), ended.code), ("a\nb\nc\n", Some(3)));
        let apart = shell("echo a; echo b >&2; kill -9 $$", &Plan { merge: false, ..PLAN });
        assert_eq!((apart.stdout.text().as_str(), apart.stderr.text().as_str()), ("a\n", "b\n"));
        assert_eq!(apart.how(), "killed by signal 9");
    }

    #[test]
    fn time_limit_kills_the_whole_group() {
        let start = Instant::now();
        let ended = shell("echo x; sleep 30 & sleep 30", &Plan { limit: Some(Duration::from_millis(200)), ..PLAN });
        assert!(ended.timed_out);
        assert_eq!(ended.stdout.text(), "x\n");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn background_process_does_not_delay_the_end() {
        let start = Instant::now();
        let ended = shell("sleep 60 & echo $!", &PLAN);
        let took = start.elapsed();
        let pid: i32 = ended.stdout.text().trim().parse().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL)
            .unwrap();
        assert!(ended.code == Some(0) && took < Duration::from_secs(30), "{took:?}");
    }

    #[test]
    fn long_stream_keeps_its_head_and_tail() {
        let ended = shell("seq 1 100000", &Plan { keep: 100, ..PLAN });
        let text = ended.stdout.text();
        assert!(text.starts_with("1\n2\n") && text.ends_with("99999\n100000\n"), "{text}");
        assert_eq!(ended.stdout.left_out(), 588_895 - 100);
        assert!(text.contains("588795 bytes left out"));
    }

    #[test]
    fn program_that_does_not_read_stdin_is_no_failure() {
        let ended = shell("exit 0", &Plan { stdin: &"x".repeat(1 << 20), ..PLAN });
        assert_eq!(ended.code, Some(0));
    }
}
