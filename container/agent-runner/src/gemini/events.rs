//! Parses a line of the CLI's stdout (JSON-RPC 2.0, Agent Client Protocol), as far as a run needs it. Pure; ignores
//! unknown methods and keys.

use parlor_protocol::json;
use serde::Deserialize;
use serde_json::Value;

use crate::live::said;

/// The CLI announces a changed mode with this text, in the place of an answer.
const MODE_UPDATE: &str = "[MODE_UPDATE]";

/// An event that the CLI reports.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A request of ours succeeded.
    Answer {
        /// The request's id.
        id: u64,
        /// The returned value.
        result: Value,
    },
    /// A request of ours failed.
    Refused {
        /// The request's id.
        id: u64,
        /// The reason.
        fault: Fault,
    },
    /// A piece of the model's answer.
    Said(String),
    /// The model calls a tool: its text so far is not its last word.
    Tool {
        /// True if the tool sends something to the chat.
        speaks: bool,
    },
    /// The events before this one belong to an earlier conversation, which the CLI loaded.
    Past,
    /// The CLI asks us for something, and waits for the answer.
    Asked {
        /// The request's id, in the CLI's form.
        id: Value,
        /// The method that names the question.
        method: String,
        /// The method's parameters.
        params: Value,
    },
    /// A line that is not JSON.
    Text(String),
    /// Anything else.
    Other,
}

/// The error of a failed request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fault {
    /// A status of HTTP, or a code of JSON-RPC; 0 when it is not known.
    pub code: i64,
    /// The error in words.
    pub message: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Line {
    id: Value,
    method: Option<String>,
    params: Value,
    result: Option<Value>,
    error: Value,
}

/// Parses a line.
pub fn parse(line: &str) -> Event {
    let Ok(head) = json::from_str::<Line>(line) else {
        return if line.trim_start().starts_with('{') { Event::Other } else { Event::Text(line.trim().to_owned()) };
    };
    match (head.method, head.id.as_u64()) {
        (Some(method), _) if !head.id.is_null() => Event::Asked { id: head.id, method, params: head.params },
        (Some(method), _) if method == "session/update" => update(&head.params["update"]),
        (None, Some(id)) if !head.error.is_null() => Event::Refused { id, fault: fault(&head.error) },
        (None, Some(id)) => Event::Answer { id, result: head.result.unwrap_or_default() },
        (Some(_), _) | (None, None) => Event::Other,
    }
}

fn update(update: &Value) -> Event {
    match update["sessionUpdate"].as_str().unwrap_or_default() {
        "agent_message_chunk" => match update["content"]["text"].as_str() {
            Some(text) if !text.starts_with(MODE_UPDATE) => Event::Said(text.to_owned()),
            _ => Event::Other,
        },
        "tool_call" => Event::Tool { speaks: speaks(update) },
        // The CLI repeats a conversation that it loads; the list of commands follows at the end.
        "user_message_chunk" | "available_commands_update" => Event::Past,
        _ => Event::Other,
    }
}

/// Returns true if the tool sends something to the chat. Its name precedes the server's in the title, or the time in
/// the call's id. The title of a shell's call is its command.
fn speaks(call: &Value) -> bool {
    let title = call["title"].as_str().unwrap_or_default();
    match call["kind"].as_str() {
        Some("execute") => said::command_speaks(title),
        Some("read" | "edit" | "delete" | "move" | "search" | "fetch" | "think") => false,
        _ => {
            let name = call["toolCallId"].as_str().and_then(|id| id.split('-').next());
            let titled = title
                .split_once(" (")
                .is_some_and(|(name, server)| said::speaks(name) && server.split(' ').next() == Some(said::SERVER));
            titled || said::speaks(title) || name.is_some_and(said::speaks)
        }
    }
}

