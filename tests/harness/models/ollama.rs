//! Ollama's own protocol: lines of JSON, and a default context of 4,096 tokens.

use serde_json::{Value, json};

use super::anthropic::halves;
use super::{Reply, tokens};

type Refusal = (u16, &'static str, String);

/// The context of a request that does not set one.
const CONTEXT: u64 = 4096;
/// The longest context of its models.
const LONGEST: u64 = 40_960;

/// Answers requests beside the conversation.
pub fn aside(path: &str) -> Option<Value> {
    match path {
        "/api/tags" => Some(json!({"models": [{"name": "first-model"}]})),
        "/api/show" => Some(json!({"model_info": {"general.architecture": "test", "test.context_length": LONGEST}})),
        _ => None,
    }
}

/// Refuses the requests that Ollama refuses.
pub fn check(path: &str, body: &Value) -> Result<(), Refusal> {
    if path != "/api/chat" {
        return Err((404, "", format!("no such path: {path}")));
    }
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    if body["model"].as_str().is_none_or(str::is_empty) || messages.iter().any(|one| !one["content"].is_string()) {
        return Err((400, "", "a model or a content is missing".to_owned()));
    }
    Ok(())
}

/// Returns the lines of an answer, and whether the stream is complete.
pub fn frames(request: &Value, reply: &Reply) -> (Vec<String>, bool) {
    let line = |data: Value| format!("{data}\n");
    let piece = |message: Value| line(json!({"model": request["model"], "message": message, "done": false}));
    let (text, calls) = match reply {
        Reply::Text(text) => (text.as_str(), Vec::new()),
        Reply::Calls(text, calls) | Reply::Ended(_, text, calls) => (text.as_str(), calls.clone()),
        Reply::Fails(_, message) => return (vec![line(json!({"error": message}))], true),
        Reply::BreaksOff | Reply::Refused(..) => {
            return (vec![piece(json!({"role": "assistant", "content": "…"}))], false);
        }
    };
    let say = |part: String| piece(json!({"role": "assistant", "content": part}));
    let mut frames: Vec<String> = halves(text).map(say).to_vec();
    frames.extend(calls.iter().map(|(name, args)| {
        let call = json!({"function": {"name": name, "arguments": args}});
        piece(json!({"role": "assistant", "content": "", "tool_calls": [call]}))
    }));
    let context = request["options"]["num_ctx"].as_u64().unwrap_or(CONTEXT);
    frames.push(line(json!({"model": request["model"], "message": {"role": "assistant", "content": ""}, "done": true,
        "done_reason": reply.reason().unwrap_or("stop"), "prompt_eval_count": context.min(tokens(request) as u64),
        "eval_count": text.len() / 4 + 1})));
    (frames, true)
}
