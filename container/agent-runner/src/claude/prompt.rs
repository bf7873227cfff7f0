//! The input of the CLI: one line of JSON per message.

use std::path::Path;

use parlor_protocol::ImageAttachment;
use serde_json::{Value, json};

use crate::live::brief;

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

/// A text with pictures of the group's folder; those that cannot be shown are named.
pub fn content(mut text: String, images: &[ImageAttachment], group: &Path) -> Vec<Value> {
    let mut pictures = Vec::new();
    for image in images {
        match brief::picture(image, group) {
            Ok(data) => {
                let source = json!({ "type": "base64", "media_type": image.media_type, "data": data });
                pictures.push(json!({ "type": "image", "source": source }));
            }
            Err(why) => text.push_str(&brief::no_picture(image, &why)),
        }
    }
    let mut content = vec![json!({ "type": "text", "text": text })];
    content.extend(pictures);
    content
}

#[cfg(test)]
mod tests {
    use std::fs;

    use parlor_protocol::RunInput;

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
        let content = content(brief::prompt(&input), &input.image_attachments, dir.path());
        let text = content[0]["text"].as_str().unwrap();
        assert!(text.starts_with("[It is ") && text.contains("[A scheduled task"), "{text}");
        assert!(text.contains("\n\nlook\n\n"), "{text}");
        assert!(text.contains("said]") && text.contains("gone.png cannot be shown"), "{text}");
        assert!(text.contains("not a file"), "{text}");
        assert_eq!(content[1]["source"]["data"], "Zm9v");
        assert_eq!(content.len(), 2);
    }

    #[test]
    fn a_line_is_one_line() {
        let text = content("two\nlines".to_owned(), &[], Path::new("/"));
        let line = line("u", text);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.ends_with('\n') && line.contains(r#""uuid":"u""#) && line.contains(r#""content":"two\nlines""#));
    }
}
