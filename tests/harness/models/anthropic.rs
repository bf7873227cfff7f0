//! The Messages API: its checks of requests, and its stream of events.

use serde_json::{Value, json};

use super::{KEY, Reply, arguments, tokens};

type Refusal = (u16, &'static str, String);

/// Refuses the requests that the vendor refuses.
pub fn check<'a>(path: &str, header: &impl Fn(&str) -> Option<&'a str>, body: &Value) -> Result<(), Refusal> {
    let wrong = |message: String| Err((400, "invalid_request_error", message));
    if path != "/v1/messages" {
        return Err((404, "not_found_error", format!("no such path: {path}")));
    }
    let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if header("x-api-key") != Some(KEY) && bearer != Some(KEY) {
        return Err((401, "authentication_error", "invalid x-api-key".to_owned()));
    }
    if header("anthropic-version") != Some("2023-06-01") || body["stream"] != true || !body["max_tokens"].is_u64() {
        return wrong("anthropic-version, stream or max_tokens is missing".to_owned());
    }
    let messages = body["messages"].as_array().cloned().unwrap_or_default();
    if messages.first().is_none_or(|first| first["role"] != "user") {
        return wrong("the first message is not the user's".to_owned());
    }
    let ids = |message: &Value, kind: &str, key: &str| -> Vec<String> {
        let parts = message["content"].as_array().cloned().unwrap_or_default();
        parts
            .iter()
            .filter(|part| part["type"] == kind)
            .filter_map(|part| part[key].as_str().map(str::to_owned))
            .collect()
    };
    for (at, message) in messages.iter().enumerate() {
        if message["content"].as_str().is_some_and(str::is_empty)
            || message["content"].as_array().is_some_and(Vec::is_empty)
        {
            return wrong(format!("message {at} is empty"));
        }
        let calls = ids(message, "tool_use", "id");
        let answers = messages.get(at + 1).map(|next| ids(next, "tool_result", "tool_use_id")).unwrap_or_default();
        if message["role"] == "assistant" && calls != answers {
            return wrong(format!("tool_use {calls:?} of message {at} is answered by {answers:?}"));
        }
        let parts = message["content"].as_array().cloned().unwrap_or_default();
        if parts.iter().any(|part| part["type"] == "tool_use" && !part["input"].is_object()) {
            return wrong(format!("a tool_use of message {at} has no object as input"));
        }
    }
    for tool in body["tools"].as_array().into_iter().flatten() {
        if tool["input_schema"]["type"] != "object" || !tool["name"].is_string() {
            return wrong(format!("a tool without a schema: {tool}"));
        }
    }
    Ok(())
}

pub fn error(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}})
}

/// Returns the events of an answer, and whether the stream is complete.
pub fn frames(request: &Value, reply: &Reply) -> (Vec<String>, bool) {
    let event = |name: &str, data: &Value| format!("event: {name}\ndata: {data}\n\n");
    let start = json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
        "content": [], "model": request["model"], "stop_reason": null,
        "usage": {"input_tokens": tokens(request), "output_tokens": 1}}});
    let mut frames = vec![event("message_start", &start), event("ping", &json!({"type": "ping"}))];
    let (text, calls) = match reply {
        Reply::Text(text) => (text.as_str(), Vec::new()),
        Reply::Calls(text, calls) | Reply::Ended(_, text, calls) => (text.as_str(), calls.clone()),
        Reply::Fails(kind, message) => {
            frames.push(event("error", &error(kind, message)));
            return (frames, true);
        }
        Reply::BreaksOff | Reply::Refused(..) => return (frames, false),
    };
    let mut index = 0;
    let mut block = |start: Value, deltas: Vec<Value>| {
        let mut all = vec![event(
            "content_block_start",
            &json!({"type": "content_block_start", "index": index, "content_block": start}),
        )];
        all.extend(deltas.into_iter().map(|delta| {
            event("content_block_delta", &json!({"type": "content_block_delta", "index": index, "delta": delta}))
        }));
        all.push(event("content_block_stop", &json!({"type": "content_block_stop", "index": index})));
        index += 1;
        frames.extend(all);
    };
    if !text.is_empty() {
        let deltas = halves(text).map(|part| json!({"type": "text_delta", "text": part})).to_vec();
        block(json!({"type": "text", "text": ""}), deltas);
    }
    let reason = reply.reason().unwrap_or(if calls.is_empty() { "end_turn" } else { "tool_use" });
    let count = request["messages"].as_array().map_or(0, Vec::len);
    for (at, (name, args)) in calls.iter().enumerate() {
        let args = arguments(args);
        let deltas = halves(&args).map(|part| json!({"type": "input_json_delta", "partial_json": part})).to_vec();
        block(json!({"type": "tool_use", "id": format!("toolu_{count}_{at}"), "name": name, "input": {}}), deltas);
    }
    frames.push(event(
        "message_delta",
        &json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": text.len() / 4 + 1}}),
    ));
    frames.push(event("message_stop", &json!({"type": "message_stop"})));
    (frames, true)
}

/// Splits a text into two parts, as a stream would.
pub fn halves(text: &str) -> [String; 2] {
    let half = text.chars().count() / 2;
    [text.chars().take(half).collect(), text.chars().skip(half).collect()]
}
