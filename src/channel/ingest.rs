//! The one way in: policy, then the store, then a wake-up. Every channel hands its messages here.
//!
//! The group is looked up, the policy asked and the message stored in one transaction, so that a group that is removed
//! or changed at the same moment leaves no message without an owner.

use std::sync::Arc;

use thiserror::Error;

use crate::config::allowlists::Watched;
use crate::domain::clock::SharedClock;
use crate::domain::group::Group;
use crate::domain::ids::ChatJid;
use crate::domain::message::{InboundState, NewMessage, Role};
use crate::policy::senders::{Decision, SenderRules};
use crate::policy::trigger::{Trigger, command};
use crate::store::{Store, StoreError, Tx, TxResult, groups, inbound};

/// Bytes that a message's text may have.
pub const MAX_TEXT: usize = 1 << 20;
/// Bytes that an id or a name may have.
pub const MAX_NAME: usize = 256;

/// Why a message was not accepted.
#[derive(Debug, Clone, Error)]
pub enum IngestError {
    /// Its chat is no registered group's. The chat is listed as available from now on.
    #[error("chat {0} is not registered: register it with `parlor groups add`, or from the main group")]
    NotRegistered(ChatJid),
    /// The message itself is not acceptable; says why.
    #[error("{0}")]
    Invalid(String),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a message means to its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Kept in this role.
    Keep(Role),
    /// Its sender's words are to be left out altogether.
    Drop,
}

/// What became of an accepted message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its sequence number.
    pub seq: i64,
    /// What it means to its group.
    pub role: Role,
}

/// Says what a message means to its group.
pub fn judge(group: &Group, new: &NewMessage, rules: &SenderRules, assistant_name: &str) -> Verdict {
    match rules.decide(&new.jid, &new.sender, group.is_main) {
        Decision::Allow => {}
        Decision::Deny { drop, log } => {
            if log {
                tracing::info!(chat = %new.jid, sender = ?new.sender, "a sender who may not trigger wrote");
            }
            return if drop { Verdict::Drop } else { Verdict::Keep(Role::Denied) };
        }
    }
    let trigger = Trigger::of(group.trigger.as_deref(), assistant_name);
    if command(&new.text, &trigger).is_some() {
        return Verdict::Keep(Role::Command);
    }
    let answers_all = group.is_main || !group.requires_trigger;
    Verdict::Keep(if answers_all || trigger.matches(&new.text) { Role::Trigger } else { Role::Context })
}

/// Takes messages in. Clones share it.
#[derive(Debug, Clone)]
pub struct Ingest {
    store: Store,
    clock: SharedClock,
    assistant_name: Arc<str>,
    senders: Arc<Watched<SenderRules>>,
}

impl Ingest {
    /// Takes messages into a store. The assistant's name makes the default trigger.
    pub fn new(store: Store, clock: SharedClock, assistant_name: &str, senders: Arc<Watched<SenderRules>>) -> Self {
        Self { store, clock, assistant_name: assistant_name.into(), senders }
    }

    /// Stores a message and wakes its group. Returns, after the commit, its sequence number and its role; a message
    /// whose platform id is known returns those it got the first time and changes nothing.
    pub async fn accept(&self, new: NewMessage) -> Result<Accepted, IngestError> {
        let new = check(new)?;
        let jid = new.jid.clone();
        let now = self.clock.now();
        // The file is looked at here, not while the store's writer waits.
        let rules = self.senders.get();
        let name = self.assistant_name.clone();
        let accepted = self
            .store
            .write(move |tx| {
                let Some(group) = groups::by_jid(tx, &new.jid)? else {
                    groups::touch_chat(tx, &new.jid, None, Some(now))?;
                    return Ok(None);
                };
                let before = tx.total_changes();
                let (seq, role) = match judge(&group, &new, &rules, &name) {
                    Verdict::Keep(role) => (inbound::insert(tx, &new, role, now)?, role),
                    Verdict::Drop => (store_dropped(tx, new, now)?, Role::Denied),
                };
                // A message that was known keeps the role it got then.
                let role = if tx.total_changes() == before { inbound::role(tx, seq)? } else { role };
                Ok(Some(Accepted { seq, role }))
            })
            .await?;
        accepted.ok_or(IngestError::NotRegistered(jid))
    }
}

/// A dropped message takes a number like any other, so that its channel sees it accepted once, but its words are gone
/// and nothing will ever look at it.
fn store_dropped(tx: &mut Tx<'_>, mut new: NewMessage, now: chrono::DateTime<chrono::Utc>) -> TxResult<i64> {
    new.text.clear();
    let before = tx.total_changes();
    let seq = inbound::insert(tx, &new, Role::Denied, now)?;
    // A message that was known already changed nothing, and keeps its state: its sender was allowed then.
    if tx.total_changes() != before {
        inbound::settle(tx, &[seq], InboundState::Done)?;
    }
    Ok(seq)
}

/// Checks lengths, and replaces NUL characters, which neither files nor terminals carry.
fn check(mut new: NewMessage) -> Result<NewMessage, IngestError> {
    if new.text.len() > MAX_TEXT {
        let length = new.text.len();
        return Err(IngestError::Invalid(format!(
            "the text has {length} bytes, {MAX_TEXT} are allowed: send long content as a file in the group's folder"
        )));
    }
    if new.text.trim().is_empty() {
        return Err(IngestError::Invalid("the text is empty: write something".to_owned()));
    }
    for (what, value) in [("id", &new.platform_id), ("sender", &new.sender)] {
        if value.is_empty() || value.len() > MAX_NAME {
            return Err(IngestError::Invalid(format!(
                "the {what} has {} bytes, 1 to {MAX_NAME} are allowed",
                value.len()
            )));
        }
    }
    if new.sender_name.len() > MAX_NAME {
        let length = new.sender_name.len();
        return Err(IngestError::Invalid(format!("the sender's name has {length} bytes, {MAX_NAME} are allowed")));
    }
    for text in [&mut new.text, &mut new.platform_id, &mut new.sender, &mut new.sender_name] {
        if text.contains('\0') {
            *text = text.replace('\0', "\u{fffd}");
        }
    }
    Ok(new)
}

#[cfg(test)]
#[path = "ingest_tests.rs"]
mod tests;
