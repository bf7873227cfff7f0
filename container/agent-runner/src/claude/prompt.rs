//! The input of the CLI: one line of JSON per message.

use std::path::Path;

use parlor_protocol::{ImageAttachment, RunInput};
use serde_json::{Value, json};

use crate::live::brief;

/// A message as a line for the CLI.
pub fn line(uuid: &str, content: &Value) -> String {
    let message = json!({
        "type": "user",
        "message": { "role": "user", "content": content },
        "parent_tool_use_id": null,
        "session_id": "",
        "uuid": uuid,
    });
    format!("{message}\n")
}

/// The first message: the run's prompt, what an earlier try sent, and pictures.
pub fn first(input: &RunInput, group: &Path) -> Value {
    with_pictures(brief::prompt(input), &input.image_attachments, group)
}

/// A text with pictures of the group's folder; those that cannot be shown are named.
pub fn with_pictures(mut text: String, images: &[ImageAttachment], group: &Path) -> Value {
    let mut blocks = Vec::new();
    for image in images {
        match brief::picture(image, group) {
            Ok(data) => {
                let source = json!({ "type": "base64", "media_type": image.media_type, "data": data });
                blocks.push(json!({ "type": "image", "source": source }));
            }
            Err(why) => text.push_str(&brief::no_picture(image, &why)),
        }
    }
    if blocks.is_empty() {
        return Value::String(text);
    }
    blocks.insert(0, json!({ "type": "text", "text": text }));
    Value::Array(blocks)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_task_a_repeated_try_and_pictures_are_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.png"), b"foo").unwrap();
        let image = |path: &str| ImageAttachment { relative_path: path.into(), media_type: "image/png".into() };
        let input = RunInput {
            prompt: "look".into(),
            is_scheduled_task: true,
            resumed: vec!["said".into()],
            image_attachments: vec![image("a.png"), image("gone.png"), image(".")],
            ..RunInput::default()
        };
        let content = first(&input, dir.path());
        let text = content[0]["text"].as_str().unwrap();
        assert!(text.starts_with("[It is ") && text.contains("[A scheduled task"), "{text}");
        assert!(text.contains("\n\nlook\n\n"), "{text}");
        assert!(text.contains("said]") && text.contains("gone.png cannot be shown"), "{text}");
        assert!(text.contains("not a file"), "{text}");
        assert_eq!(content[1]["source"]["data"], "Zm9v");
        assert_eq!(content.as_array().unwrap().len(), 2);
        let plain = RunInput { prompt: "hi".into(), ..RunInput::default() };
        assert!(first(&plain, dir.path()).as_str().unwrap().ends_with("]\nhi"));
    }

    #[test]
    fn a_line_is_one_line() {
        let line = line("u", &json!("two\nlines"));
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.ends_with('\n') && line.contains(r#""uuid":"u""#));
    }
}
