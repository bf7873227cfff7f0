//! The only way in: policy, then the store, then a wake-up. Every channel passes its messages to this module.
//!
//! One transaction looks up the group, asks the policy and stores the message, so that a group that is removed or
//! changed at that moment leaves no message without an owner.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use parlor_protocol::limits::MAX_ID;
use thiserror::Error;

use super::attach::{Attachments, Parcel};
use crate::config::allowlists::Watched;
use crate::config::settings::Settings;
use crate::domain::attachment::Attachment;
use crate::domain::clock::SharedClock;
use crate::domain::group::Group;
use crate::domain::ids::{ChatJid, GroupFolder};
use crate::domain::message::{InboundState, NewMessage, Role};
use crate::domain::text::is_blank;
use crate::policy::senders::{Decision, SenderRules};
use crate::policy::trigger::{Trigger, command};
use crate::store::{Store, StoreError, Tx, TxResult, events, groups, inbound};

/// The most bytes of a message's text.
pub const MAX_TEXT: usize = 1 << 20;
/// Bytes that a sender's name may have.
pub const MAX_NAME: usize = 256;

/// Why a message was not accepted.
#[derive(Debug, Clone, Error)]
pub enum IngestError {
    /// No registered group has the chat. The chat is listed as available from now on.
    #[error("chat {0} is not registered: register it with `parlor groups add`, or from the main group")]
    NotRegistered(ChatJid),
    /// The message is not valid, for this reason.
    #[error("{0}")]
    Invalid(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The meaning of a message for its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The message is kept in this role.
    Keep(Role),
    /// The sender's text is not kept at all.
    Drop,
}

/// The result for an accepted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The message's sequence number.
    pub seq: i64,
    /// Its role for its group.
    pub role: Role,
    /// The files that came with it, and their fate.
    pub attachments: Vec<Attachment>,
}

/// The rules of every group for starting turns.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Used in the default trigger, and as the sender of the assistant's texts.
    pub assistant_name: Arc<str>,
    /// True if the trigger counts anywhere in a message.
    pub anywhere: bool,
    /// Older messages start nothing.
    pub max_age: Option<TimeDelta>,
}

impl Policy {
    /// The policy in the settings.
    pub fn of(settings: &Settings) -> Self {
        Self {
            anywhere: settings.trigger_anywhere,
            max_age: settings.trigger_max_age.and_then(|age| TimeDelta::from_std(age).ok()),
            ..Self::plain(&settings.assistant_name)
        }
    }

    /// A policy with the trigger only at the start, and messages of any age.
    pub fn plain(assistant_name: &str) -> Self {
        Self { assistant_name: assistant_name.into(), anywhere: false, max_age: None }
    }
}

/// Returns what a message means to its group.
pub fn judge(group: &Group, new: &NewMessage, rules: &SenderRules, policy: &Policy, now: DateTime<Utc>) -> Verdict {
    match rules.decide(&new.jid, &new.sender, group.is_main) {
        Decision::Allow => {}
        Decision::Deny { drop, log } => {
            if log {
                tracing::info!(chat = %new.jid, sender = ?new.sender, "a sender who may not trigger wrote");
            }
            return if drop { Verdict::Drop } else { Verdict::Keep(Role::Denied) };
        }
    }
    if policy.max_age.is_some_and(|age| now.signed_duration_since(new.sent_at) > age) {
        return Verdict::Keep(Role::Context);
    }
    let trigger = Trigger::of(group.trigger.as_deref(), &policy.assistant_name);
    if command(&new.text, &trigger).is_some() {
        return Verdict::Keep(Role::Command);
    }
    let meant = group.is_main
        || !group.requires_trigger
        || new.quoted.as_ref().is_some_and(|quoted| quoted.assistant)
        || trigger.matches(&new.text)
        || (policy.anywhere && trigger.is_in(&new.text));
    Verdict::Keep(if meant { Role::Trigger } else { Role::Context })
}

/// Takes messages in. Clones share it.
#[derive(Debug, Clone)]
pub struct Ingest {
    store: Store,
    clock: SharedClock,
    policy: Policy,
    senders: Arc<Watched<SenderRules>>,
    files: Attachments,
}

impl Ingest {
    /// Accepts messages into a store, and their files into groups' folders.
    pub fn new(
        store: Store,
        clock: SharedClock,
        policy: Policy,
        senders: Arc<Watched<SenderRules>>,
        files: Attachments,
    ) -> Self {
        Self { store, clock, policy, senders, files }
    }

