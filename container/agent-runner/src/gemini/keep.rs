//! Repairs the CLI's session files (0.61) before a session is resumed: the CLI would lose or garble them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use parlor_protocol::files::write_atomically;
use serde_json::{Map, Value, json};

/// Prepares a session's file for being resumed.
///
/// It gives the file a name that the CLI never uses. The CLI begins a new file whenever it opens or resumes a session,
/// and names it by the minute; within the minute of the first file that is the same name, and everything is lost.
pub fn ready(home: &Path, id: &str) {
    let Some(short) = id.get(..8).filter(|short| short.bytes().all(|byte| byte.is_ascii_hexdigit())) else { return };
    let tail = format!("-{short}.jsonl");
    let projects = fs::read_dir(home.join(".gemini/tmp")).into_iter().flatten().flatten();
    for chats in projects.map(|project| project.path().join("chats")) {
        let entries = fs::read_dir(&chats).into_iter().flatten().flatten();
        let files: Vec<PathBuf> = entries
            .filter(|entry| {
                let name = entry.file_name();
                name.to_str().is_some_and(|name| name.starts_with("session-") && name.ends_with(&tail))
            })
            .map(|entry| entry.path())
            .collect();
        let name = format!("session-kept{tail}");
        let kept = chats.join(&name);
        let outcome = if files.contains(&kept) {
            // The other files are left from resuming it: a beginning without a conversation.
            files.iter().filter(|file| **file != kept).try_for_each(fs::remove_file)
        } else if let [only] = files.as_slice() {
            fs::rename(only, &kept)
        } else {
            continue;
        };
        let outcome = outcome.and_then(|()| match mended(&fs::read_to_string(&kept)?) {
            Some(text) => write_atomically(&chats, &name, text.as_bytes()),
            None => Ok(()),
        });
        if let Err(error) = outcome {
            eprintln!("{}: {error}", chats.display());
        }
    }
}

/// Returns the session file's text with each tool call in its place; None if there is nothing to repair.
///
/// The CLI writes a call twice: with its result in the model's message, and the result again as the user's. When it is
/// loaded, there are more results than calls, which the vendor refuses.
fn mended(text: &str) -> Option<String> {
    let (head, messages) = fold(text);
    let mut calls = HashMap::new();
    for call in messages.iter().filter_map(|message| message["toolCalls"].as_array()).flatten() {
        let asked = json!({ "functionCall": { "id": call["id"], "name": call["name"], "args": call["args"] } });
        calls.insert(call["id"].as_str()?.to_owned(), asked);
    }
    if calls.is_empty() || !head.contains_key("sessionId") {
        return None;
    }
    let mut out: Vec<Value> = Vec::new();
    let mut rest = messages.into_iter().peekable();
    while let Some(mut message) = rest.next() {
        if message["type"] == "gemini" {
            if let Some(fields) = message.as_object_mut() {
                fields.remove("toolCalls");
            }
            let answered = rest.peek().is_some_and(|next| !results(next).is_empty());
            if let Some(parts) = message["content"].as_array_mut().filter(|_| !answered) {
                parts.retain(|part| part["functionCall"].is_null());
            }
            let empty = match &message["content"] {
                Value::String(text) => text.trim().is_empty(),
                Value::Array(parts) => parts.is_empty(),
                _ => true,
            };
            if !empty {
                out.push(message);
            }
            continue;
        }
        let ids = results(&message);
        let asked = out.last().and_then(|last| last["content"].as_array());
        let there = asked.is_some_and(|parts| parts.iter().any(|part| part["functionCall"].is_object()));
        if !ids.is_empty() && !there {
            let missing: Vec<Value> = ids.iter().filter_map(|id| calls.get(id).cloned()).collect();
            if missing.len() < ids.len() {
                continue;
            }
            let id = format!("{}-calls", message["id"].as_str().unwrap_or_default());
            out.push(json!({ "id": id, "timestamp": message["timestamp"], "type": "gemini", "content": missing }));
        }
        out.push(message);
    }
    let lines = std::iter::once(Value::Object(head)).chain(out).map(|line| format!("{line}\n"));
    Some(lines.collect())
}

/// Returns the ids of the calls whose results a message holds.
fn results(message: &Value) -> Vec<String> {
    let parts = message["content"].as_array().filter(|_| message["type"] == "user").map_or(&[][..], Vec::as_slice);
    parts.iter().filter_map(|part| part["functionResponse"]["id"].as_str().map(str::to_owned)).collect()
}

