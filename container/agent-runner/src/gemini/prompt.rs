//! The CLI's input: lines of JSON-RPC, and messages as content blocks.

use serde_json::{Value, json};

/// A request.
pub fn request(id: u64, method: &str, params: &Value) -> String {
    format!("{}\n", json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
}

/// Answers a request of the CLI: permission for everything, because the room is the sandbox, and else an error.
pub fn reply(id: &Value, method: &str, params: &Value) -> String {
    let line = if method == "session/request_permission" {
        let options = params["options"].as_array().map_or(&[][..], Vec::as_slice);
        let allows = |option: &&Value| option["kind"].as_str().is_some_and(|kind| kind.starts_with("allow"));
        let outcome = match options.iter().find(allows) {
            Some(option) => json!({ "outcome": "selected", "optionId": option["optionId"] }),
            None => json!({ "outcome": "cancelled" }),
        };
        json!({ "jsonrpc": "2.0", "id": id, "result": { "outcome": outcome } })
    } else {
        let error = json!({ "code": -32601, "message": format!("{method} is not offered here") });
        json!({ "jsonrpc": "2.0", "id": id, "error": error })
    };
    format!("{line}\n")
}

/// A text as a block of content.
pub fn text(text: &str) -> Value {
    // Such a beginning would make it a command of the CLI.
    let mark = if text.trim_start().starts_with(['/', '$']) { "The message is:\n" } else { "" };
    json!({ "type": "text", "text": format!("{mark}{text}") })
}

/// A picture as a block of content.
pub fn picture(media_type: &str, data: &str) -> Value {
    json!({ "type": "image", "mimeType": media_type, "data": data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_is_a_command_of_the_cli() {
        for command in ["/memory show", " $x"] {
            let told = text(command)["text"].as_str().unwrap().to_owned();
            assert!(told.starts_with("The message is") && told.ends_with(command), "{told}");
        }
        assert_eq!(text("a / b")["text"], "a / b");
    }

    #[test]
    fn permission_is_given_and_other_requests_are_refused() {
        let options = json!({ "options": [
            { "optionId": "no", "kind": "reject_once" }, { "optionId": "yes", "kind": "allow_once" },
        ] });
        let answer: Value = serde_json::from_str(&reply(&json!(7), "session/request_permission", &options)).unwrap();
        assert_eq!((&answer["id"], &answer["result"]["outcome"]["optionId"]), (&json!(7), &json!("yes")));
        let none = reply(&json!(7), "session/request_permission", &json!({}));
        assert!(none.contains(r#""cancelled""#), "{none}");
        let other = reply(&json!("a"), "fs/read_text_file", &json!({}));
        assert!(other.contains("-32601") && other.ends_with('\n') && other.matches('\n').count() == 1, "{other}");
    }
}
