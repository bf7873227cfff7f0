//! The effects of a group's `agent.toml`: MCP servers, hooks, environment, limits.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::{fs, thread};

use serde_json::{Value, json};

use super::models::{KEY, Protocol, Reply, Server};
use super::{eventually, home, input, once, settings, start, with};

const MOOD: &str = include_str!("../../../../tests/harness/mcp_server.sh");

/// An MCP server at a URL: streamable HTTP, one answer per request. Also returns the headers that it received.
fn far() -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(String::new()));
    let ours = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let seen = Arc::clone(&ours);
            thread::spawn(move || while serve(&stream, &seen).is_some() {});
        }
    });
    (url, seen)
}

fn serve(mut stream: &TcpStream, seen: &Mutex<String>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.extend([line, "\n"]);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    seen.lock().unwrap().push_str(&head);
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let result = match asked["method"].as_str().unwrap_or_default() {
        "initialize" => json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                               "serverInfo": {"name": "far", "version": "1"}}),
        "tools/list" => json!({"tools": [{"name": "a.look", "inputSchema": {"type": "object"}}]}),
        "tools/call" => json!({"content": [{"type": "text", "text": "nothing there"}], "isError": true}),
        _ => Value::Null,
    };
    let (status, body) = match (asked["id"].is_null(), result.is_null()) {
        _ if !head.starts_with("POST") => ("405 Method Not Allowed", String::new()),
        (true, _) => ("202 Accepted", String::new()),
        (false, true) => (
            "200 OK",
            json!({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": "no"}}).to_string(),
        ),
        (false, false) => ("200 OK", json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}).to_string()),
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").ok()
}

