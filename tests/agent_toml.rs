//! A group's own `agent.toml` in real rooms: its agent's choices take effect as far as the operator allows them.
//! Agents and servers are real; a stand-in answers for the vendor's cloud.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::harness::claude::{build, builder};
use crate::harness::host::Host;
use crate::harness::models::{KEY, Protocol, Reply, Server};
use crate::harness::vendor::{Answer, Asked, Vendor};
use crate::harness::{SOON, eventually};

/// Time limit of a turn of Claude Code on a busy machine.
const TURN: Duration = Duration::from_secs(60);
const JID: &str = "web:own";
const MOOD: &str = include_str!("harness/mcp_server.sh");

/// Writes the group's file and its MCP server, as its agent would.
fn write(host: &Host, text: &str) {
    let agent = host.root().join("data/sessions/own/agent");
    fs::create_dir_all(&agent).unwrap();
    for dir in [host.root().join("data/sessions/own"), agent.clone()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(agent.join("agent.toml"), text).unwrap();
    fs::create_dir_all(host.root().join("groups/own")).unwrap();
    fs::write(file(host, "mood.sh"), MOOD).unwrap();
}

/// Returns the path of a file in the group's folder.
fn file(host: &Host, name: &str) -> PathBuf {
    host.root().join("groups/own").join(name)
}

/// Sends a message, waits for its turn, and returns all texts sent meanwhile.
fn ask(host: &Host, text: &str) -> String {
    let mut events = host.events();
    let seq = host.send(JID, text);
    events.turn_done(JID, seq, TURN);
    events.texts(JID).join("\n")
}

fn close(host: &Host) {
    for run in crate::harness::rows::runs(host, "own") {
        if run["endedAt"].is_null() {
            host.api.delete(&format!("/v1/runs/{}", run["id"].as_str().unwrap()));
        }
    }
    eventually("the room is closed", SOON, || host.containers().is_empty().then_some(()));
}

const SETTINGS: &str = r#"
model = "claude-of-the-group"
system_prompt = "The cat is called Mitzi."
colour = "red"
[tools]
deny = ["Write", "mcp__mood__hidden"]
[env]
COLOUR = "blue"
ANTHROPIC_BASE_URL = "http://elsewhere.example"
[mcp.mood]
command = "sh"
args = ["mood.sh", "word"]
env = { MOOD = "gay" }
[mcp.dead]
command = "/no/such/program"
[[hooks]]
event = "PreToolUse"
matcher = "Bash"
command = "cat >> /workspace/group/hooked; if grep -q forbidden /workspace/group/hooked; then echo not that >&2; exit 2; fi"
timeout = 20
"#;

fn claude(asked: &Asked) -> Answer {
    let last = asked.last().join("\n");
    if asked.has_result() {
        return Answer::Say(format!("result: {last}"));
    }
    let bash = |command: &str| Answer::Bash(command.to_owned());
    match last.split_once("[do: ").and_then(|(_, rest)| rest.split_once(']')).map(|(word, _)| word) {
        Some("mood") => Answer::Tool("mcp__mood__tell", json!({ "who": "ann" })),
        Some("env") => bash("echo colour=$COLOUR base=$ANTHROPIC_BASE_URL"),
        Some("forbidden") => bash("echo forbidden > made"),
        Some("agent") => Answer::Tool(
            "Agent",
            json!({ "description": "ask", "prompt": "[do: leaf]", "subagent_type": "general-purpose" }),
        ),
        Some("leaf") => Answer::Say("the leaf is green".to_owned()),
        _ => Answer::Say("heard".to_owned()),
    }
}

#[test]
fn claude_code_applies_the_groups_settings() {
    let vendor = Vendor::start(claude);
    let mut host = builder(&vendor.dot_env()).prepare();
    build(&host);
    host.start();
    host.register(JID, "own");
    write(&host, SETTINGS);
    let ask = |text: &str| ask(&host, text);
    let told = ask("hello");
    assert!(told.starts_with("heard\n\n(Not all") && told.contains("colour is left out"), "{told}");
    assert!(told.contains("env.ANTHROPIC_BASE_URL is left out: the name is reserved"), "{told}");
    assert!(told.contains("mcp.dead is left out: this room's image has no `/no/such/program`"), "{told}");
    let first = vendor.asked().remove(0);
    assert_eq!(
        (first.body["model"].as_str(), first.credentials.as_str()),
        (Some("claude-of-the-group"), crate::harness::vendor::KEY)
    );
    assert!(first.system().contains("The cat is called Mitzi."), "{}", first.system());
    let tools = first.body["tools"].to_string();
    assert!(
        tools.contains("\"Bash\"") && !tools.contains("\"Write\"") && !tools.contains("mcp__mood__hidden"),
        "{tools}"
    );

    let mood = ask("[do: mood]");
    assert!(mood.starts_with("result: ") && mood.contains("ann is gay, blue, word"), "{mood}");
    let env = ask("[do: env]");
    assert_eq!(env, format!("result: colour=blue base={}", vendor.url));
    let hooked = fs::read_to_string(file(&host, "hooked")).unwrap();
    assert!(hooked.contains("PreToolUse") && hooked.contains("echo colour="), "{hooked}");
    let refused = ask("[do: forbidden]");
    assert!(refused.contains("not that") && !file(&host, "made").exists(), "{refused}");

    // A subagent makes its own requests with the group's model, and Parlor's own tools are still there.
    ask("[do: agent]");
    let leaf = eventually("the subagent asks", TURN, || {
        vendor
            .asked()
            .into_iter()
            .find(|asked| asked.said().contains("[do: leaf]") && !asked.said().contains("[do: agent]"))
    });
    assert_eq!(leaf.body["model"], "claude-of-the-group");
    eventually("the agent hears of its subagent's answer", TURN, || {
        let told = |asked: &Asked| asked.said().contains("[do: agent]") && asked.said().contains("the leaf is green");
        vendor.asked().iter().any(told).then_some(())
    });
    close(&host);

    // A notice is not repeated, and the operator's choice for the group wins.
    host.api.patch(
        "/v1/groups/own",
        &json!({ "containerConfig": { "model": "claude-of-the-operator", "agentMay": ["env"] } }),
    );
    let again = ask("hello again");
    assert!(again.contains("system_prompt is left out"), "{again}");
    let asked = vendor.asked().into_iter().rfind(|asked| asked.said().contains("hello again")).unwrap();
    assert_eq!(asked.body["model"], "claude-of-the-operator");
    assert!(!asked.system().contains("Mitzi") && asked.body["tools"].to_string().contains("\"Write\""));
    close(&host);
    assert_eq!(ask("and again"), "heard", "told once");
}

#[test]
fn message_to_an_interrupted_conversation_gets_its_own_answer() {
    let vendor = Vendor::start(claude);
    let mut host = builder(&vendor.dot_env()).prepare();
    build(&host);
    host.start();
    host.register(JID, "own");
    let ask = |text: &str| ask(&host, text);
    // The room ends while the subagent works. Claude Code resumes its conversation with a turn about that.
    for n in 0..3 {
        ask(&format!("[do: agent] {n}"));
        close(&host);
        let word = format!("hello again {n}.");
        let again = ask(&word);
        let heard = vendor.asked().iter().any(|asked| asked.said().contains(&word));
        assert!(again.contains("heard") && heard, "{n}: {again}");
        close(&host);
    }
}

#[test]
fn group_moves_to_an_allowed_provider_and_keeps_its_servers() {
    let server = Server::start(Protocol::Anthropic, |request| match request.number {
        0 => Reply::Calls(
            String::new(),
            vec![
                ("mood__tell".to_owned(), json!({ "who": "ann" })),
                ("shell".to_owned(), json!({ "command": "echo colour=$COLOUR key=$ANTHROPIC_API_KEY-" })),
            ],
        ),
        _ => Reply::text("done"),
    });
    let start = |may: &str| {
        let mut host = Host::builder()
            .env("CONTAINER_IMAGE", "")
            .env("PARLOR_PROVIDER", "guide")
            .env("PARLOR_AGENT_MAY", may)
            .env("PARLOR_AGENT_PROVIDERS", "llm")
            .env("PARLOR_MODEL", "claude-test")
            .env("IDLE_TIMEOUT", 600_000)
            .dot_env(&server.dot_env())
            .prepare();
        host.start();
        host.register(JID, "own");
        write(
            &host,
            "provider = 'llm'\n[env]\nCOLOUR = 'blue'\n[mcp.mood]\ncommand = 'sh'\nargs = ['mood.sh']\nenv = { MOOD = 'calm' }\n",
        );
        host
    };
    // Not allowed: the guide answers, has no network, and says why it is the guide.
    let host = start("model,env");
    let told = host.ask(JID, "@Andy hello").join("\n");
    assert!(told.contains("provider is left out: the operator keeps it to himself"), "{told}");
    assert!(host.log().contains("agent.toml of group own: provider is left out"), "{}", host.log());
    assert!(server.requests().is_empty());
    drop(host);

    let host = start("provider,env,mcp");
    assert_eq!(host.ask(JID, "@Andy how is ann?"), ["done"]);
    let request = server.newest();
    let said = [request.messages("user"), request.messages("tool")].concat().join("\n");
    assert!(said.contains("ann is calm, blue, ") && said.contains("colour=blue key=-"), "{said}");
    assert!(!said.contains(KEY));
    close(&host);
    // A room leaves no server behind: it was inside the container.
    assert!(host.containers().is_empty());
}
