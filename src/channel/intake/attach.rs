//! Files that come with messages of any channel: uploaded beside the database, checked there, and moved into the
//! group's folder before the message that names them is committed.
//!
//! An agent controls its group's folder. If the folder does not accept a file, the message names the file and goes on
//! without it.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use super::pictures::look;
use crate::domain::attachment::{self, Attachment};
use crate::domain::clock::SharedClock;
use crate::domain::ids::{ChatJid, GroupFolder};
use crate::safe_dir::{Dress, Owner, SafeDir, is_unfinished};
use crate::store::inbox_files::{InboxFiles, Plan, Upload};
use crate::store::{Store, StoreError, inbound};

/// The most files of one message.
pub const MAX_FILES: usize = 10;
/// The most files that are named although they are not kept.
const NAMED: usize = 10;
/// The free disk space is checked again after this many bytes.
const LOOK_EVERY: u64 = 1 << 20;
/// The reason for files that cannot be placed in the group's folder, which its agent controls.
const NO_PLACE: &str = "the group's folder does not take it";
/// The room's user may change the files; others may read them, like everything in a group's folder.
const MODE: u32 = 0o644;

/// Takes files of messages. Clones share it.
#[derive(Debug, Clone)]
pub struct Attachments(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: InboxFiles,
    groups: PathBuf,
    owner: Option<Owner>,
    max: u64,
    clock: SharedClock,
}

impl Attachments {
    /// Takes files of at most `max` bytes, for the groups below a folder. They belong to `owner`, or to the host's
    /// own user if that is None.
    pub fn new(store: &Store, clock: SharedClock, groups: PathBuf, owner: Option<Owner>, max: u64) -> Self {
        Self(Arc::new(Shared { files: store.inbox_files(), groups, owner, max, clock }))
    }

    /// Returns the most bytes of a file.
    pub fn max(&self) -> u64 {
        self.0.max
    }

    /// Begins the files of a message for a group, or the reason why no group gets them.
    pub(in crate::channel) fn parcel(&self, to: Result<GroupFolder, &'static str>) -> Parcel {
        Parcel { shared: self.0.clone(), to, upload: None, items: Vec::new(), made: 0, kept: 0, more: 0, open: None }
    }

    /// Removes files of the last host that no message names. To be called at the start, before any message comes in.
    pub async fn sweep(&self, store: &Store) -> Result<(), StoreError> {
        let left = match self.0.files.left() {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!("cannot list uploads left by the previous host: {error}");
                return Ok(());
            }
        };
        for upload in left {
            if let Some(plan) = upload.plan() {
                let (jid, id) = (plan.jid.clone(), plan.platform_id.clone());
                let named = store.read(move |db| inbound::attachments(db, &jid, &id)).await?.unwrap_or_default();
                self.0.remove_unnamed(&plan, &named);
            }
        }
        Ok(())
    }
}

impl Shared {
    /// Returns the folder of a group's attachments.
    fn folder(&self, group: &GroupFolder) -> io::Result<SafeDir> {
        let groups = SafeDir::open(&self.groups)?;
        let group = groups.ensure_dir(Path::new(group.as_str()), self.owner, 0o755)?;
        let known = group.exists(attachment::FOLDER.as_ref())?;
        let dir = group.ensure_dir(Path::new(attachment::FOLDER), self.owner, 0o755)?;
        if !known {
            rustix::fs::fsync(&group)?;
            rustix::fs::fsync(&groups)?;
        }
        Ok(dir)
    }

    fn remove_unnamed(&self, plan: &Plan, named: &[Attachment]) {
        let rel = Path::new(plan.folder.as_str()).join(attachment::FOLDER);
        // If the folder is gone or replaced, it has no files of the host.
        let Ok(dir) = SafeDir::open(&self.groups).and_then(|groups| groups.open_dir(&rel)) else { return };
        for name in &plan.names {
            let path = format!("{}/{name}", attachment::FOLDER);
            if !named.iter().any(|file| file.path.as_ref() == Some(&path)) {
                let _ = dir.remove(name.as_ref());
            }
        }
        // Incomplete copies of a dead host; at the start, nobody makes new ones.
        let Ok(entries) = dir.entries() else { return };
        let names = entries.map_while(Result::ok).map(|entry| entry.name);
        for name in names.filter(|name| is_unfinished(name)).collect::<Vec<_>>() {
            let _ = dir.remove(&name);
        }
    }
}

/// A completely read file of a message.
#[derive(Debug)]
struct Item {
    /// The facts about the file.
    file: Attachment,
    /// Its number beside the database; None if it is not kept.
    number: Option<usize>,
}

