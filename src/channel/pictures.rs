//! Which files that come with messages are pictures, and which of those models can be shown: by their content alone.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use imagesize::ImageType;

use crate::domain::attachment::{self, Attachment};

/// Bytes of a picture that every vendor takes, and pixels of its sides.
const SHOWN_BYTES: u64 = 3_750_000;
const SHOWN_SIDE: usize = 8000;
/// Bytes of a picture that are read for its sides. What a picture may hold before them takes no time to look through.
const LOOKED_AT: u64 = 256 << 10;

/// What a file's content says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// It is such a picture: type, and the usual ending of its name.
    picture: Option<(&'static str, &'static str)>,
    /// Why models cannot be shown it.
    why: Option<&'static str>,
}

impl Found {
    /// A file of this content, by the name and type that somebody says it has.
    pub(super) fn describe(self, name: String, size: u64, declared: Option<String>) -> Attachment {
        let plain = Attachment { name, size, media_type: declared, path: None, picture: false, why: None };
        let Some((media_type, ending)) = self.picture else {
            // A picture in name only.
            let declared = plain.media_type.filter(|kind| !PICTURES.iter().any(|(known, _)| known == kind));
            return Attachment { media_type: declared, ..plain };
        };
        // Its mark says by the ending what it is.
        let right = attachment::picture_type(&plain.name) == Some(media_type);
        let name = if right { plain.name } else { format!("{}.{ending}", plain.name) };
        let why = self.why.map(str::to_owned);
        Attachment { name, media_type: Some(media_type.to_owned()), picture: why.is_none(), why, ..plain }
    }
}

const PICTURES: [(&str, &str); 4] =
    [("image/png", "png"), ("image/jpeg", "jpg"), ("image/gif", "gif"), ("image/webp", "webp")];

/// Looks at the beginning of a file of so many bytes. Blocking.
pub(super) fn look(path: &Path, size: u64) -> Found {
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
