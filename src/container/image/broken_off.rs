//! The end of an engine's client that nobody waits for any more, such as that of a build. It gets time to undo its
//! work: podman itself runs a build's steps, and if it is killed, they go on and their containers stay.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::container::engine::cli::GroupGuard;

/// The time to undo. After it, the client and everything that it started are killed.
const UNDO: Duration = Duration::from_secs(10);
/// The wait between two checks of the client.
const PAUSE: Duration = Duration::from_millis(50);

/// The number of clients that are being ended.
static ENDING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// A working client. Dropping it ends the client, unless it has ended before.
pub(in crate::container) struct Client {
    /// None once it is dropped.
    parts: Option<(Child, GroupGuard)>,
}

impl Client {
    pub(in crate::container) fn new(child: Child) -> Self {
        let group = GroupGuard::new(&child);
        Self { parts: Some((child, group)) }
    }

    /// Waits until the client ends by itself.
    pub(in crate::container) async fn wait(&mut self) -> std::io::Result<std::process::ExitStatus> {
        let Some((child, group)) = &mut self.parts else { return Err(std::io::ErrorKind::NotFound.into()) };
        let status = child.wait().await?;
        group.disarm();
        self.parts = None;
        Ok(status)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let Some((mut child, group)) = self.parts.take() else { return };
        let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return };
        let work = ask(pid);
        *lock() += 1;
        let wait = move || {
            let deadline = Instant::now() + UNDO;
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(PAUSE);
            }
            // Processes whose parent ended belong to the system now, and are no longer found below the client.
            for left in work.into_iter().chain(started_by(pid)).filter(Process::is_there) {
                let _ = kill_process(left.pid, Signal::KILL);
            }
            drop((child, group));
            *lock() -= 1;
            ENDED.notify_all();
        };
        if let Err(error) = std::thread::Builder::new().name("build-end".into()).spawn(wait) {
            // Its closure is dropped, which has killed the client.
            tracing::warn!("a build gets no time to undo what it began: {error}");
            *lock() -= 1;
        }
    }
}

/// Waits until no client is being ended; for a program that is about to exit.
pub async fn all_ended() {
    if *lock() == 0 {
        return;
    }
    let wait = || {
        let ending = ENDED.wait_timeout_while(lock(), UNDO + UNDO, |ending| *ending > 0);
        drop(ending);
    };
    let _ = tokio::task::spawn_blocking(wait).await;
}

fn lock() -> std::sync::MutexGuard<'static, usize> {
    ENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks the client's child processes to end, so that the client sees them fail and undoes the rest; without children,
/// asks the client. Returns all processes below the client.
fn ask(client: Pid) -> Vec<Process> {
    let own = program(client);
    let all = started_by(client);
    // A child with the same program is part of the client: podman without root may have one in each of two
    // namespaces.
    let mut asked = false;
    for process in all.iter().filter(|process| process.program != own) {
        // A process that has ended meanwhile is fine.
        let _ = kill_process(process.pid, Signal::TERM);
        asked = true;
    }
    if !asked {
        let _ = kill_process(client, Signal::TERM);
    }
    all
}

struct Process {
    pid: Pid,
    /// The program's name in its command line.
    program: String,
    /// Its start in the kernel's ticks: with the pid, it identifies the process.
    since: u64,
}

impl Process {
    fn is_there(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.since == self.since)
    }
}

/// Returns all processes below one.
fn started_by(first: Pid) -> Vec<Process> {
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
    let all: Vec<(Pid, Stat)> = pids.filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let mut found: Vec<Process> = Vec::new();
    let mut next = Some(first);
    while let Some(parent) = next {
        for (pid, stat) in all.iter().filter(|(_, stat)| stat.parent == Some(parent)) {
            found.push(Process { pid: *pid, program: program(*pid), since: stat.since });
        }
        let at = found.iter().position(|process| process.pid == parent).map_or(0, |at| at + 1);
        next = found.get(at).map(|process| process.pid);
    }
    found
}

/// The needed fields of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: Option<Pid>,
    since: u64,
}

fn stat(pid: Pid) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?)
}

/// Parses the fields after the name, which may contain anything: the second and the twentieth.
fn parse(stat: &str) -> Option<Stat> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
    let parent = fields.next()?.parse().ok().and_then(Pid::from_raw);
    Some(Stat { parent, since: fields.nth(17)?.parse().ok()? })
}

/// Returns the program's name in a process's command line.
fn program(pid: Pid) -> String {
    let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let first = String::from_utf8_lossy(line.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
    Path::new(&first).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_parsed_for_any_process_name() {
        let after = |parent: u32| format!("S {parent} 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 4711 21 22");
        let read = parse(&format!("12 (a) b) (c) {}", after(7))).unwrap();
        assert_eq!((read.parent, read.since), (Pid::from_raw(7), 4711));
        assert_eq!(parse(&format!("1 (init) {}", after(0))).unwrap().parent, None);
        assert_eq!(parse(""), None);
    }

    /// Runs a client whose child notes when it is asked to end; the client undoes its work, or never ends.
    async fn broken_off(undo: &str) -> (tempfile::TempDir, Pid) {
        let dir = tempfile::tempdir().unwrap();
        let script = format!("cd {}; (exec sleep 1000) & echo $! > work; wait $!; {undo}", dir.path().display());
        let child =
            tokio::process::Command::new("sh").args(["-c", &script]).process_group(0).kill_on_drop(true).spawn();
        let client = Client::new(child.unwrap());
        let work = loop {
            let text = std::fs::read_to_string(dir.path().join("work")).unwrap_or_default();
            if let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw)
                && program(pid) == "sleep"
            {
                break pid;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        drop(client);
        (dir, work)
    }

    #[tokio::test]
    async fn client_may_undo_its_work_after_its_children_end() {
        let (dir, work) = broken_off("echo undone > undone").await;
        all_ended().await;
        assert!(dir.path().join("undone").exists());
        assert_ne!(program(work), "sleep");
    }

    #[tokio::test]
    async fn client_that_ends_by_itself_is_left_alone() {
        let mut client = Client::new(tokio::process::Command::new("true").process_group(0).spawn().unwrap());
        assert!(client.wait().await.unwrap().success());
    }
}
