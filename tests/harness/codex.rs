//! Groups with Codex as their agent, in Parlor's image `full`, and its model's answers.

use std::time::Duration;

use serde_json::{Value, json};

use super::claude;
use super::host::{Builder, Host};
use super::models::{Reply, Server};

/// Time limit of a turn on a busy machine: the agent is a program of 300 MB.
pub const TURN: Duration = Duration::from_secs(60);

/// A host whose rooms have Codex and can reach the stand-in, which speaks the Responses API.
pub fn builder(server: &Server) -> Builder {
    claude::builder(&server.dot_env())
}

/// Starts such a host.
pub fn start(server: &Server) -> Host {
    let mut host = builder(server).prepare();
    claude::build(&host);
    host.start();
    host
}

/// Registers a group with Codex. Codex does not know the model's name, and treats it as any model.
pub fn register(host: &Host, jid: &str, folder: &str) {
    host.register_with(jid, folder, &json!({ "provider": "codex", "model": "test-model" }));
}

/// A command, as an ordinary model calls it. A command of more than a second returns its output only at its end.
pub fn command(line: &str) -> Reply {
    Reply::call("exec_command", json!({ "cmd": line, "yield_time_ms": 30_000 }))
}

/// A command, as Codex's own models call it: inside a script.
pub fn script(line: &str) -> Reply {
    let line = Value::String(line.to_owned());
    Reply::call("exec", json!({ "input": format!("text(JSON.stringify(await tools.exec_command({{cmd: {line}}})))") }))
}

/// A call of a host tool.
pub fn tool(name: &str, args: Value) -> Reply {
    Reply::call(&format!("mcp__parlor__{name}"), args)
}

/// Sends a message, waits for its turn, and returns the texts sent to the chat.
pub fn ask(host: &Host, jid: &str, text: &str) -> Vec<String> {
    let mut events = host.events();
    let seq = host.send(jid, text);
    events.turn_done(jid, seq, TURN);
    events.texts(jid)
}
