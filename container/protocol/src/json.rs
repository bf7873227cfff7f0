//! Reads JSON that strict parsers refuse although its meaning is clear: half a surrogate pair (JavaScript and Python
//! write one for a text that was cut in the middle of an emoji), invalid UTF-8, raw control characters, a byte order
//! mark, and numbers such as `NaN`.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

const MARK: &[u8] = b"\xef\xbb\xbf";
/// Bytes that mending may add to a text, in each of two steps: a hostile text would gain five bytes for each it has.
const GROWTH: usize = 16 << 20;

/// Parses JSON. If the strict parser refuses it, parses the result of [`mend`].
///
/// # Errors
/// If it is no JSON even then, or does not fit the type.
pub fn from_slice<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    match serde_json::from_slice(json) {
        Err(error) if error.is_syntax() => match mend(json) {
            Cow::Owned(mended) => serde_json::from_slice(&mended),
            Cow::Borrowed(same) if same.len() < json.len() => serde_json::from_slice(same),
            Cow::Borrowed(_) => Err(error),
        },
        read => read,
    }
}

/// Like [`from_slice`], for a text.
///
/// # Errors
/// Like [`from_slice`].
pub fn from_str<T: DeserializeOwned>(json: &str) -> serde_json::Result<T> {
    from_slice(json.as_bytes())
}

/// Replaces what a strict parser refuses: half a surrogate pair and invalid UTF-8 by U+FFFD, a control character in a
/// string by its escape, `NaN` and infinities by `null`; a byte order mark is dropped. Strict JSON is unchanged. When
/// the text has grown by its limit, invalid UTF-8 becomes `?`, and control characters become spaces.
pub fn mend(json: &[u8]) -> Cow<'_, [u8]> {
    within(json, GROWTH)
}

fn within(json: &[u8], growth: usize) -> Cow<'_, [u8]> {
    let json = json.strip_prefix(MARK).unwrap_or(json);
    let text = utf8(json, growth);
    let mut mender = Mender { text: text.as_bytes(), at: 0, kept: 0, out: Vec::new(), growth };
    mender.run();
    let Mender { kept, mut out, .. } = mender;
    if kept > 0 {
        out.extend_from_slice(&text.as_bytes()[kept..]);
        return Cow::Owned(out);
    }
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// Returns the text, with U+FFFD for invalid bytes, or `?` when the growth is used up.
fn utf8(bytes: &[u8], growth: usize) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let room = bytes.len() + growth.min(bytes.len().saturating_mul(2));
    let (mut text, mut growth) = (String::with_capacity(room), growth);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        let gained = char::REPLACEMENT_CHARACTER.len_utf8().saturating_sub(chunk.invalid().len());
        match (chunk.invalid(), growth.checked_sub(gained)) {
            ([], _) => {}
            (_, Some(left)) => {
                growth = left;
                text.push(char::REPLACEMENT_CHARACTER);
            }
            (_, None) => text.push('?'),
        }
    }
    Cow::Owned(text)
}

struct Mender<'a> {
    text: &'a [u8],
    at: usize,
    /// Number of the text's bytes that are in `out`, unchanged or replaced.
    kept: usize,
    out: Vec<u8>,
    /// Bytes that the text may still gain.
    growth: usize,
}

