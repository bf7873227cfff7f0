//! Decides what is imported, from the data of NanoClaw and the data here. Pure.

mod groups;
mod messages;
mod tasks;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDateTime, Utc};
use chrono_tz::Tz;

use super::report::{Kind, Outcome, Report};
use super::source::{Folders, Tables};
use crate::domain::group::Group;
use crate::domain::ids::ChatJid;
use crate::domain::message::{InboundState, NewMessage, Role};
use crate::domain::task::{Fire, Task};
use crate::policy::senders::SenderRules;

/// The data of the home.
#[derive(Debug, Default)]
pub struct Present {
    /// Registered groups.
    pub groups: Vec<Group>,
    /// Folders, in lower case, whose files an earlier import copied completely.
    pub files_taken: BTreeSet<String>,
    /// The ids of tasks.
    pub tasks: BTreeSet<String>,
}

/// Further inputs of the decision.
#[derive(Debug)]
pub struct Rules<'a> {
    /// The sender rules.
    pub senders: &'a SenderRules,
    /// The assistant's name, in NanoClaw and here.
    pub assistant_name: &'a str,
    /// The time zone of schedules.
    pub zone: Tz,
    /// The present time.
    pub now: DateTime<Utc>,
}

/// A message with its role and its state after the import.
pub type PlannedMessage = (NewMessage, Role, InboundState);

/// A group with everything that belongs to it.
#[derive(Debug)]
pub struct PlannedGroup {
    pub group: Group,
    /// True if it is registered already.
    pub is_here: bool,
    pub session: Option<String>,
    pub tasks: Vec<Task>,
    pub fires: Vec<Fire>,
    pub messages: Vec<PlannedMessage>,
}

/// A folder to copy: its name in the source and here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    pub from: String,
    pub to: String,
}

/// The decisions of an import.
#[derive(Debug, Default)]
pub struct Plan {
    pub groups: Vec<PlannedGroup>,
    pub chats: Vec<(ChatJid, String, DateTime<Utc>)>,
    /// Folders below `groups/`.
    pub workspaces: Vec<Tree>,
    /// Folders below `data/sessions/`.
    pub agents: Vec<Tree>,
}

/// Plans the import. Everything left out or changed is reported here; the code that imports an item reports its
/// success.
pub fn plan(tables: &Tables, folders: &Folders, present: &Present, rules: &Rules<'_>, report: &mut Report) -> Plan {
    let mut sorted = groups::sort(tables, present, rules, report);
    for planned in &mut sorted.taken {
        planned.session = session_of(tables, planned, report);
    }
    for (folder, _) in &tables.sessions {
        if !sorted.taken.iter().any(|planned| same(planned.group.folder.as_str(), folder)) {
            report.leave(Kind::Session, folder, "its group is not taken");
        }
    }
    tasks::plan(tables, &mut sorted.taken, present, rules, report);
    messages::plan(tables, &mut sorted.taken, rules, report);
    let mut trees = |names: &[String], below: &str| trees(names, below, &sorted, present, report);
    let workspaces = trees(&folders.groups, "groups");
    let agents = trees(&folders.sessions, "data/sessions");
    let chats = chats(tables);
    advise_channels(&sorted.taken, report);
    Plan { groups: sorted.taken, chats, workspaces, agents }
}

/// Advises about groups whose chats have no channel: they are kept, and if main is one, another group is needed to
/// talk in.
fn advise_channels(taken: &[PlannedGroup], report: &mut Report) {
    let served = |group: &Group| matches!(group.jid.channel(), "tty" | "web");
    let unserved: Vec<&Group> = taken.iter().map(|planned| &planned.group).filter(|group| !served(group)).collect();
    if unserved.is_empty() {
        return;
    }
    let names: Vec<&str> = unserved.iter().take(10).map(|group| group.folder.as_str()).collect();
    let more = if unserved.len() > names.len() { " and others" } else { "" };
    let names = names.join(", ");
    report.advise(format!(
        "{names}{more}: chats of platforms that Parlor has no channel for yet; the groups, their files and their tasks are \
         kept, and what their agents write is kept in the outbox (`parlor outbox list`)"
    ));
    if unserved.iter().any(|group| group.is_main) {
        report.advise(
            "main is such a chat: to talk to an agent from this terminal, `parlor groups add tty:me me --requires-trigger \
             false`, then `parlor chat me`",
        );
    }
}

/// The groups to import, and the folders of refused ones in lower case.
struct Sorted {
    taken: Vec<PlannedGroup>,
    refused: BTreeSet<String>,
}

/// Returns true if two names mean the same folder.
fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

fn session_of(tables: &Tables, planned: &PlannedGroup, report: &mut Report) -> Option<String> {
    let folder = planned.group.folder.as_str();
    let (_, session) = tables.sessions.iter().find(|(of, _)| same(of, folder))?;
    let fine = (1..=256).contains(&session.len()) && !session.chars().any(|c| c.is_control() || c.is_whitespace());
    if !fine {
        report.leave(Kind::Session, folder, "its id is not one word of at most 256 characters");
    }
    fine.then(|| session.clone())
}

fn trees(names: &[String], below: &str, sorted: &Sorted, present: &Present, report: &mut Report) -> Vec<Tree> {
    let mut trees: Vec<Tree> = Vec::new();
    for name in names {
        let shown = format!("{below}/{name}");
        let lower = name.to_ascii_lowercase();
        let planned = sorted.taken.iter().find(|planned| same(planned.group.folder.as_str(), name));
        let refusal = if trees.iter().any(|tree| same(&tree.from, name)) {
            Some("another folder has the same name but for upper and lower case".to_owned())
        } else if name == "global" {
            (below != "groups").then(|| "it is no group's".to_owned())
        } else if planned.is_none() && sorted.refused.contains(&lower) {
            Some("its group is not taken".to_owned())
        } else if let (None, Some(user)) = (planned, present.groups.iter().find(|g| same(g.folder.as_str(), name))) {
            Some(format!("the folder is used by the chat {} here", user.jid))
        } else {
            name.parse::<crate::domain::ids::GroupFolder>().err().map(|error| error.to_string())
        };
        if let Some(why) = refusal {
            report.leave(Kind::File, shown, why);
        } else if present.files_taken.contains(&format!("{below}/{lower}")) {
            report.add(Kind::File, Outcome::Present, shown, 1, "taken by an earlier import");
        } else {
            let to = planned.map_or(name.as_str(), |planned| planned.group.folder.as_str()).to_owned();
            trees.push(Tree { from: name.clone(), to });
        }
    }
    trees
}

/// Chats with their last activity. NanoClaw also recorded its last sync as a chat; that row is dropped.
fn chats(tables: &Tables) -> Vec<(ChatJid, String, DateTime<Utc>)> {
    let mut chats = BTreeMap::new();
    for (jid, name, last) in &tables.chats {
        let Ok(jid) = jid.parse::<ChatJid>() else { continue };
        if jid.as_str().starts_with("__") {
            continue;
        }
        let name = groups::one_line(name).unwrap_or_else(|| jid.to_string());
        chats.insert(jid, (name, time(last).unwrap_or_default()));
    }
    chats.into_iter().map(|(jid, (name, last))| (jid, name, last)).collect()
}

/// Parses a time of NanoClaw: ISO 8601, in UTC by default.
pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.with_timezone(&Utc));
    }
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
    formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()).map(|time| time.and_utc())
}

/// Cuts a value of unknown content for display.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}
