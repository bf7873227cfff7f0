//! Pictures of a conversation, as far as one request takes them.

use std::path::Path;

use base64::Engine as _;
use genai::chat::ContentPart;
use parlor_protocol::ImageAttachment;

use crate::live::brief::IMAGE_LIMIT;

/// How many pictures of a conversation are sent; of older ones only the name.
const PICTURES: usize = 20;
/// Bytes of them: a third more on their way, and some vendors take 20 MB at once.
const BYTES: u64 = 15_000_000;

/// What one request still takes. Asked for the newest picture first.
#[derive(Debug)]
pub struct Room {
    pictures: usize,
    bytes: u64,
}

impl Room {
    /// Room for the newest.
    pub fn new() -> Self {
        Self { pictures: PICTURES, bytes: BYTES }
    }

    /// Room for none.
    pub fn none() -> Self {
        Self { pictures: 0, bytes: 0 }
    }

    /// A picture of the group's folder, or a word in its place.
    pub fn part(&mut self, group: &Path, image: &ImageAttachment) -> ContentPart {
        let path = &image.relative_path;
        self.read(&group.join(path)).map_or_else(
            |why| ContentPart::from_text(format!("[The picture {path} is {why}.]")),
            |text| ContentPart::from_binary_base64(image.media_type.clone(), text, None),
        )
    }

    fn read(&mut self, path: &Path) -> Result<String, String> {
        if self.pictures == 0 {
            return Err("not shown".to_owned());
        }
        self.pictures -= 1;
        let meta = std::fs::metadata(path).map_err(|error| format!("not there any more: {error}"))?;
        if !meta.is_file() {
            return Err("not a file, so it is not shown".to_owned());
        }
        if meta.len() > IMAGE_LIMIT {
            return Err(format!(
                "too large to be shown: it has {} bytes, and models take at most {IMAGE_LIMIT}; a smaller copy of it can be shown",
                meta.len()
            ));
        }
        let Some(left) = self.bytes.checked_sub(meta.len()) else {
            // Nor are those before it: what is shown is the newest without a gap.
            *self = Self::none();
            return Err("not shown".to_owned());
        };
        let bytes = std::fs::read(path).map_err(|error| format!("not to be read: {error}"))?;
        self.bytes = left;
        Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
    }
}
