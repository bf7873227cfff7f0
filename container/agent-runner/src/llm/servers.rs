//! The group's MCP servers. They start with the first turn, offer their tools to the model as `SERVER__tool`, and end
//! with the run. A server that does not start, or ends, is reported and left out.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;
use reqwest::header::{HeaderName, HeaderValue};
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ContentBlock, Implementation, Tool,
};
use rmcp::service::{RoleClient, RunningService, ServiceError, ServiceExt};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde_json::{Map, Value, json};
use tokio::net::unix::pipe;
use tokio::time::timeout;

use super::tools::Spec;
use crate::agent_toml::{AgentToml, Server, Silent, Way, late};
use crate::provider::Room;
use crate::tool;

/// Time limit of a call.
const CALL: Duration = Duration::from_secs(300);
/// Time for a program to exit after its stdin was closed.
const EXIT: Duration = Duration::from_millis(300);
/// Limits of what goes with every request: tools of one server, and bytes of one tool's description and schema.
const TOOLS: usize = 128;
const ABOUT_LIMIT: usize = 2000;
const SCHEMA_LIMIT: usize = 16_000;
/// The longest name of a tool that all vendors accept.
const NAME_LIMIT: usize = 64;

type Service = RunningService<RoleClient, ClientConfig>;

/// The running servers.
#[derive(Debug, Default)]
pub struct Servers {
    live: BTreeMap<String, Live>,
    /// Server and original name of each tool, by its name for the model.
    tools: HashMap<String, (String, String)>,
}

#[derive(Debug)]
struct Live {
    service: Service,
    /// Dropping it ends the program.
    _program: Option<Program>,
}

impl Servers {
    /// Starts the servers, all at once, except those that did not start lately. Also returns their tools, and the
    /// problems.
    pub async fn start(
        wanted: &BTreeMap<String, Server>,
        env: &BTreeMap<String, String>,
        room: &Room,
        http: &reqwest::Client,
    ) -> (Self, Vec<Spec>, Vec<String>) {
        let mut silent = Silent::read(&kept(), Utc::now());
        let known = &silent;
        let starting = wanted.iter().map(|(name, server)| async move {
            if let Some(why) = known.why(name, server) {
                return (name, server, None, Err(why));
            }
            let started = timeout(server.start, connect(server, env, room, http)).await;
            // Only servers that make the run wait are remembered.
            let answered = started.is_ok();
            (name, server, Some(answered), started.unwrap_or_else(|_| Err(late(server))))
        });
        let all = futures_util::future::join_all(starting).await;
        let tried = all.iter().filter_map(|(name, server, answered, _)| Some((name.as_str(), *server, (*answered)?)));
        silent.note(tried, Utc::now());
        let (mut servers, mut specs, mut problems) = (Self::default(), Vec::new(), Vec::new());
        for (name, _, _, started) in all {
            match started {
                Ok((live, tools)) => {
                    if tools.len() > TOOLS {
                        problems.push(format!("mcp.{name} has {} tools: the first {TOOLS} are offered", tools.len()));
                    }
                    for tool in tools.into_iter().take(TOOLS) {
                        match servers.offer(name, &tool) {
                            Ok(spec) => specs.push(spec),
                            Err(why) => {
                                problems.push(format!("the tool {} of mcp.{name} is left out: {why}", tool.name));
                            }
                        }
                    }
                    servers.live.insert(name.clone(), live);
                }
                Err(why) => problems.push(format!("mcp.{name} is left out: {why}")),
            }
        }
        (servers, specs, problems)
    }

    /// Registers a tool, and returns its description for the model.
    fn offer(&mut self, server: &str, tool: &Tool) -> Result<Spec, String> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let name: String = format!("{server}__{}", tool.name).chars().map(plain).collect();
        if name.len() > NAME_LIMIT || self.tools.contains_key(&name) {
            return Err(format!("{name} is longer than {NAME_LIMIT} letters, or taken"));
        }
        let mut schema = Value::Object((*tool.input_schema).clone());
        schema["type"] = json!("object");
        if schema.to_string().len() > SCHEMA_LIMIT {
            return Err(format!("its arguments take more than {SCHEMA_LIMIT} bytes to describe"));
        }
        let about: String = tool.description.as_deref().unwrap_or_default().chars().take(ABOUT_LIMIT).collect();
        self.tools.insert(name.clone(), (server.to_owned(), tool.name.to_string()));
        Ok(Spec { name, about, schema })
    }

    /// Returns true if a tool belongs to one of the servers.
    pub fn has(&self, tool: &str) -> bool {
        self.tools.contains_key(tool)
    }

    /// Calls a tool. An error is for the model; a server that has ended is removed.
    pub async fn call(&mut self, tool: &str, args: Map<String, Value>) -> Result<String, String> {
        let (server, name) = self.tools.get(tool).cloned().ok_or_else(|| format!("there is no tool {tool:?}."))?;
        let gone = || format!("the MCP server {server} has ended; its tools are gone until the next run.");
        let live = self.live.get(&server).ok_or_else(gone)?;
        let request = CallToolRequestParams::new(name).with_arguments(args);
        match timeout(CALL, live.service.call_tool(request)).await {
            Ok(Ok(result)) => text(result),
            Ok(Err(
                ServiceError::TransportClosed | ServiceError::TransportSend(_) | ServiceError::Cancelled { .. },
            )) => {
                self.live.remove(&server);
                Err(gone())
            }
            Ok(Err(error)) => Err(format!("the MCP server {server} says: {error}")),
            Err(_) => Err(format!("the MCP server {server} did not answer within {} seconds.", CALL.as_secs())),
        }
    }

    /// Returns true if the server of a tool has ended.
    pub fn is_gone(&self, tool: &str) -> bool {
        self.tools.get(tool).is_none_or(|(server, _)| !self.live.contains_key(server))
    }
}

