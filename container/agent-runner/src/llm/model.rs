//! Requests to the model, each with a streamed answer; retries where that may help.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use futures_util::StreamExt;
use genai::adapter::AdapterKind;
use genai::chat::{
    CacheControl, ChatMessage, ChatOptions, ChatRequest, ChatStreamEvent, MessageContent, MessageOptions, StreamEnd,
    Tool, ToolChoice, Usage,
};
use genai::{Client, ModelIden};
use parlor_protocol::ErrorKind;
use serde_json::{Value, json};

use super::content::{usable, with_text};
use super::ending::{Asides, Ending, ending};
use super::fault::{Fault, Remedy};
use super::listed::{context_of, first_of, list_of, which};
use super::ollama::{self, Ollama};
use super::settings::{DEFAULT_BUDGET, Settings};
use super::tools::Spec;
use super::vendor::{Secrets, Vendor};
use crate::thought;

/// Time limit of a connection.
pub const CONNECT: Duration = Duration::from_secs(20);
/// Time limit for the begin of an answer: a local server may have to load the model.
const BEGIN: Duration = Duration::from_secs(600);
/// Time limit for the next piece of an answer.
const SILENCE: Duration = Duration::from_secs(300);
/// Most tries of a request.
const TRIES: u32 = 4;
/// The context to request from a server that lets the client choose, unless the group's settings say otherwise: the
/// memory belongs to the operator, and the server's default may be smaller than the instructions alone.
const ASKED_CONTEXT: usize = 32_768;
/// Below this estimate, a server's count does not prove that it cut the request.
const TELLING: usize = 3_000;

/// A model and the way to ask it.
#[derive(Debug)]
pub struct Model {
    client: Client,
    ollama: Option<Ollama>,
    iden: ModelIden,
    server: String,
    options: ChatOptions,
    price: Option<(f64, f64)>,
    used: Used,
    /// The vendor's tokens for one estimated token; at least 1.
    scale: f64,
    /// The most tokens of a conversation with its answer, if the server says so or was asked for it.
    context: Option<usize>,
    /// True if the model refuses requests with tools.
    toolless: bool,
}

/// Tokens that a turn used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Used {
    input: i64,
    output: i64,
    cache_read: i64,
    cache_write: i64,
    requests: i64,
}

