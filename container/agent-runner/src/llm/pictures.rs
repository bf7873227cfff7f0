//! The pictures of a conversation, as many as fit into one request.

use std::path::Path;

use base64::Engine as _;
use genai::chat::ContentPart;
use parlor_protocol::ImageAttachment;

use crate::live::brief::IMAGE_LIMIT;

/// Most pictures in a request; older ones are only named.
const PICTURES: usize = 20;
/// Most bytes of them: base64 adds a third, and some vendors accept 20 MB per request.
const BYTES: u64 = 15_000_000;

/// The pictures that still fit into a request. The newest picture must be added first.
#[derive(Debug)]
pub struct Room {
    pictures: usize,
    bytes: u64,
}

impl Room {
    /// Space for the newest pictures.
    pub fn new() -> Self {
        Self { pictures: PICTURES, bytes: BYTES }
    }

    /// Space for no picture.
    pub fn none() -> Self {
        Self { pictures: 0, bytes: 0 }
    }

    /// Returns a picture of the group's folder, or a text that replaces it.
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
            // Older pictures are left out as well, so that the shown ones are the newest without a gap.
            *self = Self::none();
            return Err("not shown".to_owned());
        };
        let bytes = std::fs::read(path).map_err(|error| format!("not to be read: {error}"))?;
        self.bytes = left;
        Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
    }
}
