//! Files that agents send: taken out of the group's folder before the commit that names them.
//!
//! The copy lies under the claim's id, which is the delivery's. A crash before the commit has the file taken again with
//! the claim; a refusal, or a claim that cannot be handled, removes the copy.

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use parlor_agent_runner::protocol::MessageFile;
use ulid::Ulid;

use super::Shared;
use super::command::{Command, Parsed};
use crate::domain::delivery::FileInfo;
use crate::domain::ids::{DeliveryId, GroupFolder};
use crate::safe_dir::SafeDir;
use crate::store::ipc_files;

/// Bytes a file's name may have.
const MAX_NAME: usize = 255;

/// What became of a file to send: kept, or the reason why not.
pub(super) type Taken = Result<FileInfo, String>;

/// The path that a command names.
pub(super) fn wanted(parsed: &Parsed) -> Option<&str> {
    match &parsed.command {
        Command::Message(MessageFile::File { path, .. }) => Some(path),
        _ => None,
    }
}

/// Takes the file that a claim names; none when the claim was settled before a crash.
pub(super) async fn take(shared: &Arc<Shared>, claim: Ulid, folder: &GroupFolder, path: &str) -> Option<Taken> {
    let settled = shared.store.read(move |db| ipc_files::result(db, &claim.to_string())).await;
    if matches!(settled, Ok(Some(_))) {
        return None;
    }
    let (shared, folder, path) = (Arc::clone(shared), folder.clone(), path.to_owned());
    let copy = move || copy(&shared, claim, &folder, &path);
    Some(tokio::task::spawn_blocking(copy).await.unwrap_or_else(|error| Err(error.to_string())))
}

fn copy(shared: &Shared, claim: Ulid, folder: &GroupFolder, path: &str) -> Taken {
    let shown: String = path.chars().take(100).collect();
    let path = Path::new(path);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    let (true, Some(name)) = (inside, path.file_name()) else {
        return Err(format!("{shown:?} is not a path below the group's folder"));
    };
    let fine = name.len() <= MAX_NAME && !shown.chars().any(char::is_control);
    let Some(text) = name.to_str().filter(|name| fine && !name.chars().any(char::is_control)) else {
        return Err(format!("{shown:?} is not a name that can be shown: rename the file"));
    };
    let bytes = read(shared, folder, path, name).map_err(|error| format!("{shown:?} cannot be sent: {error}"))?;
    let kept = shared.store.files().keep(DeliveryId(claim), text, &bytes);
    kept.map_err(|error| format!("{shown:?} cannot be kept for sending: {error}"))?;
    Ok(FileInfo { name: text.to_owned(), size: bytes.len() as u64 })
}

fn read(shared: &Shared, folder: &GroupFolder, path: &Path, name: &OsStr) -> io::Result<Vec<u8>> {
    let groups = SafeDir::open(&shared.home.groups())?;
    let parent = path.parent().unwrap_or(Path::new(""));
    groups.open_dir(&Path::new(folder.as_str()).join(parent))?.read(name, shared.max_file)
}
