//! Decides which groups are imported, and with which settings.

use serde_json::{Value, json};
use std::collections::BTreeSet;

use super::{PlannedGroup, Present, Rules, Sorted, same, shown, time};
use crate::domain::group::{ContainerConfig, Group};
use crate::domain::ids::{ChatJid, GroupFolder};
use crate::import::report::{Kind, Outcome, Report};
use crate::import::source::{RawGroup, Tables};
use crate::ops::groups::{GroupFields, NewGroup, agent_config};

/// The largest number of characters of a group's name.
const MAX_NAME: usize = 256;
/// The folder of the owner's group in versions without the column `is_main`.
const OLD_MAIN: &str = "main";

pub(super) fn sort(tables: &Tables, present: &Present, rules: &Rules<'_>, report: &mut Report) -> Sorted {
    let mut sorted = Sorted { taken: Vec::new(), refused: BTreeSet::new() };
    for raw in &tables.groups {
        let name = format!("{} ({})", shown(&raw.folder), shown(&raw.jid));
        match place(raw, present, &sorted.taken).and_then(|place| group(raw, place, &name, rules, report)) {
            Ok((mut group, is_here)) => {
                if !is_here && group.is_main {
                    keep_one_main(&mut group, present, &sorted.taken, &name, report);
                }
                sorted.taken.push(PlannedGroup {
                    group,
                    is_here,
                    session: None,
                    tasks: Vec::new(),
                    fires: Vec::new(),
                    messages: Vec::new(),
                });
            }
            Err(why) => {
                report.leave(Kind::Group, name, why);
                // The folder may belong to another row, which keeps it.
                if !sorted.taken.iter().any(|planned| same(planned.group.folder.as_str(), &raw.folder)) {
                    sorted.refused.insert(raw.folder.to_ascii_lowercase());
                }
            }
        }
    }
    sorted
}

enum Place {
    New(ChatJid, GroupFolder),
    Here(Box<Group>),
}

/// Returns whether chat and folder are free here or belong to this same group; an error is the reason why not.
fn place(raw: &RawGroup, present: &Present, taken: &[PlannedGroup]) -> Result<Place, String> {
    let jid: ChatJid = raw.jid.parse().map_err(|error: crate::domain::ids::IdError| error.to_string())?;
    let folder: GroupFolder = raw.folder.parse().map_err(|error: crate::domain::ids::IdError| error.to_string())?;
    let (chat_is, folder_is) = {
        let find = |fits: &dyn Fn(&Group) -> bool| {
            present.groups.iter().chain(taken.iter().map(|planned| &planned.group)).find(|group| fits(group))
        };
        (find(&|g| g.jid == jid), find(&|g| same(g.folder.as_str(), folder.as_str())))
    };
    if taken.iter().any(|planned| planned.group.jid == jid || same(planned.group.folder.as_str(), folder.as_str())) {
        return Err("an earlier row has this chat or this folder".to_owned());
    }
    match (chat_is, folder_is) {
        (None, None) => Ok(Place::New(jid, folder)),
        (Some(chat), Some(folder)) if chat.folder == folder.folder => Ok(Place::Here(Box::new(chat.clone()))),
        (Some(chat), _) => Err(format!(
            "the chat is registered with the folder {} here: `parlor groups remove {}` frees it",
            chat.folder, chat.folder
        )),
        (None, Some(other)) => Err(format!(
            "the folder is used by the chat {} here: import into a home of its own (--home), or free the folder first",
            other.jid
        )),
    }
}

fn group(
    raw: &RawGroup,
    place: Place,
    name: &str,
    rules: &Rules<'_>,
    report: &mut Report,
) -> Result<(Group, bool), String> {
    let (jid, folder) = match place {
        Place::Here(group) => return Ok((*group, true)),
        Place::New(jid, folder) => (jid, folder),
    };
    let config = container_config(raw.container_config.as_deref(), name, report);
    let is_main = raw.is_main.unwrap_or(raw.folder == OLD_MAIN);
    let title = one_line(&raw.name).unwrap_or_else(|| raw.folder.clone());
    let fields = GroupFields {
        jid: &raw.jid,
        name: &title,
        folder: &raw.folder,
        trigger: raw.trigger.as_deref(),
        // The owner's group answers every message, in NanoClaw and in Parlor.
        requires_trigger: Some(!is_main && raw.requires_trigger.unwrap_or(true)),
    };
    let new = NewGroup::parse(&fields, config.clone()).or_else(|why| {
        let without = NewGroup::parse(&GroupFields { trigger: None, ..fields }, config).map_err(|e| e.0)?;
        report.add(Kind::Group, Outcome::Changed, name, 1, format!("it has the default trigger: {}", why.0));
        Ok::<_, String>(without)
    })?;
    let created_at = raw.added_at.as_deref().and_then(time).unwrap_or_else(|| {
        report.add(Kind::Group, Outcome::Changed, name, 1, "when it was registered is not known: taken as now");
        rules.now
    });
    let blank = Group {
        folder,
        jid,
        name: String::new(),
        trigger: None,
        requires_trigger: true,
        is_main,
        container_config: ContainerConfig::default(),
        created_at,
        paused: None,
    };
    Ok((new.apply_to(blank), false))
}

/// Ensures that only one group is the owner's.
fn keep_one_main(group: &mut Group, present: &Present, taken: &[PlannedGroup], name: &str, report: &mut Report) {
    let before = present.groups.iter().chain(taken.iter().map(|planned| &planned.group)).find(|g| g.is_main);
    if let Some(main) = before {
        group.is_main = false;
        let folder = &group.folder;
        let why = format!("{} is main: `parlor groups set-main {folder}` makes this one main", main.folder);
        report.add(Kind::Group, Outcome::Changed, name, 1, why);
    }
}

/// Converts mounts and timeout; a value that is not understood is left out alone.
fn container_config(text: Option<&str>, name: &str, report: &mut Report) -> ContainerConfig {
    let mut config = ContainerConfig::default();
    let mut odd = |why: String| report.add(Kind::Group, Outcome::Changed, name, 1, why);
    let text = text.unwrap_or_default().trim();
    if text.is_empty() {
        return config;
    }
    let Ok(Value::Object(asked)) = serde_json::from_str::<Value>(text) else {
        if text != "null" {
            odd("its container settings are not understood: it has the default ones".to_owned());
        }
        return config;
    };
    for (key, value) in &asked {
        if let ("additionalMounts", Some(mounts)) = (key.as_str(), value.as_array()) {
            for mount in mounts {
                match agent_config(Some(&json!({ "additionalMounts": [mount] }))) {
                    Ok(found) => config.additional_mounts.extend(found.additional_mounts),
                    Err(why) => odd(format!("a mount is left out: {}", why.0)),
                }
            }
            continue;
        }
        match (key.as_str(), agent_config(Some(&json!({ key.as_str(): value })))) {
            ("additionalMounts", Ok(_)) => {}
            ("timeout", Ok(found)) => config.timeout = found.timeout,
            (_, Ok(_)) => odd(format!("its container setting {:?} is left out: it is not known", shown(key))),
            (_, Err(why)) => odd(format!("a container setting is left out: {}", why.0)),
        }
    }
    config
}

/// Replaces control characters by spaces and cuts the name. Returns None if nothing is left.
pub(super) fn one_line(text: &str) -> Option<String> {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_NAME).collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}