    /// Returns why the list of senders is not valid, if so.
    pub fn senders_problem(&self) -> Option<String> {
        self.senders.get().problem().map(str::to_owned)
    }

    /// Returns the most bytes of a message's file.
    pub fn max_file(&self) -> u64 {
        self.files.max()
    }

    /// Begins the files of a message, for [`Self::accept_with`]. Files that the message will not get are only
    /// counted, so that a sender without permission cannot fill the disk.
    pub async fn files_for(&self, new: &NewMessage) -> Result<Parcel, IngestError> {
        let new = check(new.clone(), true)?;
        let rules = self.senders.get();
        let (policy, now) = (self.policy.clone(), self.clock.now());
        let look = self.store.read(move |db| {
            let mut new = new;
            if inbound::knows(db, &new.jid, &new.platform_id)? {
                return Ok(Err("the message is known already"));
            }
            let Some(group) = groups::by_jid(db, &new.jid)? else { return Ok(Err("the chat is not registered")) };
            if let Some(quoted) = &mut new.quoted {
                inbound::complete(db, &new.jid, quoted, &policy.assistant_name)?;
            }
            Ok(worth_files(judge(&group, &new, &rules, &policy, now)).map(|()| group.folder))
        });
        let to: Result<GroupFolder, &'static str> = look.await?;
        Ok(self.files.parcel(to))
    }

    /// Stores a message with its files, or with the reasons why it has none. Continues if the caller is gone.
    pub async fn accept_with(&self, new: NewMessage, files: Parcel) -> Result<Accepted, IngestError> {
        let new = check(new, !files.is_empty())?;
        let this = self.clone();
        let stored = tokio::spawn(async move {
            let (jid, id) = (new.jid.clone(), new.platform_id.clone());
            let placed = tokio::task::spawn_blocking(move || files.place(&jid, &id)).await;
            let placed = placed.map_err(|_| StoreError::Closed)??;
            let (files, meant) = (placed.attachments.clone(), placed.folder.clone());
            let stored = this.store(new, Brought { files, came: placed.came, meant }).await;
            let named = match &stored {
                Ok(accepted) => Some(accepted.attachments.clone()),
                // It may be committed: the next start checks.
                Err(IngestError::Store(StoreError::Closed)) => None,
                Err(_) => Some(Vec::new()),
            };
            let settled = tokio::task::spawn_blocking(move || named.map(|named| placed.settle(&named))).await;
            if settled.is_err() {
                tracing::warn!("cannot settle the files of a message, the next start retries");
            }
            stored
        });
        stored.await.map_err(|_| StoreError::Closed)?
    }

    /// Stores a message and wakes its group. After the commit, returns its sequence number and its role. A message
    /// with a known platform id changes nothing, and gets its first results again.
    pub async fn accept(&self, new: NewMessage) -> Result<Accepted, IngestError> {
        self.store(check(new, false)?, Brought::default()).await
    }

    async fn store(&self, mut new: NewMessage, brought: Brought) -> Result<Accepted, IngestError> {
        let jid = new.jid.clone();
        let now = self.clock.now();
        // The list is read here, so that the store's writer does not wait for it.
        let rules = self.senders.get();
        let policy = self.policy.clone();
        let accepted = self
            .store
            .write(move |tx| {
                let Some(group) = groups::by_jid(tx, &new.jid)? else {
                    groups::touch_chat(tx, &new.jid, None, Some(now))?;
                    return Ok(None);
                };
                let before = tx.total_changes();
                if let Some(quoted) = &mut new.quoted {
                    inbound::complete(tx, &new.jid, quoted, &policy.assistant_name)?;
                }
                let verdict = judge(&group, &new, &rules, &policy, now);
                new.attachments = settled(brought, &group.folder, verdict);
                let (seq, role) = match verdict {
                    Verdict::Keep(role) => (inbound::insert(tx, &new, role, now)?, role),
                    Verdict::Drop => (store_dropped(tx, &mut new, now)?, Role::Denied),
                };
                // A known message keeps its first role and files.
                let known = tx.total_changes() == before;
                let role = if known { inbound::role(tx, seq)? } else { role };
                if !known && verdict != Verdict::Drop {
                    events::message_in(tx, &new, seq, role, now)?;
                }
                let attachments = if known {
                    inbound::attachments(tx, &new.jid, &new.platform_id)?.unwrap_or_default()
                } else {
                    new.attachments
                };
                Ok(Some(Accepted { seq, role, attachments }))
            })
            .await?;
        accepted.ok_or(IngestError::NotRegistered(jid))
    }
}

