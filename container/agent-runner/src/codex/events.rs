//! Parses a line of the CLI's stdout, as far as a run needs it. Pure; ignores unknown methods and keys.

use parlor_protocol::json;
use serde::Deserialize;
use serde_json::Value;

use crate::live::said;
use crate::refusal;

/// A line: an event and its thread. Sub-agents have threads of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The thread; None if it concerns all or none.
    pub thread: Option<String>,
    /// The event.
    pub event: Event,
}

/// An event that the CLI reports.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The answer to a request of ours.
    Answered {
        /// The request's number.
        id: u64,
        /// The returned value, or the reason of the refusal.
        result: Result<Value, String>,
    },
    /// The CLI asks us something.
    Asked {
        /// The request's id, in the CLI's form.
        id: Value,
        /// The method that names the question.
        method: String,
    },
    /// A turn began.
    Started {
        /// Its id.
        turn: String,
    },
    /// A message that was written to the CLI is now part of the conversation.
    Taken {
        /// The message's id, as we gave it.
        message: String,
    },
    /// The agent said something; it is the answer unless the agent continues to work.
    Said {
        /// The text.
        text: String,
        /// True if it only announces the agent's next step.
        aside: bool,
    },
    /// The agent did something else.
    Worked,
    /// A tool of the agent sent something to the chat.
    Spoke,
    /// Tokens were used.
    Used {
        /// The turn's id.
        turn: String,
        /// Tokens of the whole conversation.
        total: Tokens,
        /// Tokens of the last request.
        last: Tokens,
    },
    /// A limit of the subscription is used up.
    LimitReached {
        /// When the limit starts anew, in seconds since 1970.
        resets_at: i64,
    },
    /// An MCP server did not start.
    ServerFailed {
        /// Its name.
        name: String,
        /// The reason, in the CLI's words.
        why: String,
    },
    /// A request failed.
    Trouble {
        /// The fault.
        fault: Fault,
        /// True if the CLI tries it again.
        again: bool,
    },
    /// A turn ended.
    Ended {
        /// The fault; None if the turn went well.
        fault: Option<Fault>,
        /// The answer, if the CLI sends it with the end.
        text: Option<String>,
    },
    /// A line that is not JSON.
    Text(String),
    /// Anything else.
    Other,
}

/// Counts of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Tokens {
    /// Tokens read, including those from the cache.
    #[serde(rename = "inputTokens")]
    pub input: u64,
    /// Tokens read from the vendor's cache.
    #[serde(rename = "cachedInputTokens")]
    pub cached: u64,
    /// Tokens written to the vendor's cache.
    #[serde(rename = "cacheWriteInputTokens")]
    pub cache_write: u64,
    /// Tokens written, including thoughts.
    #[serde(rename = "outputTokens")]
    pub output: u64,
    /// Tokens of thoughts.
    #[serde(rename = "reasoningOutputTokens")]
    pub reasoning: u64,
}

/// An error of a request or turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fault {
    /// The error, in the CLI's words.
    pub message: String,
    /// The CLI's word for the kind: `unauthorized`, `httpConnectionFailed`, …
    pub kind: String,
    /// HTTP status of the refused request.
    pub status: Option<u16>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Message {
    id: Value,
    method: Option<String>,
    params: Value,
    result: Value,
    error: Value,
}

/// Parses a line.
pub fn parse(line: &str) -> Line {
    let Ok(message) = json::from_str::<Message>(line) else {
        let text = line.trim();
        let event = if text.starts_with('{') { Event::Other } else { Event::Text(text.to_owned()) };
        return Line { thread: None, event };
    };
    let params = &message.params;
    let thread = params["threadId"].as_str().map(str::to_owned);
    let event = match (&message.id, message.method.as_deref()) {
        (id, Some(method)) if !id.is_null() => Event::Asked { id: id.clone(), method: method.to_owned() },
        (id, None) => match id.as_u64() {
            Some(id) if message.error.is_null() => Event::Answered { id, result: Ok(message.result) },
            Some(id) => Event::Answered { id, result: Err(words(&message.error["message"])) },
            None => Event::Other,
        },
        (_, Some("turn/started")) => Event::Started { turn: words(&params["turn"]["id"]) },
        (_, Some("turn/completed")) => ended(&params["turn"]),
        (_, Some("item/started"))
            if !matches!(params["item"]["type"].as_str(), Some("agentMessage" | "userMessage")) =>
        {
            Event::Worked
        }
        (_, Some("item/completed")) => item(&params["item"]),
        (_, Some("thread/tokenUsage/updated")) => Event::Used {
            turn: words(&params["turnId"]),
            total: tokens(&params["tokenUsage"]["total"]),
            last: tokens(&params["tokenUsage"]["last"]),
        },
        (_, Some("account/rateLimits/updated")) => limits(&params["rateLimits"]),
        (_, Some("mcpServer/startupStatus/updated")) if params["status"] == "failed" => {
            Event::ServerFailed { name: words(&params["name"]), why: words(&params["error"]) }
        }
        (_, Some("error")) => Event::Trouble { fault: fault(&params["error"]), again: params["willRetry"] == true },
        _ => Event::Other,
    };
    Line { thread, event }
}

