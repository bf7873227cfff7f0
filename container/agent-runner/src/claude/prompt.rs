//! What is written to the CLI: one line of JSON per message.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};

use crate::protocol::{ImageAttachment, RunInput};

/// The largest picture that vendors take, before it is encoded.
const IMAGE_LIMIT: u64 = 3_750_000;
/// Of what was sent before, so much is told: texts, and characters of each.
const RESUMED_TEXTS: usize = 20;
const RESUMED_CHARS: usize = 2000;

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
    let mut text = String::new();
    if input.is_scheduled_task {
        text.push_str(
            "[A scheduled task, not a message from somebody in the chat. What you answer is sent to the chat.]\n\n",
        );
    }
    text.push_str(&input.prompt);
    if !input.resumed.is_empty() {
        text.push_str(&resumed(&input.resumed));
    }
    with_pictures(text, &input.image_attachments, group)
}

/// A text with pictures of the group's folder; those that cannot be shown are told.
pub fn with_pictures(mut text: String, images: &[ImageAttachment], group: &Path) -> Value {
    let mut blocks = Vec::new();
    for image in images {
        match picture(image, group) {
            Ok(block) => blocks.push(block),
            Err(why) => {
                // Writing to a string cannot fail.
                let _ = write!(text, "\n\n[The picture {} cannot be shown: {why}]", image.relative_path);
            }
        }
    }
    if blocks.is_empty() {
        return Value::String(text);
    }
    blocks.insert(0, json!({ "type": "text", "text": text }));
    Value::Array(blocks)
}

fn resumed(sent: &[String]) -> String {
    let last = &sent[sent.len().saturating_sub(RESUMED_TEXTS)..];
    let texts: Vec<String> = last.iter().map(|text| text.chars().take(RESUMED_CHARS).collect()).collect();
    format!(
        "\n\n[An earlier try to answer this was cut off. It had already sent the following to the chat; go on from \
         there, and do not send or do it again:\n{}]",
        texts.join("\n---\n")
    )
}

fn picture(image: &ImageAttachment, group: &Path) -> Result<Value, String> {
    let path = group.join(&image.relative_path);
    let found = fs::metadata(&path).map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(&path).map_err(|error| error.to_string())?;
    file.take(IMAGE_LIMIT + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > IMAGE_LIMIT {
        return Err(format!("it is larger than {IMAGE_LIMIT} bytes"));
    }
    let source = json!({ "type": "base64", "media_type": image.media_type, "data": base64(&bytes) });
    Ok(json!({ "type": "image", "source": source }))
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let shown = digit <= chunk.len();
            let index = (group >> (18 - 6 * digit) & 63) as usize;
            out.push(if shown { char::from(DIGITS[index]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }

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
        assert!(text.starts_with("[A scheduled task") && text.contains("\n\nlook\n\n"), "{text}");
        assert!(text.contains("said]") && text.contains("gone.png cannot be shown"), "{text}");
        assert!(text.contains("not a file"), "{text}");
        assert_eq!(content[1]["source"]["data"], "Zm9v");
        assert_eq!(content.as_array().unwrap().len(), 2);
        let plain = RunInput { prompt: "hi".into(), ..RunInput::default() };
        assert_eq!(first(&plain, dir.path()), "hi");
    }

    #[test]
    fn a_line_is_one_line() {
        let line = line("u", &json!("two\nlines"));
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.ends_with('\n') && line.contains(r#""uuid":"u""#));
    }
}
