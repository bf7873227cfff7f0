//! The model that the provider `llm` takes where nobody chose one. The host knows it, too: a budget needs its price.
//! Pure.

/// A model for each key; the first key that is there counts.
const BY_KEY: [(&str, &str); 3] =
    [("ANTHROPIC_API_KEY", "claude-sonnet-5"), ("OPENAI_API_KEY", "gpt-5.4"), ("GEMINI_API_KEY", "gemini-3.8-flash")];

/// The model by the keys of `.env` that are set; None where the operator's own server is asked for its first one, and
/// without any key.
pub fn by_keys(is_set: impl Fn(&str) -> bool) -> Option<&'static str> {
    // An address beside a key is the operator's own server: its models are not the vendor's.
    if is_set("OPENAI_BASE_URL") && !is_set(BY_KEY[0].0) {
        return None;
    }
    let of_key = BY_KEY.iter().find(|(key, _)| is_set(key)).map(|(_, model)| *model);
    of_key.or_else(|| is_set("ANTHROPIC_AUTH_TOKEN").then_some(BY_KEY[0].1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_counts() {
        let of = |keys: &[&str]| by_keys(|key| keys.contains(&key));
        assert_eq!(of(&["OPENAI_API_KEY", "ANTHROPIC_API_KEY"]), Some("claude-sonnet-5"));
        assert_eq!(of(&["OPENAI_API_KEY"]), Some("gpt-5.4"));
        assert_eq!(of(&["ANTHROPIC_AUTH_TOKEN"]), Some("claude-sonnet-5"));
        assert_eq!(of(&["OPENAI_API_KEY", "OPENAI_BASE_URL"]), None);
        assert_eq!((of(&["OLLAMA_HOST"]), of(&[])), (None, None));
    }
}