/// The tools that the model may call.
#[derive(Debug, Clone, Copy)]
pub enum Offer<'a> {
    /// Any of these tools.
    Free(&'a [Spec]),
    /// None now, but the request has them: vendors require the tools that the conversation mentions.
    Shown(&'a [Spec]),
    /// The request has no tools.
    Nothing,
}

/// An answer of the model.
#[derive(Debug)]
pub struct Answer {
    /// Texts, tool calls, and parts that vendors want to have back.
    pub content: MessageContent,
    /// The end of the answer.
    pub ending: Ending,
    /// Ids of calls with incomplete arguments: they must not be carried out.
    pub half: Vec<String>,
    /// Tokens of the request, if the vendor reports them.
    pub prompt_tokens: Option<usize>,
}

impl Model {
    /// Opens the wanted model, or the one that the keys suggest.
    pub async fn open(
        wanted: Option<&str>,
        secrets: &Secrets,
        http: &reqwest::Client,
        settings: &Settings,
    ) -> Result<Self, Fault> {
        let vendor = Vendor::choose(wanted, secrets)?;
        let list = if vendor.lists_models() { Some(list_of(&vendor, http).await) } else { None };
        let name = match (&vendor.model, list.as_ref()) {
            (Some(name), _) => name.clone(),
            (None, Some(list)) => first_of(&vendor, list.as_ref().map_err(Fault::clone)?)?,
            (None, None) => return Err(which(&vendor, "does not list its models")),
        };
        let mut context = list.and_then(Result::ok).and_then(|list| context_of(&list, &name));
        let mut options = ChatOptions::default()
            .with_capture_content(true)
            .with_capture_tool_calls(true)
            .with_capture_usage(true)
            // Some vendors require the model's thoughts together with the results of its calls.
            .with_capture_reasoning_content(true)
            .with_stream_header_timeout(BEGIN)
            .with_stream_read_timeout(SILENCE);
        options.max_tokens = settings.max_tokens;
        options.temperature = settings.temperature;
        if let Some(bearer) = &vendor.bearer {
            options = options.with_extra_headers(vec![("authorization".to_owned(), format!("Bearer {bearer}"))]);
        }
        let (client, iden) = (vendor.client(http.clone())?, vendor.iden(&name));
        let ollama = vendor.is_ollama().then(|| Ollama {
            http: http.clone(),
            base: vendor.base.clone().unwrap_or_else(|| "http://localhost:11434/".to_owned()),
            model: iden.model_name.namespace_and_name().1.to_owned(),
            server: vendor.server(),
            patience: (BEGIN, SILENCE),
        });
        if let Some(ollama) = &ollama {
            let wanted = settings.context_tokens.unwrap_or(ASKED_CONTEXT);
            context = Some(ollama.longest().await.map_or(wanted, |longest| longest.min(wanted)));
        }
        Ok(Self {
            client,
            ollama,
            iden,
            server: vendor.server(),
            options,
            price: settings.price,
            used: Used::default(),
            scale: 1.0,
            context,
            toolless: false,
        })
    }

    /// Returns the names of the model and its server, for people.
    pub fn name(&self) -> String {
        format!("the model {} ({})", self.iden.model_name.as_str(), self.server)
    }

    /// Returns how many tokens a conversation may have: the group's limit, but no more than the server has beside the
    /// answer.
    pub fn budget(&self, settings: &Settings) -> usize {
        let own = settings.context_tokens.unwrap_or(DEFAULT_BUDGET);
        self.context.map_or(own, |context| {
            let answer = self.options.max_tokens.map_or(4_096, |most| most as usize).min(context / 4);
            own.min(context - answer)
        })
    }

    /// Returns true unless the model is known to refuse tools.
    pub fn takes_tools(&self) -> bool {
        !self.toolless
    }

    /// Sends no tools from now on.
    pub fn go_without_tools(&mut self) {
        self.toolless = true;
    }

    /// Returns true if the server read far less than it was sent, which it does not report. The number of tokens that
    /// it read then becomes the limit of the conversation.
    pub fn was_cut(&mut self, estimate: usize, counted: usize) -> bool {
        let cut = estimate > TELLING && counted > 0 && counted < estimate / 2;
        if cut {
            self.context = Some(self.context.map_or(counted, |context| context.min(counted)));
        }
        cut
    }

    /// Resets the tokens of the last turn.
    pub fn begin_turn(&mut self) {
        self.used = Used::default();
    }

    /// Converts an estimate into the vendor's tokens, from its earlier counts.
    pub fn scaled(&self, estimate: usize) -> usize {
        (estimate as f64 * self.scale) as usize
    }

    /// Compares an estimate with the vendor's count, for later estimates.
    pub fn learn(&mut self, estimate: usize, counted: usize) {
        self.scale = (counted as f64 / estimate.max(1) as f64).clamp(1.0, 4.0);
    }

    /// Sends a request; retries at once where that may help.
    pub async fn ask(&mut self, system: &str, messages: Vec<ChatMessage>, offer: Offer<'_>) -> Result<Answer, Fault> {
        let mut request = ChatRequest::new(messages).with_system(system);
        let mut options = self.options.clone();
        if matches!(offer, Offer::Shown(_)) && !self.toolless {
            options = options.with_tool_choice(ToolChoice::None);
        }
        let tools = match offer {
            _ if self.toolless => &[],
            // Servers of this protocol ignore the tool choice.
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
            // The next request begins with the same messages, so the vendor may cache them.
            last.options = Some(MessageOptions::default().with_cache_control(CacheControl::Ephemeral));
        }
        let mut tries = 1;
        loop {
            let asked = match &self.ollama {
                Some(_) => self.ollama_once(system, &request.messages, tools, &options).await,
                None => self.once(request.clone(), options.clone()).await,
            };
            let fault = match asked {
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

    async fn once(&mut self, request: ChatRequest, options: ChatOptions) -> Result<Answer, Fault> {
        self.used.requests += 1;
        let asides = Arc::new(Mutex::new(Asides::default()));
        let ours = Arc::clone(&asides);
        let options = options.with_raw_frame_fn(move |_, frame| {
            ours.lock().unwrap_or_else(PoisonError::into_inner).hear(frame.data);
        });
        let streamed = self.stream(request, &options).await;
        let asides = std::mem::take(&mut *asides.lock().unwrap_or_else(PoisonError::into_inner));
        let (end, said) = match streamed {
            Ok(heard) => heard,
            // A blocked question has no answer, which the client treats as a failure.
            Err(_) if asides.blocked.is_some() => (StreamEnd::default(), String::new()),
            Err(fault) => return Err(fault),
        };
        let reason = end.captured_stop_reason.as_ref().map(|reason| reason.raw().to_owned());
        let said = if said.trim().is_empty() { asides.refusal.clone() } else { said };
        let content = with_text(end.captured_content.unwrap_or_default(), &said);
        self.answer(content, end.captured_usage.as_ref(), ending(reason.as_deref(), &asides, self.iden.adapter_kind))
    }

    /// Reads the stream. Returns its end, and the text without thoughts.
    async fn stream(&self, request: ChatRequest, options: &ChatOptions) -> Result<(StreamEnd, String), Fault> {
        let failed = |error: &genai::Error| Fault::of(error, &self.server, Utc::now());
        let opened = self.client.exec_chat_stream(self.iden.clone(), request, Some(options)).await;
        let mut stream = opened.map_err(|error| failed(&error))?.stream;
        let (mut filter, mut said, mut end) = (thought::Filter::default(), String::new(), None);
        while let Some(event) = stream.next().await {
            match event.map_err(|error| failed(&error))? {
                ChatStreamEvent::Chunk(piece) => said += &filter.push(&piece.content),
                ChatStreamEvent::End(last) => end = Some(last),
                _ => {}
            }
        }
        said += &filter.finish();
        Ok((end.ok_or_else(|| self.broke_off())?, said))
    }

    async fn ollama_once(
        &mut self,
        system: &str,
        messages: &[ChatMessage],
        tools: &[Spec],
        options: &ChatOptions,
    ) -> Result<Answer, Fault> {
        self.used.requests += 1;
        let Some(ollama) = &self.ollama else { return Err(self.broke_off()) };
        let body = ollama::body(&ollama.model, self.context, system, (messages, tools), options);
        let (mut filter, mut said) = (thought::Filter::default(), String::new());
        let heard = ollama.ask(&body, |piece| said += &filter.push(piece)).await?;
        said += &filter.finish();
        let ended = ending(heard.reason.as_deref(), &Asides::default(), AdapterKind::Ollama);
        let content = heard.content(thought::without(&said));
        self.answer(content, heard.usage.as_ref(), ended)
    }

    fn broke_off(&self) -> Fault {
        let text = format!("The answer of {} broke off.", self.server);
        Fault { remedy: Remedy::Again(Duration::from_millis(500)), ..Fault::new(ErrorKind::Other, text) }
    }

    fn answer(&mut self, content: MessageContent, usage: Option<&Usage>, ending: Ending) -> Result<Answer, Fault> {
        if ending == Ending::Broken {
            return Err(self.broke_off());
        }
        let prompt_tokens = usage.and_then(|usage| usage.prompt_tokens);
        if let Some(usage) = usage {
            self.used.add(usage);
        }
        let (content, half) = usable(content);
        let prompt_tokens = prompt_tokens.and_then(|tokens| tokens.try_into().ok());
        Ok(Answer { content, ending, half, prompt_tokens })
    }

    /// Returns the turn's tokens, in the form of other agents, and the model's name.
    pub fn usage(&self) -> Value {
        let used = &self.used;
        json!({
            "model": self.iden.model_name.as_str(), "requests": used.requests,
            "input_tokens": used.input, "output_tokens": used.output,
            "cache_read_input_tokens": used.cache_read, "cache_creation_input_tokens": used.cache_write,
        })
    }

    /// Returns the turn's cost in US dollars; None if the group's settings have no price.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_counts_cached_tokens_once() {
        let usage: Usage = serde_json::from_value(json!({"prompt_tokens": 100, "completion_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 60, "cache_creation_tokens": 30}}))
        .unwrap();
        let mut used = Used::default();
        used.add(&usage);
        assert_eq!(used, Used { input: 10, output: 7, cache_read: 60, cache_write: 30, requests: 0 });
    }
}
