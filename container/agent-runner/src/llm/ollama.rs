//! Ollama's own protocol. The client library has it, too, but cannot request a larger context than the server's
//! default, and passes on only the last of several tool results.

use std::time::Duration;

use genai::chat::{Binary, BinarySource, ChatMessage, ChatOptions, ContentPart, MessageContent, ToolCall, Usage};
use parlor_protocol::files::fresh_id;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::fault::{Fault, chain};
use super::tools::Spec;
use super::vendor::without_logins;

/// Time limit of a request for a model's properties.
const SHOW: Duration = Duration::from_secs(10);
/// The longest line of an answer, in bytes.
const LINE_LIMIT: usize = 16 << 20;

/// A server and one of its models.
#[derive(Debug, Clone)]
pub struct Ollama {
    /// The HTTP client.
    pub http: Client,
    /// The server's address, ending in a slash.
    pub base: String,
    /// The model's name.
    pub model: String,
    /// The server's name for people.
    pub server: String,
    /// Time limits: for the begin of an answer, and for each next piece.
    pub patience: (Duration, Duration),
}

/// The received answer.
#[derive(Debug, Default)]
pub struct Heard {
    /// The text, without thoughts that the server sends apart.
    pub text: String,
    calls: Vec<ToolCall>,
    /// The reason of the end; None if the answer broke off.
    pub reason: Option<String>,
    /// The server's count of tokens.
    pub usage: Option<Usage>,
}

impl Heard {
    /// Reads a line of the stream.
    ///
    /// # Errors
    /// The server's error.
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        let line: Value =
            parlor_protocol::json::from_slice(line).map_err(|error| format!("its answer is not JSON: {error}"))?;
        if let Some(why) = line["error"].as_str().or_else(|| line["error"]["message"].as_str()) {
            return Err(why.to_owned());
        }
        self.text.push_str(line["message"]["content"].as_str().unwrap_or_default());
        for call in line["message"]["tool_calls"].as_array().into_iter().flatten() {
            let id = call["id"].as_str().filter(|id| !id.is_empty()).map_or_else(fresh_id, str::to_owned);
            let function = &call["function"];
            self.calls.push(ToolCall {
                call_id: id,
                fn_name: function["name"].as_str().unwrap_or_default().to_owned(),
                fn_arguments: function["arguments"].clone(),
                thought_signatures: None,
            });
        }
        if line["done"] == true {
            self.reason = Some(line["done_reason"].as_str().unwrap_or("stop").to_owned());
            let count = |key: &str| line[key].as_i64().and_then(|count| i32::try_from(count).ok());
            let (prompt_tokens, completion_tokens) = (count("prompt_eval_count"), count("eval_count"));
            self.usage = Some(Usage { prompt_tokens, completion_tokens, ..Usage::default() });
        }
        Ok(())
    }

    /// Returns text and calls in the conversation's form.
    pub fn content(&self, text: String) -> MessageContent {
        let text = std::iter::once(ContentPart::Text(text));
        MessageContent::from_parts(
            text.chain(self.calls.iter().cloned().map(ContentPart::ToolCall)).collect::<Vec<_>>(),
        )
    }
}

impl Ollama {
    /// Returns the most tokens that the model takes; None if the server does not say.
    pub async fn longest(&self) -> Option<usize> {
        let request = self.http.post(format!("{}api/show", self.base)).json_body(&json!({ "model": self.model }));
        let answer = request.timeout(SHOW).send().await.ok()?;
        longest(&serde_json::from_slice(&answer.bytes().await.ok()?).ok()?)
    }

    /// Requests an answer; `piece` gets its text piece by piece.
    ///
    /// # Errors
    /// If the server cannot be reached, or refuses.
    pub async fn ask(&self, body: &Value, mut piece: impl FnMut(&str)) -> Result<Heard, Fault> {
        let unreachable = |error: &reqwest::Error| Fault::unreachable(&self.server, &without_logins(&chain(error)));
        let silent = |_| Fault::unreachable(&self.server, "it does not answer");
        let (begin, silence) = self.patience;
        let request = self.http.post(format!("{}api/chat", self.base)).json_body(body);
        let mut answer = timeout(begin, request.send()).await.map_err(silent)?.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        if !status.is_success() {
            let said = answer.text().await.map_err(|error| unreachable(&error))?;
            return Err(Fault::read(status.as_u16(), &said, None, &self.server));
        }
        let (mut heard, mut line) = (Heard::default(), Vec::new());
        loop {
            let chunk = timeout(silence, answer.chunk()).await.map_err(silent)?.map_err(|error| unreachable(&error))?;
            let over = chunk.is_none();
            line.extend_from_slice(chunk.as_deref().unwrap_or(b"\n"));
            if line.len() > LINE_LIMIT {
                return Err(Fault::unreachable(&self.server, "its answer has no end"));
            }
            let Some(end) = line.iter().rposition(|byte| *byte == b'\n') else { continue };
            let rest = line.split_off(end + 1);
            for one in line.split(|byte| *byte == b'\n').filter(|one| !one.trim_ascii().is_empty()) {
                let before = heard.text.len();
                heard
                    .line(one)
                    .map_err(|why| Fault::read(0, &json!({ "error": why }).to_string(), None, &self.server))?;
                piece(&heard.text[before..]);
            }
            line = rest;
            if over {
                return Ok(heard);
            }
        }
    }
}

/// Returns the longest context from the model's properties.
fn longest(shown: &Value) -> Option<usize> {
    let info = shown["model_info"].as_object()?;
    let length = info.iter().find(|(key, _)| key.ends_with(".context_length"))?.1.as_u64()?;
    usize::try_from(length).ok().filter(|length| *length > 0)
}

