//! Files that agents send: copied from the group's folder before the commit that names them.
//!
//! The copy has the claim's id, which is also the delivery's. After a crash before the commit, the file is copied
//! again with the claim. A refusal, or a claim that cannot be handled, removes the copy.

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use parlor_protocol::MessageFile;
use parlor_protocol::requests::SendFile;
use rusqlite::Connection;
use ulid::Ulid;

use super::Shared;
use super::authorize::{Denied, grant};
use super::claim::Claimed;
use super::command::Command;
use crate::domain::delivery::FileInfo;
use crate::domain::ids::{DeliveryId, GroupFolder};
use crate::safe_dir::SafeDir;
use crate::store::{TxResult, groups, ipc_files, outbox};

/// The most bytes of a file's name.
const MAX_NAME: usize = 255;

/// The copied file, or the reason of a refusal.
pub(super) type Taken = Result<FileInfo, String>;

/// The decision about a copy, which costs disk space and delays other groups.
enum Verdict {
    /// The chat has room for the file.
    Copy,
    /// The claim is answered already, or will be refused.
    Leave,
    /// The chat's files already take too much.
    Full,
}

/// Copies the file that a claim names. Returns None if the claim was settled before a crash, or will be refused for
/// any file. `taken` counts the bytes of files copied for the same batch.
pub(super) async fn take(shared: &Arc<Shared>, claimed: &Claimed, command: &Command, taken: u64) -> Option<Taken> {
    let Command::Message(MessageFile::File(asked)) = command else { return None };
    let (claim, folder, path) = (claimed.id, claimed.folder.clone(), asked.path.clone());
    let asked = asked.clone();
    let verdict = shared.store.read(move |db| judge(db, claim, &folder, &asked, taken)).await;
    match verdict {
        Ok(Verdict::Leave) => return None,
        Ok(Verdict::Full) => return Some(Err(too_much())),
        // If the store fails, the commit waits for it.
        Ok(Verdict::Copy) | Err(_) => {}
    }
    let (shared, folder) = (Arc::clone(shared), claimed.folder.clone());
    let copy = move || copy(&shared, claim, &folder, &path);
    Some(tokio::task::spawn_blocking(copy).await.unwrap_or_else(|error| Err(error.to_string())))
}

fn judge(db: &Connection, claim: Ulid, folder: &GroupFolder, asked: &SendFile, taken: u64) -> TxResult<Verdict> {
    if ipc_files::result(db, &claim.to_string())?.is_some() {
        return Ok(Verdict::Leave);
    }
    let Some(who) = groups::by_folder(db, folder)? else { return Ok(Verdict::Leave) };
    let chat = match grant(db, &who, asked) {
        Ok(file) => file.into_inner().chat,
        Err(Denied::Refused(_)) => return Ok(Verdict::Leave),
        Err(Denied::Store(error)) => return Err(error),
    };
    let full = outbox::file_bytes(db, &chat)?.saturating_add(taken) >= outbox::MAX_FILE_BYTES;
    Ok(if full { Verdict::Full } else { Verdict::Copy })
}

/// Returns the refusal for a chat whose files take too much.
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
