//! Chat completions: their checks of requests, and their stream of chunks.

use serde_json::{Value, json};

use super::anthropic::halves;
use super::{KEY, Reply, arguments, tokens};

type Refusal = (u16, &'static str, String);

/// Refuses the requests that the vendor refuses.
pub fn check<'a>(path: &str, header: &impl Fn(&str) -> Option<&'a str>, body: &Value) -> Result<(), Refusal> {
    let wrong = |message: String| Err((400, "invalid_request_error", message));
    if path != "/v1/chat/completions" {
        return Err((404, "not_found", format!("no such path: {path}")));
    }
    if header("authorization").and_then(|value| value.strip_prefix("Bearer ")) != Some(KEY) {
        return Err((401, "invalid_api_key", "Incorrect API key provided".to_owned()));
    }
    if body["stream"] != true || !body["model"].is_string() {
        return wrong("stream or model is missing".to_owned());
    }
    let mut open: Vec<String> = Vec::new();
    for (at, message) in body["messages"].as_array().into_iter().flatten().enumerate() {
        if message["role"] == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            if !open.iter().any(|call| call == id) {
                return wrong(format!("message {at} answers no call: {id}"));
            }
            open.retain(|call| call != id);
            continue;
        }
        if !open.is_empty() {
            return wrong(format!("calls without an answer before message {at}: {open:?}"));
        }
        let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
        open = calls.iter().filter_map(|call| call["id"].as_str().map(str::to_owned)).collect();
        let arguments = |call: &Value| {
            call["function"]["arguments"]
                .as_str()
                .is_some_and(|text| serde_json::from_str::<Value>(text).is_ok_and(|v| v.is_object()))
        };
        if !calls.iter().all(arguments) {
            return wrong(format!("a call of message {at} has no arguments in JSON"));
        }
    }
    if !open.is_empty() {
        return wrong(format!("calls without an answer: {open:?}"));
    }
    Ok(())
}

pub fn error(kind: &str, message: &str) -> Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": kind}})
}

/// Returns the chunks of an answer, and whether the stream is complete.
pub fn frames(request: &Value, reply: &Reply) -> (Vec<String>, bool) {
    let chunk = |delta: Value, finish: Value| {
        let data = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": request["model"],
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        format!("data: {data}\n\n")
    };
    let mut frames = vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)];
    let (text, calls) = match reply {
        Reply::Text(text) => (text.as_str(), Vec::new()),
        Reply::Calls(text, calls) | Reply::Ended(_, text, calls) => (text.as_str(), calls.clone()),
        Reply::Fails(kind, message) => {
            frames.push(format!("data: {}\n\n", error(kind, message)));
            return (frames, true);
        }
        Reply::BreaksOff | Reply::Refused(..) => return (frames, false),
    };
    if !text.is_empty() {
        frames.extend(halves(text).map(|part| chunk(json!({"content": part}), Value::Null)));
    }
    let count = request["messages"].as_array().map_or(0, Vec::len);
    for (index, (name, args)) in calls.iter().enumerate() {
        let head = json!({"index": index, "id": format!("call_{count}_{index}"), "type": "function",
            "function": {"name": name, "arguments": ""}});
        frames.push(chunk(json!({"tool_calls": [head]}), Value::Null));
        frames.extend(halves(&arguments(args)).map(|part| {
            chunk(json!({"tool_calls": [{"index": index, "function": {"arguments": part}}]}), Value::Null)
        }));
    }
    let reason = reply.reason().unwrap_or(if calls.is_empty() { "stop" } else { "tool_calls" });
    frames.push(chunk(json!({}), json!(reason)));
    let usage = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": request["model"],
        "choices": [], "usage": {"prompt_tokens": tokens(request), "completion_tokens": text.len() / 4 + 1, "total_tokens": 0}});
    frames.push(format!("data: {usage}\n\n"));
    frames.push("data: [DONE]\n\n".to_owned());
    (frames, true)
}
