//! The CLI's input: one line of JSON per message.

use serde_json::{Value, json};

/// A message as a line for the CLI. A text alone is given as such, and not as a block of content.
pub fn line(uuid: &str, mut content: Vec<Value>) -> String {
    let content = match content.as_mut_slice() {
        [only] if only["type"] == "text" => only["text"].take(),
        _ => Value::Array(content),
    };
    let message = json!({
        "type": "user",
        "message": { "role": "user", "content": content },
        "parent_tool_use_id": null,
        "session_id": "",
        "uuid": uuid,
    });
    format!("{message}\n")
}

/// A text as a block of content.
pub fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

/// A picture as a block of content.
pub fn picture(media_type: &str, data: &str) -> Value {
    json!({ "type": "image", "source": { "type": "base64", "media_type": media_type, "data": data } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line() {
        let alone = line("u", vec![text("two\nlines")]);
        assert_eq!(alone.matches('\n').count(), 1);
        assert!(alone.ends_with('\n') && alone.contains(r#""uuid":"u""#), "{alone}");
        assert!(alone.contains(r#""content":"two\nlines""#), "{alone}");
        let shown = line("u", vec![text("look"), picture("image/png", "Zm9v")]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["message"]["content"][1]["source"]["data"], "Zm9v");
    }
}
