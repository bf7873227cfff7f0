//! Run logs: one file per run in a folder that no container sees, with mode 0600, rotated.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::capture::Capture;
use crate::container::engine::spec::{MountSource, RunSpec};
use crate::domain::clock::{rfc3339, to_ms};
use crate::domain::ids::RunId;

/// The number of logs that a group keeps.
const KEEP_RUNS: usize = 100;
/// The bytes of logs that a group keeps.
const KEEP_BYTES: u64 = 50 << 20;

/// The content of a log.
pub struct Record<'a> {
    /// The id of the run.
    pub run: RunId,
    /// The container that was started.
    pub spec: &'a RunSpec,
    /// The engine's command line.
    pub argv: &'a [String],
    /// The prompt, which is written only at debug level.
    pub prompt: &'a str,
    /// The resumed session, if any.
    pub session: Option<&'a str>,
    /// When it started.
    pub started: DateTime<Utc>,
    /// How long it took.
    pub duration: Duration,
    /// The exit code, the signal, or another end.
    pub exit: &'a str,
    /// The run's error, if it failed.
    pub error: Option<&'a str>,
    /// The number of parsed outputs.
    pub outputs: u64,
    /// The kept part of stdout.
    pub stdout: &'a Capture,
    /// The kept part of stderr.
    pub stderr: &'a Capture,
    /// True to write everything except secrets.
    pub verbose: bool,
}

impl Record<'_> {
    /// Returns true if the log holds details, and not only the course of the run.
    fn detailed(&self) -> bool {
        self.error.is_some() || self.verbose
    }
}

/// The endings of names: of a log, of one that is being written, and of a live run's stderr.
const LOG: &str = ".log";
const FRESH: &str = ".log.tmp";
const LIVE: &str = ".live";

/// Returns the path of a run's complete log, which is the only place to read it from.
pub fn path(dir: &Path, run: RunId) -> PathBuf {
    named(dir, run, LOG)
}

/// Returns the path of a live run's stderr so far.
pub fn live_path(dir: &Path, run: RunId) -> PathBuf {
    named(dir, run, LIVE)
}

fn named(dir: &Path, run: RunId, ending: &str) -> PathBuf {
    dir.join(run.to_string().to_lowercase() + ending)
}

/// Writes a run's log and rotates the group's.
///
/// `redact` removes secrets from everything except the streams, from which their captures removed them before.
pub fn write(dir: &Path, record: &Record<'_>, redact: impl Fn(&str) -> Option<String>) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let path = path(dir, record.run);
    // A reader sees the whole log or none.
    let fresh = named(dir, record.run, FRESH);
    let text = text(record);
    let text = redact(&text).unwrap_or(text);
    let put = || {
        let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        if record.detailed() {
            for (name, stream) in [("stderr", record.stderr), ("stdout", record.stdout)] {
                write!(file, "\n== {name}\n")?;
                stream.copy_to(&mut file)?;
                writeln!(file)?;
            }
        }
        fs::rename(&fresh, &path)
    };
    if let Err(error) = put() {
        // On a full disk, half a log would take space from others.
        let _ = fs::remove_file(&fresh);
        return Err(error);
    }
    rotate(dir)
}

fn text(record: &Record<'_>) -> String {
    let mut out = String::new();
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(out, "{key}: {value}");
    };
    line("run", &record.run);
    line("container", &record.spec.name);
    line("image", &record.spec.image);
    line("started", &rfc3339(record.started));
    line("duration_ms", &record.duration.as_millis());
    line("exit", &record.exit);
    if let Some(error) = record.error {
        line("error", &error);
    }
    line("outputs", &record.outputs);
    line("output_seen", &(record.outputs > 0));
    line("stdout_truncated", &record.stdout.truncated());
    line("stderr_truncated", &record.stderr.truncated());
    line("prompt_length", &record.prompt.chars().count());
    line("session", &record.session.unwrap_or("new"));
    let paths: Vec<&str> = record.spec.mounts.iter().map(|m| m.target.as_str()).collect();
    line("container_paths", &paths.join(" "));
    if record.detailed() {
        details(&mut out, record);
    }
    out
}