/// Returns an error if a message with this verdict may not have files.
fn worth_files(verdict: Verdict) -> Result<(), &'static str> {
    match verdict {
        Verdict::Keep(Role::Trigger | Role::Context) => Ok(()),
        Verdict::Keep(Role::Command) => Err("a command takes no files"),
        Verdict::Keep(Role::Denied) | Verdict::Drop => Err("its sender may not trigger here"),
    }
}

/// A message's files before its commit.
#[derive(Debug, Default)]
struct Brought {
    files: Vec<Attachment>,
    /// The number of files, with those that are not even named.
    came: u64,
    /// The group whose folder has the files; None if none is kept.
    meant: Option<GroupFolder>,
}

/// Returns a message's files at its commit, because the group and the verdict may have changed during the upload.
fn settled(brought: Brought, group: &GroupFolder, verdict: Verdict) -> Vec<Attachment> {
    let Brought { files, came, meant } = brought;
    let unheard = worth_files(verdict).err();
    // One entry for all files of a sender without permission, so that they take no space from others' messages.
    if let (Some(why), Verdict::Keep(Role::Denied), 2..) = (unheard, verdict, came) {
        let size = files.iter().map(|file| file.size).sum();
        return vec![Attachment::refused(format!("{came} files"), size, why)];
    }
    let elsewhere = meant.is_some_and(|folder| folder != *group);
    let elsewhere = elsewhere.then_some("the chat went to another group meanwhile");
    let Some(why) = unheard.or(elsewhere) else { return files };
    let settle = |file: Attachment| if file.path.is_some() { file.not_taken(why) } else { file };
    files.into_iter().map(settle).collect()
}

/// Stores a dropped message without its text. It gets a sequence number, so that its channel sees one acceptance, but
/// nothing will ever read it.
fn store_dropped(tx: &mut Tx<'_>, new: &mut NewMessage, now: DateTime<Utc>) -> TxResult<i64> {
    new.text.clear();
    new.attachments.clear();
    new.quoted = None;
    let before = tx.total_changes();
    let seq = inbound::insert(tx, new, Role::Denied, now)?;
    // A known message stays as it is, because its sender had permission at that time.
    if tx.total_changes() != before {
        inbound::settle(tx, &[seq], InboundState::Done)?;
    }
    Ok(seq)
}

/// Checks lengths, and replaces NUL characters, which neither files nor terminals accept.
fn check(mut new: NewMessage, files: bool) -> Result<NewMessage, IngestError> {
    if new.text.len() > MAX_TEXT {
        let length = new.text.len();
        return Err(IngestError::Invalid(format!(
            "the text has {length} bytes, {MAX_TEXT} are allowed: send long content as a file in the group's folder"
        )));
    }
    if new.text.trim_matches(is_blank).is_empty() && !files {
        return Err(IngestError::Invalid("the text is empty: write something".to_owned()));
    }
    let quoted = new.quoted.as_ref().map(|quoted| ("id in replyTo", &quoted.id));
    for (what, value) in [("id", &new.platform_id), ("sender", &new.sender)].into_iter().chain(quoted) {
        if value.is_empty() || value.len() > MAX_ID {
            return Err(IngestError::Invalid(format!(
                "the {what} has {} bytes, 1 to {MAX_ID} are allowed",
                value.len()
            )));
        }
        if value.chars().any(|c| c.is_control() && c != '\0') {
            return Err(IngestError::Invalid(format!("the {what} holds control characters: leave them out")));
        }
    }
    if let Some(sender) = new.quoted.as_mut().and_then(|quoted| quoted.sender.as_mut()) {
        *sender = sender.chars().filter(|c| !c.is_control()).take(MAX_NAME / 4).collect();
    }
    if new.sender_name.len() > MAX_NAME {
        let length = new.sender_name.len();
        return Err(IngestError::Invalid(format!("the sender's name has {length} bytes, {MAX_NAME} are allowed")));
    }
    // A name is one line.
    new.sender_name = new.sender_name.replace(|c: char| c.is_control() && c != '\0', " ");
    let quoted =
        new.quoted.as_mut().into_iter().flat_map(|quoted| [Some(&mut quoted.id), quoted.text.as_mut()]).flatten();
    for text in quoted.chain([&mut new.text, &mut new.platform_id, &mut new.sender, &mut new.sender_name]) {
        if text.contains('\0') {
            *text = text.replace('\0', "\u{fffd}");
        }
    }
    Ok(new)
}

#[cfg(test)]
#[path = "ingest_tests.rs"]
mod tests;
