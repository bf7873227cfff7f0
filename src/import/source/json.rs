//! Reads `data/{registered_groups,sessions,router_state}.json`, in which the oldest versions kept the content of
//! later tables. It only fills gaps of the tables.

use serde_json::{Map, Value};

use super::{RawGroup, Tables, text};
use crate::import::report::{Kind, Report};
use crate::safe_dir::SafeDir;

/// Adds the content of the files. Returns true if there was one.
pub(super) fn merge(data: &SafeDir, tables: &mut Tables, report: &mut Report) -> bool {
    let groups = object(data, "registered_groups.json", Kind::Group, report);
    let sessions = object(data, "sessions.json", Kind::Session, report);
    let state = object(data, "router_state.json", Kind::Message, report);
    let any = groups.is_some() || sessions.is_some() || state.is_some();
    for (jid, group) in groups.unwrap_or_default() {
        if !tables.groups.iter().any(|known| known.jid == jid) {
            tables.groups.push(raw_group(jid, &group));
        }
    }
    for (folder, session) in sessions.unwrap_or_default() {
        if !tables.sessions.iter().any(|(known, _)| *known == folder) {
            let session = session.as_str().unwrap_or_default().to_owned();
            tables.sessions.push((folder, session));
        }
    }
    if tables.last_agent_timestamp.is_none() {
        tables.last_agent_timestamp = state.and_then(|state| state.get("last_agent_timestamp").map(Value::to_string));
    }
    any
}

fn object(data: &SafeDir, name: &str, kind: Kind, report: &mut Report) -> Option<Map<String, Value>> {
    let parsed = match text(data, name) {
        Ok(None) => return None,
        Ok(Some(text)) => serde_json::from_str(&text).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match parsed {
        Ok(map) => Some(map),
        Err(why) => {
            report.leave(kind, format!("data/{name}"), format!("it is not understood: {why}"));
            // The file exists, although it cannot be used.
            Some(Map::new())
        }
    }
}

fn raw_group(jid: String, group: &Value) -> RawGroup {
    let text = |key: &str| group[key].as_str().map(str::to_owned);
    RawGroup {
        jid,
        name: text("name").unwrap_or_default(),
        folder: text("folder").unwrap_or_default(),
        trigger: text("trigger"),
        added_at: text("added_at"),
        container_config: group.get("containerConfig").filter(|value| !value.is_null()).map(Value::to_string),
        requires_trigger: group["requiresTrigger"].as_bool(),
        is_main: group["isMain"].as_bool(),
    }
}