/// Reads the file as the CLI does: returns the session's fields and its messages, of which the last with an id counts.
fn fold(text: &str) -> (Map<String, Value>, Vec<Value>) {
    let (mut head, mut messages) = (Map::new(), Vec::new());
    for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if let Some(id) = line["$rewindTo"].as_str() {
            let at = messages.iter().position(|message: &Value| message["id"] == id).unwrap_or(0);
            messages.truncate(at);
        } else if line["id"].is_string() {
            put(&mut messages, line);
        } else if let Value::Object(mut fields) = line {
            if let Some(Value::Object(set)) = fields.remove("$set") {
                fields = set;
                if fields.contains_key("messages") {
                    messages.clear();
                }
            }
            if let Some(Value::Array(list)) = fields.remove("messages") {
                list.into_iter().filter(|message| message["id"].is_string()).for_each(|one| put(&mut messages, one));
            }
            head.extend(fields);
        }
    }
    (head, messages)
}

fn put(messages: &mut Vec<Value>, message: Value) {
    match messages.iter_mut().find(|one| one["id"] == message["id"]) {
        Some(one) => *one = message,
        None => messages.push(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_file_gets_a_name_that_the_cli_never_uses() {
        let home = tempfile::tempdir().unwrap();
        let chats = home.path().join(".gemini/tmp/group/chats");
        fs::create_dir_all(&chats).unwrap();
        let id = "2b45e71c-1523-4c8a-ab5c-ced695efbea7";
        let put = |name: &str, text: &str| fs::write(chats.join(name), text).unwrap();
        put("session-2026-11-21T13-59-2b45e71c.jsonl", "said");
        put("session-2026-11-21T13-59-11111111.jsonl", "another");
        ready(home.path(), id);
        put("session-2026-11-21T13-59-2b45e71c.jsonl", "a beginning");
        ready(home.path(), id);
        let mut names: Vec<String> =
            fs::read_dir(&chats).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["session-2026-11-21T13-59-11111111.jsonl", "session-kept-2b45e71c.jsonl"]);
        assert_eq!(fs::read_to_string(chats.join("session-kept-2b45e71c.jsonl")).unwrap(), "said");
        ready(home.path(), "../../x");
        assert_eq!(fs::read_dir(&chats).unwrap().count(), 2);
    }

    fn lines(list: &[Value]) -> String {
        list.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n"
    }

    fn said(kind: &str, id: &str, content: &Value) -> Value {
        json!({ "id": id, "type": kind, "content": content })
    }

    fn result(id: &str) -> Value {
        json!([{ "functionResponse": { "id": id, "name": "t", "response": {} } }])
    }

    #[test]
    fn repaired_file_has_each_call_once_before_its_result() {
        let call = |id: &str| json!({ "id": id, "name": "t", "args": { "n": id }, "result": result(id) });
        let mut both = said("gemini", "g1", &json!(""));
        both["toolCalls"] = json!([call("a"), call("b")]);
        let text = lines(&[
            json!({ "sessionId": "s", "projectHash": "p", "kind": "main" }),
            said("user", "u0", &json!("taken back")),
            json!({ "$set": { "messages": [said("user", "u1", &json!("do it"))] } }),
            said("gemini", "g0", &json!("")),
            both,
            said("user", "u2", &result("a")),
            said("gemini", "g2", &json!("first is done")),
            json!({ "$set": { "lastUpdated": "later" } }),
            said("user", "u3", &result("b")),
            said("gemini", "g3", &json!([{ "text": "I stop" }, { "functionCall": { "id": "c" } }])),
            said("user", "u4", &json!("and?")),
        ]) + "{ half a li";
        let mended = mended(&text).unwrap();
        let after: Vec<Value> = mended.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ids: Vec<&str> = after.iter().filter_map(|line| line["id"].as_str()).collect();
        assert_eq!(ids, ["u1", "u2-calls", "u2", "g2", "u3-calls", "u3", "g3", "u4"]);
        assert_eq!(after[0], json!({ "sessionId": "s", "projectHash": "p", "kind": "main", "lastUpdated": "later" }));
        assert_eq!(after[2]["content"][0]["functionCall"]["args"]["n"], "a");
        assert_eq!(after[7]["content"], json!([{ "text": "I stop" }]));
        assert_eq!(super::mended(&mended), None, "what is mended stays so");
    }

    #[test]
    fn rewound_messages_are_dropped_and_plain_text_is_unchanged() {
        let talk = [said("user", "u1", &json!("a")), said("user", "u2", &json!("b")), json!({ "$rewindTo": "u2" })];
        assert_eq!(fold(&lines(&talk)).1, [said("user", "u1", &json!("a"))]);
        assert_eq!(mended(&lines(&talk)), None);
        assert_eq!(mended("no JSON at all"), None);
    }
}
