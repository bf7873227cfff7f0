//! One stand-in for the clouds of all vendors: it reads what an agent asks in its vendor's protocol, and a script that
//! knows none of them decides.

use super::codex;
use super::models::{self, Protocol, Reply, Request, Server};
use super::vendor::{self, Answer, Asked, Vendor};
use serde_json::json;

/// What an agent asks, whatever its protocol.
#[derive(Debug, Clone)]
pub struct Question {
    /// The system prompt.
    pub system: String,
    /// Everything that was said in the conversation; what the chat said is in its order.
    pub said: String,
    /// Whether a tool's result is in what came last.
    pub has_result: bool,
}

/// What the model says.
#[derive(Debug, Clone)]
pub enum Word {
    Text(String),
    /// A command for the room's shell.
    Shell(String),
    /// The host's tool that sends a text to the chat.
    Send(String),
    /// No answer.
    Trouble(Trouble),
}

/// Why there is no answer; each vendor says it in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The key is refused.
    BadKey,
    /// The account has nothing left.
    Quota,
    /// Too much at once.
    Limit,
    /// The vendor has no time.
    Overloaded,
    /// There is no such model.
    NoModel,
    /// Something in the request is wrong.
    Odd,
}

impl Trouble {
    /// Of the agent in the runner, which asks Anthropic here.
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
            // An hour that the program would spend in silence.
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

/// The running stand-in.
pub enum Cloud {
    /// Of the agent in the runner.
    Llm(Server),
    /// Of Claude Code.
    Claude(Vendor),
    /// Of Codex.
    Codex(Server),
    /// Of Gemini CLI.
    Gemini(Server),
}

/// What decides what the model says.
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

    /// What leads an agent here.
    pub fn dot_env(&self) -> String {
        match self {
            Self::Llm(server) | Self::Codex(server) | Self::Gemini(server) => server.dot_env(),
            Self::Claude(vendor) => vendor.dot_env(),
        }
    }

    /// The same with a subscription's token where the vendor has such, else with the key.
    pub fn subscription(&self) -> String {
        match self {
            Self::Claude(vendor) => {
                format!("ANTHROPIC_BASE_URL={}\nCLAUDE_CODE_OAUTH_TOKEN=sk-ant-oat01-{}\n", vendor.url, vendor::KEY)
            }
            _ => self.dot_env(),
        }
    }

    /// The key in it.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Llm(_) | Self::Codex(_) | Self::Gemini(_) => models::KEY,
            Self::Claude(_) => vendor::KEY,
        }
    }

    /// What was asked so far.
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
