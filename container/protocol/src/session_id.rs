//! Session ids: each provider makes its own, the host stores them, and they come back in command lines and file
//! names. Pure.

/// Longest session id, in bytes.
pub const MAX_BYTES: usize = 512;
/// The requirements of a session id, for people.
pub const FIT: &str = "1 to 512 bytes of printable text on one line that does not begin with a hyphen";

/// Returns true if a text may be a session id at all. Any other text is ignored, whoever sent it.
pub fn is_fit(id: &str) -> bool {
    (1..=MAX_BYTES).contains(&id.len())
        && !id.starts_with('-')
        && !id.trim().is_empty()
        && !id.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// Returns true if a provider can have made a session with this id. Other ids are refused before any program sees them.
pub fn is_usable(provider: &str, id: &str) -> bool {
    is_fit(id)
        && match provider {
            "claude" | "codex" | "gemini" => is_uuid(id),
            "llm" => id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'),
            // These providers store nothing under the id.
            _ => true,
        }
}

fn is_uuid(id: &str) -> bool {
    let mut parts = id.split('-');
    let fits = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    [8, 4, 4, 4, 12].into_iter().all(|length| parts.next().is_some_and(|part| fits(part, length)))
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_id_cannot_be_an_option_or_a_second_line() {
        for good in ["s", "session-family", "019a 7b", "ä", &"x".repeat(MAX_BYTES)] {
            assert!(is_fit(good), "{good}");
        }
        let long = "x".repeat(MAX_BYTES + 1);
        for bad in ["", " ", "-x", "--dangerously", "a\nb", "a\r", "a\0", "\u{1b}[2J", "a\u{2028}b", "\u{85}", &long] {
            assert!(!is_fit(bad), "{bad:?}");
        }
    }

    #[test]
    fn session_id_must_have_its_providers_form() {
        let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let own = "019a7b3c4d5e00010123456789abcdef";
        for provider in ["claude", "codex", "gemini"] {
            assert!(is_usable(provider, uuid) && is_usable(provider, &uuid.to_uppercase()), "{provider}");
            for bad in [own, "session-family", "0f8fad5b-d9cb-469f-a165-70867728950", &format!("{uuid}-1"), "--help"] {
                assert!(!is_usable(provider, bad), "{provider}: {bad}");
            }
        }
        assert!(is_usable("llm", own) && is_usable("llm", uuid));
        assert!(!is_usable("llm", "../x") && !is_usable("llm", "a b"));
        for provider in ["guide", "exec"] {
            assert!(is_usable(provider, own) && is_usable(provider, "S1") && !is_usable(provider, "a\nb"));
        }
    }
}