impl Mender<'_> {
    fn run(&mut self) {
        let mut inside = false;
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'"' => {
                    inside = !inside;
                    self.at += 1;
                }
                b'\\' if inside => self.escape(),
                0..=0x1f if inside => self.control(byte),
                b'N' | b'I' | b'-' if !inside => self.number(),
                _ => self.at += 1,
            }
        }
    }

    fn control(&mut self, byte: u8) {
        match byte {
            b'\n' => self.replace(1, b"\\n", b" "),
            b'\r' => self.replace(1, b"\\r", b" "),
            b'\t' => self.replace(1, b"\\t", b" "),
            _ => self.replace(1, format!("\\u{byte:04x}").as_bytes(), b" "),
        }
    }

    /// Replaces the next bytes with `with`, or with `short` if the text would grow too long.
    fn replace(&mut self, length: usize, with: &[u8], short: &[u8]) {
        let left = self.growth.checked_sub(with.len().saturating_sub(length));
        let with = if left.is_some() { with } else { short };
        if self.out.capacity() == 0 {
            // Reserve the largest size at once: a buffer that doubles would take more memory than the limit allows.
            self.out.reserve_exact(self.text.len() + self.growth.min(self.text.len().saturating_mul(5)));
        }
        self.growth = left.unwrap_or(self.growth);
        self.out.extend_from_slice(&self.text[self.kept..self.at]);
        self.out.extend_from_slice(with);
        self.at += length;
        self.kept = self.at;
    }

    fn escape(&mut self) {
        match self.unit(self.at) {
            Some(0xd800..=0xdbff) if matches!(self.unit(self.at + 6), Some(0xdc00..=0xdfff)) => self.at += 12,
            Some(0xd800..=0xdfff) => self.replace(6, b"\\ufffd", b"\\ufffd"),
            _ => self.at += 2,
        }
    }

    /// Returns the UTF-16 unit whose escape is at this position.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u16::from_str_radix(digits, 16).ok()
    }

    fn number(&mut self) {
        let rest = &self.text[self.at..];
        match [&b"NaN"[..], b"Infinity", b"-Infinity"].into_iter().find(|word| rest.starts_with(word)) {
            Some(word) => self.replace(word.len(), b"null", b"0"),
            None => self.at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn read(json: &[u8]) -> Option<Value> {
        from_slice(json).ok()
    }

    #[test]
    fn careless_json_is_read_as_meant() {
        for (json, text) in [
            (&br#""a\ud83d""#[..], "a\u{fffd}"),
            (br#""\ud83d\ude00""#, "\u{1f600}"),
            (br#""\uDE00b""#, "\u{fffd}b"),
            (br#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (br#""\ud83d\u0041""#, "\u{fffd}A"),
            (br#""\ud83d\\u00""#, "\u{fffd}\\u00"),
            (br#""\\ud83d\ud83d""#, "\\ud83d\u{fffd}"),
            (b"\"a\xf0\x9f\x98\"", "a\u{fffd}"),
            (b"\"a\xffb\"", "a\u{fffd}b"),
            (b"\"a\nb\t\x01\"", "a\nb\t\u{1}"),
            (b"\xef\xbb\xbf\"x\"", "x"),
            (br#""NaN -Infinity""#, "NaN -Infinity"),
        ] {
            assert_eq!(read(json), Some(text.into()), "{}", String::from_utf8_lossy(json));
        }
        let numbers = read(br#"{"a": NaN, "b": [-Infinity, Infinity, -1], "c": "\ud83d"}"#);
        assert_eq!(numbers, Some(serde_json::json!({"a": null, "b": [null, null, -1], "c": "\u{fffd}"})));
    }

    #[test]
    fn hostile_text_grows_little() {
        let text = |piece: &[u8]| [b"\"", &piece.repeat(4 << 20)[..], b"\""].concat();
        for piece in [&b"\x01"[..], b"\n", b"\xff"] {
            let json = text(piece);
            let mended = mend(&json);
            assert!(mended.len() <= json.len() + GROWTH, "{piece:?}: {} bytes of {}", mended.len(), json.len());
            let read: String = serde_json::from_slice(&mended).unwrap();
            assert_eq!(read.chars().count(), 4 << 20, "{piece:?}");
        }
        for (json, growth, mended) in [
            (&b"\"\x01\x02\n\""[..], 6, "\"\\u0001 \\n\""),
            (b"\"\xff\xff\"", 3, "\"\u{fffd}?\""),
            (b"[NaN,NaN,-Infinity]", 1, "[null,0,null]"),
        ] {
            assert_eq!(String::from_utf8_lossy(&within(json, growth)), mended);
        }
    }

    #[test]
    fn broken_json_stays_broken() {
        for json in [&b"{"[..], b"\"", b"\"\\u12\"", b"\"\\ud83d", b"\"\\", b"{'a': 1}", b"", b"N", b"nan"] {
            assert_eq!(read(json), None, "{}", String::from_utf8_lossy(json));
        }
    }

    /// A piece of a string as careless writers produce it, and its meaning.
    fn piece() -> impl Strategy<Value = (Vec<u8>, String)> {
        prop_oneof![
            "[a-zé😀 /]{0,6}".prop_map(|text| (text.clone().into_bytes(), text)),
            (0xd800_u16..0xe000).prop_map(|unit| (format!("\\u{unit:04x}.").into_bytes(), "\u{fffd}.".into())),
            any::<char>().prop_map(|c| {
                let mut units = [0; 2];
                let escaped = c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04X}"));
                (escaped.collect::<String>().into_bytes(), c.into())
            }),
            (0x80_u8..0xc0).prop_map(|byte| (vec![byte, b'x'], "\u{fffd}x".into())),
            (0_u8..0x20).prop_map(|byte| (vec![byte], char::from(byte).into())),
            Just((br#"\\\"\/"#.to_vec(), "\\\"/".to_owned())),
        ]
    }

    proptest! {
        #[test]
        fn careless_string_is_read_as_meant(pieces in proptest::collection::vec(piece(), 0..20)) {
            // A piece that ends in half a pair never precedes one that could complete it: a letter follows each piece.
            let mut json = b"{\"text\":\"".to_vec();
            let mut meant = String::new();
            for (bytes, text) in &pieces {
                json.extend_from_slice(bytes);
                meant.push_str(text);
            }
            json.extend_from_slice(b"\"}");
            prop_assert_eq!(read(&json), Some(serde_json::json!({ "text": meant })));
        }

        #[test]
        fn strict_json_is_unchanged(value in "\\PC{0,40}", key in "\\PC{0,10}", number in any::<f64>()) {
            let json = serde_json::json!({ key: [value, number, null] }).to_string();
            prop_assert!(matches!(mend(json.as_bytes()), Cow::Borrowed(same) if same == json.as_bytes()));
        }

        #[test]
        fn mend_never_panics_and_is_idempotent(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let once = mend(&bytes).into_owned();
            prop_assert_eq!(mend(&once).into_owned(), once.clone());
        }
    }
}