/// Makes the body of a request.
pub fn body(
    model: &str,
    context: Option<usize>,
    system: &str,
    (messages, tools): (&[ChatMessage], &[Spec]),
    options: &ChatOptions,
) -> Value {
    let mut all = vec![json!({ "role": "system", "content": system })];
    for message in messages {
        add(&mut all, message);
    }
    let mut own = serde_json::Map::new();
    if let Some(context) = context {
        own.insert("num_ctx".to_owned(), json!(context));
    }
    if let Some(most) = options.max_tokens {
        own.insert("num_predict".to_owned(), json!(most));
    }
    if let Some(temperature) = options.temperature {
        own.insert("temperature".to_owned(), json!(temperature));
    }
    let mut body = json!({ "model": model, "stream": true, "messages": all });
    if !own.is_empty() {
        body["options"] = Value::Object(own);
    }
    if !tools.is_empty() {
        let tool = |spec: &Spec| {
            let function = json!({ "name": spec.name, "description": spec.about, "parameters": spec.schema });
            json!({ "type": "function", "function": function })
        };
        body["tools"] = tools.iter().map(tool).collect();
    }
    body
}

/// Adds a message of the conversation; each result of a tool becomes a message of its own.
fn add(all: &mut Vec<Value>, message: &ChatMessage) {
    let (mut text, mut images, mut calls, mut results) = (String::new(), Vec::new(), Vec::new(), Vec::new());
    for part in message.content.parts() {
        match part {
            ContentPart::Text(more) if text.is_empty() => text.clone_from(more),
            ContentPart::Text(more) => text.extend(["\n\n", more.as_str()]),
            ContentPart::Binary(Binary { source: BinarySource::Base64(data), .. }) => images.push(json!(**data)),
            ContentPart::ToolCall(call) => {
                calls.push(json!({ "function": { "name": call.fn_name, "arguments": call.fn_arguments } }));
            }
            ContentPart::ToolResponse(result) => {
                results.push(json!({ "role": "tool", "tool_name": result.fn_name, "content": result.content }));
            }
            _ => {}
        }
    }
    if results.is_empty() || !text.is_empty() {
        let mut one = json!({ "role": message.role.to_string().to_lowercase(), "content": text });
        if !images.is_empty() {
            one["images"] = json!(images);
        }
        if !calls.is_empty() {
            one["tool_calls"] = json!(calls);
        }
        all.push(one);
    }
    all.extend(results);
}

/// Requests with a JSON body: the client library is built without its own method for that.
trait JsonBody {
    fn json_body(self, body: &Value) -> Self;
}

impl JsonBody for reqwest::RequestBuilder {
    fn json_body(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }
}

#[cfg(test)]
mod tests {
    use genai::chat::ToolResponse;

    use super::*;

    #[test]
    fn request_has_all_results_the_context_and_the_tools() {
        let call = |id: &str| ToolCall {
            call_id: id.into(),
            fn_name: "shell".into(),
            fn_arguments: json!({ "command": id }),
            thought_signatures: None,
        };
        let results = ["a", "b"].map(|id| ContentPart::ToolResponse(ToolResponse::from_tool_call(&call(id), id)));
        let picture = ContentPart::from_binary_base64("image/png", "QUJD", None);
        let messages = [
            ChatMessage::user(MessageContent::from_parts(vec![ContentPart::from_text("look"), picture])),
            ChatMessage::assistant(MessageContent::from_tool_calls(vec![call("a"), call("b")])),
            ChatMessage::tool(MessageContent::from_parts(results.to_vec())),
        ];
        let spec = Spec { name: "shell".into(), about: "runs".into(), schema: json!({ "type": "object" }) };
        let options = ChatOptions::default().with_max_tokens(99).with_temperature(0.5);
        let body = body("m", Some(8192), "be kind", (&messages, &[spec]), &options);
        assert_eq!(body["options"], json!({ "num_ctx": 8192, "num_predict": 99, "temperature": 0.5 }));
        assert_eq!(body["tools"][0]["function"]["name"], "shell");
        let roles: Vec<&str> =
            body["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "tool", "tool"]);
        assert_eq!((&body["messages"][1]["images"], &body["messages"][4]["content"]), (&json!(["QUJD"]), &json!("b")));
        assert_eq!(body["messages"][2]["tool_calls"][1]["function"]["arguments"], json!({ "command": "b" }));
    }

    #[test]
    fn answer_is_read_line_by_line() {
        let mut heard = Heard::default();
        for line in [
            r#"{"message":{"role":"assistant","thinking":"hm","content":""},"done":false}"#,
            r#"{"message":{"content":"Hel"},"done":false}"#,
            r#"{"message":{"content":"lo","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},"done":false}"#,
        ] {
            heard.line(line.as_bytes()).unwrap();
        }
        assert_eq!((heard.text.as_str(), heard.reason.as_deref()), ("Hello", None), "it broke off");
        heard.line(br#"{"message":{"content":""},"done":true,"done_reason":"length","prompt_eval_count":12,"eval_count":3}"#).unwrap();
        assert_eq!(heard.reason.as_deref(), Some("length"));
        assert_eq!(heard.usage.as_ref().and_then(|usage| usage.prompt_tokens), Some(12));
        assert_eq!(heard.content("x".into()).tool_calls()[0].fn_arguments, json!({ "a": 1 }));
        assert_eq!(heard.line(br#"{"error":"boom"}"#).unwrap_err(), "boom");
        assert!(heard.line(b"<html>").is_err());
    }

    #[test]
    fn longest_context_of_the_model_is_found() {
        let shown = json!({ "model_info": { "general.architecture": "qwen3", "qwen3.context_length": 40960 } });
        assert_eq!(longest(&shown), Some(40_960));
        assert_eq!(longest(&json!({})), None);
    }
}
