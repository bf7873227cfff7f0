//! `OpenAI`'s Responses API: its checks of requests, and its stream of events.

use serde_json::{Value, json};

use super::anthropic::halves;
pub use super::openai::error;
use super::{KEY, Reply, arguments, tokens};

type Refusal = (u16, &'static str, String);

/// Number of a request's tokens that come from the cache.
pub const CACHED: usize = 10;

/// Refuses the requests that the vendor refuses.
pub fn check<'a>(path: &str, header: &impl Fn(&str) -> Option<&'a str>, body: &Value) -> Result<(), Refusal> {
    let wrong = |message: String| Err((400, "invalid_request_error", message));
    if path != "/v1/responses" {
        return Err((404, "not_found", format!("no such path: {path}")));
    }
    if header("authorization").and_then(|value| value.strip_prefix("Bearer ")) != Some(KEY) {
        return Err((401, "invalid_api_key", "Incorrect API key provided".to_owned()));
    }
    if body["stream"] != true || !body["model"].is_string() {
        return wrong("stream or model is missing".to_owned());
    }
    let items = body["input"].as_array().cloned().unwrap_or_default();
    let ids = |kinds: [&str; 2]| -> Vec<String> {
        let found = items.iter().filter(|item| kinds.iter().any(|kind| item["type"] == *kind));
        found.filter_map(|item| item["call_id"].as_str().map(str::to_owned)).collect()
    };
    let calls = ids(["function_call", "custom_tool_call"]);
    let answers = ids(["function_call_output", "custom_tool_call_output"]);
    if let Some(call) = calls.iter().find(|call| !answers.contains(call)) {
        return wrong(format!("No tool output found for function call {call}."));
    }
    if let Some(answer) = answers.iter().find(|answer| !calls.contains(answer)) {
        return wrong(format!("No tool call found for function call output with call_id {answer}."));
    }
    if items.iter().any(|item| item["type"] == "message" && item["content"].as_array().is_none_or(Vec::is_empty)) {
        return wrong("a message without content".to_owned());
    }
    Ok(())
}

/// Returns the role and text of everything in a request, in order.
pub fn conversation(body: &Value) -> Vec<(String, String)> {
    let items = body["input"].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .filter_map(|item| match item["type"].as_str()? {
            "message" => Some((item["role"].as_str()?.to_owned(), super::text_of(&item["content"]))),
            "function_call_output" | "custom_tool_call_output" => {
                Some(("tool".to_owned(), super::text_of(&item["output"])))
            }
            _ => None,
        })
        .collect()
}

/// Returns the events of an answer, and whether the stream is complete.
pub fn frames(request: &Value, reply: &Reply) -> (Vec<String>, bool) {
    let event = |data: &Value| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default());
    let count = request["input"].as_array().map_or(0, Vec::len);
    let id = format!("resp_{count}");
    let mut frames = vec![event(&json!({"type": "response.created", "response": {"id": id}}))];
    let (text, calls) = match reply {
        Reply::Text(text) => (text.as_str(), Vec::new()),
        Reply::Calls(text, calls) | Reply::Ended(_, text, calls) => (text.as_str(), calls.clone()),
        Reply::Fails(kind, message) => {
            let failed = json!({"id": id, "error": {"code": kind, "message": message}});
            frames.push(event(&json!({"type": "response.failed", "response": failed})));
            return (frames, true);
        }
        Reply::BreaksOff | Reply::Refused(..) => return (frames, false),
    };
    let mut items = Vec::new();
    if !text.is_empty() {
        let item = json!({"type": "message", "role": "assistant", "id": format!("msg_{count}"),
            "content": [{"type": "output_text", "text": text, "annotations": []}]});
        let mut empty = item.clone();
        empty["content"] = json!([]);
        frames.push(event(&json!({"type": "response.output_item.added", "output_index": 0, "item": empty})));
        frames.extend(halves(text).map(|part| {
            event(&json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0,
                "item_id": item["id"], "delta": part}))
        }));
        items.push(item);
    }
    items.extend(calls.iter().enumerate().map(|(at, (name, args))| call(&format!("{count}_{at}"), name, args)));
    frames.extend(
        items
            .iter()
            .enumerate()
            .map(|(at, item)| event(&json!({"type": "response.output_item.done", "output_index": at, "item": item}))),
    );
    let (read, written) = (tokens(request), text.len() / 4 + 1);
    let usage = json!({"input_tokens": read, "input_tokens_details": {"cached_tokens": CACHED}, "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": read + written});
    let end = match reply.reason() {
        Some(reason) => json!({"type": "response.incomplete", "response": {"id": id, "status": "incomplete",
            "incomplete_details": {"reason": reason}, "usage": usage}}),
        None => json!({"type": "response.completed", "response": {"id": id, "usage": usage}}),
    };
    frames.push(event(&end));
    (frames, true)
}

/// Encodes a call: `mcp__server__tool` is a server's tool; `exec` takes a program's text instead of JSON.
fn call(id: &str, name: &str, args: &Value) -> Value {
    let call_id = format!("call_{id}");
    if name == "exec" {
        return json!({"type": "custom_tool_call", "id": format!("ctc_{id}"), "call_id": call_id, "name": name,
            "namespace": "functions", "input": args["input"]});
    }
    let mut item = json!({"type": "function_call", "id": format!("fc_{id}"), "call_id": call_id, "name": name,
        "arguments": arguments(args)});
    if let Some((server, tool)) = name.strip_prefix("mcp__").and_then(|rest| rest.split_once("__")) {
        item["namespace"] = json!(format!("mcp__{server}"));
        item["name"] = json!(tool);
    }
    item
}