fn details(out: &mut String, record: &Record<'_>) {
    let _ = writeln!(out, "\n== argv\n{}", record.argv.join("\n"));
    let _ = writeln!(out, "\n== mounts");
    for mount in &record.spec.mounts {
        let source = match &mount.source {
            MountSource::Host(path) => path.display().to_string(),
            MountSource::Tmpfs => "tmpfs".into(),
            MountSource::Null => "/dev/null".into(),
        };
        let _ = writeln!(out, "{source} -> {} ({})", mount.target, if mount.writable { "rw" } else { "ro" });
    }
    if record.verbose {
        let _ = writeln!(out, "\n== prompt\n{}", record.prompt);
    }
}

/// Removes the oldest logs until the group is within its limits; the newest always stays.
fn rotate(dir: &Path) -> io::Result<()> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // A file that another run is writing may be gone a moment later.
        if entry.file_name().to_string_lossy().ends_with(LOG) {
            logs.push((entry.file_name(), entry.metadata()?.len()));
        }
    }
    // Names begin with a ULID, which begins with the time.
    logs.sort_unstable_by(|a, b| b.0.cmp(&a.0));
    let mut bytes = 0;
    for (n, (name, size)) in logs.iter().enumerate() {
        bytes += size;
        if n > 0 && (n >= KEEP_RUNS || bytes > KEEP_BYTES) {
            fs::remove_file(dir.join(name))?;
        }
    }
    Ok(())
}

/// Removes logs of runs that started before a time, from the folders of all groups, including removed ones.
pub fn expire(dir: &Path, before: DateTime<Utc>) -> io::Result<()> {
    let groups = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        groups => groups?,
    };
    for group in groups {
        for log in fs::read_dir(group?.path())? {
            let path = log?.path();
            // Includes files that a dead host was writing.
            let run = path.file_name().and_then(|name| {
                let name = name.to_str()?;
                let run = [LOG, FRESH, LIVE].iter().find_map(|ending| name.strip_suffix(ending))?;
                run.parse::<ulid::Ulid>().ok()
            });
            let started = run.and_then(|run| i64::try_from(run.timestamp_ms()).ok());
            if started.is_some_and(|started| started < to_ms(before)) {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expire_removes_old_logs_even_of_removed_groups() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("runs");
        let at = |ms: i64| crate::domain::clock::from_ms(ms);
        expire(&logs, at(0)).unwrap();
        for group in ["a", "gone"] {
            fs::create_dir_all(logs.join(group)).unwrap();
            for ms in [1_000, 2_000] {
                let run = RunId(ulid::Ulid::from_parts(ms, 7));
                fs::write(path(&logs.join(group), run), "x").unwrap();
                fs::write(named(&logs.join(group), run, FRESH), "half").unwrap();
                fs::write(live_path(&logs.join(group), run), "of a host that was killed").unwrap();
            }
        }
        fs::write(logs.join("a/notes.txt"), "x").unwrap();
        expire(&logs, at(2_000)).unwrap();
        let left = |group: &str| fs::read_dir(logs.join(group)).unwrap().count();
        assert_eq!((left("a"), left("gone")), (4, 3), "those of the second run, and what is no log");
    }

    #[test]
    fn rotation_removes_the_oldest_logs_first() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..105 {
            fs::write(dir.path().join(format!("{n:03}.log")), "x").unwrap();
        }
        fs::write(dir.path().join("999.log.tmp"), "half").unwrap();
        rotate(dir.path()).unwrap();
        fs::remove_file(dir.path().join("999.log.tmp")).expect("another run is writing it");
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!((left.len(), left[0].to_str().unwrap()), (100, "005.log"));
    }
}
