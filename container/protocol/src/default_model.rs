//! The default model of the provider `llm`. The host needs it, too, because a budget needs the model's price. Pure.

/// A model for each key; the first key that is set counts.
const BY_KEY: [(&str, &str); 3] =
    [("ANTHROPIC_API_KEY", "claude-sonnet-5"), ("OPENAI_API_KEY", "gpt-5.4"), ("GEMINI_API_KEY", "gemini-3.8-flash")];

/// Returns the model for the keys of `.env` that are set. None without a key, and None if the operator's own server
/// is used: it is asked for its first model.
pub fn by_keys(is_set: impl Fn(&str) -> bool) -> Option<&'static str> {
    // An address beside a key names the operator's own server, which does not have the vendor's models.
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
    fn first_key_decides_the_default_model() {
        let of = |keys: &[&str]| by_keys(|key| keys.contains(&key));
        assert_eq!(of(&["OPENAI_API_KEY", "ANTHROPIC_API_KEY"]), Some("claude-sonnet-5"));
        assert_eq!(of(&["OPENAI_API_KEY"]), Some("gpt-5.4"));
        assert_eq!(of(&["ANTHROPIC_AUTH_TOKEN"]), Some("claude-sonnet-5"));
        assert_eq!(of(&["OPENAI_API_KEY", "OPENAI_BASE_URL"]), None);
        assert_eq!((of(&["OLLAMA_HOST"]), of(&[])), (None, None));
    }
}
