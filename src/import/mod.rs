//! Takes over an installation of NanoClaw v1: groups, sessions, tasks, messages, files, allowlists, keys.
//!
//! `source` reads, `plan` decides (pure), and the rest is done in an order that survives an interruption: first
//! files, each copied completely or not at all; then allowlists and keys; last, in one transaction, all rows,
//! including those that record which files are complete. Existing data is never replaced, so an import can be
//! repeated. Nothing is written to the source.
//!
//! A dry run does the same on a copy of the database, and copies no files.

mod apply;
mod compare;
mod files;
mod lock;
mod plan;
mod report;
mod source;
mod trees;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::mpsc;

use crate::config::home::Home;
use crate::config::settings::Settings;
use crate::domain::clock::SharedClock;
use crate::domain::schedule::parse_zone;
use crate::domain::words;
use crate::safe_dir::{Owner, SafeDir};
use crate::store::{Store, StoreError, groups, import as rows, tasks};

use plan::{Plan, Present, Rules};
use source::Source;

pub use report::{Item, Kind, Outcome, Report};
pub use trees::Step;

/// The prefix of folders in `data/` that hold copies during an import.
const SCRATCH: &str = "import-";
/// Bytes that must remain free on the disk.
const SPARE: u64 = 64 << 20;

/// Reasons why an import failed. Running the same command again completes it.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The folder has no installation of NanoClaw.
    #[error(
        "{0} is no NanoClaw installation: neither store/messages.db nor data/registered_groups.json is there; give the folder that holds its groups/, store/ and data/"
    )]
    NoSource(PathBuf),
    /// One of the two folders lies within the other.
    #[error(
        "the installation of NanoClaw ({from}) and Parlor's home ({to}) must not lie within each other: choose another folder with --home", from = .0.display(), to = .1.display()
    )]
    Overlap(PathBuf, PathBuf),
    /// A host runs on the home.
    #[error("a host runs with the home {0}: stop it, import, and start it again")]
    HostRuns(PathBuf),
    /// The source folder does not exist.
    #[error("{0} is not there: give the folder of an installation of NanoClaw, with groups/, store/ and data/")]
    Missing(PathBuf),
    /// A file of the source cannot be read.
    #[error("{path} cannot be read: {source}; run this as a user who may read it", path = .0.display(), source = .1)]
    Read(PathBuf, io::Error),
    /// The source's database cannot be read.
    #[error("store/messages.db cannot be read: {0}")]
    Database(String),
    /// A file in the home cannot be written.
    #[error("{path} cannot be written: {source}; what was begun is completed by the same command again", path = .0.display(), source = .1)]
    Write(PathBuf, io::Error),
    /// The disk has too little free space.
    #[error("{need} MiB are needed below {path} and {free} MiB are free: make room first; nothing was changed", path = .path.display())]
    NoRoom {
        /// The home.
        path: PathBuf,
        /// The space that the import needs, in MiB.
        need: u64,
        /// The free space, in MiB.
        free: u64,
    },
    /// The home's settings are wrong.
    #[error("{0}")]
    Settings(String),
    /// The home's database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImportError {
    fn read(path: &Path, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing(path.to_owned()),
            _ => Self::Read(path.to_owned(), error),
        }
    }
    fn write(path: &Path, error: io::Error) -> Self {
        Self::Write(path.to_owned(), error)
    }
}

/// The options of an import.
#[derive(Debug, Clone)]
pub struct Options {
    /// NanoClaw's folder.
    pub source: PathBuf,
    /// The folder of its allowlists; None if unknown.
    pub config: Option<PathBuf>,
    /// Only report what an import would do.
    pub dry_run: bool,
    /// The owner of groups' files; None for the host's own user.
    pub owner: Option<Owner>,
}