#[test]
fn mcp_servers_of_the_group_are_called_and_end_with_the_run() {
    let server = Server::start(Protocol::Anthropic, |request| match request.number {
        0 => Reply::Calls(
            String::new(),
            vec![
                ("mood__tell".into(), json!({"who": "ann"})),
                ("far__a_look".into(), json!({})),
                ("mood__hidden".into(), json!({})),
            ],
        ),
        _ => Reply::text("done"),
    });
    let (url, seen) = far();
    let home = home();
    fs::write(home.path("group/mood.sh"), MOOD).unwrap();
    settings(
        &home,
        &format!(
            "[tools]\nallow = ['shell', 'mood__*', 'far__*']\ndeny = ['mood__hidden']\n[env]\nCOLOUR = 'blue'\n\
             [mcp.mood]\ncommand = 'sh'\nargs = ['mood.sh', 'x', 'y']\nenv = {{ MOOD = 'gay', SERVER_PID_FILE = 'pid' }}\n\
             [mcp.far]\nurl = '{url}'\nheaders = {{ Authorization = 'Bearer own-0123456789' }}\n\
             [mcp.none]\ncommand = '/no/such/program'\n[mcp.mute]\ncommand = 'sh'\nargs = ['-c', 'exit 3']\n\
             [mcp.nobody]\nurl = 'http://127.0.0.1:1/mcp'\n"
        ),
    );
    let mut agent = start(&home, input(&server, "how is ann?"));
    let said = agent.reply();
    for part in [
        "done\n\n(Not all",
        "mcp.none is left out: this room's image has no",
        "mcp.mute is left out",
        "mcp.nobody is left",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(server.requests()[0].tools(), ["shell", "far__a_look", "mood__tell", "mood__die"]);
    let told = server.newest().messages("user").join("\n");
    for part in ["ann is gay, blue, x y", "Error: nothing there", "there is no tool \"mood__hidden\""] {
        assert!(told.contains(part), "{part} in {told}");
    }
    let seen = seen.lock().unwrap().clone();
    assert!(
        seen.to_ascii_lowercase().contains("authorization: bearer own-0123456789") && !seen.contains(KEY),
        "{seen}"
    );
    let pid = fs::read_to_string(home.path("group/pid")).unwrap();
    let alive = || fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "));
    assert!(alive(), "it lives as long as the run");
    home.close();
    assert!(agent.end().success());
    eventually("the server is gone", || !alive());
}

#[test]
fn mcp_server_that_ends_is_reported_and_no_longer_offered() {
    let server = Server::start(Protocol::OpenAi, |request| match request.number {
        0 => Reply::call("mood__die", json!({})),
        _ => Reply::text("done"),
    });
    let home = home();
    fs::write(home.path("group/mood.sh"), MOOD).unwrap();
    settings(&home, "[tools]\nallow = ['mood__*', 'shell']\n[mcp.mood]\ncommand = 'sh'\nargs = ['mood.sh']\n");
    assert_eq!(start(&home, input(&server, "go")).reply(), "done");
    assert!(server.newest().last().contains("the MCP server mood has ended"), "{}", server.newest().last());
    assert_eq!(server.newest().tools(), ["shell"]);
}

#[test]
fn hooks_refuse_add_and_hold_and_get_the_environment() {
    let server = Server::start(Protocol::Anthropic, |request| match request.number {
        0 => Reply::Calls(
            String::new(),
            vec![
                ("shell".into(), json!({"command": "touch forbidden"})),
                ("write_file".into(), json!({"path": "b.txt", "content": "two"})),
                ("list_files".into(), json!({})),
            ],
        ),
        1 => Reply::text("half done"),
        _ => Reply::text("done"),
    });
    let home = home();
    settings(
        &home,
        "[env]\nWORD = 'seen'\nANTHROPIC_BASE_URL = 'http://elsewhere'\n\
         [[hooks]]\nevent = 'PreToolUse'\nmatcher = 'shell|fetch'\ncommand = 'cat > event; echo \"not today, $WORD\" >&2; exit 2'\n\
         [[hooks]]\nevent = 'PostToolUse'\nmatcher = 'write_.*'\ncommand = 'echo checked >&2; exit 2'\n\
         [[hooks]]\nevent = 'PostToolUse'\ncommand = 'exit 1'\n\
         [[hooks]]\nevent = 'Stop'\ncommand = 'cat > stop; echo go on >&2; exit 2'\n\
         [[hooks]]\nevent = 'SessionStart'\ncommand = 'true'\n",
    );
    let said = start(&home, input(&server, "work")).reply();
    assert!(said.starts_with("done\n\n") && said.contains("env.ANTHROPIC_BASE_URL is left out"), "{said}");
    assert!(said.contains("no event SessionStart; it has PreToolUse, PostToolUse, Stop"), "{said}");
    assert!(!home.path("group/forbidden").exists());
    let event: Value = serde_json::from_str(&fs::read_to_string(home.path("group/event")).unwrap()).unwrap();
    assert_eq!((&event["tool_name"], &event["tool_input"]["command"]), (&json!("shell"), &json!("touch forbidden")));
    let told = server.requests()[1].last();
    assert!(told.contains("refused the call: not today, seen") && told.contains("says: checked]"), "{told}");
    assert!(told.contains("b.txt (3 bytes)"), "a hook that fails changes nothing: {told}");
    assert!(server.newest().last().contains("says: go on]"), "{}", server.newest().last());
    assert_eq!(server.requests().len(), 3, "a turn is held once");
    let stop: Value = serde_json::from_str(&fs::read_to_string(home.path("group/stop")).unwrap()).unwrap();
    assert_eq!((&stop["stop_hook_active"], &stop["last_assistant_message"]), (&json!(true), &json!("done")));
}

#[test]
fn settings_that_the_operator_reserves_are_not_used() {
    let server = Server::saying(Protocol::Anthropic, vec![Reply::text("hi")]);
    let home = home();
    settings(
        &home,
        "model = 'claude-dear'\nsystem_prompt = 'Speak in rhymes.'\n[mcp.mood]\ncommand = 'touch'\nargs = ['started']\n\
         [[hooks]]\nevent = 'Stop'\ncommand = 'touch hooked'\n",
    );
    let mut bare = input(&server, "hi");
    bare.as_object_mut().unwrap().remove("model");
    let may = json!({"set": ["model", "prompt"], "models": ["claude-cheap*"], "notes": ["provider is left out: no"]});
    let bounded = with(with(bare, "defaultModel", json!("claude-of-the-house")), "agentMay", may);
    let said = once(&home, bounded.clone()).result.unwrap();
    for part in
        ["provider is left out: no", "model is left out", "claude-cheap*", "mcp is left out", "hooks is left out"]
    {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(server.newest().body["model"], "claude-of-the-house");
    assert!(server.newest().system().contains("Speak in rhymes."));
    assert!(!home.path("group/started").exists() && !home.path("group/hooked").exists());
}

#[test]
fn mcp_server_has_its_start_limit_and_a_dead_one_is_skipped() {
    let server = Server::saying(Protocol::Anthropic, vec![Reply::text("hi")]);
    let home = home();
    fs::write(home.path("group/mood.sh"), MOOD).unwrap();
    settings(
        &home,
        "[mcp.dead]\ncommand = 'sh'\nargs = ['-c', 'echo x >> starts; exec sleep 600']\nstart_timeout = 1\n\
         [mcp.slow]\ncommand = 'sh'\nargs = ['-c', 'sleep 2; exec sh mood.sh']\n[mcp.odd]\nurl = 'http://x'\nstart_timeout = 0\n",
    );
    let first = once(&home, input(&server, "hi")).result.unwrap();
    assert!(first.contains("mcp.dead is left out: it did not answer within 1 seconds; start_timeout"), "{first}");
    assert!(first.contains("mcp.odd is left out: start_timeout") && !first.contains("mcp.slow"), "{first}");
    assert!(server.newest().tools().iter().any(|name| name.starts_with("slow__")), "{:?}", server.newest().tools());
    assert_eq!(once(&home, input(&server, "hi")).result.as_deref(), Some("hi"), "told once");
    assert_eq!(fs::read_to_string(home.path("group/starts")).unwrap(), "x\n", "and started once");
    // With other settings it counts as another server.
    settings(&home, "[mcp.dead]\ncommand = 'sh'\nargs = ['mood.sh']\n");
    assert_eq!(once(&home, input(&server, "hi")).result.as_deref(), Some("hi"));
    assert!(server.newest().tools().iter().any(|name| name.starts_with("dead__")));
}

#[test]
fn packages_that_are_downloaded_outlive_the_room() {
    let server = Server::start(Protocol::Anthropic, |request| match request.number {
        0 => Reply::call("shell", json!({"command": "echo $npm_config_cache $UV_CACHE_DIR $PIP_CACHE_DIR"})),
        _ => Reply::text(request.last()),
    });
    let home = home();
    let said = start(&home, input(&server, "where?")).reply();
    let agent = home.path("agent/cache").display().to_string();
    for folder in ["npm", "uv", "pip"] {
        assert!(said.contains(&format!("{agent}/{folder}")), "{said}");
    }
}
