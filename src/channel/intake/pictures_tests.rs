use super::*;

fn look_at(name: &str, declared: Option<&str>, bytes: &[u8], size: u64) -> Attachment {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0");
    std::fs::write(&path, bytes).unwrap();
    look(&path, size).describe(name.into(), size, declared.map(str::to_owned))
}

/// Returns the beginning of a PNG of a width and height; no more is read.
fn png(width: u32, height: u32) -> Vec<u8> {
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", sides.as_slice(), b"\x08\x02\0\0\0\0\0\0\0"].concat()
}

const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xc0\0\x11\x08\0\x02\0\x03\x03\x01\x22\0\x02\x11\x01\x03\x11\x01\xff\xd9";
const GIF: &[u8] = b"GIF89a\x02\0\x03\0\0\0\0;";
const WEBP: &[u8] = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\x01\x80\0\0\0\0\0\0\0\0\0\0\0\0\0";

#[test]
fn pictures_are_known_by_their_content() {
    let cases: [(&str, &[u8], &str, &str); 6] = [
        ("a.png", &png(3, 2), "image/png", "a.png"),
        ("photo.jpg", &png(3, 2), "image/png", "photo.jpg.png"),
        ("noending", JPEG, "image/jpeg", "noending.jpg"),
        ("a.JPEG", JPEG, "image/jpeg", "a.JPEG"),
        ("a.gif", GIF, "image/gif", "a.gif"),
        ("a.exe", WEBP, "image/webp", "a.exe.webp"),
    ];
    for (name, bytes, kind, saved) in cases {
        let found = look_at(name, Some("text/plain"), bytes, bytes.len() as u64);
        assert_eq!((found.media_type.as_deref(), found.name.as_str()), (Some(kind), saved), "{found:?}");
        assert!(found.picture && found.why.is_none(), "{found:?}");
    }
    let named_only = look_at("a.png", Some("image/png"), b"not a picture", 13);
    assert_eq!((named_only.picture, named_only.media_type), (false, None));
    let text = look_at("a.txt", Some("text/plain"), b"GIF8 is how they begin", 22);
    assert_eq!((text.picture, text.media_type.as_deref(), text.name.as_str()), (false, Some("text/plain"), "a.txt"));
}

#[test]
fn pictures_that_models_cannot_take_are_files() {
    let cases: [(&[u8], u64, &str); 5] = [
        (&png(8001, 10), 100, "too large to be shown"),
        (&png(10, u32::MAX), 100, "too large to be shown"),
        (&png(10, 10), SHOWN_BYTES + 1, "too large to be shown"),
        (&png(0, 10), 100, "broken, not shown"),
        (&png(1, 1)[..17], 17, "broken, not shown"),
    ];
    for (bytes, size, why) in cases {
        let found = look_at("a.png", None, bytes, size);
        assert_eq!((found.picture, found.why.as_deref()), (false, Some(why)), "{found:?}");
        assert_eq!(found.media_type.as_deref(), Some("image/png"));
    }
    assert!(look_at("a.png", None, &png(8000, 8000), SHOWN_BYTES).picture);
}

/// Returns the beginning of a JPEG with `before` other bytes in front of its size, in many small pieces.
fn jpeg(before: usize) -> Vec<u8> {
    let pieces = b"\xff\xfe\0\x06abcd".repeat(before / 8);
    [&JPEG[..20], pieces.as_slice(), &JPEG[20..]].concat()
}

#[test]
fn search_for_a_pictures_size_is_bounded() {
    let near = jpeg(200 << 10);
    assert!(look_at("a.jpg", None, &near, near.len() as u64).picture);
    let far = jpeg(300 << 10);
    let found = look_at("a.jpg", None, &far, far.len() as u64);
    assert_eq!((found.picture, found.why.as_deref()), (false, Some("its sides were not found, not shown")));
    // A picture that is too large is not searched, so its missing size is not reported.
    let found = look_at("a.jpg", None, &jpeg(0)[..30], SHOWN_BYTES + 1);
    assert_eq!(
        (found.media_type.as_deref(), found.why.as_deref()),
        (Some("image/jpeg"), Some("too large to be shown"))
    );
}
