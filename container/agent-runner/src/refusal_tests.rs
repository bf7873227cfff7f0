use proptest::prelude::*;

use super::*;

fn at(status: u16, code: &str, said: &str) -> Meaning {
    meaning(Refusal { status, code, said, waits: false })
}

/// Each vendor's refusals, as it words them.
#[test]
fn refusals_of_each_vendor_are_understood() {
    use Meaning::{
        Auth, Busy, Conversation, Cut, Filtered, ForGood, NoMemory, NoModel, NoPictures, NoTools, Quota, RateLimit,
        TooLarge, TooLong, Unknown, Unreachable,
    };
    for (vendor, status, code, said, expected) in [
        ("Anthropic", 401, "authentication_error", "invalid x-api-key", Auth),
        ("Anthropic", 403, "permission_error", "Your API key does not have permission", Auth),
        ("Anthropic", 400, "invalid_request_error", "Your credit balance is too low", Quota),
        ("Anthropic", 429, "rate_limit_error", "This request would exceed your rate limit", RateLimit),
        ("Anthropic", 529, "overloaded_error", "Overloaded", Busy),
        ("Anthropic", 0, "overloaded_error", "Overloaded", Busy),
        ("Anthropic", 500, "api_error", "Internal server error", Busy),
        ("Anthropic", 404, "not_found_error", "model: claude-x", NoModel),
        ("Anthropic", 400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", TooLong),
        ("Anthropic", 413, "request_too_large", "Request exceeds the maximum size", TooLarge),
        ("Anthropic", 400, "invalid_request_error", "messages.3: image exceeds 5 MB maximum", NoPictures),
        ("Anthropic", 400, "invalid_request_error", "Could not process image", NoPictures),
        ("Anthropic", 400, "invalid_request_error", "messages.1.content.0: tool_use ids must be unique", Conversation),
        ("OpenAI", 401, "invalid_request_error invalid_api_key", "Incorrect API key provided", Auth),
        ("OpenAI", 429, "insufficient_quota", "You exceeded your current quota", Quota),
        ("OpenAI", 429, "tokens rate_limit_exceeded", "Rate limit reached for gpt-5", RateLimit),
        ("OpenAI", 404, "invalid_request_error model_not_found", "The model `x` does not exist", NoModel),
        ("OpenAI", 403, "model_not_found", "Project does not have access to model x", NoModel),
        (
            "OpenAI",
            400,
            "invalid_request_error context_length_exceeded",
            "This model's maximum context length",
            TooLong,
        ),
        (
            "OpenAI",
            400,
            "content_filter",
            "The response was filtered due to Azure's content management policy",
            Filtered,
        ),
        ("OpenAI", 400, "invalid_request_error", "Invalid type for 'messages[0].content'", Conversation),
        ("OpenAI", 503, "server_error", "The server is overloaded", Busy),
        ("OpenAI", 408, "", "timeout", Busy),
        ("OpenAI", 0, "server_error", "The server had an error", Busy),
        ("Gemini", 400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", Auth),
        ("Gemini", 403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers", Auth),
        ("Gemini", 429, "RESOURCE_EXHAUSTED", "Resource has been exhausted", RateLimit),
        ("Gemini", 429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan", Quota),
        ("Gemini", 503, "UNAVAILABLE", "The model is overloaded. Please try again later.", Busy),
        ("Gemini", 404, "NOT_FOUND", "models/x is not found for API version v1beta", NoModel),
        (
            "Gemini",
            400,
            "INVALID_ARGUMENT",
            "The input token count exceeds the maximum number of tokens allowed",
            TooLong,
        ),
        ("Gemini", 400, "INVALID_ARGUMENT", "Unable to process input image", NoPictures),
        ("Gemini", 400, "INVALID_ARGUMENT", "Request contains an invalid argument.", Conversation),
        ("Ollama", 400, "api_error", "registry.ollama.ai/library/gemma3:1b does not support tools", NoTools),
        ("Ollama", 400, "", "\"gemma:2b\" does not support tools", NoTools),
        ("Ollama", 404, "", "model \"x\" not found, try pulling it first", NoModel),
        ("Ollama", 500, "", "model requires more system memory (9.1 GiB) than is available (5.6 GiB)", NoMemory),
        ("Ollama", 500, "", "llama runner process has terminated", Busy),
        ("Ollama", 500, "", "this model is missing data required for image input", NoPictures),
        ("llama.cpp", 400, "exceed_context_size_error", "the request exceeds the available context size", TooLong),
        ("llama.cpp", 500, "server_error", "image input is not supported - hint: provide the mmproj", NoPictures),
        ("llama.cpp", 501, "not_supported_error", "This server does not support completions", ForGood),
        ("llama.cpp", 503, "unavailable_error", "Loading model", Busy),
        ("vLLM", 400, "BadRequestError", "\"auto\" tool choice requires --enable-auto-tool-choice", NoTools),
        ("vLLM", 404, "NotFoundError", "The model `x` does not exist.", NoModel),
        ("LM Studio", 400, "", "The number of tokens to keep is greater than the context length", TooLong),
        ("OpenRouter", 404, "", "No endpoints found that support tool use", NoTools),
        ("OpenRouter", 402, "", "Insufficient credits", Quota),
        ("OpenRouter", 400, "", "x/y is not a valid model ID", NoModel),
        ("Claude Code", 0, "authentication_failed", "Not logged in", Auth),
        ("Claude Code", 0, "billing_error", "x", Quota),
        ("Claude Code", 0, "server_error", "x", Busy),
        ("Claude Code", 400, "unknown", "API Error: 400", Conversation),
        ("Claude Code", 404, "model_not_found", "x", NoModel),
        ("Codex", 0, "unauthorized", "x", Auth),
        ("Codex", 0, "usageLimitExceeded", "x", Quota),
        ("Codex", 0, "rateLimitExceeded", "x", RateLimit),
        ("Codex", 0, "serverOverloaded", "x", Busy),
        ("Codex", 0, "policyCapacityUnavailable", "x", Busy),
        ("Codex", 0, "contextWindowExceeded", "x", TooLong),
        ("Codex", 0, "modelNotFound", "x", NoModel),
        ("Codex", 0, "badRequest", "x", Conversation),
        ("Codex", 502, "responseStreamConnectionFailed", "x", Busy),
        ("Codex", 0, "httpConnectionFailed", "x", Unreachable),
        ("Claude Code", 0, "max_output_tokens", "Claude's response exceeded the 32000 output token maximum", Cut),
        ("Codex", 0, "other", "stream disconnected: Incomplete response returned, reason: max_output_tokens", Cut),
        ("Codex", 0, "other", "stream disconnected: Incomplete response returned, reason: content_filter", Filtered),
        ("nobody", 418, "", "<html>", ForGood),
        ("nobody", 0, "", "", Unknown),
    ] {
        assert_eq!(at(status, code, said), expected, "{vendor}: {status} {code} {said}");
    }
}

#[test]
fn vendors_error_is_found_inside_a_message() {
    let body = r#"{"type":"error","error":{"type":"invalid_request_error","message":"No. "},"id":"x"}"#;
    assert_eq!(
        inside(&format!("API Error: 400 {body} (see above)")),
        Some(("invalid_request_error".into(), "No.".into()))
    );
    for none in ["plain", "{", r#"{"a":1}"#, "{x} {\"message\":1}"] {
        assert_eq!(inside(none), None, "{none}");
    }
    assert_eq!(at(0, "other", body), Meaning::Conversation);
}

/// How each program says it. Whether a session was to be resumed at all, only the provider knows.
#[test]
fn a_lost_session_is_known_by_the_programs_words() {
    for said in [
        "No conversation found with session ID: x",
        "Error: --resume requires a valid session ID or session title when used with --print.",
        "Session IDs must be in UUID format. Provided value \"x\" is not a UUID",
        "no rollout found for thread id x",
        "Invalid session identifier \"x\".",
        "No previous sessions found for this project.",
    ] {
        assert!(is_lost(said), "{said}");
    }
    for said in ["config cannot be read", "Internal error", "model not found", ""] {
        assert!(!is_lost(said), "{said}");
    }
}

#[test]
fn lost_session_is_recognised_by_the_programs_words() {
    for said in [
        "No conversation found with session ID: x",
        "Error: --resume requires a valid session ID or session title when used with --print.",
        "Session IDs must be in UUID format. Provided value \"x\" is not a UUID",
        "no rollout found for thread id x",
        "Invalid session identifier \"x\".",
        "No previous sessions found for this project.",
    ] {
        assert!(is_lost(said), "{said}");
    }
    for said in ["config cannot be read", "Internal error", "model not found", ""] {
        assert!(!is_lost(said), "{said}");
    }
}

#[test]
fn quota_per_minute_is_a_rate_limit() {
    let said = "You exceeded your current quota, please check your plan and billing details.";
    let minute = Refusal { status: 429, code: "RESOURCE_EXHAUSTED", said, waits: true };
    assert_eq!(meaning(minute), Meaning::RateLimit);
    assert_eq!(meaning(Refusal { waits: false, ..minute }), Meaning::Quota);
    assert_eq!(meaning(Refusal { said: "You have exhausted your daily quota", ..minute }), Meaning::Quota);
}

proptest! {
    /// Whatever words come with it: a 4xx refusal is permanent, except for 408 and 429.
    #[test]
    fn words_never_make_a_refusal_temporary(
        status in 400u16..499,
        code in "(overloaded_error|api_error|rate_limit_error|server_error|unavailable|timeout|[a-z_]{0,12})",
        said in "(overloaded|try again later|temporarily unavailable|rate limit|[ -~]{0,40})",
        waits: bool,
    ) {
        let kind = meaning(Refusal { status, code: &code, said: &said, waits }).kind();
        let passes = matches!(kind, ErrorKind::RateLimit | ErrorKind::Overloaded | ErrorKind::Other);
        prop_assert_eq!(passes, matches!(status, 408 | 429) && kind != ErrorKind::Quota);
    }
}
