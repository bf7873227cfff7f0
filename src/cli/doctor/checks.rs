//! Checks of folders, files, store, clock and the machine's limits.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, flock, statvfs};

use super::super::client::{Client, ClientError};
use super::Finding;
use crate::config::allowlists::{MOUNTS, SENDERS, Watched};
use crate::config::settings::Settings;
use crate::policy::mounts::{self, MountRules};
use crate::policy::senders::{self, SenderRules};

/// The time limit for the host's answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Free space that endangers a host, and free space below which the doctor warns.
const LOW: u64 = 200 << 20;
const SCARCE: u64 = 2 << 30;
/// The inotify watches and instances that a host with many groups may need.
const WATCHES: u64 = 8_192;
const INSTANCES: u64 = 64;

pub(super) async fn all(settings: &Settings) -> Vec<Finding> {
    let client = Client::of(settings);
    let live = match tokio::time::timeout(PATIENCE, client.get("/v1/status")).await {
        Ok(answer) => answer,
        Err(_) => Err(ClientError::Broken(format!("nothing came within {} s", PATIENCE.as_secs()))),
    };
    let mut findings = vec![host(settings, &live)];
    findings.extend(folders(settings));
    findings.extend(ownership(settings));
    findings.extend(env_file(settings));
    findings.extend(allowlists(settings));
    findings.push(match &live {
        Ok(_) => store_of_host(&client).await,
        Err(_) => store(&settings.home.database()),
    });
    findings.push(clock(settings));
    findings.extend(disk(settings));
    findings.extend(inotify());
    findings
}

/// Checks whether a host runs, and whether its lock and its socket agree.
fn host(settings: &Settings, live: &Result<serde_json::Value, ClientError>) -> Finding {
    const WHAT: &str = "host";
    let locked = is_locked(&settings.home.lock());
    match (live, locked) {
        (Ok(status), _) if status["ready"] == true => Finding::good(WHAT, "runs and is ready"),
        (Ok(_), _) => Finding::warn(WHAT, "runs, but is not ready", "wait; if that stays so, look at its log"),
        (Err(ClientError::NoHost(_)), Ok(false)) => {
            Finding::good(WHAT, "none runs, and nothing keeps one from starting")
        }
        (Err(ClientError::NoHost(_)), Ok(true)) => {
            let todo = "it is starting or hangs: look at its log, or end that process";
            Finding::bad(WHAT, format!("a process holds {} but does not answer", settings.home.lock().display()), todo)
        }
        (Err(ClientError::NoHost(_)), Err(error)) => {
            let todo = "check owner and mode; run this as the user who runs the host";
            Finding::bad(WHAT, format!("{}: {error}", settings.home.lock().display()), todo)
        }
        (Err(error), _) => Finding::bad(WHAT, error.to_string(), "look at the host's log"),
    }
}

/// Returns true if a process holds the lock; the check does not keep it.
fn is_locked(lock: &Path) -> io::Result<bool> {
    let file = match File::open(lock) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Checks the folders that only the host's user may read, and that it must be able to write.
fn folders(settings: &Settings) -> Vec<Finding> {
    const WHAT: &str = "folders";
    let home = &settings.home;
    let root = home.root();
    if !root.exists() {
        return vec![Finding::warn(WHAT, format!("{} is not there yet", root.display()), "the first start makes it")];
    }
    let mut findings = Vec::new();
    for path in [root.to_owned(), home.groups(), home.data()] {
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                findings.push(Finding::bad(WHAT, format!("{}: {error}", path.display()), "check owner and mode"));
            }
            Ok(found) if !found.is_dir() => {
                findings.push(Finding::bad(WHAT, format!("{} is not a folder", path.display()), "move it away"));
            }
            Ok(_) => {
                if let Err(error) =
                    rustix::fs::access(&path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
                {
                    let todo = "run the host as its owner, or change the owner";
                    findings.push(Finding::bad(WHAT, format!("{} cannot be written: {error}", path.display()), todo));
                }
            }
        }
    }
    for path in [home.data(), home.database()] {
        let Ok(found) = fs::metadata(&path) else { continue };
        if found.mode() & 0o007 != 0 && reachable(&path) {
            let todo = format!("chmod o-rwx {}", path.display());
            findings.push(Finding::bad(
                WHAT,
                format!("{} is open to every user of this machine", path.display()),
                todo,
            ));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::good(WHAT, format!("{} can be written, data/ is closed to others", root.display())));
    }
    findings
}

