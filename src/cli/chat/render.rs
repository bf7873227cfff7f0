//! Formats the texts of a chat for a terminal.

use serde_json::Value;

use super::super::markdown;
use super::super::output::{columns, harmless};

/// The text of a message event, with the path of its file, if any.
pub(super) fn message(data: &Value) -> String {
    let text = data["text"].as_str().unwrap_or_default();
    let (Some(name), Some(id)) = (data["file"]["name"].as_str(), data["deliveryId"].as_str()) else {
        return text.to_owned();
    };
    let gap = if text.is_empty() { "" } else { "\n\n" };
    let size = &data["file"]["size"];
    format!("{text}{gap}(The file {name}, {size} bytes, is data/outbox-files/{id}/{name} in the home.)")
}

/// Renders Markdown for a terminal; without one, the text stays as it is.
pub(super) fn text(text: &str, terminal: bool, colours: bool) -> String {
    if !terminal {
        return text.to_owned();
    }
    markdown::render(text, columns(), colours)
}

/// Formats a message that somebody else wrote into the chat.
pub(super) fn said(data: &Value, colours: bool) -> String {
    let name = data["senderName"].as_str().or_else(|| data["sender"].as_str()).unwrap_or_default();
    let mut said = data["text"].as_str().unwrap_or_default().to_owned();
    for file in data["attachments"].as_array().into_iter().flatten() {
        let gap = if said.is_empty() { "" } else { " " };
        said.extend([gap, "(file: ", file["name"].as_str().unwrap_or_default(), ")"]);
    }
    let name = harmless(name);
    let name = if colours { format!("\u{1b}[1m{name}:\u{1b}[0m") } else { format!("{name}:") };
    format!("{name} {}", harmless(&said))
}

/// Formats a remark of less weight than the conversation.
pub(super) fn aside(text: &str, colours: bool) -> String {
    let safe = harmless(text);
    if colours { format!("\u{1b}[2m{safe}\u{1b}[0m") } else { safe.into_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn file_path_is_shown_after_its_caption() {
        assert_eq!(message(&json!({"text": "hi", "deliveryId": "D"})), "hi");
        let file = json!({"text": "see", "deliveryId": "D", "file": {"name": "a.txt", "size": 3}});
        assert_eq!(message(&file), "see\n\n(The file a.txt, 3 bytes, is data/outbox-files/D/a.txt in the home.)");
    }

    #[test]
    fn messages_of_others_have_their_name() {
        let data = json!({"sender": "a", "senderName": "An\u{1b}n", "text": "two\nlines"});
        assert_eq!(said(&data, false), "An\u{fffd}n: two\nlines");
        let data = json!({"sender": "ann", "text": "", "attachments": [{"name": "a.txt", "path": "x"}]});
        assert_eq!(said(&data, true), "\u{1b}[1mann:\u{1b}[0m (file: a.txt)");
    }
}
