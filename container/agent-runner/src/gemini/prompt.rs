//! The input of the CLI: lines of JSON-RPC, and messages as blocks of content.

use std::path::Path;

use parlor_protocol::ImageAttachment;
use serde_json::{Value, json};

use crate::live::brief;

/// A request.
pub fn request(id: u64, method: &str, params: &Value) -> String {
    format!("{}\n", json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
}

/// The answer to what the CLI asks: leave for everything, for the room is the sandbox; and no to what we do not have.
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

/// A message of the chat.
pub fn message(text: &str) -> Vec<Value> {
    // Such a beginning would make it a command of the CLI.
    let mark = if text.trim_start().starts_with(['/', '$']) { "The message is:\n" } else { "" };
    vec![json!({ "type": "text", "text": format!("{mark}{text}") })]
}

/// A message with pictures of the group's folder; those that cannot be shown are named.
pub fn content(mut text: String, images: &[ImageAttachment], group: &Path) -> Vec<Value> {
    let mut pictures = Vec::new();
    for image in images {
        match brief::picture(image, group) {
            Ok(data) => pictures.push(json!({ "type": "image", "mimeType": image.media_type, "data": data })),
            Err(why) => text.push_str(&brief::no_picture(image, &why)),
        }
    }
    let mut blocks = message(&text);
    blocks.extend(pictures);
    blocks
}

#[cfg(test)]
mod tests {
    use std::fs;

    use parlor_protocol::RunInput;

    use super::*;

    #[test]
    fn a_repeated_try_and_pictures_are_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.png"), b"foo").unwrap();
        let image = |path: &str| ImageAttachment { relative_path: path.into(), media_type: "image/png".into() };
        let input = RunInput {
            prompt: "look".into(),
            resumed: vec!["said".into()],
            image_attachments: vec![image("a.png"), image("gone.png")],
            ..RunInput::default()
        };
        let blocks = content(brief::prompt(&input), &input.image_attachments, dir.path());
        let text = blocks[0]["text"].as_str().unwrap();
        assert!(text.contains("\nlook\n") && text.contains("said]") && text.contains("gone.png cannot"), "{text}");
        assert_eq!(blocks[1..], [json!({ "type": "image", "mimeType": "image/png", "data": "Zm9v" })]);
    }

    #[test]
    fn no_message_is_a_command_of_the_cli() {
        for text in ["/memory show", " $x"] {
            let told = message(text)[0]["text"].as_str().unwrap().to_owned();
            assert!(told.starts_with("The message is") && told.ends_with(text), "{told}");
        }
        assert_eq!(message("a / b")[0]["text"], "a / b");
    }

    #[test]
    fn leave_is_given_and_nothing_else_is_offered() {
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