/// Checks that the host's user, as whom agents run, owns the agents' folders. A host that is root repairs owners
/// itself.
fn ownership(settings: &Settings) -> Option<Finding> {
    let me = rustix::process::geteuid();
    if me.is_root() {
        return None;
    }
    let home = &settings.home;
    let parents = [home.groups(), home.data().join("ipc"), home.data().join("sessions")];
    let entries = parents.iter().filter_map(|parent| fs::read_dir(parent).ok()).flatten().flatten();
    let wrong: Vec<String> = entries
        .filter(|entry| entry.metadata().is_ok_and(|found| found.uid() != me.as_raw()))
        .map(|entry| entry.path().display().to_string())
        .collect();
    let first = wrong.first()?;
    let found =
        format!("{} folders are not owned by user {me}, {first} among them: agents cannot write there", wrong.len());
    Some(Finding::bad("ownership", found, format!("sudo chown -R {me} {}", home.root().display())))
}

/// Returns true if other users can reach this path: each folder above it is searchable for them.
fn reachable(path: &Path) -> bool {
    path.ancestors().skip(1).all(|folder| fs::metadata(folder).is_ok_and(|found| found.mode() & 0o001 != 0))
}

fn env_file(settings: &Settings) -> Option<Finding> {
    const WHAT: &str = ".env";
    let path = settings.home.env_file();
    let found = fs::metadata(&path).ok()?;
    if found.mode() & 0o077 != 0 {
        let todo = format!("chmod 600 {}", path.display());
        return Some(Finding::bad(WHAT, format!("holds secrets and has mode {:o}", found.mode() & 0o777), todo));
    }
    Some(Finding::good(WHAT, "readable by its owner alone"))
}

fn allowlists(settings: &Settings) -> Vec<Finding> {
    let folder = &settings.config_dir;
    let (sender_file, mount_file) = (folder.join(SENDERS), folder.join(MOUNTS));
    let told = |what: &'static str, path: &Path, problem: Option<String>, missing: &str, broken: &str| {
        let example = if what == "senders" { senders::EXAMPLE } else { mounts::EXAMPLE };
        if !path.exists() {
            let found = format!("no {}: {missing}", path.display());
            return Finding { todo: format!("an example of it: {example}"), ..Finding::good(what, found) };
        }
        match problem {
            None => Finding::good(what, format!("{} is understood", path.display())),
            Some(why) => {
                Finding::bad(what, format!("{}: {why}", path.display()), format!("mend it; until then {broken}"))
            }
        }
    };
    let sender_problem = Watched::new(sender_file.clone(), SenderRules::from_file).get().problem().map(str::to_owned);
    let mount_problem = Watched::new(mount_file.clone(), MountRules::from_file).get().problem().map(str::to_owned);
    vec![
        told("senders", &sender_file, sender_problem, "everyone may trigger", "only the owner's group may trigger"),
        told("mounts", &mount_file, mount_problem, "no group gets extra mounts", "no group gets extra mounts"),
    ]
}

async fn store_of_host(client: &Client) -> Finding {
    match client.get("/healthz").await {
        Ok(_) => Finding::good("store", "the running host reads it"),
        Err(error) => Finding::bad("store", error.to_string(), "look at the host's log and at the disk"),
    }
}

