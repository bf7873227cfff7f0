//! The provider `llm` end to end: a real host, Parlor's own image, and a stand-in for the vendor's server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use crate::harness::host::{Builder, Host};
use crate::harness::models::{Protocol, Reply, Request, Server};
use crate::harness::rows::runs;
use crate::harness::{SOON, engine, eventually};

const JID: &str = "web:llm";

/// A host with the server's key as its only key, from which it chooses the provider.
fn builder(server: &Server) -> Builder {
    let model = if server.dot_env().contains("OPENAI") { "some-model" } else { "claude-test" };
    Host::builder()
        .env("CONTAINER_IMAGE", "")
        .env("PARLOR_PROVIDER", "auto")
        .env("PARLOR_MODEL", model)
        .dot_env(&server.dot_env())
}

fn start(server: &Server) -> Host {
    let host = builder(server).start();
    host.register(JID, "llm");
    host
}

/// Returns the path of a file in the group's folder.
fn file(host: &Host, name: &str) -> PathBuf {
    host.root().join("groups/llm").join(name)
}

/// Waits until a command in the room has created a file.
fn made(host: &Host, name: &str) {
    eventually("the command works", SOON, || file(host, name).exists().then_some(()));
}

/// Returns a call of a command that creates a file, and then waits for another one.
fn waiting() -> Reply {
    Reply::call("shell", json!({"command": "touch began; while [ ! -e go ]; do sleep 0.05; done"}))
}

fn texts(request: &Request) -> String {
    [request.messages("user"), request.messages("tool")].concat().join("\n")
}

#[test]
fn key_alone_gives_an_agent_with_tools() {
    for protocol in [Protocol::Anthropic, Protocol::OpenAi] {
        let server = Server::start(protocol, |request| match request.number {
            0 => Reply::call("shell", json!({"command": "id -u > made.txt; cat /proc/$PPID/maps"})),
            1 => Reply::call(
                "schedule_task",
                json!({"prompt": "water the plants", "schedule_type": "interval", "schedule_value": "3600000"}),
            ),
            2 => Reply::text("It is **done**. <internal>secret thought</internal>"),
            _ => Reply::text("again"),
        });
        let host = start(&server);
        assert_eq!(host.ask(JID, "@Andy make the file"), ["It is **done**."]);
        let made = fs::read_to_string(file(&host, "made.txt")).unwrap();
        assert!(made.trim().parse::<u32>().is_ok_and(|uid| uid != 0), "{made}");
        // The key is in the memory of the agent's process, which its commands cannot read.
        assert!(texts(&server.requests()[1]).contains("Permission denied"));
        let task = host.api.get("/v1/tasks").json()["tasks"][0].clone();
        assert_eq!(
            (task["prompt"].as_str(), task["folder"].as_str()),
            (Some("water the plants"), Some("llm")),
            "{task}"
        );
        let run = runs(&host, "llm").remove(0);
        // A later room continues the same conversation.
        let session = host.api.get("/v1/sessions/llm").json()["sessionId"].as_str().unwrap().to_owned();
        host.api.delete(&format!("/v1/runs/{}", run["id"].as_str().unwrap()));
        eventually("the room is closed", SOON, || host.containers().is_empty().then_some(()));
        assert_eq!(host.ask(JID, "and again?"), ["again"]);
        assert_eq!(host.api.get("/v1/sessions/llm").json()["sessionId"], session.as_str());
        let request = server.newest();
        assert!(texts(&request).contains("make the file") && request.last().contains("and again?"));
        assert!(request.system().contains("You are Andy"));
        assert_eq!(runs(&host, "llm").len(), 2);
    }
}

