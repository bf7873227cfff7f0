//! A check of JSON before it is parsed: its depth and the length of its strings, in one pass and without memory. The
//! parser decides whether it is valid JSON.

use parlor_protocol::limits::{MAX_DEPTH, MAX_STRING};

/// Returns an error if the JSON is too deep or has too long a string.
pub(super) fn check(json: &[u8]) -> Result<(), String> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let length = string(&json[at + 1..]);
                if length > MAX_STRING {
                    return Err(format!("it has a string of more than {} KiB", MAX_STRING / 1024));
                }
                at += length + 1;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Returns the bytes up to the closing quote, or to the end.
fn string(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'"', b'\\', rest.get(at..).unwrap_or_default()) {
        at += found;
        if rest[at] == b'"' {
            return at;
        }
        at += 2;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn depth_and_strings_are_limited() {
        let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        assert!(check(nested(64).as_bytes()).is_ok());
        assert!(check(nested(65).as_bytes()).is_err());
        assert!(check(nested(100_000).as_bytes()).is_err());
        let long = |n: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(n));
        assert!(check(long(MAX_STRING).as_bytes()).is_ok());
        assert!(check(long(MAX_STRING + 1).as_bytes()).is_err());
        assert!(check(format!("\"{}", "x".repeat(MAX_STRING + 1)).as_bytes()).is_err(), "never closed");
        assert!(check(br#"{"a":"[[[[\"[[[[","b":"\\"}"#).is_ok());
        assert!(check(b"\"\\").is_ok());
        let brackets_in_strings = format!("[\"{}\"]", "[".repeat(1000));
        assert!(check(brackets_in_strings.as_bytes()).is_ok());
    }

    fn depth_of(value: &serde_json::Value) -> usize {
        match value {
            serde_json::Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
            serde_json::Value::Object(items) => 1 + items.values().map(depth_of).max().unwrap_or(0),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn precheck_of_any_bytes_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = check(&bytes);
        }

        #[test]
        fn precheck_agrees_with_the_depth_of_parsed_json(text in r#"[\[\]\{\}",:a\\1 ]{0,60}"#, levels in 0_usize..70) {
            let wrapped = format!("{}{:?}{}", "[".repeat(levels), text, "]".repeat(levels));
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&wrapped) {
                prop_assert_eq!(check(wrapped.as_bytes()).is_ok(), depth_of(&value) <= MAX_DEPTH);
            }
        }
    }
}
