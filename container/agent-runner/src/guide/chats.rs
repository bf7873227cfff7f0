//! Lists the chats that the host knows, and registers new groups for them.

use parlor_protocol::requests::RegisterGroup;
use parlor_protocol::{GroupSnapshot, TaskFile};

use super::lang::Lang;
use super::task_texts::refused;
use crate::host;
use crate::provider::Room;

/// Lists the chats that the host knows.
pub fn list(room: &Room) -> String {
    let groups = match host::groups(&room.folders) {
        Ok(snapshot) => snapshot.groups,
        Err(reason) => return format!("I cannot see the chats: {reason}"),
    };
    if groups.is_empty() {
        return if room.input.is_main {
            "No other chat has been seen yet.".to_owned()
        } else {
            "Only the main group sees the list of chats.".to_owned()
        };
    }
    let line = |group: &GroupSnapshot| {
        let state = if group.is_registered { "registered" } else { "available" };
        format!("- {} ({}), {state}", group.jid, group.name)
    };
    let lines: Vec<String> = groups.iter().map(line).collect();
    format!("{}\n\n“register JID as FOLDER” makes a chat a group with an agent of its own.", lines.join("\n"))
}

/// Registers a chat as a group.
pub fn register(room: &Room, jid: &str, folder: &str) -> String {
    let known = host::groups(&room.folders).unwrap_or_default();
    let name = known.groups.into_iter().find(|group| group.jid == jid).map(|group| group.name);
    let trigger = format!("@{}", room.input.assistant_name.as_deref().unwrap_or("Andy"));
    let group = TaskFile::RegisterGroup(RegisterGroup {
        jid: jid.to_owned(),
        name: name.filter(|name| !name.is_empty()).unwrap_or_else(|| folder.to_owned()),
        folder: folder.to_owned(),
        trigger: trigger.clone(),
        requires_trigger: None,
        container_config: None,
    });
    match host::ask(&room.folders, "tasks", &group) {
        Ok(_) => format!("Done: {jid} is a group now, with the folder {folder}. In it, write {trigger} to begin."),
        Err(refusal) => refused(Lang::En, &refusal),
    }
}
