//! Asking the model: one request with its streamed answer, tried again where that may help.

use std::time::Duration;

use chrono::Utc;
use futures_util::StreamExt;
use genai::adapter::AdapterKind;
use genai::chat::{
    CacheControl, ChatMessage, ChatOptions, ChatRequest, ChatStreamEvent, ContentPart, MessageContent, MessageOptions,
    StreamEnd, Tool, ToolChoice, Usage,
};
use genai::{Client, ModelIden};
use serde_json::{Value, json};

use super::fault::{Fault, Remedy};
use super::settings::Settings;
use super::tools::Spec;
use super::vendor::{Secrets, Vendor, first_model, without_logins};
use crate::protocol::ErrorKind;

/// How long a connection may take.
pub const CONNECT: Duration = Duration::from_secs(20);
/// How long the answer may take to begin: a local server may have to load the model.
const BEGIN: Duration = Duration::from_secs(600);
/// How long an answer may stand still.
const SILENCE: Duration = Duration::from_secs(300);
/// How often a request is made at most.
const TRIES: u32 = 4;

/// A model that can be asked.
#[derive(Debug)]
pub struct Model {
    client: Client,
    iden: ModelIden,
    server: String,
    options: ChatOptions,
    price: Option<(f64, f64)>,
    used: Used,
    /// How many tokens of this vendor an estimated one is; never less than one.
    scale: f64,
}

/// Tokens of a turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Used {
    input: i64,
    output: i64,
    cache_read: i64,
    cache_write: i64,
    requests: i64,
}

