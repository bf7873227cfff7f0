//! Detects room limits that the kernel enforced: at the memory limit it kills a program, at the process limit it
//! refuses a new one. A turn that failed with it would fail again, and its error names the setting that helps.

use std::fs;
use std::sync::{Mutex, OnceLock, PoisonError};

use parlor_protocol::{ErrorKind, Output, Status};

/// The group's folder, for the advice to its operator.
static GROUP: OnceLock<String> = OnceLock::new();
/// The counters at the end of the last turn.
static SEEN: Mutex<Enforced> = Mutex::new(Enforced { memory: 0, processes: 0 });

/// Sets the group's folder.
pub fn of_group(folder: &str) {
    // Set once per program.
    let _ = GROUP.set(folder.to_owned());
}

/// Counters: how often each limit was enforced since the room began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Enforced {
    memory: u64,
    processes: u64,
}

/// Returns the output of a failed turn with the limit as its cause; None if no limit explains it.
pub fn explain(output: &Output) -> Option<Output> {
    let now = read();
    let before = std::mem::replace(&mut *SEEN.lock().unwrap_or_else(PoisonError::into_inner), now);
    explained(output, before, now, GROUP.get().map_or("GROUP", String::as_str))
}

fn explained(output: &Output, before: Enforced, now: Enforced, group: &str) -> Option<Output> {
    let unexplained = matches!(output.error_kind, None | Some(ErrorKind::Other));
    if output.status != Status::Error || !unexplained {
        return None;
    }
    let (what, option, setting) = if now.memory > before.memory {
        ("its memory limit, and the system ended a program in it", "memory", "PARLOR_MEMORY")
    } else if now.processes > before.processes {
        ("its limit of processes", "pids", "PARLOR_PIDS")
    } else {
        return None;
    };
    let reason = output.error.as_deref().or(output.result.as_deref()).unwrap_or("the turn failed");
    let error = format!(
        "The room reached {what} ({}). The operator can raise it: `parlor groups update {group} --{option} …`, or {setting} for all groups",
        reason.trim_end_matches('.')
    );
    Some(Output { error: Some(error), error_kind: Some(ErrorKind::Refused), ..output.clone() })
}

fn read() -> Enforced {
    // cgroup v2 first, then v1.
    let memory = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];
    let processes = ["/sys/fs/cgroup/pids.events", "/sys/fs/cgroup/pids/pids.events"];
    Enforced { memory: first(&memory, "oom_kill"), processes: first(&processes, "max") }
}

/// Returns a number in the first of these files that exists; 0 if none does.
fn first(files: &[&str], key: &str) -> u64 {
    files.iter().find_map(|file| value(&fs::read_to_string(file).ok()?, key)).unwrap_or(0)
}

/// Returns the number after a key at the beginning of a line.
fn value(text: &str, key: &str) -> Option<u64> {
    let mut words = text.lines().map(|line| line.split_ascii_whitespace());
    words.find_map(|mut words| (words.next()? == key).then(|| words.next()?.parse().ok())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_counters_are_read() {
        assert_eq!(value("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill"), Some(3));
        assert_eq!(value("low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\n", "max"), Some(7));
        assert_eq!(value("max\n", "max"), None);
        assert_eq!(value("", "max"), None);
    }

    #[test]
    fn failure_names_the_limit_that_caused_it() {
        let failed = |error_kind| Output {
            status: Status::Error,
            error: Some("signal 9.".into()),
            error_kind,
            ..Output::default()
        };
        let (before, memory, processes) =
            (Enforced::default(), Enforced { memory: 1, processes: 1 }, Enforced { memory: 0, processes: 4 });
        for (now, words) in [
            (memory, ["memory limit", "--memory …", "PARLOR_MEMORY"]),
            (processes, ["limit of processes", "--pids …", "PARLOR_PIDS"]),
        ] {
            let told = explained(&failed(Some(ErrorKind::Other)), before, now, "bot").unwrap();
            let error = told.error.unwrap();
            assert!(words.iter().all(|word| error.contains(word)) && error.contains("(signal 9)"), "{error}");
            assert!(error.contains("groups update bot "), "{error}");
            assert_eq!(told.error_kind, Some(ErrorKind::Refused));
        }
        // A failure that has a reason keeps it; a limit of an earlier turn does not explain this one.
        assert_eq!(explained(&failed(Some(ErrorKind::Auth)), before, memory, "bot"), None);
        assert_eq!(explained(&failed(None), memory, memory, "bot"), None);
        assert_eq!(explained(&Output::default(), before, memory, "bot"), None);
    }
}
