//! The Gemini API: its checks of requests, and its stream of answers.

use serde_json::{Value, json};

use super::anthropic::halves;
use super::{KEY, Reply, tokens};

type Refusal = (u16, &'static str, String);

/// The API's code for an unknown key; its status is that of a malformed request.
pub const BAD_KEY: &str = "API_KEY_INVALID";

/// Answers requests beside the conversation: how long a text is, and how hard a question is.
pub fn aside(path: &str) -> Option<Value> {
    if path.contains(":countTokens") {
        return Some(json!({"totalTokens": 100}));
    }
    let judged = json!({"complexity_reasoning": "a test", "complexity_score": 10}).to_string();
    path.contains(":generateContent").then(|| json!({"candidates": [candidate(&json!({"text": judged}), "STOP")]}))
}

/// Refuses the requests that the vendor refuses.
pub fn check<'a>(path: &str, header: &impl Fn(&str) -> Option<&'a str>, body: &Value) -> Result<(), Refusal> {
    let wrong = |message: String| Err((400, "INVALID_ARGUMENT", message));
    if header("x-goog-api-key") != Some(KEY) {
        return Err((400, BAD_KEY, "API key not valid. Please pass a valid API key.".to_owned()));
    }
    if !path.starts_with("/v1beta/models/") || !path.ends_with(":streamGenerateContent?alt=sse") {
        return Err((404, "NOT_FOUND", format!("no such path: {path}")));
    }
    let contents = body["contents"].as_array().cloned().unwrap_or_default();
    if contents.first().is_none_or(|first| first["role"] != "user") {
        return wrong("the first content is not the user's".to_owned());
    }
    let count = |content: Option<&Value>, kind: &str| {
        let parts = content.and_then(|content| content["parts"].as_array());
        parts.map_or(0, |parts| parts.iter().filter(|part| part[kind].is_object()).count())
    };
    for (at, content) in contents.iter().enumerate() {
        if content["parts"].as_array().is_none_or(Vec::is_empty) {
            return wrong(format!("content {at} is empty"));
        }
        let (calls, answers) = (count(Some(content), "functionCall"), count(contents.get(at + 1), "functionResponse"));
        if content["role"] == "model" && calls != answers {
            return wrong(format!("{calls} calls of content {at} are answered {answers} times"));
        }
    }
    Ok(())
}

pub fn error(status: u16, kind: &str, message: &str, wait: Option<&str>) -> Value {
    let mut details = Vec::new();
    if kind == BAD_KEY {
        details.push(
            json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": kind, "domain": "googleapis.com"}),
        );
    }
    if let Some(seconds) = wait {
        details.push(json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s")}));
    }
    let kind = if kind == BAD_KEY { "INVALID_ARGUMENT" } else { kind };
    json!({"error": {"code": status, "message": message, "status": kind, "details": details}})
}

fn candidate(part: &Value, finish: &str) -> Value {
    json!({"content": {"role": "model", "parts": [part]}, "finishReason": finish, "index": 0})
}

/// Returns the events of an answer, and whether the stream is complete.
pub fn frames(request: &Value, reply: &Reply) -> (Vec<String>, bool) {
    let event = |data: &Value| format!("data: {data}\r\n\r\n");
    let open = |part: &Value| {
        let content = json!({"role": "model", "parts": [part]});
        event(&json!({"candidates": [{"content": content, "index": 0}], "modelVersion": "test"}))
    };
    let (text, calls) = match reply {
        Reply::Text(text) => (text.as_str(), Vec::new()),
        Reply::Calls(text, calls) | Reply::Ended(_, text, calls) => (text.as_str(), calls.clone()),
        Reply::Fails(kind, message) => return (vec![event(&error(503, kind, message, None))], true),
        Reply::BreaksOff | Reply::Refused(..) => return (vec![open(&json!({"text": "…"}))], false),
    };
    let mut frames: Vec<String> = Vec::new();
    if !text.is_empty() {
        frames.extend(halves(text).map(|part| open(&json!({"text": part}))));
    }
    frames.extend(calls.iter().map(|(name, args)| open(&json!({"functionCall": {"name": name, "args": args}}))));
    let (input, output) = (tokens(request), text.len() / 4 + 1);
    let counted = json!({"promptTokenCount": input, "candidatesTokenCount": output, "totalTokenCount": input + output});
    let end = json!({"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": reply.reason().unwrap_or("STOP"), "index": 0});
    frames.push(event(&json!({"candidates": [end], "usageMetadata": counted, "modelVersion": "test"})));
    (frames, true)
}