/// Checks the store if no host runs; it is opened without any change.
fn store(path: &Path) -> Finding {
    const WHAT: &str = "store";
    if !path.exists() {
        return Finding::good(WHAT, "none yet: the first start makes it");
    }
    let check = || {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let result: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok::<_, rusqlite::Error>((version, result))
    };
    match check() {
        Ok((version, result)) if result == "ok" => Finding::good(WHAT, format!("sound, schema {version}")),
        Ok((_, result)) => Finding::bad(
            WHAT,
            format!("{} is damaged: {result}", path.display()),
            "restore a backup, or move it away to begin anew",
        ),
        Err(error) => Finding::bad(
            WHAT,
            format!("{}: {error}", path.display()),
            "check owner and mode; restore a backup if it is damaged",
        ),
    }
}

/// Compares the clock with the latest known time, and the zone with the system's.
fn clock(settings: &Settings) -> Finding {
    const WHAT: &str = "clock";
    let now: DateTime<Utc> = SystemTime::now().into();
    let stamps = [settings.home.database(), std::path::PathBuf::from("/proc/self/exe")];
    let latest = stamps.iter().filter_map(|path| fs::metadata(path).ok()?.modified().ok()).max();
    if let Some(latest) = latest.map(DateTime::<Utc>::from)
        && latest > now + chrono::Duration::minutes(5)
    {
        let todo = "set the clock, or switch time synchronisation on: schedules follow it";
        return Finding::bad(WHAT, format!("it is {now:.0} here, but files were written at {latest:.0}"), todo);
    }
    let zone = settings.timezone.name();
    if fs::metadata(Path::new("/usr/share/zoneinfo").join(zone)).is_err() {
        let todo = "install tzdata: agents in containers read the zone from there";
        return Finding::warn(WHAT, format!("the zone {zone} is not in /usr/share/zoneinfo"), todo);
    }
    let local = now.with_timezone(&settings.timezone);
    Finding::good(WHAT, format!("{} in {zone}", local.format("%Y-%m-%d %H:%M:%S")))
}

fn disk(settings: &Settings) -> Option<Finding> {
    const WHAT: &str = "disk";
    let there = settings.home.root().ancestors().find(|path| path.exists())?;
    let found = match statvfs(there) {
        Ok(found) => found,
        Err(error) => return Some(Finding::bad(WHAT, format!("{}: {error}", there.display()), "look at the disk")),
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let text = format!("{} MiB free for {}", free >> 20, there.display());
    if found.f_favail == 0 && found.f_files > 0 {
        return Some(Finding::bad(WHAT, format!("no inodes free for {}", there.display()), "remove files"));
    }
    Some(match free {
        _ if free < LOW => Finding::bad(WHAT, text, "make room: a full disk stops the host from taking messages"),
        _ if free < SCARCE => Finding::warn(WHAT, text, "make room soon: images and run logs need it"),
        _ => Finding::good(WHAT, text),
    })
}

fn inotify() -> Vec<Finding> {
    const WHAT: &str = "inotify";
    let limits = [("max_user_watches", WATCHES), ("max_user_instances", INSTANCES)];
    let low: Vec<Finding> = limits
        .iter()
        .filter_map(|(name, least)| {
            let text = fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?;
            let found: u64 = text.trim().parse().ok()?;
            let todo =
                format!("sysctl fs.inotify.{name}={least}; without watches agents' files are seen a second later");
            (found < *least).then(|| Finding::warn(WHAT, format!("{name} is {found}"), todo))
        })
        .collect();
    if !low.is_empty() {
        return low;
    }
    match fs::metadata("/proc/sys/fs/inotify") {
        Ok(_) => vec![Finding::good(WHAT, "enough watches and instances")],
        Err(error) => {
            vec![Finding::warn(
                WHAT,
                format!("its limits cannot be read: {error}"),
                "agents' files may be seen a second later",
            )]
        }
    }
}