/// Parses an error. The vendor's own error is JSON inside the message; the CLI's own is in the details.
fn fault(error: &Value) -> Fault {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let message = text(&error["message"]).unwrap_or_default();
    let code = error["code"].as_i64().unwrap_or(0);
    let inner: Value = serde_json::from_str(&message).unwrap_or_default();
    let inner = if inner.is_array() { &inner[0]["error"] } else { &inner["error"] };
    if let Some(said) = text(&inner["message"]) {
        return Fault { code: inner["code"].as_i64().unwrap_or(code), message: said };
    }
    // The CLI gives 500 to every error without a status.
    let code = if code == 500 { 0 } else { code };
    match text(&error["data"]["details"]) {
        Some(details) => Fault { code, message: details },
        None => Fault { code, message },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn updated(kind: &str, text: &str) -> Event {
        let update = json!({ "sessionUpdate": kind, "content": { "type": "text", "text": text } });
        parse(&json!({"jsonrpc": "2.0", "method": "session/update", "params": {"update": update}}).to_string())
    }

    #[test]
    fn known_lines_are_parsed_and_unknown_ones_ignored() {
        assert_eq!(updated("agent_message_chunk", "hi"), Event::Said("hi".into()));
        assert_eq!(updated("agent_message_chunk", "[MODE_UPDATE] yolo"), Event::Other);
        assert_eq!(updated("agent_thought_chunk", "hm"), Event::Other);
        assert_eq!(updated("tool_call", ""), Event::Tool { speaks: false });
        for (call, speaks) in [
            (json!({"title": "send_message (parlor MCP Server)", "kind": "other"}), true),
            (json!({"title": "send_message (chat MCP Server)"}), false),
            (json!({"title": "{\"text\":\"hi\"}", "toolCallId": "send_message-17", "kind": "other"}), true),
            (json!({"title": "notes.md: a => send_message", "kind": "edit"}), false),
            (json!({"title": "recall (parlor MCP Server)", "content": [{"text": "send_message"}]}), false),
            (json!({"title": "parlor-tool send hi [in x]", "kind": "execute"}), true),
            (json!({"title": "grep send_message x", "toolCallId": "run_shell_command-1", "kind": "execute"}), false),
        ] {
            let mut update = call.clone();
            update["sessionUpdate"] = "tool_call".into();
            let line = json!({"method": "session/update", "params": {"update": update}});
            assert_eq!(parse(&line.to_string()), Event::Tool { speaks }, "{call}");
        }
        assert_eq!(updated("tool_call_update", ""), Event::Other);
        assert_eq!(updated("user_message_chunk", "before"), Event::Past);
        assert_eq!(updated("available_commands_update", ""), Event::Past);
        let answer = r#"{"jsonrpc":"2.0","id":3,"result":{"stopReason":"end_turn"}}"#;
        assert_eq!(parse(answer), Event::Answer { id: 3, result: json!({"stopReason": "end_turn"}) });
        let asked = r#"{"id":"x","method":"fs/read_text_file","params":{"path":"/a"}}"#;
        let params = json!({"path": "/a"});
        assert_eq!(parse(asked), Event::Asked { id: json!("x"), method: "fs/read_text_file".into(), params });
        assert_eq!(parse("Loaded cached credentials."), Event::Text("Loaded cached credentials.".into()));
        assert_eq!(parse(r#"{"method":"news"}"#), Event::Other);
        assert_eq!(parse(r#"{"id":-1}"#), Event::Other);
        assert_eq!(parse(r#"{"method":5}"#), Event::Other);
    }

    #[test]
    fn fault_is_found_in_the_message_or_the_details() {
        let fault = |error: Value| match parse(&json!({"id": 1, "error": error}).to_string()) {
            Event::Refused { id: 1, fault } => (fault.code, fault.message),
            other => panic!("{other:?}"),
        };
        let vendor = json!({"error": {"code": 403, "message": "No.", "status": "PERMISSION_DENIED"}}).to_string();
        assert_eq!(fault(json!({"code": 500, "message": vendor})), (403, "No.".into()));
        assert_eq!(fault(json!({"code": 503, "message": "overloaded"})), (503, "overloaded".into()));
        let inside = json!({"code": -32603, "message": "Internal error", "data": {"details": "Invalid session"}});
        assert_eq!(fault(inside), (-32603, "Invalid session".into()));
        assert_eq!(fault(json!({"code": 500, "message": "fetch failed"})), (0, "fetch failed".into()));
        let vendor = json!({"error": {"code": 500, "message": "Internal."}}).to_string();
        assert_eq!(fault(json!({"code": 500, "message": vendor})), (500, "Internal.".into()));
        assert_eq!(fault(json!("odd")), (0, String::new()));
    }
}
