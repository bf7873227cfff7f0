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
    /// The key is refused.
    BadKey,
    /// The vendor has no time.
    Overloaded,
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

type Script = Box<dyn Fn(&Question) -> Word + Send + Sync>;

impl Cloud {
    pub fn llm(script: Script) -> Self {
        Self::Llm(Server::start(Protocol::Anthropic, move |request| match script(&of_request(request)) {
            Word::Text(text) => Reply::text(text),
            Word::Shell(command) => Reply::call("shell", json!({ "command": command })),
            Word::Send(text) => Reply::call("send_message", json!({ "text": text })),
            Word::BadKey => Reply::refused(401, "authentication_error", "invalid x-api-key"),
            Word::Overloaded => Reply::refused(529, "overloaded_error", "Overloaded"),
        }))
    }

    pub fn codex(script: Script) -> Self {
        Self::Codex(Server::start(Protocol::Responses, move |request| match script(&of_request(request)) {
            Word::Text(text) => Reply::text(text),
            Word::Shell(command) => codex::command(&command),
            Word::Send(text) => codex::tool("send_message", json!({ "text": text })),
            Word::BadKey => Reply::refused(401, "invalid_api_key", "Incorrect API key provided"),
            Word::Overloaded => Reply::refused(503, "server_is_overloaded", "overloaded"),
        }))
    }

    pub fn gemini(script: Script) -> Self {
        Self::Gemini(Server::start(Protocol::Gemini, move |request| match script(&of_request(request)) {
            Word::Text(text) => Reply::text(text),
            Word::Shell(command) => Reply::call("run_shell_command", json!({ "command": command })),
            Word::Send(text) => Reply::call("mcp_parlor_send_message", json!({ "text": text })),
            Word::BadKey => Reply::refused(400, "API_KEY_INVALID", "API key not valid. Please pass a valid API key."),
            Word::Overloaded => Reply::refused(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
        }))
    }

    pub fn claude(script: Script) -> Self {
        Self::Claude(Vendor::start(move |asked| match script(&of_asked(asked)) {
            Word::Text(text) => Answer::Say(text),
            Word::Shell(command) => Answer::Bash(command),
            Word::Send(text) => Answer::Tool("mcp__parlor__send_message", json!({ "text": text })),
            Word::BadKey => Answer::Refuse(401, "authentication_error", Vec::new()),
            Word::Overloaded => Answer::Refuse(529, "overloaded_error", Vec::new()),
        }))
    }

    /// What leads an agent here.
    pub fn dot_env(&self) -> String {
        match self {
            Self::Llm(server) | Self::Codex(server) | Self::Gemini(server) => server.dot_env(),
            Self::Claude(vendor) => vendor.dot_env(),
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