/// Drops the group's servers that do not start, and reports them: for programs that would wait for them.
pub fn keep_live(common: &mut AgentToml, room: &Room) {
    if common.servers.is_empty() {
        return;
    }
    // An error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (Ok(runtime), Ok(http)) = (runtime, reqwest::Client::builder().build()) else { return };
    let (live, _, _) = runtime.block_on(Servers::start(&common.servers, &common.env, room, &http));
    let silent = Silent::read(&kept(), Utc::now());
    let dead: Vec<String> = common.servers.keys().filter(|name| !live.live.contains_key(*name)).cloned().collect();
    for name in dead {
        let Some(server) = common.servers.remove(&name) else { continue };
        let why = silent.why(&name, &server).unwrap_or_else(|| "it could not be started or reached".to_owned());
        common.left_out(&format!("mcp.{name}"), why);
    }
}

/// Returns the kept folder of the agent's home, the same for all providers.
fn kept() -> PathBuf {
    std::env::var_os("HOME").map_or_else(|| "/home/node".into(), PathBuf::from).join(".claude")
}

/// Converts a result into text. Pictures and other media are only named.
fn text(result: CallToolResult) -> Result<String, String> {
    let mut parts = Vec::new();
    for block in result.content {
        match block {
            ContentBlock::Text(part) => parts.push(part.text),
            other => {
                let value = serde_json::to_value(&other).unwrap_or_default();
                let text = value["resource"]["text"].as_str().or_else(|| value["uri"].as_str());
                let kind = value["type"].as_str().unwrap_or("something").to_owned();
                parts.push(text.map_or_else(|| format!("[{kind}, which is not shown]"), str::to_owned));
            }
        }
    }
    if parts.is_empty()
        && let Some(data) = result.structured_content
    {
        parts.push(data.to_string());
    }
    let text = parts.join("\n");
    if result.is_error == Some(true) { Err(text) } else { Ok(text) }
}

async fn connect(
    server: &Server,
    env: &BTreeMap<String, String>,
    room: &Room,
    http: &reqwest::Client,
) -> Result<(Live, Vec<Tool>), String> {
    let us = ClientConfig::new(
        ClientCapabilities::default(),
        Implementation::new("parlor-agent", env!("CARGO_PKG_VERSION")),
    );
    let (service, program) = match &server.way {
        Way::Program { command, args, env: own } => {
            let mut command = Command::new(command);
            command.args(args).envs(env);
            tool::offer(&mut command, room);
            command.envs(own).current_dir(&room.folders.group);
            let (program, ends) = Program::start(command).map_err(|error| format!("it cannot be started: {error}"))?;
            (us.serve(ends).await, Some(program))
        }
        Way::Address { url, headers } => {
            let config = StreamableHttpClientTransportConfig::with_uri(url.as_str()).custom_headers(checked(headers)?);
            (us.serve(StreamableHttpClientTransport::with_client(http.clone(), config)).await, None)
        }
    };
    let service = service.map_err(|error| format!("it does not speak MCP: {error}"))?;
    let tools = service.list_all_tools().await.map_err(|error| format!("it does not list its tools: {error}"))?;
    Ok((Live { service, _program: program }, tools))
}

fn checked(headers: &BTreeMap<String, String>) -> Result<HashMap<HeaderName, HeaderValue>, String> {
    let one = |(name, value): (&String, &String)| {
        let wrong = || format!("the header {name} is not allowed as it is");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        Ok((name, HeaderValue::from_str(value).map_err(|_| wrong())?))
    };
    headers.iter().map(one).collect()
}

/// A server's process group.
#[derive(Debug)]
struct Program {
    child: Child,
}

impl Program {
    /// Starts the program. Its stderr is copied to ours, which is log text.
    fn start(mut command: Command) -> io::Result<(Self, (pipe::Receiver, pipe::Sender))> {
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut program = Self { child: command.spawn()? };
        let missing = || io::Error::other("it has no streams");
        let stdin = OwnedFd::from(program.child.stdin.take().ok_or_else(missing)?);
        let stdout = OwnedFd::from(program.child.stdout.take().ok_or_else(missing)?);
        Ok((program, (pipe::Receiver::from_owned_fd(stdout)?, pipe::Sender::from_owned_fd(stdin)?)))
    }
}

impl Drop for Program {
    /// Its stdin is closed by now; the program has a moment to write its files.
    fn drop(&mut self) {
        let end = Instant::now() + EXIT;
        let pid = Pid::from_child(&self.child);
        // The process is not reaped yet, so that its id is not used again.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while matches!(waitid(WaitId::Pid(pid), look), Ok(None)) && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        // Background processes are killed, too; an empty group is not an error.
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = self.child.wait();
    }
}
