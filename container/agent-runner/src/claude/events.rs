//! Parses a line of the CLI's stdout, as far as a run needs it. Pure; ignores unknown types and keys.

use parlor_protocol::json;
use serde::Deserialize;
use serde_json::Value;

use crate::live::said;

/// An event that the CLI reports.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The CLI began, or began its next turn.
    Began {
        /// MCP servers that it could not start or reach.
        failed: Vec<String>,
    },
    /// A message that was written to the CLI is now part of the conversation.
    Taken {
        /// The message's id, as we gave it.
        uuid: String,
    },
    /// A tool of the agent sent something to the chat.
    Spoke,
    /// The vendor refused a request; the turn's result follows.
    Refused {
        /// The vendor's word for it, as the CLI passes it on.
        error: String,
    },
    /// The CLI tries a request again.
    Retrying {
        /// The pause before the new try, in milliseconds.
        after_ms: u64,
    },
    /// The subscription's limit is used up.
    LimitReached {
        /// When the limit starts anew, in seconds since 1970.
        resets_at: i64,
    },
    /// A turn ended.
    Result(Box<TurnResult>),
    /// A line that is not JSON: a failure before the first event comes as plain text.
    Text(String),
    /// Anything else.
    Other,
}

/// The end of a turn.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TurnResult {
    /// The only reliable sign of a failure; `subtype` says `success` of failed requests, too.
    pub is_error: bool,
    /// The answer, or the error.
    pub result: Option<String>,
    /// The errors.
    pub errors: Vec<String>,
    /// HTTP status of the refused request.
    pub api_error_status: Option<u16>,
    /// The session's id.
    pub session_id: Option<String>,
    /// The session's cost so far, in US dollars.
    pub total_cost_usd: Option<f64>,
    /// Tokens of this turn.
    pub usage: Option<Value>,
    /// The vendor's word for the end of the last answer.
    pub stop_reason: Option<String>,
}

impl TurnResult {
    /// Returns the error, in the CLI's words.
    pub fn reason(&self) -> String {
        let text = self.result.as_deref().map(str::trim).filter(|text| !text.is_empty());
        text.map_or_else(|| self.errors.join("; "), str::to_owned)
    }
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    subtype: String,
    uuid: Option<String>,
    #[serde(rename = "isReplay")]
    is_replay: bool,
    error: Value,
    retry_delay_ms: Option<f64>,
    rate_limit_info: Option<LimitInfo>,
    mcp_servers: Value,
    message: Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LimitInfo {
    status: String,
    #[serde(rename = "resetsAt")]
    resets_at: Option<i64>,
}

/// Parses a line.
pub fn parse(line: &str) -> Event {
    let Ok(head) = json::from_str::<Line>(line) else {
        // A JSON line that does not fit is most likely an event whose fields changed their form.
        return if line.trim_start().starts_with('{') { Event::Other } else { Event::Text(line.trim().to_owned()) };
    };
    match (head.kind.as_str(), head.subtype.as_str()) {
        ("user", _) if head.is_replay => head.uuid.map_or(Event::Other, |uuid| Event::Taken { uuid }),
        ("assistant", _) => match head.error.as_str() {
            Some(error) => Event::Refused { error: error.to_owned() },
            None if speaks(&head.message) => Event::Spoke,
            None => Event::Other,
        },
        ("system", "init") => Event::Began { failed: failed_servers(&head.mcp_servers) },
        ("system", "api_retry") => Event::Retrying { after_ms: head.retry_delay_ms.unwrap_or(0.0).max(0.0) as u64 },
        ("rate_limit_event", _) => match head.rate_limit_info {
            // Without a time it is a temporary refusal and not the subscription's limit, though the status is the same.
            Some(LimitInfo { status, resets_at: Some(resets_at) }) if status == "rejected" => {
                Event::LimitReached { resets_at }
            }
            _ => Event::Other,
        },
        // A result must not be lost because a field changed its form: the turn would wait for it for ever.
        ("result", _) => Event::Result(Box::new(json::from_str(line).unwrap_or_else(|error| TurnResult {
            is_error: true,
            errors: vec![format!("Claude Code's result cannot be read: {error}")],
            ..TurnResult::default()
        }))),
        _ => Event::Other,
    }
}

fn speaks(message: &Value) -> bool {
    let blocks = message["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    blocks.iter().filter(|block| block["type"] == "tool_use").any(|block| match block["name"].as_str() {
        Some("Bash") => block["input"]["command"].as_str().is_some_and(said::command_speaks),
        name => name.is_some_and(said::speaks),
    })
}

