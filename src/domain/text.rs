//! Rules for texts on their way to a chat.

use std::borrow::Cow;

const OPEN: &str = "<internal>";
const CLOSE: &str = "</internal>";

/// A text without what stands between `<internal>` and `</internal>` (any case, nested ones too), and without white space
/// around it. A tag that is never closed is text like any other.
pub fn strip_internal(text: &str) -> Cow<'_, str> {
    // Offsets stay the same: only ASCII letters change.
    let lower = text.to_ascii_lowercase();
    let mut kept = String::new();
    let mut from = 0;
    let mut cut = false;
    while let Some(open) = lower[from..].find(OPEN).map(|at| from + at) {
        let Some(end) = end_of(&lower, open) else { break };
        kept.push_str(&text[from..open]);
        from = end;
        cut = true;
    }
    if !cut {
        return Cow::Borrowed(text.trim());
    }
    kept.push_str(&text[from..]);
    Cow::Owned(kept.trim().to_owned())
}

/// Where the text that opens at `open` is closed: by its own tag, else by the last one there is.
fn end_of(lower: &str, open: usize) -> Option<usize> {
    let mut at = open + OPEN.len();
    let mut depth = 1;
    let mut last = None;
    while let Some(tag) = lower[at..].find('<').map(|next| at + next) {
        let rest = &lower[tag..];
        if rest.starts_with(OPEN) {
            depth += 1;
            at = tag + OPEN.len();
        } else if rest.starts_with(CLOSE) {
            depth -= 1;
            at = tag + CLOSE.len();
            last = Some(at);
            if depth == 0 {
                return last;
            }
        } else {
            at = tag + 1;
        }
    }
    last
}

/// The same for a text that is no longer needed: a large one without such tags is not copied.
pub fn strip_internal_owned(text: String) -> String {
    let tagged = memchr::memchr_iter(b'<', text.as_bytes())
        .any(|at| text.as_bytes()[at..].get(..OPEN.len()).is_some_and(|t| t.eq_ignore_ascii_case(OPEN.as_bytes())));
    if tagged || text.trim().len() != text.len() { strip_internal(&text).into_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::strip_internal;

    #[test]
    fn what_is_internal_never_leaves() {
        for (text, rest) in [
            ("plain", "plain"),
            ("  plain \n", "plain"),
            ("<internal>a</internal>", ""),
            ("x <internal>a\nb</internal> y", "x  y"),
            ("<internal>a</internal>x<internal>b</internal>", "x"),
            ("<INTERNAL>a</Internal>x", "x"),
            ("<internal>a<internal>b</internal>c</internal>x", "x"),
            ("<internal>a<internal>b</internal>c", "c"),
            ("never <internal> closed", "never <internal> closed"),
            ("</internal> only closed", "</internal> only closed"),
            ("ä<internal>ö</internal>ü", "äü"),
            ("<internal", "<internal"),
            ("", ""),
        ] {
            assert_eq!(strip_internal(text), rest, "{text}");
        }
    }

    #[test]
    fn many_tags_take_linear_time() {
        let started = std::time::Instant::now();
        assert_eq!(strip_internal(&"<internal>".repeat(100_000)).len(), 1_000_000);
        assert_eq!(strip_internal(&"<internal></internal>".repeat(50_000)), "");
        assert!(started.elapsed().as_secs() < 5);
    }
}