/// Runs the import. It blocks while it copies, so the program must have nothing else to do.
pub async fn run(
    options: &Options,
    settings: &Settings,
    clock: &SharedClock,
    progress: &dyn Fn(Step<'_>),
) -> Result<Report, ImportError> {
    let from = options.source.canonicalize().map_err(|error| ImportError::read(&options.source, error))?;
    let home = &settings.home;
    let to = home.root();
    if from.starts_with(to) || to.starts_with(&from) {
        return Err(ImportError::Overlap(from, to.to_owned()));
    }
    // Before anything is created: a wrong folder leaves no trace.
    if options.dry_run || home.data().exists() {
        drop(lock::take(home, false)?);
    }
    if !looks_right(&from) {
        return Err(ImportError::NoSource(from));
    }
    if !options.dry_run {
        prepare(home)?;
    }
    let _lock = lock::take(home, !options.dry_run)?;
    let scratch = scratch(home, options.dry_run)?;
    let mut report =
        Report { source: from.clone(), home: to.to_owned(), dry_run: options.dry_run, ..Report::default() };
    let source = Source::read(&from, scratch.path(), &mut report)?;
    let store = open_store(home, scratch.path(), options.dry_run)?;
    let keys = files::find_keys(&source.env, settings, &mut report)?;
    let lists = match &options.config {
        Some(config) => files::find_lists(config, &settings.config_dir, &mut report),
        None => files::Lists::new(),
    };
    let zone = keys.get("TZ").and_then(|zone| parse_zone(zone).ok()).unwrap_or(settings.timezone);
    let rules = Rules {
        senders: &files::senders(&lists, &settings.config_dir),
        assistant_name: keys.get("ASSISTANT_NAME").unwrap_or(&settings.assistant_name),
        zone,
        now: clock.now(),
    };
    let present = present(&store, &source).await?;
    let plan = Arc::new(plan::plan(&source.tables, &source.folders, &present, &rules, &mut report));

    let mut way = trees::Way { copy: false, owner: options.owner, total: 0, progress: &|_| {} };
    let mut done = trees::take(&from, home, &plan, &way)?;
    if !options.dry_run {
        enough_room(home, done.bytes)?;
        way = trees::Way { copy: true, total: done.bytes, progress, ..way };
        done = trees::take(&from, home, &plan, &way)?;
        files::write_lists(&lists, &settings.config_dir)?;
        files::write_keys(&keys, &home.env_file())?;
        // Files must be on disk before the rows record them.
        sync(to)?;
    }
    report.append(done.report);
    let stored = store_rows(&store, plan, done.complete, rules.now).await;
    store.close().await;
    report.append(stored?);
    advise(&source, settings, &keys, &mut report);
    Ok(report)
}

/// Returns true if the folder has data of NanoClaw.
fn looks_right(root: &Path) -> bool {
    ["store/messages.db", "data/registered_groups.json", "data/sessions.json", "data/router_state.json"]
        .iter()
        .any(|name| fs::symlink_metadata(root.join(name)).is_ok())
}

/// Creates the folders of an installation without the initial memories: groups bring their own.
fn prepare(home: &Home) -> Result<(), ImportError> {
    for (path, mode) in [
        (home.root().to_owned(), 0o755),
        (home.groups(), 0o755),
        (home.data(), 0o700),
        (home.data().join("sessions"), 0o700),
    ] {
        let made = fs::DirBuilder::new().recursive(true).mode(mode).create(&path);
        made.map_err(|error| ImportError::write(&path, error))?;
    }
    Ok(())
}

/// Creates a private folder for copies, and removes those of killed imports.
fn scratch(home: &Home, dry_run: bool) -> Result<tempfile::TempDir, ImportError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(SCRATCH);
    if dry_run {
        return builder.tempdir().map_err(|error| ImportError::write(&std::env::temp_dir(), error));
    }
    let data = home.data();
    let fail = |error| ImportError::write(&data, error);
    let dir = SafeDir::open(&data).map_err(fail)?;
    for entry in dir.entries().map_err(fail)?.flatten() {
        if entry.name.as_encoded_bytes().starts_with(SCRATCH.as_bytes()) {
            dir.remove_tree(&entry.name).map_err(fail)?;
        }
    }
    builder.tempdir_in(&data).map_err(fail)
}

/// Opens the home's database; for a dry run, a copy of it.
fn open_store(home: &Home, scratch: &Path, dry_run: bool) -> Result<Store, ImportError> {
    let mut path = home.database();
    if dry_run {
        let copy = scratch.join("parlor.db");
        for end in ["", "-wal"] {
            let from = PathBuf::from(format!("{}{end}", path.display()));
            match fs::copy(&from, format!("{}{end}", copy.display())) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(ImportError::read(&from, error)),
                _ => {}
            }
        }
        path = copy;
    }
    // No host runs, so nobody listens for wake-ups.
    let (wakes, _) = mpsc::unbounded_channel();
    Ok(Store::open(&path, wakes)?)
}

async fn present(store: &Store, source: &Source) -> Result<Present, ImportError> {
    let below = |below: &str, names: &[String]| -> Vec<String> {
        names.iter().map(|name| format!("{below}/{}", name.to_ascii_lowercase())).collect()
    };
    let mut names = below("groups", &source.folders.groups);
    names.extend(below("data/sessions", &source.folders.sessions));
    let present = store
        .read(move |db| {
            let mut files_taken = BTreeSet::new();
            for name in names {
                if rows::has_files(db, &name)? {
                    files_taken.insert(name);
                }
            }
            let tasks = tasks::list(db, None, true)?.into_iter().map(|task| task.id.to_string()).collect();
            Ok(Present { groups: groups::all(db)?, files_taken, tasks })
        })
        .await?;
    Ok(present)
}

async fn store_rows(
    store: &Store,
    plan: Arc<Plan>,
    complete: Vec<String>,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Report, StoreError> {
    store.write(move |tx| apply::apply(tx, &plan, &complete, now)).await
}

fn enough_room(home: &Home, bytes: u64) -> Result<(), ImportError> {
    let path = home.root();
    let stat = rustix::fs::statvfs(path).map_err(|error| ImportError::write(path, error.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let need = bytes.saturating_add(SPARE);
    if need > free {
        return Err(ImportError::NoRoom { path: path.to_owned(), need: need >> 20, free: free >> 20 });
    }
    Ok(())
}

fn sync(path: &Path) -> Result<(), ImportError> {
    let dir = fs::File::open(path).map_err(|error| ImportError::write(path, error))?;
    rustix::fs::syncfs(&dir).map_err(|error| ImportError::write(path, error.into()))
}

/// Adds advice on steps that only the operator can do.
fn advise(source: &Source, settings: &Settings, keys: &BTreeMap<String, String>, report: &mut Report) {
    if source.unread_ipc > 0 {
        let files = words::are(source.unread_ipc, "file");
        report.advise(format!("{files} left out which agents had dropped in data/ipc and nobody had read"));
    }
    let has_key = settings.secret_keys.iter().any(|key| source.env.contains_key(key));
    if has_key && settings.image.is_none() && !keys.contains_key("CONTAINER_IMAGE") {
        let runner = source.root.join("container/agent-runner/src");
        let runner =
            if runner.is_dir() { format!(" and AGENT_RUNNER_SRC={}", runner.display()) } else { String::new() };
        report.advise(format!(
            "to go on with NanoClaw's own agent, set CONTAINER_IMAGE=nanoclaw-agent:latest{runner} in .env; without it \
             the key's agent is Parlor's own, which begins new conversations, or Claude Code, which goes on with the old ones: \
             `parlor image build full` makes its image"
        ));
    }
    report.advise("stop NanoClaw for good before `parlor up`: two hosts would answer the same chats");
}
