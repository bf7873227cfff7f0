//! What of a NanoClaw installation becomes what here. Pure: from what was read there and what is here already.

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

/// What is here already.
#[derive(Debug, Default)]
pub struct Present {
    /// Registered groups.
    pub groups: Vec<Group>,
    /// Folders, in lower case, whose files were taken by an earlier import.
    pub files_taken: BTreeSet<String>,
    /// Tasks, by their ids.
    pub tasks: BTreeSet<String>,
}

/// What decides beside the two installations.
#[derive(Debug)]
pub struct Rules<'a> {
    /// Who may trigger.
    pub senders: &'a SenderRules,
    /// The assistant's name, there and here.
    pub assistant_name: &'a str,
    /// The zone of schedules.
    pub zone: Tz,
    /// The time.
    pub now: DateTime<Utc>,
}

/// A message and what it has come to.
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

/// A folder's files: its name there and here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    pub from: String,
    pub to: String,
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    pub groups: Vec<PlannedGroup>,
    pub chats: Vec<(ChatJid, String, DateTime<Utc>)>,
    /// Below `groups/`.
    pub workspaces: Vec<Tree>,
    /// Below `data/sessions/`.
    pub agents: Vec<Tree>,
}

/// Plans the import. What is left out or changed goes to the report; what is taken is reported by who takes it.
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

/// Chats that no channel serves are kept; who only has those needs another one to talk in.
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

/// Groups that are taken, and the folders of those that are not, in lower case.
struct Sorted {
    taken: Vec<PlannedGroup>,
    refused: BTreeSet<String>,
}

/// Returns true if two names are one folder.
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

/// Chats that were seen; NanoClaw noted the time of its last sync as one, too.
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

/// A time as NanoClaw wrote it: ISO 8601, in UTC where no zone is said.
pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.with_timezone(&Utc));
    }
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
    formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()).map(|time| time.and_utc())
}

/// Returns what is shown of values that may be anything.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}