#[test]
fn follow_up_reaches_the_current_turn() {
    let server = Server::start(Protocol::Anthropic, |request| match request.number {
        0 => waiting(),
        _ => Reply::text(if request.last().contains("more of it") { "both" } else { "one" }),
    });
    let host = start(&server);
    let mut events = host.events();
    host.send(JID, "the first");
    made(&host, "began");
    let second = host.send(JID, "more of it");
    let _ = eventually("the follow-up lies in the room", SOON, || {
        let inputs = fs::read_dir(host.root().join("data/inputs")).ok()?.flatten();
        inputs.flat_map(|dir| fs::read_dir(dir.path()).into_iter().flatten()).next()
    });
    fs::write(file(&host, "go"), "").unwrap();
    events.turn_done(JID, second, SOON);
    assert_eq!(events.texts(JID), ["both"]);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn room_killed_in_mid_turn_continues_where_it_was() {
    let server = Server::start(Protocol::Anthropic, |request| match request.number {
        0 => Reply::text("hello"),
        1 => Reply::Calls(
            String::new(),
            vec![
                ("shell".to_owned(), json!({"command": "echo once >> log.txt"})),
                ("shell".to_owned(), json!({"command": "touch began; sleep 600"})),
            ],
        ),
        _ => Reply::text("gone on"),
    });
    let host = start(&server);
    host.ask(JID, "hi");
    let mut events = host.events();
    let seq = host.send(JID, "work");
    made(&host, "began");
    for name in host.containers() {
        engine::run(&["kill", "--signal", "KILL", &name]);
    }
    events.turn_done(JID, seq, 2 * SOON);
    assert_eq!(events.texts(JID).last().unwrap(), "gone on");
    let told = texts(&server.newest());
    assert!(told.contains("(exit code 0)") && told.contains("Interrupted: ") && told.contains("interrupted"), "{told}");
    assert_eq!(fs::read_to_string(file(&host, "log.txt")).unwrap(), "once\n");
}

#[test]
fn older_turns_are_summarised_and_archived() {
    let server = Server::start(Protocol::Anthropic, |request| {
        if request.system().starts_with("You condense the record") {
            return Reply::text("Ann told long stories.");
        }
        Reply::text(format!("answer {}", request.messages("user").len()))
    });
    let host = start(&server);
    let agent = host.root().join("data/sessions/llm/agent");
    fs::create_dir_all(&agent).unwrap();
    for dir in [host.root().join("data/sessions/llm"), agent.clone()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(agent.join("agent.toml"), "context_tokens = 12000\nno_such_key = 1\n").unwrap();
    let story = |n: usize| format!("story {n} {}", "lorem ipsum ".repeat(700));
    let first = host.ask(JID, &story(0));
    assert!(first[0].contains("no_such_key is left out"), "{first:?}");
    for n in 1..6 {
        host.ask(JID, &story(n));
    }
    let texts = server.newest().messages("user");
    assert!(texts[0].contains("Ann told long stories.") && texts.last().unwrap().contains("story 5"), "{texts:?}");
    let archive = fs::read_dir(file(&host, "conversations")).unwrap().next().unwrap().unwrap().path();
    assert!(fs::read_to_string(archive).unwrap().contains(&story(0)));
}

#[test]
fn rate_limit_pauses_the_group_until_the_vendors_time() {
    let server = Server::saying(Protocol::Anthropic, vec![Reply::later(429, 30, "rate_limit_error")]);
    let host = start(&server);
    host.send(JID, "hello");
    let paused = eventually("the group is paused", SOON, || {
        let group = host.api.get("/v1/groups/llm").json();
        group["paused"]["until"].as_str().map(str::to_owned)
    });
    let until: chrono::DateTime<chrono::Utc> = paused.parse().unwrap();
    let left = until - chrono::Utc::now();
    assert!(left > chrono::Duration::zero() && left <= chrono::Duration::seconds(31), "{left}");
}

#[test]
fn task_has_its_own_conversation_and_a_lost_one_begins_anew() {
    let server = Server::start(Protocol::OpenAi, |request| match request.number {
        0 => Reply::text("hello"),
        1 => Reply::call("send_message", json!({"text": "from the task"})),
        2 => Reply::text("<internal>nothing to say</internal>"),
        _ => Reply::text("anew"),
    });
    let host = start(&server);
    host.ask(JID, "hi");
    let mut events = host.events();
    let task = crate::slots::task(&host, "llm", "look after the plants", "isolated");
    crate::slots::run_now(&host, &task);
    events.message(JID, SOON, |text| text == "from the task");
    eventually("the task's turn ends", SOON, || (server.requests().len() == 3).then_some(()));
    let request = &server.requests()[1];
    assert!(request.system().contains("this prompt is a scheduled task"), "{}", request.system());
    assert!(request.last().contains("look after the plants"), "{}", request.last());
    assert_eq!(request.messages("user").len(), 1, "a conversation of its own");

    let run = runs(&host, "llm").into_iter().next_back().unwrap();
    host.api.delete(&format!("/v1/runs/{}", run["id"].as_str().unwrap()));
    eventually("the rooms are closed", SOON, || host.containers().is_empty().then_some(()));
    fs::remove_dir_all(host.root().join("data/sessions/llm/.claude/parlor-llm")).unwrap();
    assert_eq!(host.ask(JID, "still there?"), ["The earlier conversation is gone; a new one begins.", "anew"]);
    assert_eq!(server.newest().messages("user").len(), 1);
}

#[test]
fn model_of_the_group_wins_over_the_installations() {
    let server = Server::saying(Protocol::Anthropic, vec![Reply::text("hi")]);
    let host = builder(&server).start();
    host.register_with(JID, "llm", &json!({"model": "claude-own"}));
    host.register("web:plain", "plain");
    host.ask(JID, "hello");
    assert_eq!(server.newest().body["model"], "claude-own");
    host.ask("web:plain", "hello");
    assert_eq!(server.newest().body["model"], "claude-test");
    assert!(host.log().contains("provider: llm (there is a vendor's key in .env)"), "{}", host.log());
}
