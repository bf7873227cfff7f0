//! Files that agents send: taken out of the group's folder before the commit that names them.
//!
//! The copy lies under the claim's id, which is the delivery's. A crash before the commit has the file taken again with
//! the claim; a refusal, or a claim that cannot be handled, removes the copy.

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use parlor_protocol::MessageFile;
use rusqlite::Connection;
use ulid::Ulid;

use super::Shared;
use super::authorize::{Denied, Permitted, authorize};
use super::claim::Claimed;
use super::command::Command;
use crate::domain::delivery::FileInfo;
use crate::domain::ids::{DeliveryId, GroupFolder};
use crate::safe_dir::SafeDir;
use crate::store::{TxResult, groups, ipc_files, outbox};

/// Bytes a file's name may have.
const MAX_NAME: usize = 255;

/// What became of a file to send: kept, or the reason why not.
pub(super) type Taken = Result<FileInfo, String>;

/// What the store says before a copy is made: it costs the disk and the turn of others.
enum Verdict {
    /// There is room for it.
    Copy,
    /// It has an answer already, or is about to be refused.
    Leave,
    /// The chat's files take too much.
    Full,
}

/// Takes the file that a claim names; None if it was settled before a crash, or will be refused whatever the file is.
/// `taken` are the bytes that were taken for claims of the same batch.
pub(super) async fn take(shared: &Arc<Shared>, claimed: &Claimed, command: &Command, taken: u64) -> Option<Taken> {
    let Command::Message(MessageFile::File { path, .. }) = command else { return None };
    let (claim, folder, asked) = (claimed.id, claimed.folder.clone(), command.clone());
    let verdict = shared.store.read(move |db| judge(db, claim, &folder, asked, taken)).await;
    match verdict {
        Ok(Verdict::Leave) => return None,
        Ok(Verdict::Full) => return Some(Err(too_much())),
        // A store in trouble is waited for at the commit.
        Ok(Verdict::Copy) | Err(_) => {}
    }
    let (shared, folder, path) = (Arc::clone(shared), claimed.folder.clone(), path.clone());
    let copy = move || copy(&shared, claim, &folder, &path);
    Some(tokio::task::spawn_blocking(copy).await.unwrap_or_else(|error| Err(error.to_string())))
}

fn judge(db: &Connection, claim: Ulid, folder: &GroupFolder, command: Command, taken: u64) -> TxResult<Verdict> {
    if ipc_files::result(db, &claim.to_string())?.is_some() {
        return Ok(Verdict::Leave);
    }
    let Some(who) = groups::by_folder(db, folder)? else { return Ok(Verdict::Leave) };
    let chat = match authorize(db, &who, command) {
        Ok(Permitted::File(file)) => file.into_inner().chat,
        Ok(_) | Err(Denied::Refused(_)) => return Ok(Verdict::Leave),
        Err(Denied::Store(error)) => return Err(error),
    };
    let full = outbox::file_bytes(db, &chat)?.saturating_add(taken) >= outbox::MAX_FILE_BYTES;
    Ok(if full { Verdict::Full } else { Verdict::Copy })
}

/// Returns why a chat's next file is refused.
pub(super) fn too_much() -> String {
    let limit = outbox::MAX_FILE_BYTES >> 20;
    format!("files of this chat already take {limit} MiB: they are kept for a week, try again later")
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
