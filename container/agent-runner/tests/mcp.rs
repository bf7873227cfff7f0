//! The MCP server as a real process; the tests write plain lines of JSON-RPC.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Agent, Home, RUNNER, eventually, page};

const PATIENCE: Duration = Duration::from_secs(60);

/// A client of a running server.
struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    next: u64,
}

impl Client {
    fn start(home: &Home, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(RUNNER);
        home.environment(&mut command);
        command.arg("mcp").envs(environment.iter().copied()).env("TMPDIR", home.path("group"));
        command.env("PARLOR_GLOBAL_DIR", home.path("ipc"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { stdin: child.stdin.take(), child, lines, next: 0 }
    }

    /// Starts a server and greets it.
    fn ready(home: &Home, is_main: bool) -> Self {
        let environment = [("PARLOR_CHAT_JID", "web:team"), ("PARLOR_IS_MAIN", if is_main { "1" } else { "0" })];
        let mut client = Self::start(home, &environment);
        client.greet("2025-06-18");
        client
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{message}").unwrap();
    }

    fn ask(&mut self, method: &str, params: &Value) -> u64 {
        self.next += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params}));
        self.next
    }

    fn answer(&self) -> Value {
        serde_json::from_str(&self.lines.recv_timeout(PATIENCE).expect("an answer")).unwrap()
    }

    fn request(&mut self, method: &str, params: &Value) -> Value {
        let id = self.ask(method, params);
        let answer = self.answer();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    fn greet(&mut self, version: &str) -> Value {
        let client = json!({"name": "test", "version": "1"});
        let answer =
            self.request("initialize", &json!({"protocolVersion": version, "capabilities": {}, "clientInfo": client}));
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        answer["result"].clone()
    }

    /// Calls a tool. Returns whether it failed, and its text.
    fn call(&mut self, name: &str, args: &Value) -> (bool, String) {
        let answer = self.request("tools/call", &json!({"name": name, "arguments": args}));
        let result = &answer["result"];
        (
            result["isError"] == true,
            result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned(),
        )
    }

    /// Returns the offered tools in short: `name(needed! optional)`.
    fn tools(&mut self) -> Vec<String> {
        let answer = self.request("tools/list", &json!({}));
        let short = |tool: &Value| {
            let schema = &tool["inputSchema"];
            assert_eq!((&schema["type"], &schema["additionalProperties"]), (&json!("object"), &json!(false)), "{tool}");
            assert!(tool["description"].as_str().unwrap().len() > 30, "{tool}");
            let needed = |name: &str| schema["required"].as_array().is_some_and(|all| all.contains(&json!(name)));
            let mut args: Vec<String> = schema["properties"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, arg)| {
                    assert!(arg["description"].is_string(), "{tool}");
                    format!("{name}{}", if needed(name) { "!" } else { "" })
                })
                .collect();
            args.sort();
            format!("{}({})", tool["name"].as_str().unwrap(), args.join(" "))
        };
        answer["result"]["tools"].as_array().unwrap().iter().map(short).collect()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn protocol_version_is_negotiated_and_stdins_end_is_the_end() {
    let home = Home::new();
    for (asked, given) in [("2024-11-05", Some("2024-11-05")), ("2025-06-18", Some("2025-06-18")), ("1999-01-01", None)]
    {
        let mut client = Client::start(&home, &[]);
        let hello = client.greet(asked);
        let version = hello["protocolVersion"].as_str().unwrap();
        assert!(given.map_or(version > "2025", |given| version == given), "{asked}: {hello}");
        assert_eq!(hello["serverInfo"]["name"], "parlor");
        assert!(hello["capabilities"]["tools"].is_object() && hello["instructions"].is_string(), "{hello}");
        assert!(client.request("ping", &json!({}))["result"].is_object());
        drop(client.stdin.take());
        eventually("the server ends", || client.child.try_wait().unwrap().is_some_and(|status| status.success()));
    }
}

#[test]
fn each_group_is_offered_its_tools() {
    let home = Home::new();
    for is_main in [true, false] {
        assert_eq!(Client::ready(&home, is_main).tools(), documented(is_main));
    }
}

/// The tools of the page for agents, in the same short form.
fn documented(is_main: bool) -> Vec<String> {
    let short = |tool: page::Tool| {
        let offered = tool.args.iter().filter(|arg| is_main || !arg.main_only);
        let mut args: Vec<String> =
            offered.map(|arg| format!("{}{}", arg.name, if arg.required { "!" } else { "" })).collect();
        args.sort();
        format!("{}({})", tool.name, args.join(" "))
    };
    page::tools().into_iter().filter(|tool| is_main || !tool.main_only).map(short).collect()
}

#[test]
fn wrong_arguments_are_reported_before_the_host_is_asked() {
    let home = Home::new();
    fs::create_dir(home.path("group/folder")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", home.path("group/link")).unwrap();
    let mut client = Client::ready(&home, true);
    let task = |kind: &str, value: &str| json!({"prompt": "p", "schedule_type": kind, "schedule_value": value});
    let group = |folder: &str, jid: &str| json!({"jid": jid, "name": "n", "folder": folder, "trigger": "@A"});
    for (tool, args, why) in [
        ("send_message", json!({}), "text is missing"),
        ("send_message", json!({"text": "x", "colour": "red"}), "no argument \"colour\""),
        ("send_message", json!({"text": 5.5, "chatJid": "a b"}), "chat id \"a b\" is not allowed"),
        ("send_message", json!({"text": "x".repeat(300_000)}), "at most 262144"),
        ("send_file", json!({"path": "../x"}), "not a path below"),
        ("send_file", json!({"path": "none.txt"}), "cannot be sent: No such file"),
        ("send_file", json!({"path": "folder"}), "not a regular file"),
        ("send_file", json!({"path": "link"}), "not a regular file"),
        ("schedule_task", task("cron", "0 9 * *"), "4 fields"),
        ("schedule_task", task("interval", "9999"), "10 seconds"),
        ("schedule_task", task("once", "2031-01-01T00:00:00 Berlin"), "local time"),
        ("schedule_task", task("daily", "9"), "use cron or interval or once"),
        ("pause_task", json!({"taskId": "a b"}), "task id \"a b\" is not allowed"),
        ("pause_task", json!({"taskId": 7}), "There are no tasks."),
        ("update_task", json!({"taskId": "t"}), "What shall change?"),
        ("update_task", json!({"taskId": "t", "schedule_type": "cron"}), "needs a schedule_value"),
        ("register_group", group("global", "web:x"), "reserved"),
        ("register_group", group("a/b", "web:x"), "is not allowed"),
        ("remember", json!({"text": "x".repeat(4001)}), "4000 characters"),
    ] {
        let (failed, said) = client.call(tool, &args);
        assert!(failed && said.contains(why), "{tool}: {said}");
    }
    let unknown = client.request("tools/call", &json!({"name": "dance", "arguments": {}}));
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    assert!(fs::read_dir(home.path("ipc/tasks")).unwrap().next().is_none(), "the host was asked");
    assert!(fs::read_dir(home.path("ipc/messages")).unwrap().next().is_none(), "the host was asked");
}

#[test]
fn answers_of_the_host_are_passed_on_unchanged() {
    let home = Home::new();
    fs::write(home.path("group/a.txt"), "x").unwrap();
    let sent = home.host("messages", vec![json!({"ok": true}), json!({"ok": true, "size": 1})]);
    let mut client = Client::ready(&home, false);
    let message = json!({"text": "hi", "sender": "Bob", "replyTo": "m1"});
    assert_eq!(client.call("send_message", &message), (false, "Done: the message is on its way.".into()));
    let path = home.path("group/a.txt");
    assert_eq!(
        client.call("send_file", &json!({"path": path, "caption": "see"})),
        (false, "Done: the file a.txt (1 bytes) is on its way.".into())
    );
    let sent = sent.join().unwrap();
    let expected = json!({"type": "message", "chatJid": "web:team", "text": "hi", "sender": "Bob", "replyTo": "m1",
        "id": sent[0]["id"]});
    assert_eq!(sent[0], expected);
    let expected =
        json!({"type": "file", "chatJid": "web:team", "path": "a.txt", "caption": "see", "id": sent[1]["id"]});
    assert_eq!(sent[1], expected);

    // The host refuses a tool that was not offered.
    let asked = home.host("tasks", vec![json!({"ok": false, "error": "only the main group may use refresh_groups"})]);
    let refused = client.call("refresh_groups", &json!({}));
    assert_eq!(refused, (true, "Parlor refused this: only the main group may use refresh_groups".into()));
    assert_eq!(asked.join().unwrap()[0]["type"], "refresh_groups");

    assert!(client.call("remember", &json!({"text": "tea\nis green", "scope": "global"})).0);
    assert!(!client.call("remember", &json!({"text": "tea\nis green"})).0);
    assert_eq!(fs::read_to_string(home.path("group/CLAUDE.md")).unwrap(), "- tea is green\n");
    assert!(!Client::ready(&home, true).call("remember", &json!({"text": "for all", "scope": "global"})).0);
    assert_eq!(fs::read_to_string(home.path("ipc/CLAUDE.md")).unwrap(), "- for all\n");
}

#[test]
fn host_that_is_down_is_reported_and_delays_nothing_else() {
    let home = Home::new();
    let mut client = Client::ready(&home, false);
    let waiting = client.ask("tools/call", &json!({"name": "send_message", "arguments": {"text": "anyone?"}}));
    let ping = client.request("ping", &json!({}));
    // The ping is answered first.
    assert!(ping["result"].is_object(), "{ping}");
    let answer = client.answer();
    assert_eq!((&answer["id"], &answer["result"]["isError"]), (&json!(waiting), &json!(true)));
    let said = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(said.contains("has not answered within 10 seconds") && said.contains("may still be carried out"), "{said}");
    assert_eq!(fs::read_dir(home.path("ipc/messages")).unwrap().count(), 1, "the request waits for the host");
}

#[test]
fn server_with_its_own_environment_reads_the_run_from_a_file() {
    let home = Home::new();
    home.program("#!/bin/sh\necho here\n");
    let input =
        json!({"prompt": "x", "groupFolder": "main", "chatJid": "web:main", "isMain": true, "provider": "exec"});
    let folder = home.path("group").display().to_string();
    let agent = Agent::start_with(&home, &input.to_string(), &[("TMPDIR", &folder)]);
    assert_eq!(agent.reply(), "here");
    let mut client = Client::start(&home, &[]);
    client.greet("2025-06-18");
    assert!(client.tools().iter().any(|tool| tool.starts_with("register_group")));
    let sent = home.host("messages", vec![json!({"ok": true})]);
    assert!(!client.call("send_message", &json!({"text": "x"})).0);
    assert_eq!(sent.join().unwrap()[0]["chatJid"], "web:main");
}