/// A file that is being read.
#[derive(Debug)]
struct Open {
    name: String,
    media_type: Option<String>,
    size: u64,
    /// The open file and its number, or why its bytes are dropped.
    to: Result<(tokio::fs::File, usize), String>,
}

/// The files of one message, in their order.
#[derive(Debug)]
pub struct Parcel {
    shared: Arc<Shared>,
    to: Result<GroupFolder, &'static str>,
    /// Made with the first kept file.
    upload: Option<Upload>,
    items: Vec<Item>,
    /// The number of files made beside the database, kept or not.
    made: usize,
    kept: usize,
    /// The number of files that are not even named.
    more: u64,
    open: Option<Open>,
}

impl Parcel {
    /// Returns true if there was no file.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Begins the next file. The sender claims its name and type. An error comes from the disk: the message cannot be
    /// accepted now.
    pub async fn begin(&mut self, name: &str, media_type: Option<&str>) -> Result<(), StoreError> {
        let name = attachment::harmless_name(name);
        let to = match self.refusal(&name) {
            Some(why) => Err(why),
            None => Ok(self.create().await?),
        };
        let media_type = media_type.and_then(attachment::declared_type);
        self.open = Some(Open { name, media_type, size: 0, to });
        Ok(())
    }

    fn refusal(&self, name: &str) -> Option<String> {
        match &self.to {
            Err(why) => Some((*why).to_owned()),
            Ok(_) if name.is_empty() => Some("it has no name that can be used".to_owned()),
            Ok(_) if self.kept >= MAX_FILES => Some(format!("a message may bring {MAX_FILES} files")),
            Ok(_) => None,
        }
    }

    async fn create(&mut self) -> Result<(tokio::fs::File, usize), StoreError> {
        let (shared, upload, number) = (self.shared.clone(), self.upload.take(), self.made);
        self.made += 1;
        let made = tokio::task::spawn_blocking(move || {
            let upload = match upload {
                Some(upload) => upload,
                None => shared.files.begin(shared.clock.ulid())?,
            };
            upload.room_for(0)?;
            let file = upload.create(number)?;
            Ok::<_, StoreError>((upload, file))
        });
        let (upload, file) = made.await.map_err(|_| StoreError::Closed)??;
        self.upload = Some(upload);
        Ok((tokio::fs::File::from_std(file), number))
    }

    /// Writes more bytes of the open file.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let (Some(open), max) = (&mut self.open, self.shared.max) else { return Ok(()) };
        let before = open.size;
        open.size += bytes.len() as u64;
        let (Ok((file, number)), Some(upload)) = (&mut open.to, &self.upload) else { return Ok(()) };
        if open.size > max {
            upload.remove(*number);
            open.to = Err(format!("it is larger than {}", attachment::size(max)));
            return Ok(());
        }
        if before / LOOK_EVERY != open.size / LOOK_EVERY {
            upload.room_for(LOOK_EVERY)?;
        }
        file.write_all(bytes).await.map_err(|error| upload.failed(&error))
    }

    /// Ends the open file, which is synced to disk when this returns.
    pub async fn end(&mut self) -> Result<(), StoreError> {
        let Some(Open { name, media_type, size, to }) = self.open.take() else { return Ok(()) };
        let item = match (to, &self.upload) {
            (Ok((mut file, number)), Some(upload)) => {
                let synced = async {
                    file.flush().await?;
                    file.sync_all().await
                };
                synced.await.map_err(|error| upload.failed(&error))?;
                let path = upload.path(number);
                let found = tokio::task::spawn_blocking(move || look(&path, size)).await.unwrap_or_default();
                Item { file: found.describe(name, size, media_type), number: Some(number) }
            }
            (Err(why), _) => Item { file: refused(name, size, why), number: None },
            (Ok(_), None) => return Ok(()),
        };
        if item.number.is_some() {
            self.kept += 1;
            self.items.push(item);
        } else if self.items.len() - self.kept < NAMED {
            self.items.push(item);
        } else {
            self.more += 1;
        }
        Ok(())
    }

    /// Moves the files into the group's folder. Blocking.
    pub(in crate::channel) fn place(mut self, jid: &ChatJid, platform_id: &str) -> Result<Placed, StoreError> {
        let items = std::mem::take(&mut self.items);
        let came = items.len() as u64 + self.more;
        let mut placed =
            Placed { attachments: Vec::new(), came, dir: None, names: Vec::new(), folder: None, upload: None };
        let ids: Vec<String> = items.iter().map(|_| self.shared.clock.ulid().to_string().to_lowercase()).collect();
        if let (Some(upload), Ok(folder)) = (self.upload.take(), self.to.clone()) {
            let named = |(item, id): (&Item, &String)| item.number.map(|_| format!("{id}-{}", item.file.name));
            let names = items.iter().zip(&ids).filter_map(named).collect();
            let plan = Plan { jid: jid.clone(), platform_id: platform_id.to_owned(), folder: folder.clone(), names };
            upload.note(&plan)?;
            (placed.folder, placed.upload) = (Some(folder.clone()), Some(upload));
            placed.dir = self.shared.folder(&folder).map_err(|error| note(&folder, &error)).ok();
        }
        for (item, id) in items.into_iter().zip(ids) {
            let file = match item.number {
                Some(number) => placed.put(item.file, number, &id, self.shared.owner),
                None => item.file,
            };
            placed.attachments.push(file);
        }
        if self.more > 0 {
            let name = format!("{} more files", self.more);
            placed.attachments.push(Attachment::refused(name, 0, format!("a message may bring {MAX_FILES} files")));
        }
        placed.sync();
        Ok(placed)
    }
}