/// What the model may call for.
#[derive(Debug, Clone, Copy)]
pub enum Offer<'a> {
    /// Any of these tools.
    Free(&'a [Spec]),
    /// None now: vendors want to know the tools that the conversation speaks of all the same.
    Shown(&'a [Spec]),
    /// There are no tools.
    Nothing,
}

/// What the model said.
#[derive(Debug)]
pub struct Answer {
    /// Texts, tool calls, and what vendors want to have back.
    pub content: MessageContent,
    /// How many tokens the request had, where the vendor says so.
    pub prompt_tokens: Option<usize>,
}

impl Model {
    /// The wanted model, or the one that the keys suggest.
    pub async fn open(
        wanted: Option<&str>,
        secrets: &Secrets,
        http: &reqwest::Client,
        settings: &Settings,
    ) -> Result<Self, Fault> {
        let vendor = Vendor::choose(wanted, secrets)?;
        let name = match &vendor.model {
            Some(name) => name.clone(),
            None => first_of(&vendor, http).await?,
        };
        let mut options = ChatOptions::default()
            .with_capture_content(true)
            .with_capture_tool_calls(true)
            .with_capture_usage(true)
            // Some vendors want the model's thoughts back with the results of its calls.
            .with_capture_reasoning_content(true)
            .with_stream_header_timeout(BEGIN)
            .with_stream_read_timeout(SILENCE);
        options.max_tokens = settings.max_tokens;
        options.temperature = settings.temperature;
        if let Some(bearer) = &vendor.bearer {
            options = options.with_extra_headers(vec![("authorization".to_owned(), format!("Bearer {bearer}"))]);
        }
        let (client, iden) = (vendor.client(http.clone())?, vendor.iden(&name));
        Ok(Self {
            client,
            iden,
            server: vendor.server(),
            options,
            price: settings.price,
            used: Used::default(),
            scale: 1.0,
        })
    }

    /// Forgets the tokens of the turn before.
    pub fn begin_turn(&mut self) {
        self.used = Used::default();
    }

    /// An estimate of tokens, by what the vendor counted so far.
    pub fn scaled(&self, estimate: usize) -> usize {
        (estimate as f64 * self.scale) as usize
    }

    /// Learns how far an estimate was from what the vendor counted.
    pub fn learn(&mut self, estimate: usize, counted: usize) {
        self.scale = (counted as f64 / estimate.max(1) as f64).clamp(1.0, 4.0);
    }

    /// Asks; what may help at once is tried at once.
    pub async fn ask(&mut self, system: &str, messages: Vec<ChatMessage>, offer: Offer<'_>) -> Result<Answer, Fault> {
        let mut request = ChatRequest::new(messages).with_system(system);
        let mut options = self.options.clone();
        if matches!(offer, Offer::Shown(_)) {
            options = options.with_tool_choice(ToolChoice::None);
        }
        let tools = match offer {
            // Of this protocol's servers nobody reads the choice.
            Offer::Shown(_) if self.iden.adapter_kind == AdapterKind::Ollama => &[],
            Offer::Free(tools) | Offer::Shown(tools) => tools,
            Offer::Nothing => &[],
        };
        if !tools.is_empty() {
            let tool =
                |spec: &Spec| Tool::new(&spec.name).with_description(&spec.about).with_schema(spec.schema.clone());
            request = request.with_tools(tools.iter().map(tool).collect::<Vec<_>>());
        }
        if self.iden.adapter_kind == AdapterKind::Anthropic
            && let Some(last) = request.messages.last_mut()
        {
            // Everything until here is the same in the next request.
            last.options = Some(MessageOptions::default().with_cache_control(CacheControl::Ephemeral));
        }
        let mut tries = 1;
        loop {
            let fault = match self.once(request.clone(), &options).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            let Remedy::Again(wait) = fault.remedy else { return Err(fault) };
            if tries >= TRIES {
                return Err(fault);
            }
            eprintln!("{} Trying again.", fault.text);
            tokio::time::sleep(wait.max(Duration::from_millis(250 << tries))).await;
            tries += 1;
        }
    }

    async fn once(&mut self, request: ChatRequest, options: &ChatOptions) -> Result<Answer, Fault> {
        self.used.requests += 1;
        let failed = |error: &genai::Error| Fault::of(error, &self.server, Utc::now());
        let opened = self.client.exec_chat_stream(self.iden.clone(), request, Some(options)).await;
        let mut stream = opened.map_err(|error| failed(&error))?.stream;
        let mut end: Option<StreamEnd> = None;
        while let Some(event) = stream.next().await {
            if let ChatStreamEvent::End(last) = event.map_err(|error| failed(&error))? {
                end = Some(last);
            }
        }
        // One of the client's protocols ends a stream that was cut off as if it were whole, but without a reason.
        let cut =
            |end: &StreamEnd| end.captured_stop_reason.is_none() && self.iden.adapter_kind == AdapterKind::OpenAIResp;
        let Some(end) = end.filter(|end| !cut(end)) else {
            let text = format!("The answer of {} broke off.", self.server);
            let remedy = Remedy::Again(Duration::from_millis(500));
            return Err(Fault { remedy, ..Fault::new(ErrorKind::Other, text) });
        };
        let prompt_tokens = end.captured_usage.as_ref().and_then(|usage| usage.prompt_tokens);
        if let Some(usage) = &end.captured_usage {
            self.used.add(usage);
        }
        let content = usable(end.captured_content.unwrap_or_default());
        Ok(Answer { content, prompt_tokens: prompt_tokens.and_then(|tokens| tokens.try_into().ok()) })
    }

    /// Tokens of this turn, as other agents report them, and the model's name.
    pub fn usage(&self) -> Value {
        let used = &self.used;
        json!({
            "model": self.iden.model_name.as_str(), "requests": used.requests,
            "input_tokens": used.input, "output_tokens": used.output,
            "cache_read_input_tokens": used.cache_read, "cache_creation_input_tokens": used.cache_write,
        })
    }

    /// The turn's cost in US dollars, where the group's settings have a price.
    pub fn cost(&self) -> Option<f64> {
        let (input, output) = self.price?;
        let all = self.used.input + self.used.cache_read + self.used.cache_write;
        Some((all as f64 * input + self.used.output as f64 * output) / 1e6)
    }
}

impl Used {
    fn add(&mut self, usage: &Usage) {
        let of = |count: Option<i32>| i64::from(count.unwrap_or(0).max(0));
        let details = usage.prompt_tokens_details.as_ref();
        let read = of(details.and_then(|details| details.cached_tokens));
        let written = of(details.and_then(|details| details.cache_creation_tokens));
        self.cache_read += read;
        self.cache_write += written;
        self.input += (of(usage.prompt_tokens) - read - written).max(0);
        self.output += of(usage.completion_tokens);
    }
}

/// Arguments as an object, which is what vendors take back; a call that broke off has none.
fn usable(content: MessageContent) -> MessageContent {
    let parts = content.into_parts().into_iter().filter_map(|part| match part {
        ContentPart::ToolCall(mut call) => {
            let parsed = call.fn_arguments.as_str().map(|text| serde_json::from_str::<Value>(text).unwrap_or_default());
            let value = parsed.unwrap_or_else(|| call.fn_arguments.clone());
            call.fn_arguments = if value.is_object() { value } else { json!({}) };
            Some(ContentPart::ToolCall(call))
        }
        ContentPart::Text(text) if text.is_empty() => None,
        other => Some(other),
    });
    MessageContent::from_parts(parts.collect::<Vec<_>>())
}

/// The first model of a server that was not told which one to use.
async fn first_of(vendor: &Vendor, http: &reqwest::Client) -> Result<String, Fault> {
    let none = |why: String| {
        let text =
            format!("Which model? Set PARLOR_MODEL, or model in the group's settings: {} {why}.", vendor.server());
        Fault::new(ErrorKind::Other, text)
    };
    let url = vendor.list_url().ok_or_else(|| none("does not list its models".to_owned()))?;
    let unreachable = |error: reqwest::Error| {
        Fault::unreachable(&vendor.server(), &without_logins(&super::fault::chain(&error)))
    };
    let request = http.get(url).bearer_auth(vendor.list_key()).timeout(CONNECT);
    let answer = request.send().await.map_err(unreachable)?;
    let status = answer.status();
    let body = answer.text().await.map_err(unreachable)?;
    // Servers without such a list say so with one of these.
    if !status.is_success() && !matches!(status.as_u16(), 404 | 405 | 501) {
        return Err(Fault::read(status.as_u16(), &body, None, &vendor.server()));
    }
    let list: Value = serde_json::from_str(&body).unwrap_or_default();
    first_model(&list).ok_or_else(|| none("has no model".to_owned()))
}

#[cfg(test)]
mod tests {
    use genai::chat::ToolCall;

    use super::*;

    #[test]
    fn arguments_are_made_objects() {
        let call = |arguments: Value| ToolCall {
            call_id: "a".into(),
            fn_name: "f".into(),
            fn_arguments: arguments,
            thought_signatures: None,
        };
        let calls = [json!({"a": 1}), json!("{\"a\": 1}"), json!("{\"a\": "), json!(""), json!(null)];
        let content = usable(MessageContent::from_tool_calls(calls.map(call).to_vec()));
        let seen: Vec<Value> = content.tool_calls().iter().map(|call| call.fn_arguments.clone()).collect();
        assert_eq!(seen, [json!({"a": 1}), json!({"a": 1}), json!({}), json!({}), json!({})]);
    }

    #[test]
    fn tokens_are_counted_once() {
        let usage: Usage = serde_json::from_value(json!({"prompt_tokens": 100, "completion_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 60, "cache_creation_tokens": 30}}))
        .unwrap();
        let mut used = Used::default();
        used.add(&usage);
        assert_eq!(used, Used { input: 10, output: 7, cache_read: 60, cache_write: 30, requests: 0 });
    }
}
