//! One stand-in for all vendors' clouds: it parses an agent's request in the vendor's protocol, and a script decides
//! the answer without knowing the protocol.

use super::codex;
use super::models::{self, Protocol, Reply, Request, Server};
use super::vendor::{self, Answer, Asked, Vendor};
use serde_json::json;

/// An agent's request, independent of the protocol.
#[derive(Debug, Clone)]
pub struct Question {
    /// The system prompt.
    pub system: String,
    /// All texts of the conversation; those of the chat are in order.
    pub said: String,
    /// True if the newest message has a tool's result.
    pub has_result: bool,
}

/// The model's answer.
#[derive(Debug, Clone)]
pub enum Word {
    Text(String),
    /// A command for the room's shell.
    Shell(String),
    /// A call of the host's tool that sends a text to the chat.
    Send(String),
    /// An error instead of an answer.
    Trouble(Trouble),
}

/// The kind of an error; each vendor words it differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The key is refused.
    BadKey,
    /// The account's quota is used up.
    Quota,
    /// Too many requests.
    Limit,
    /// The vendor is overloaded.
    Overloaded,
    /// The model does not exist.
    NoModel,
    /// The request is malformed.
    Odd,
}

impl Trouble {
    /// The answer for the agent in the runner, which asks Anthropic here.
    fn of_llm(self) -> Reply {
        match self {
            Self::BadKey => Reply::refused(401, "authentication_error", "invalid x-api-key"),
            Self::Quota => Reply::refused(400, "invalid_request_error", "Your credit balance is too low."),
            Self::Limit => Reply::refused(429, "rate_limit_error", "Too many tokens a minute."),
            Self::Overloaded => Reply::refused(529, "overloaded_error", "Overloaded"),
            Self::NoModel => Reply::refused(404, "not_found_error", "model: claude-test"),
            Self::Odd => Reply::refused(400, "invalid_request_error", "messages.0 is overloaded with nonsense"),
        }
    }

    fn of_codex(self) -> Reply {
        match self {
            Self::BadKey => Reply::refused(401, "invalid_api_key", "Incorrect API key provided"),
            Self::Quota => Reply::refused(429, "insufficient_quota", "You exceeded your current quota"),
            // An hour, for which the program would wait in silence.
            Self::Limit => Reply::later(429, 3600, "rate_limit_exceeded"),
            Self::Overloaded => Reply::refused(503, "server_is_overloaded", "overloaded"),
            Self::NoModel => Reply::refused(404, "model_not_found", "The model `test-model` does not exist"),
            Self::Odd => Reply::refused(400, "invalid_request_error", "Invalid type for 'input[0]'."),
        }
    }

    fn of_gemini(self) -> Reply {
        match self {
            Self::BadKey => Reply::refused(400, "API_KEY_INVALID", "API key not valid. Please pass a valid API key."),
            Self::Quota => Reply::refused(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, check billing."),
            Self::Limit => Reply::later(429, 2, "RESOURCE_EXHAUSTED"),
            Self::Overloaded => Reply::refused(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
            Self::NoModel => Reply::refused(404, "NOT_FOUND", "models/x is not found for API version v1beta"),
            Self::Odd => Reply::refused(400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
        }
    }

    fn of_claude(self) -> Answer {
        match self {
            Self::BadKey => Answer::Refuse(401, "authentication_error", Vec::new()),
            Self::Quota => Answer::Refuse(402, "billing_error", Vec::new()),
            Self::Limit => Answer::Refuse(429, "rate_limit_error", Vec::new()),
            Self::Overloaded => Answer::Refuse(529, "overloaded_error", Vec::new()),
            Self::NoModel => Answer::Refuse(404, "not_found_error", Vec::new()),
            Self::Odd => Answer::Refuse(400, "invalid_request_error", Vec::new()),
        }
    }
}

/// A running stand-in.
pub enum Cloud {
    /// For the agent in the runner.
    Llm(Server),
    /// For Claude Code.
    Claude(Vendor),
    /// For Codex.
    Codex(Server),
    /// For Gemini CLI.
    Gemini(Server),
}

/// Decides the model's answer.
pub type Script = Box<dyn Fn(&Question) -> Word + Send + Sync>;

impl Cloud {
    pub fn llm(script: Script) -> Self {
        Self::Llm(Server::start(Protocol::Anthropic, move |request| match script(&of_request(request)) {
            Word::Text(text) => Reply::text(text),
            Word::Shell(command) => Reply::call("shell", json!({ "command": command })),
            Word::Send(text) => Reply::call("send_message", json!({ "text": text })),
            Word::Trouble(trouble) => trouble.of_llm(),
        }))
    }

    pub fn codex(script: Script) -> Self {
        Self::Codex(Server::start(Protocol::Responses, move |request| match script(&of_request(request)) {
            Word::Text(text) => Reply::text(text),
            Word::Shell(command) => codex::command(&command),
            Word::Send(text) => codex::tool("send_message", json!({ "text": text })),
            Word::Trouble(trouble) => trouble.of_codex(),
        }))
    }

    pub fn gemini(script: Script) -> Self {
        Self::Gemini(Server::start(Protocol::Gemini, move |request| match script(&of_request(request)) {
            Word::Text(text) => Reply::text(text),
            Word::Shell(command) => Reply::call("run_shell_command", json!({ "command": command })),
            Word::Send(text) => Reply::call("mcp_parlor_send_message", json!({ "text": text })),
            Word::Trouble(trouble) => trouble.of_gemini(),
        }))
    }

    pub fn claude(script: Script) -> Self {
        Self::Claude(Vendor::start(move |asked| match script(&of_asked(asked)) {
            Word::Text(text) => Answer::Say(text),
            Word::Shell(command) => Answer::Bash(command),
            Word::Send(text) => Answer::Tool("mcp__parlor__send_message", json!({ "text": text })),
            Word::Trouble(trouble) => trouble.of_claude(),
        }))
    }

    /// Returns the content of `.env` that leads an agent here.
    pub fn dot_env(&self) -> String {
        match self {
            Self::Llm(server) | Self::Codex(server) | Self::Gemini(server) => server.dot_env(),
            Self::Claude(vendor) => vendor.dot_env(),
        }
    }

    /// Like [`dot_env`](Self::dot_env), but with a subscription's token if the vendor has such tokens.
    pub fn subscription(&self) -> String {
        match self {
            Self::Claude(vendor) => {
                format!("ANTHROPIC_BASE_URL={}\nCLAUDE_CODE_OAUTH_TOKEN=sk-ant-oat01-{}\n", vendor.url, vendor::KEY)
            }
            _ => self.dot_env(),
        }
    }

    /// Returns the key in that `.env`.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Llm(_) | Self::Codex(_) | Self::Gemini(_) => models::KEY,
            Self::Claude(_) => vendor::KEY,
        }
    }

    /// Returns the requests so far.
    pub fn asked(&self) -> Vec<Question> {
        match self {
            Self::Llm(server) | Self::Codex(server) | Self::Gemini(server) => {
                server.requests().iter().map(of_request).collect()
            }
            Self::Claude(vendor) => vendor.asked().iter().map(of_asked).collect(),
        }
    }
}

fn of_request(request: &Request) -> Question {
    let said = ["user", "tool", "assistant", "model"].map(|role| request.messages(role).join("\n")).join("\n");
    Question { system: request.system(), said, has_result: request.has_result() }
}

fn of_asked(asked: &Asked) -> Question {
    Question { system: asked.system(), said: asked.said(), has_result: asked.has_result() }
}
