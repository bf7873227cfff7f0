//! Converts the parts of an answer into the form that the conversation keeps. Pure.

use genai::chat::{ContentPart, MessageContent};
use parlor_protocol::json;
use serde_json::{Value, json};

use crate::thought;

/// Replaces the content's text with this one, and leaves all other parts in their places.
pub fn with_text(content: MessageContent, text: &str) -> MessageContent {
    let mut text = Some(thought::without(text));
    let mut parts: Vec<ContentPart> = Vec::new();
    for part in content.into_parts() {
        match part {
            ContentPart::Text(_) => parts.extend(text.take().map(ContentPart::Text)),
            other => parts.push(other),
        }
    }
    // The text of a refusal is not part of the content yet.
    let first_call = parts.iter().position(|part| matches!(part, ContentPart::ToolCall(_))).unwrap_or(parts.len());
    if let Some(text) = text {
        parts.insert(first_call, ContentPart::Text(text));
    }
    MessageContent::from_parts(parts)
}

/// Makes each call's arguments an object, as vendors require; also returns the ids of calls with incomplete arguments.
pub fn usable(content: MessageContent) -> (MessageContent, Vec<String>) {
    let mut half = Vec::new();
    let parts = content.into_parts().into_iter().filter_map(|part| match part {
        ContentPart::ToolCall(mut call) => {
            let value = match call.fn_arguments.as_str() {
                // Some models call a tool without arguments like this.
                Some(text) if text.trim().is_empty() => json!({}),
                Some(text) => json::from_str::<Value>(text).unwrap_or(Value::Bool(false)),
                None if call.fn_arguments.is_null() => json!({}),
                None => call.fn_arguments.clone(),
            };
            if !value.is_object() {
                half.push(call.call_id.clone());
            }
            call.fn_arguments = if value.is_object() { value } else { json!({}) };
            Some(ContentPart::ToolCall(call))
        }
        ContentPart::Text(text) if text.is_empty() => None,
        other => Some(other),
    });
    let content = MessageContent::from_parts(parts.collect::<Vec<_>>());
    (content, half)
}

#[cfg(test)]
mod tests {
    use genai::chat::ToolCall;

    use super::*;

    #[test]
    fn usable_makes_arguments_objects() {
        let call = |arguments: Value| ToolCall {
            call_id: "a".into(),
            fn_name: "f".into(),
            fn_arguments: arguments,
            thought_signatures: None,
        };
        let calls = [json!({"a": 1}), json!("{\"a\": 1}"), json!("{\"a\": "), json!(""), json!(null), json!("[1]")];
        let calls =
            calls.into_iter().enumerate().map(|(at, value)| ToolCall { call_id: at.to_string(), ..call(value) });
        let (content, half) = usable(MessageContent::from_tool_calls(calls.collect()));
        assert_eq!(half, ["2", "5"], "not whole");
        let seen: Vec<Value> = content.tool_calls().iter().map(|call| call.fn_arguments.clone()).collect();
        assert_eq!(seen, [json!({"a": 1}), json!({"a": 1}), json!({}), json!({}), json!({}), json!({})]);
    }

    #[test]
    fn with_text_replaces_the_text_and_its_thoughts() {
        let content = MessageContent::from_parts(vec![
            ContentPart::ThoughtSignature("s".into()),
            ContentPart::Text("<think>x</think>Hi".into()),
        ]);
        assert_eq!(with_text(content, "Hi").joined_texts().as_deref(), Some("Hi"));
        assert_eq!(with_text(MessageContent::default(), "I cannot.").joined_texts().as_deref(), Some("I cannot."));
    }
}
