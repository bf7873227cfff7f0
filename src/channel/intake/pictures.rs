//! Recognises the pictures among files, and those that models can be shown, only by their content.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use imagesize::ImageType;

use crate::domain::attachment::{self, Attachment};

/// The most bytes of a picture that every vendor accepts, and the most pixels of a side.
const SHOWN_BYTES: u64 = 3_750_000;
const SHOWN_SIDE: usize = 8000;
/// The bytes that are searched for a picture's size, few enough to take no time.
const LOOKED_AT: u64 = 256 << 10;

/// The facts from a file's content.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::channel) struct Found {
    /// A picture of this type, with the usual ending of its name.
    picture: Option<(&'static str, &'static str)>,
    /// The reason why models cannot be shown it.
    why: Option<&'static str>,
}

impl Found {
    /// Returns the attachment for a file of this content, with the name and type that the sender claims.
    pub(in crate::channel) fn describe(self, name: String, size: u64, declared: Option<String>) -> Attachment {
        let plain = Attachment { name, size, media_type: declared, path: None, picture: false, why: None };
        let Some((media_type, ending)) = self.picture else {
            // The content is not a picture, whatever the claim.
            let declared = plain.media_type.filter(|kind| !PICTURES.iter().any(|(known, _)| known == kind));
            return Attachment { media_type: declared, ..plain };
        };
        // The mark in the prompt shows the type by the ending.
        let right = attachment::picture_type(&plain.name) == Some(media_type);
        let name = if right { plain.name } else { format!("{}.{ending}", plain.name) };
        let why = self.why.map(str::to_owned);
        Attachment { name, media_type: Some(media_type.to_owned()), picture: why.is_none(), why, ..plain }
    }
}

const PICTURES: [(&str, &str); 4] =
    [("image/png", "png"), ("image/jpeg", "jpg"), ("image/gif", "gif"), ("image/webp", "webp")];

/// Checks the beginning of a file of `size` bytes. Blocking.
pub(in crate::channel) fn look(path: &Path, size: u64) -> Found {
    let look = || -> io::Result<Found> {
        let mut file = File::open(path)?;
        let mut head = Vec::new();
        file.by_ref().take(LOOKED_AT).read_to_end(&mut head)?;
        let [png, jpeg, gif, webp] = PICTURES;
        let picture = match imagesize::image_type(&head) {
            Ok(ImageType::Png) => png,
            Ok(ImageType::Jpeg) => jpeg,
            Ok(ImageType::Gif) if head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a") => gif,
            Ok(ImageType::Webp) => webp,
            _ => return Ok(Found::default()),
        };
        if size > SHOWN_BYTES {
            return Ok(Found { picture: Some(picture), why: Some("too large to be shown") });
        }
        let fits = |side: usize| (1..=SHOWN_SIDE).contains(&side);
        let why = match imagesize::reader_size(Cursor::new(&head)) {
            Ok(sides) if fits(sides.width) && fits(sides.height) => None,
            Ok(sides) if sides.width > 0 && sides.height > 0 => Some("too large to be shown"),
            _ if head.len() as u64 == LOOKED_AT => Some("its sides were not found, not shown"),
            _ => Some("broken, not shown"),
        };
        Ok(Found { picture: Some(picture), why })
    };
    look().unwrap_or_default()
}

#[cfg(test)]
#[path = "pictures_tests.rs"]
mod tests;