fn item(item: &Value) -> Event {
    match item["type"].as_str() {
        Some("userMessage") => {
            item["clientId"].as_str().map_or(Event::Other, |id| Event::Taken { message: id.to_owned() })
        }
        Some("agentMessage") => Event::Said { text: words(&item["text"]), aside: item["phase"] == "commentary" },
        _ if speaks(item) => Event::Spoke,
        _ => Event::Worked,
    }
}

fn speaks(item: &Value) -> bool {
    match item["type"].as_str() {
        Some("mcpToolCall") => item["server"] == said::SERVER && item["tool"].as_str().is_some_and(said::speaks),
        Some("commandExecution") => item["command"].as_str().is_some_and(said::command_speaks),
        _ => false,
    }
}

fn ended(turn: &Value) -> Event {
    let said = turn["items"].as_array().into_iter().flatten().rfind(|item| item["type"] == "agentMessage");
    let text = said.map(|item| words(&item["text"])).filter(|text| !text.trim().is_empty());
    let fault = match turn["status"].as_str() {
        Some("completed") => None,
        Some("interrupted") => Some(Fault { message: "the turn was interrupted".to_owned(), ..Fault::default() }),
        _ => Some(fault(&turn["error"])),
    };
    Event::Ended { fault, text }
}

fn fault(error: &Value) -> Fault {
    let info = &error["codexErrorInfo"];
    let (kind, status) = match info {
        Value::String(kind) => (kind.clone(), None),
        Value::Object(map) => map.iter().next().map_or_else(Default::default, |(kind, details)| {
            let status = details["httpStatusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
            (kind.clone(), status)
        }),
        _ => (String::new(), None),
    };
    // While the CLI retries, the reason is among the details.
    let message = [&error["additionalDetails"], &error["message"]].into_iter().map(words).find(|text| !text.is_empty());
    let message = message.unwrap_or_else(|| "Codex failed without a reason".to_owned());
    // Of a malformed request only the vendor's answer is passed on, unchanged.
    match refusal::inside(&message).filter(|_| message.starts_with('{')) {
        Some((code, said)) => Fault { message: said, kind: format!("{kind} {code}"), status: status.or(Some(400)) },
        None => Fault { message, kind, status },
    }
}

fn limits(limits: &Value) -> Event {
    let windows = [&limits["primary"], &limits["secondary"]];
    let full = windows.into_iter().filter(|window| window["usedPercent"].as_i64().is_some_and(|used| used >= 100));
    // Of several used-up limits, the one that resets last counts.
    full.filter_map(|window| window["resetsAt"].as_i64())
        .max()
        .map_or(Event::Other, |resets_at| Event::LimitReached { resets_at })
}

fn tokens(value: &Value) -> Tokens {
    Tokens::deserialize(value).unwrap_or_default()
}

fn words(value: &Value) -> String {
    value.as_str().map(str::trim).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(line: &str) -> Event {
        parse(line).event
    }

    #[test]
    fn known_lines_are_parsed_and_unknown_ones_ignored() {
        let taken = r#"{"method":"item/completed","params":{"item":{"type":"userMessage","id":"i","clientId":"u1",
            "content":[]},"threadId":"t","turnId":"n"},"emittedAtMs":1}"#;
        let line = parse(taken);
        assert_eq!((line.thread.as_deref(), line.event), (Some("t"), Event::Taken { message: "u1".into() }));
        let said = r#"{"method":"item/completed","params":{"item":{"type":"agentMessage","text":"hi","phase":null}}}"#;
        assert_eq!(event(said), Event::Said { text: "hi".into(), aside: false });
        assert_eq!(event(&said.replace("null", "\"commentary\"")), Event::Said { text: "hi".into(), aside: true });
        let works = r#"{"method":"item/started","params":{"item":{"type":"commandExecution"}}}"#;
        assert_eq!(event(works), Event::Worked);
        assert_eq!(event(&works.replace("commandExecution", "agentMessage")), Event::Other);
        let spoke = r#"{"method":"item/completed","params":{"item":{"type":"mcpToolCall","server":"parlor","tool":"send_message"}}}"#;
        assert_eq!(event(spoke), Event::Spoke);
        assert_eq!(event(&spoke.replace("send_message", "list_tasks")), Event::Worked);
        assert_eq!(event(&spoke.replace("parlor", "other")), Event::Worked);
        for (item, spoke) in [
            (r#"{"type":"mcpToolCall","server":"parlor","tool":"recall","arguments":{"word":"send_message"}}"#, false),
            (
                r#"{"type":"commandExecution","command":"grep send_message x","aggregatedOutput":"parlor-tool send"}"#,
                false,
            ),
            (r#"{"type":"commandExecution","command":"/bin/bash -lc 'parlor-tool send hi'"}"#, true),
            (r#"{"type":"fileChange","changes":[{"diff":"send_message"}]}"#, false),
        ] {
            let line = format!(r#"{{"method":"item/completed","params":{{"item":{item}}}}}"#);
            assert_eq!(event(&line), if spoke { Event::Spoke } else { Event::Worked }, "{item}");
        }
        assert_eq!(
            event(r#"{"id":3,"result":{"a":1}}"#),
            Event::Answered { id: 3, result: Ok(serde_json::json!({"a":1})) }
        );
        let refused = r#"{"error":{"code":-32600,"message":"no rollout found"},"id":3}"#;
        assert_eq!(event(refused), Event::Answered { id: 3, result: Err("no rollout found".into()) });
        let asked = r#"{"id":"x","method":"item/tool/requestUserInput","params":{}}"#;
        assert_eq!(event(asked), Event::Asked { id: "x".into(), method: "item/tool/requestUserInput".into() });
        let full = r#"{"method":"account/rateLimits/updated","params":{"rateLimits":{"primary":{"usedPercent":100,
            "resetsAt":9},"secondary":{"usedPercent":10,"resetsAt":99}}}}"#;
        assert_eq!(event(full), Event::LimitReached { resets_at: 9 });
        let failed = r#"{"method":"mcpServer/startupStatus/updated","params":{"threadId":"t","name":"a","status":"failed","error":"late"}}"#;
        assert_eq!(event(failed), Event::ServerFailed { name: "a".into(), why: "late".into() });
        assert_eq!(event(&failed.replace("\"failed\"", "\"ready\"")), Event::Other);
        assert_eq!(event("Error: boom\n"), Event::Text("Error: boom".into()));
        assert_eq!(event(r#"{"method":5}"#), Event::Other);
        assert_eq!(event(r#"{"method":"thread/status/changed","params":{}}"#), Event::Other);
    }

    #[test]
    fn turn_end_has_its_fault_or_answer() {
        let good = r#"{"method":"turn/completed","params":{"threadId":"t","turn":{"id":"n","status":"completed",
            "items":[{"type":"agentMessage","text":"a"},{"type":"agentMessage","text":"b"}],"error":null}}}"#;
        assert_eq!(event(good), Event::Ended { fault: None, text: Some("b".into()) });
        let bad = r#"{"method":"turn/completed","params":{"turn":{"status":"failed","items":[],"error":{"message":"m",
            "codexErrorInfo":{"httpConnectionFailed":{"httpStatusCode":401}},"additionalDetails":null}}}}"#;
        let fault = Fault { message: "m".into(), kind: "httpConnectionFailed".into(), status: Some(401) };
        assert_eq!(event(bad), Event::Ended { fault: Some(fault), text: None });
        let Event::Ended { fault: Some(odd), .. } = event(r#"{"method":"turn/completed","params":{}}"#) else {
            panic!()
        };
        assert!(odd.message.contains("without a reason"));
        let wrong = r#"{"method":"error","params":{"error":{"message":"{\"error\":{\"message\":\"No.\",\"type\":\"api_error\"}}",
            "codexErrorInfo":"other"},"willRetry":false}}"#;
        let fault = Fault { message: "No.".into(), kind: "other api_error".into(), status: Some(400) };
        assert_eq!(event(wrong), Event::Trouble { fault, again: false });
        let again = r#"{"method":"error","params":{"error":{"message":"Reconnecting... 1/2","codexErrorInfo":
            {"responseStreamDisconnected":{"httpStatusCode":null}},"additionalDetails":"why"},"willRetry":true}}"#;
        let fault = Fault { message: "why".into(), kind: "responseStreamDisconnected".into(), status: None };
        assert_eq!(event(again), Event::Trouble { fault, again: true });
    }
}
