//! Divides messages into history and those that wait for an answer.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::tasks::cut;
use super::{PlannedGroup, PlannedMessage, Rules, shown, time};
use crate::channel::intake::ingest::{MAX_NAME, MAX_TEXT, Policy, Verdict, judge};
use crate::domain::group::Group;
use crate::domain::message::{InboundState, NewMessage, Role};
use crate::import::report::{Kind, Outcome, Report};
use crate::import::source::{RawMessage, Tables};

/// How far NanoClaw has answered a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answered {
    /// No message was answered.
    Nothing,
    /// All messages until this time, inclusive.
    Through(DateTime<Utc>),
    /// Unknown: no message is answered again.
    Unknown,
}

pub(super) fn plan(tables: &Tables, groups: &mut [PlannedGroup], rules: &Rules<'_>, report: &mut Report) {
    let mut by_chat: BTreeMap<&str, Vec<(DateTime<Utc>, &RawMessage)>> = BTreeMap::new();
    for raw in &tables.messages {
        match time(&raw.timestamp) {
            Some(at) => by_chat.entry(&raw.jid).or_default().push((at, raw)),
            None => report.leave(Kind::Message, name(raw), "its time cannot be read"),
        }
    }
    let cursors = cursors(tables, report);
    for planned in groups {
        let Some(mut rows) = by_chat.remove(planned.group.jid.as_str()) else { continue };
        // A stable sort: messages of the same time keep their order.
        rows.sort_by_key(|(at, _)| *at);
        let answered = answered(cursors.as_ref(), &rows, planned, rules, report);
        for (at, raw) in rows {
            match message(raw, at, answered, &planned.group, rules) {
                Ok(message) => planned.messages.push(message),
                Err(why) => report.leave(Kind::Message, name(raw), why),
            }
        }
    }
    for (jid, rows) in by_chat {
        let why = "no group that is taken has this chat";
        report.add(Kind::Message, Outcome::LeftOut, shown(jid), rows.len() as u64, why);
    }
}

fn name(raw: &RawMessage) -> String {
    format!("{} in {}", shown(&raw.id), shown(&raw.jid))
}

/// The time until which each chat was answered. Returns None if the record cannot be read.
fn cursors(tables: &Tables, report: &mut Report) -> Option<BTreeMap<String, serde_json::Value>> {
    let parsed = tables.last_agent_timestamp.as_deref().map(serde_json::from_str);
    let why = match parsed {
        Some(Ok(cursors)) => return Some(cursors),
        Some(Err(error)) => format!("it is not understood ({error})"),
        None => "it is not there".to_owned(),
    };
    if !tables.messages.is_empty() {
        let why = format!("{why}: all messages count as answered");
        report.add(Kind::Message, Outcome::Changed, "router_state.last_agent_timestamp", 1, why);
    }
    None
}

fn answered(
    cursors: Option<&BTreeMap<String, serde_json::Value>>,
    rows: &[(DateTime<Utc>, &RawMessage)],
    planned: &PlannedGroup,
    rules: &Rules<'_>,
    report: &mut Report,
) -> Answered {
    let Some(cursors) = cursors else { return Answered::Unknown };
    match cursors.get(planned.group.jid.as_str()) {
        Some(value) => match value.as_str().map(|text| (text.is_empty(), time(text))) {
            Some((true, _)) => Answered::Nothing,
            Some((_, Some(at))) => Answered::Through(at),
            _ => {
                let why = "how far the chat was answered cannot be read: all its messages count as answered";
                report.add(Kind::Message, Outcome::Changed, planned.group.jid.to_string(), 1, why);
                Answered::Unknown
            }
        },
        // The record was lost: the agent's last message was its answer.
        None => match rows.iter().rev().find(|(_, raw)| by_the_bot(raw, rules)) {
            Some((at, _)) => Answered::Through(*at),
            None => Answered::Nothing,
        },
    }
}

/// Returns true if the agent wrote the message. In versions without the column, its texts began with its name.
fn by_the_bot(raw: &RawMessage, rules: &Rules<'_>) -> bool {
    let named = || raw.text.strip_prefix(rules.assistant_name).is_some_and(|rest| rest.starts_with(':'));
    raw.from_bot.unwrap_or_else(named)
}

fn message(
    raw: &RawMessage,
    at: DateTime<Utc>,
    answered: Answered,
    group: &Group,
    rules: &Rules<'_>,
) -> Result<PlannedMessage, String> {
    let clean = |text: &str| text.replace('\0', "\u{fffd}");
    if raw.text.trim().is_empty() {
        return Err("it has no text".to_owned());
    }
    if raw.text.len() > MAX_TEXT {
        return Err(format!("it has {} bytes, {MAX_TEXT} are allowed", raw.text.len()));
    }
    if raw.id.is_empty() || raw.id.len() > MAX_NAME {
        return Err(format!("its id has {} bytes, 1 to {MAX_NAME} are allowed", raw.id.len()));
    }
    let sender = if raw.sender.is_empty() { "unknown" } else { &raw.sender };
    let sender_name = if raw.sender_name.is_empty() { sender } else { &raw.sender_name };
    let new = NewMessage {
        jid: group.jid.clone(),
        platform_id: clean(&raw.id),
        sender: cut(&clean(sender), MAX_NAME),
        sender_name: cut(&clean(sender_name), MAX_NAME),
        text: clean(&raw.text),
        attachments: Vec::new(),
        quoted: None,
        sent_at: at,
    };
    let is_open = match answered {
        Answered::Nothing => true,
        Answered::Through(time) => at > time,
        Answered::Unknown => false,
    };
    let (role, state) = if !is_open || by_the_bot(raw, rules) {
        (Role::Context, InboundState::Done)
    } else if raw.from_me {
        (Role::Context, InboundState::Pending)
    } else {
        match judge(group, &new, rules.senders, &Policy::plain(rules.assistant_name), at) {
            Verdict::Keep(role) => (role, InboundState::Pending),
            Verdict::Drop => return Err("its sender's words are to be left out, says sender-allowlist.json".to_owned()),
        }
    };
    Ok((new, role, state))
}
