//! The installation on disk: its folders, its lock, its database.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::fs::FlockOperation;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::config::home::Home;
use crate::config::settings::Settings;
use crate::domain::clock::SharedClock;
use crate::store::{Store, Wake, instance};

/// How long a host waits for the lock of its home.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// The initial memories of a new installation: the owner's, and the one that all groups share.
const MEMORIES: [(&str, &str); 2] =
    [("main", include_str!("../../groups/main/CLAUDE.md")), ("global", include_str!("../../groups/global/CLAUDE.md"))];

/// Creates the folders that containers never see; a group's folders are made with the group.
pub(super) fn prepare_folders(home: &Home) -> anyhow::Result<()> {
    let make = |path: &std::path::Path, mode| {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(path)
            .with_context(|| format!("making {}: choose a home that you may write, with --home", path.display()))
    };
    make(home.root(), 0o755)?;
    let fresh = !home.groups().exists();
    make(&home.groups(), 0o755)?;
    if fresh {
        // Only a new installation gets the initial memories; the agents may change them.
        for (name, text) in MEMORIES {
            let path = home.groups().join(name);
            make(&path, 0o755)?;
            fs::write(path.join("CLAUDE.md"), text).with_context(|| format!("writing {}", path.display()))?;
        }
    }
    make(&home.data(), 0o700)?;
    close_to_others(&home.data())?;
    for name in ["ipc", "inputs", "sessions", "runs", "claimed", "quarantine"] {
        make(&home.data().join(name), 0o700)?;
    }
    Ok(())
}

/// Closes a folder that existed before, such as a checkout of Parlor's sources, to other users.
fn close_to_others(path: &std::path::Path) -> anyhow::Result<()> {
    let mode = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?.permissions().mode();
    let for_others = mode & 0o077;
    if for_others == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("closing {} to other users: it must belong to who runs Parlor", path.display()))
}

/// Takes the lock that allows one host per home. It waits, because a process that a killed host was starting may hold
/// the lock a moment longer.
pub(super) async fn lock(home: &Home) -> anyhow::Result<fs::File> {
    let path = home.lock();
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                bail!("another Parlor runs with the home {}: use it, or choose another --home", home.root().display())
            }
            Err(error) => return Err(io::Error::from(error)).with_context(|| format!("locking {}", path.display())),
        }
    }
}

/// Opens the database; also returns the installation's id.
pub(super) async fn open_store(
    settings: &Settings,
    clock: &SharedClock,
    wakes: mpsc::UnboundedSender<Wake>,
) -> anyhow::Result<(Store, String)> {
    let path = settings.home.database();
    let store = tokio::task::spawn_blocking(move || Store::open(&path, wakes)).await??;
    let (home, id) = (settings.home.root().to_string_lossy().into_owned(), clock.ulid().to_string());
    let inode = {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(&home).with_context(|| format!("reading {home}"))?.ino()
    };
    let instance = store.write(move |tx| instance::instance_id(tx, &home, inode, &id)).await?;
    Ok((store, instance))
}
