//! A check of an installation through a throw-away room: whether the engine's containers see this machine's folders,
//! and write there as the right user. An engine on another machine, from a snap, or outside Parlor's own container
//! answers every question, and its rooms are still empty.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use parlor_protocol::{CLOSE_SENTINEL, RunInput};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::engine::spec::{Mount, MountSource, Network, RunSpec, User};
use super::engine::{ContainerEngine, EngineError, Exit};

/// The time limit of the room; engines on slow disks need seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most bytes of the room's complaints that are shown.
const SHOWN: u64 = 2_000;
/// Reads the token, and writes it back for the host to see.
const AGENT: &str = "#!/bin/sh\ncat token >back\n";

/// The defect of an engine's rooms.
#[derive(Debug, Error)]
pub enum LookError {
    /// The host itself could not write the folder.
    #[error("{path} cannot be used: {source}", path = path.display())]
    Folder {
        /// The folder of the room.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The engine did not start the room.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The room took too long.
    #[error("a room was not done within {} s", PATIENCE.as_secs())]
    Slow,
    /// The room did not find the host's file.
    #[error("rooms do not see {folder}: what was written there did not come back{said}", folder = folder.display())]
    Blind {
        /// The folder of the room.
        folder: PathBuf,
        /// The room's complaints.
        said: String,
    },
    /// The room's file belongs to another user.
    #[error("what a room writes into {folder} belongs to user {found}, not to {wanted}", folder = folder.display())]
    Owner {
        /// The folder of the room.
        folder: PathBuf,
        /// The owner's uid.
        found: u32,
        /// The expected owner's uid.
        wanted: u32,
    },
}

/// Opens a room of this image in a folder below `data`, with an agent that runs as `user`; removes everything
/// afterwards.
pub async fn look(
    engine: &dyn ContainerEngine,
    image: &str,
    data: &Path,
    user: User,
    token: &str,
) -> Result<(), LookError> {
    let place = Place(data.join(format!("look-{}", token.to_lowercase())));
    place.make(user, token).map_err(|source| LookError::Folder { path: place.0.clone(), source })?;
    let name = format!("parlor-look-{}", token.to_lowercase());
    let said = tokio::time::timeout(PATIENCE, run(engine, &place.spec(&name, image, user))).await;
    // The container goes in any case.
    let gone = engine.kill(&name).await;
    let said = said.map_err(|_| LookError::Slow)??;
    gone?;
    place.check(user, token, &said)
}

/// Runs the room to its end. Returns its complaints.
async fn run(engine: &dyn ContainerEngine, spec: &RunSpec) -> Result<String, EngineError> {
    let mut room = engine.start(spec).await?;
    let input = RunInput {
        prompt: "look".to_owned(),
        group_folder: "look".to_owned(),
        chat_jid: "web:look".to_owned(),
        provider: Some("exec".to_owned()),
        ..RunInput::default()
    };
    // If the room is gone, its end shows it.
    let _ = room.stdin.write_all(&serde_json::to_vec(&input).unwrap_or_default()).await;
    drop(room.stdin);
    let (mut out, mut complaints) = (tokio::io::sink(), Vec::new());
    let (_, (), ended) = tokio::join!(
        tokio::io::copy(&mut room.stdout, &mut out),
        drain(&mut room.stderr, &mut complaints),
        room.client.wait()
    );
    let said = String::from_utf8_lossy(&complaints).trim().to_owned();
    match ended {
        Ok(exit) => match room.client.judge(exit, &said) {
            Exit::EngineRefused(refusal) => Err(refusal.error),
            Exit::Code(_) | Exit::Signal(_) => Ok(said),
        },
        Err(_) => Ok(said),
    }
}

/// Reads a stream to its end, and keeps its beginning.
async fn drain(stream: &mut (dyn tokio::io::AsyncRead + Send + Unpin), kept: &mut Vec<u8>) {
    let mut first = stream.take(SHOWN);
    let _ = first.read_to_end(kept).await;
    let _ = tokio::io::copy(first.into_inner(), &mut tokio::io::sink()).await;
}

/// The room's folders on the host; removed when dropped.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Place {
    fn make(&self, user: User, token: &str) -> io::Result<()> {
        let group = self.0.join("group");
        for folder in [&self.0, &group, &self.0.join("ipc"), &self.0.join("ipc/input")] {
            fs::DirBuilder::new().mode(0o700).create(folder)?;
            own(folder, user)?;
        }
        for (path, text, mode) in [
            (group.join("token"), token, 0o600),
            (group.join("agent"), AGENT, 0o700),
            // No input follows, so the room ends by itself.
            (self.0.join("ipc/input").join(CLOSE_SENTINEL), "", 0o600),
        ] {
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            own(&path, user)?;
        }
        Ok(())
    }

    fn spec(&self, name: &str, image: &str, user: User) -> RunSpec {
        let mounts = [("group", "/workspace/group"), ("ipc", "/workspace/ipc")].map(|(folder, target)| Mount {
            source: MountSource::Host(self.0.join(folder)),
            target: target.to_owned(),
            writable: true,
        });
        RunSpec {
            name: name.to_owned(),
            image: image.to_owned(),
            labels: BTreeMap::from([("parlor.kind".to_owned(), "look".to_owned())]),
            env: BTreeMap::from([("HOME".to_owned(), "/home/node".to_owned())]),
            mounts: mounts.into(),
            user,
            network: Network::None,
            gateway: None,
            memory: None,
            cpus: None,
            pids: None,
        }
    }

    fn check(&self, user: User, token: &str, said: &str) -> Result<(), LookError> {
        let folder = self.0.parent().unwrap_or(&self.0).to_owned();
        let back = self.0.join("group/back");
        let written = fs::symlink_metadata(&back).ok().filter(fs::Metadata::is_file);
        let Some(written) = written.filter(|_| fs::read(&back).is_ok_and(|found| found == token.as_bytes())) else {
            let said = if said.is_empty() { String::new() } else { format!(" ({said})") };
            return Err(LookError::Blind { folder, said });
        };
        let wanted = if rustix::process::geteuid().is_root() { user.uid } else { rustix::process::geteuid().as_raw() };
        match written.uid() {
            found if found == wanted => Ok(()),
            found => Err(LookError::Owner { folder, found, wanted }),
        }
    }
}

/// Gives a file that a root host made for its rooms to their user.
fn own(path: &Path, user: User) -> io::Result<()> {
    if rustix::process::geteuid().is_root() { chown(path, Some(user.uid), Some(user.gid)) } else { Ok(()) }
}
