//! The end of an answer: complete, cut, filtered or broken, from each vendor's word for it. Pure.

use genai::adapter::AdapterKind;
use serde_json::Value;

/// The end of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The answer is complete.
    Whole,
    /// The answer reached the limit of its length.
    Cut,
    /// The conversation and the answer fill the model's context.
    Full,
    /// A filter held back the answer or the question; with the vendor's word.
    Filtered(String),
    /// The model's call of a tool cannot be parsed.
    Garbled,
    /// The answer broke off.
    Broken,
}

/// Facts in the stream beside the answer, which the client library does not pass on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asides {
    /// Why the question was blocked.
    pub blocked: Option<String>,
    /// Why the answer is incomplete.
    pub incomplete: Option<String>,
    /// The model's text of a refusal.
    pub refusal: String,
}

impl Asides {
    /// Reads one frame of the stream.
    pub fn hear(&mut self, frame: &str) {
        if !["blockReason", "incomplete_details", "refusal"].iter().any(|key| frame.contains(key)) {
            return;
        }
        let Ok(frame) = serde_json::from_str::<Value>(frame) else { return };
        let text = |path: &str| frame.pointer(path).and_then(Value::as_str).map(str::to_owned);
        self.blocked = self.blocked.take().or_else(|| text("/promptFeedback/blockReason"));
        self.incomplete = self.incomplete.take().or_else(|| text("/response/incomplete_details/reason"));
        let delta = if frame["type"] == "response.refusal.delta" { text("/delta") } else { None };
        self.refusal.extend(delta.or_else(|| text("/choices/0/delta/refusal")));
    }
}

/// Returns the end of an answer, from the vendor's word, if there is one, and the facts beside it.
pub fn ending(reason: Option<&str>, asides: &Asides, kind: AdapterKind) -> Ending {
    if let Some(why) = &asides.blocked {
        return Ending::Filtered(why.clone());
    }
    let reason = asides.incomplete.as_deref().or(reason);
    let Some(word) = reason.map(str::to_lowercase) else {
        // These vendors always send an end. Without it the answer broke off, though the client takes it for complete.
        let tells = matches!(kind, AdapterKind::OpenAIResp | AdapterKind::Ollama | AdapterKind::Gemini);
        return if tells { Ending::Broken } else { Ending::Whole };
    };
    match word.as_str() {
        "length" | "max_tokens" | "max_output_tokens" | "model_length" | "incomplete" | "pause_turn" => Ending::Cut,
        "model_context_window_exceeded" => Ending::Full,
        "content_filter"
        | "refusal"
        | "safety"
        | "recitation"
        | "blocklist"
        | "prohibited_content"
        | "spii"
        | "language"
        | "image_safety"
        | "image_prohibited_content"
        | "image_recitation"
        | "error_toxic"
        | "sensitive"
        | "guardrail_intervened" => Ending::Filtered(word),
        "malformed_function_call" | "malformed_response" | "unexpected_tool_call" | "too_many_tool_calls" => {
            Ending::Garbled
        }
        "error" | "failed" | "cancelled" | "other" | "insufficient_system_resource" | "network_error" | "unload" => {
            Ending::Broken
        }
        _ => Ending::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_word_of_each_vendor_is_known() {
        let filtered = |word: &str| Ending::Filtered(word.to_owned());
        for (kind, reason, expected) in [
            (AdapterKind::Anthropic, Some("end_turn"), Ending::Whole),
            (AdapterKind::Anthropic, Some("tool_use"), Ending::Whole),
            (AdapterKind::Anthropic, Some("max_tokens"), Ending::Cut),
            (AdapterKind::Anthropic, Some("pause_turn"), Ending::Cut),
            (AdapterKind::Anthropic, Some("refusal"), filtered("refusal")),
            (AdapterKind::Anthropic, Some("model_context_window_exceeded"), Ending::Full),
            (AdapterKind::OpenAI, Some("stop"), Ending::Whole),
            (AdapterKind::OpenAI, Some("tool_calls"), Ending::Whole),
            (AdapterKind::OpenAI, Some("length"), Ending::Cut),
            (AdapterKind::OpenAI, Some("content_filter"), filtered("content_filter")),
            (AdapterKind::OpenAI, Some("eos"), Ending::Whole),
            (AdapterKind::OpenAI, None, Ending::Whole),
            (AdapterKind::OpenAI, Some("insufficient_system_resource"), Ending::Broken),
            (AdapterKind::OpenAIResp, Some("completed"), Ending::Whole),
            (AdapterKind::OpenAIResp, Some("incomplete"), Ending::Cut),
            (AdapterKind::OpenAIResp, Some("failed"), Ending::Broken),
            (AdapterKind::OpenAIResp, None, Ending::Broken),
            (AdapterKind::Gemini, Some("STOP"), Ending::Whole),
            (AdapterKind::Gemini, Some("MAX_TOKENS"), Ending::Cut),
            (AdapterKind::Gemini, Some("SAFETY"), filtered("safety")),
            (AdapterKind::Gemini, Some("PROHIBITED_CONTENT"), filtered("prohibited_content")),
            (AdapterKind::Gemini, Some("MALFORMED_FUNCTION_CALL"), Ending::Garbled),
            (AdapterKind::Gemini, None, Ending::Broken),
            (AdapterKind::Ollama, Some("stop"), Ending::Whole),
            (AdapterKind::Ollama, Some("length"), Ending::Cut),
            (AdapterKind::Ollama, None, Ending::Broken),
        ] {
            assert_eq!(ending(reason, &Asides::default(), kind), expected, "{kind} {reason:?}");
        }
    }

    #[test]
    fn asides_of_the_stream_change_the_end() {
        let mut asides = Asides::default();
        asides.hear(r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#);
        assert_eq!(ending(None, &asides, AdapterKind::Gemini), Ending::Filtered("SAFETY".into()));
        let mut asides = Asides::default();
        asides.hear(r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"content_filter"}}}"#);
        let filtered = Ending::Filtered("content_filter".into());
        assert_eq!(ending(Some("incomplete"), &asides, AdapterKind::OpenAIResp), filtered);
        let mut asides = Asides::default();
        for part in ["I can", "not."] {
            asides.hear(&serde_json::json!({"choices": [{"delta": {"refusal": part}}]}).to_string());
        }
        asides.hear(r#"{"choices":[{"delta":{"content":"the word refusal"}}]}"#);
        asides.hear("[DONE] refusal");
        assert_eq!(asides, Asides { refusal: "I cannot.".into(), ..Asides::default() });
    }
}