fn failed_servers(list: &Value) -> Vec<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let failed = list.iter().filter(|server| server["status"] == "failed");
    failed.filter_map(|server| server["name"].as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_lines_are_parsed_and_unknown_ones_ignored() {
        let taken = r#"{"type":"user","message":{"role":"user","content":"x"},"uuid":"u1","isReplay":true,"new":1}"#;
        assert_eq!(parse(taken), Event::Taken { uuid: "u1".into() });
        let tool = r#"{"type":"user","message":{"content":[{"type":"tool_result"}]},"uuid":"u2"}"#;
        assert_eq!(parse(tool), Event::Other);
        let refused = r#"{"type":"assistant","message":{},"error":"rate_limit"}"#;
        assert_eq!(parse(refused), Event::Refused { error: "rate_limit".into() });
        assert_eq!(parse(r#"{"type":"assistant","message":{}}"#), Event::Other);
        let spoke = r#"{"type":"assistant","message":{"content":[{"type":"tool_use","name":"mcp__parlor__send_message","input":{}}]}}"#;
        assert_eq!(parse(spoke), Event::Spoke);
        assert_eq!(parse(&spoke.replace("tool_use", "text")), Event::Other);
        let call = |name: &str, input: Value| {
            let block = serde_json::json!({"type": "tool_use", "name": name, "input": input});
            parse(&serde_json::json!({"type": "assistant", "message": {"content": [block]}}).to_string())
        };
        let command = |text: &str| call("Bash", serde_json::json!({"command": text}));
        assert_eq!((command("parlor-tool send hi"), command("grep send_message x")), (Event::Spoke, Event::Other));
        let edit = serde_json::json!({"file_path": "send_file", "new_string": "send_message, parlor-tool send"});
        assert_eq!(call("Edit", edit), Event::Other);
        let began = r#"{"type":"system","subtype":"init","mcp_servers":[{"name":"a","status":"failed"},{"name":"b","status":"connected"}]}"#;
        assert_eq!(parse(began), Event::Began { failed: vec!["a".into()] });
        assert_eq!(parse(r#"{"type":"system","subtype":"init"}"#), Event::Began { failed: Vec::new() });
        let retry = r#"{"type":"system","subtype":"api_retry","retry_delay_ms":510.8,"error":"overloaded"}"#;
        assert_eq!(parse(retry), Event::Retrying { after_ms: 510 });
        let limit = |status: &str| {
            parse(&format!(r#"{{"type":"rate_limit_event","rate_limit_info":{{"status":"{status}","resetsAt":9}}}}"#))
        };
        assert_eq!(limit("rejected"), Event::LimitReached { resets_at: 9 });
        let passing = r#"{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","isUsingOverage":false}}"#;
        assert_eq!(parse(passing), Event::Other);
        assert_eq!(limit("allowed_warning"), Event::Other);
        assert_eq!(parse("No conversation found"), Event::Text("No conversation found".into()));
        assert_eq!(parse(r#"{"type":"command_lifecycle","state":"queued"}"#), Event::Other);
        assert_eq!(parse(r#"{"type":5}"#), Event::Other);
    }

    #[test]
    fn result_with_changed_fields_is_not_lost() {
        let line = r#"{"duration_ms":1,"type":"result","subtype":"success","is_error":false,"result":"hi",
            "session_id":"s","total_cost_usd":0.5,"usage":{"input_tokens":1},"api_error_status":null}"#;
        let Event::Result(result) = parse(line) else { panic!() };
        assert_eq!((result.result.as_deref(), result.session_id.as_deref()), (Some("hi"), Some("s")));
        assert_eq!(result.total_cost_usd, Some(0.5));
        let Event::Result(odd) = parse(r#"{"type":"result","is_error":"no"}"#) else { panic!() };
        assert!(odd.is_error && odd.reason().contains("cannot be read"));
        let Event::Result(failed) = parse(r#"{"type":"result","is_error":true,"errors":["a","b"]}"#) else { panic!() };
        assert_eq!(failed.reason(), "a; b");
    }
}