impl Drop for Parcel {
    /// A dropped upload is removed on a thread for blocking work.
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) = (self.upload.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn_blocking(move || drop(upload));
        }
    }
}

fn note(folder: &GroupFolder, error: &io::Error) {
    tracing::warn!("cannot place attachments in the folder of group {folder}: {error}");
}

fn refused(name: String, size: u64, why: String) -> Attachment {
    let name = if name.is_empty() { "a file without a name".to_owned() } else { name };
    Attachment::refused(name, size, why)
}

/// Files in the group's folder that no message names yet. If they are dropped unsettled, the next start decides about
/// them.
#[derive(Debug)]
pub(in crate::channel) struct Placed {
    /// The facts about all files, for the message.
    pub(in crate::channel) attachments: Vec<Attachment>,
    /// The number of files, with those that are not even named.
    pub(in crate::channel) came: u64,
    /// The group whose folder has the files; None if there are none.
    pub(in crate::channel) folder: Option<GroupFolder>,
    dir: Option<SafeDir>,
    names: Vec<String>,
    /// Its plan names the files to remove until they are settled.
    upload: Option<Upload>,
}

impl Placed {
    /// Keeps the files that the message names, and removes the others. Blocks for a moment.
    pub(in crate::channel) fn settle(mut self, named: &[Attachment]) {
        let path = |name: &String| format!("{}/{name}", attachment::FOLDER);
        self.names.retain(|name| !named.iter().any(|file| file.path.as_ref() == Some(&path(name))));
        for name in &self.names {
            if let Some(Err(error)) = self.dir.as_ref().map(|dir| dir.remove(name.as_ref())) {
                tracing::warn!("cannot remove the orphaned attachment {name:?}: {error}");
            }
        }
        drop(self.upload.take());
    }

    fn put(&mut self, file: Attachment, number: usize, id: &str, owner: Option<Owner>) -> Attachment {
        let (Some(dir), Some(upload), Some(folder)) = (&self.dir, &self.upload, &self.folder) else {
            return file.not_taken(NO_PLACE);
        };
        let name = format!("{id}-{}", file.name);
        match bring(upload, number, dir, &name, owner) {
            Ok(()) => {
                let path = format!("{}/{name}", attachment::FOLDER);
                self.names.push(name);
                Attachment { path: Some(path), ..file }
            }
            Err(error) => {
                note(folder, &error);
                file.not_taken(NO_PLACE)
            }
        }
    }

    /// Syncs the files' names to disk, before the message.
    fn sync(&mut self) {
        let (Some(dir), Some(folder)) = (&self.dir, &self.folder) else { return };
        if let Err(error) = rustix::fs::fsync(dir) {
            note(folder, &error.into());
            let all = std::mem::take(&mut self.attachments).into_iter();
            let lost = |file: Attachment| match &file.path {
                Some(_) => file.not_taken(NO_PLACE),
                None => file,
            };
            self.attachments = all.map(lost).collect();
        }
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            upload.leave();
        }
    }
}

/// Moves a file, or copies it if the group's folder is on another disk.
fn bring(upload: &Upload, number: usize, dir: &SafeDir, name: &str, owner: Option<Owner>) -> io::Result<()> {
    let mut file = File::open(upload.path(number))?;
    if let Some(Owner { uid, gid }) = owner {
        std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
    }
    // After the owner, and independent of the umask.
    file.set_permissions(Permissions::from_mode(MODE))?;
    let from = SafeDir::open(upload.folder())?;
    let moved = from.move_to(number.to_string().as_ref(), dir, name.as_ref());
    match moved {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let mtime = std::os::unix::fs::MetadataExt::mtime(&file.metadata()?);
            dir.create_from(name.as_ref(), &mut file, Dress { owner, mode: MODE, mtime })?;
            dir.open_file(name.as_ref())?.0.sync_all()
        }
        other => other,
    }
}
