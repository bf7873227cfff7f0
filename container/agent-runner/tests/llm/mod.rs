//! The provider `llm` as a process, against stand-ins for vendors' servers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../../../tests/harness/models/mod.rs"]
mod models;
mod settings;

mod bounds;
mod vendors;

use std::fs;
use std::process::Command;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parlor_protocol::{ErrorKind, Output, Status};
use serde_json::{Value, json};

use super::support::{Agent, Home, eventually};
use models::{KEY, Protocol, Reply, Request, Server};

const BOTH: [Protocol; 2] = [Protocol::Anthropic, Protocol::OpenAi];

fn input(server: &Server, prompt: &str) -> Value {
    json!({"prompt": prompt, "groupFolder": "team", "chatJid": "web:team", "isMain": false, "runId": "R1",
           "assistantName": "Andy", "provider": "llm", "model": "claude-test", "secrets": server.secrets()})
}

fn home() -> Home {
    let home = Home::new();
    for name in ["home", "agent"] {
        fs::create_dir_all(home.path(name)).unwrap();
    }
    home
}

fn start(home: &Home, mut input: Value) -> Agent {
    for (name, model) in
        [("OPENAI_API_KEY", "openai::test"), ("GEMINI_API_KEY", "gemini::test"), ("OLLAMA_HOST", "ollama::test")]
    {
        if input["secrets"][name].is_string() {
            input["model"] = json!(model);
        }
    }
    let (own, agent) = (home.path("home"), home.path("agent"));
    let places = [("HOME", own.to_str().unwrap()), ("PARLOR_AGENT_DIR", agent.to_str().unwrap())];
    Agent::start_with(home, &input.to_string(), &places)
}

fn settings(home: &Home, text: &str) {
    fs::write(home.path("agent/agent.toml"), text).unwrap();
}

/// Returns the output of a single turn.
fn once(home: &Home, input: Value) -> Output {
    start(home, input).output()
}

fn with(mut input: Value, key: &str, value: Value) -> Value {
    input[key] = value;
    input
}

#[test]
fn prompt_is_answered_and_the_session_resumed_later() {
    for protocol in BOTH {
        let server = Server::start(protocol, |request| Reply::text(format!("answer {}", request.number)));
        let home = home();
        fs::write(home.path("group/CLAUDE.md"), "Ann likes tea.").unwrap();
        let first = once(&home, input(&server, "hello & welcome"));
        assert_eq!((first.status, first.result.as_deref()), (Status::Success, Some("answer 0")), "{first:?}");
        let usage = first.usage.unwrap();
        assert!(
            usage["input_tokens"].as_i64().unwrap() > 100 && usage["output_tokens"].as_i64().unwrap() > 0,
            "{usage}"
        );
        assert!(first.cost_usd.is_none());
        let session = first.new_session_id.unwrap();
        let again = with(input(&server, "what did I say?"), "sessionId", json!(session));
        let second = once(&home, again);
        assert_eq!(second.new_session_id.as_deref(), Some(session.as_str()));
        let request = server.newest();
        assert!(request.system().contains("Ann likes tea."));
        assert!(request.messages("user")[0].contains("hello & welcome"));
        assert_eq!(request.messages("assistant"), ["answer 0"]);
        assert!(request.last().ends_with("what did I say?"));
        assert!(
            !fs::read_to_string(home.path(&format!("home/.claude/parlor-llm/{session}.json"))).unwrap().contains(KEY)
        );
    }
}

#[test]
fn tools_are_run_and_their_results_sent_to_the_model() {
    for protocol in BOTH {
        let server = Server::start(protocol, |request| match request.number {
            0 => Reply::Calls(
                "I look.".into(),
                vec![
                    ("write_file".into(), json!({"path": "a/b.txt", "content": "one\ntwo\n"})),
                    (
                        "shell".into(),
                        json!({"command": "cat a/b.txt | wc -l; echo $ANTHROPIC_API_KEY$OPENAI_API_KEY-; exit 3"}),
                    ),
                    ("edit_file".into(), json!({"path": "a/b.txt", "old": "two", "new": "2"})),
                    ("search".into(), json!({"pattern": "^o"})),
                    ("no_such_tool".into(), json!({})),
                ],
            ),
            _ => Reply::text("done"),
        });
        let home = home();
        let output = once(&home, input(&server, "work"));
        assert_eq!(output.result.as_deref(), Some("done"), "{output:?}");
        assert_eq!(fs::read_to_string(home.path("group/a/b.txt")).unwrap(), "one\n2\n");
        let told = server.newest();
        let told = [told.messages("user"), told.messages("tool")].concat().join("\n");
        for part in ["2\n-\n(exit code 3)", "a/b.txt:1: one", "there is no tool \"no_such_tool\""] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }
}

#[test]
fn host_tools_reach_the_host() {
    let server = Server::start(Protocol::Anthropic, |request| match request.number {
        0 => Reply::call("send_message", json!({"text": "half way"})),
        1 => Reply::call("send_message", json!({"text": "refused"})),
        _ => Reply::text("done"),
    });
    let home = home();
    let host = home.host("messages", vec![json!({"ok": true}), json!({"ok": false, "error": "not yours"})]);
    assert_eq!(start(&home, input(&server, "go")).reply(), "done");
    let asked = host.join().unwrap();
    assert_eq!((asked[0]["chatJid"].as_str(), asked[0]["text"].as_str()), (Some("web:team"), Some("half way")));
    assert!(server.requests()[1].last().contains("on its way"));
    assert!(server.newest().last().contains("refused this: not yours"));
}

#[test]
fn follow_ups_reach_the_next_request_of_the_same_turn() {
    let server = Server::start(Protocol::Anthropic, |request| match request.number {
        0 => Reply::call("shell", json!({"command": "touch started; while [ ! -e go ]; do sleep 0.02; done"})),
        _ => Reply::text(request.last()),
    });
    let home = home();
    let mut agent = start(&home, input(&server, "first"));
    eventually("the command works", || home.path("group/started").exists());
    home.follow_up("0001.json", "and <also> this");
    home.close();
    fs::write(home.path("group/go"), "").unwrap();
    let output = agent.output();
    assert_eq!(output.result.as_deref(), Some("and <also> this"));
    assert_eq!(output.consumed, ["0001.json"]);
    assert_eq!(server.requests().len(), 2);
    assert!(agent.end().success(), "the close came to its right meanwhile");
}

#[test]
fn pictures_of_follow_ups_are_shown_during_a_turn_and_after_it() {
    // Counts the pictures in a request, by bytes that only one of them has.
    let shown = |request: &Request| {
        let body = request.body.to_string();
        [b"\x89PNG one", b"\x89PNG two", b"\x89PNG 333"].map(|bytes| body.contains(&STANDARD.encode(bytes)))
    };
    for protocol in BOTH {
        let server = Server::start(protocol, |request| match request.number {
            0 => Reply::call("shell", json!({"command": "touch started; while [ ! -e go ]; do sleep 0.02; done"})),
            _ => Reply::text("seen"),
        });
        let home = home();
        for (name, bytes) in [("1.png", b"\x89PNG one"), ("2.png", b"\x89PNG two"), ("3.png", b"\x89PNG 333")] {
            fs::write(home.path("group").join(name), bytes).unwrap();
        }
        let images = json!([{"relativePath": "1.png", "mediaType": "image/png"}]);
        let mut agent = start(&home, with(input(&server, "first"), "imageAttachments", images));
        eventually("the command works", || home.path("group/started").exists());
        home.follow_up_with("0001.json", "second", &["2.png"]);
        fs::write(home.path("group/go"), "").unwrap();
        assert_eq!(agent.reply(), "seen");
        home.follow_up_with("0002.json", "third", &["3.png"]);
        assert_eq!(agent.reply(), "seen");
        let requests = server.requests();
        assert_eq!(shown(&requests[0]), [true, false, false]);
        assert_eq!(shown(&requests[1]), [true, true, false]);
        assert_eq!(shown(&requests[2]), [true, true, true]);
        home.close();
        assert!(agent.end().success());
    }
}

#[test]
fn kind_of_each_error_is_reported() {
    let cases = [
        (Reply::refused(401, "authentication_error", "bad key"), ErrorKind::Auth, false),
        (Reply::refused(400, "invalid_request_error", "Your credit balance is too low"), ErrorKind::Quota, false),
        (Reply::later(429, 120, "rate_limit_error"), ErrorKind::RateLimit, true),
        (Reply::later(529, 60, "overloaded_error"), ErrorKind::Overloaded, true),
        (Reply::refused(404, "not_found_error", "model: x"), ErrorKind::Refused, false),
    ];
    for (reply, kind, later) in cases {
        for protocol in BOTH {
            let server = Server::saying(protocol, vec![reply.clone()]);
            let output = once(&home(), input(&server, "hi"));
            assert_eq!((output.status, output.error_kind), (Status::Error, Some(kind)), "{output:?}");
            assert_eq!(output.retry_at.is_some(), later, "{output:?}");
            assert_eq!(server.requests().len(), 1, "{output:?}");
            assert!(!output.error.unwrap().contains(KEY));
        }
    }
    let server = Server::saying(Protocol::Anthropic, vec![Reply::text("no")]);
    let missing = with(input(&server, "hi"), "sessionId", json!("gone"));
    assert_eq!(once(&home(), missing).error_kind, Some(ErrorKind::SessionMissing));
    let keyless = with(input(&server, "hi"), "secrets", json!({}));
    let told = once(&home(), keyless);
    assert!(told.error_kind == Some(ErrorKind::Auth) && told.error.unwrap().contains("ANTHROPIC_API_KEY"));
    let foreign = json!({"ANTHROPIC_API_KEY": "sk-wrong-0123456789", "ANTHROPIC_BASE_URL": server.local()});
    assert_eq!(once(&home(), with(input(&server, "hi"), "secrets", foreign)).error_kind, Some(ErrorKind::Auth));
    let nobody = json!({"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": "http://127.0.0.1:1"});
    let told = once(&home(), with(input(&server, "hi"), "secrets", nobody));
    assert_eq!(told.error_kind, Some(ErrorKind::Unreachable));
    assert!(told.error.unwrap().contains("cannot be reached"));
    // A password in an address is never shown.
    for base in ["http://ann:hunter2@127.0.0.1:1/", "http://ann:hunter2@[oops/"] {
        let login = json!({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": base});
        let told = once(&home(), with(input(&server, "hi"), "secrets", login)).error.unwrap();
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn temporary_refusals_are_retried_inside_the_turn() {
    for protocol in BOTH {
        let again = [
            Reply::BreaksOff,
            Reply::Fails("overloaded_error".into(), "Overloaded".into()),
            Reply::later(503, 0, "server_error"),
            Reply::text("at last"),
        ];
        let server = Server::saying(protocol, again.to_vec());
        let output = once(&home(), input(&server, "hi"));
        assert_eq!(output.result.as_deref(), Some("at last"), "{output:?}");
        assert_eq!(server.requests().len(), 4);
    }
}

#[test]
fn turn_after_a_kill_continues_the_earlier_one() {
    let server = Server::start(Protocol::Anthropic, |request| match request.number {
        0 => Reply::text("hello"),
        1 => Reply::Calls(
            String::new(),
            vec![
                ("shell".into(), json!({"command": "echo once >> log"})),
                ("shell".into(), json!({"command": "echo $$ > started; exec sleep 60"})),
            ],
        ),
        _ => Reply::text(request.messages("user").join("\n")),
    });
    let home = home();
    let session = once(&home, input(&server, "hi")).new_session_id.unwrap();
    let again = with(input(&server, "work"), "sessionId", json!(session));
    let mut agent = start(&home, again.clone());
    eventually("the second command works", || {
        fs::read_to_string(home.path("group/started")).is_ok_and(|pid| pid.ends_with('\n'))
    });
    agent.signal("-KILL");
    let left = fs::read_to_string(home.path("group/started")).unwrap();
    assert!(Command::new("kill").arg(left.trim()).status().unwrap().success());
    assert!(!agent.end().success());
    let said = start(&home, again).reply();
    assert!(said.contains("(exit code 0)") && said.contains("Interrupted: "), "{said}");
    assert!(said.contains("Your work above was interrupted"), "{said}");
    assert_eq!(fs::read_to_string(home.path("group/log")).unwrap(), "once\n");
}

#[test]
fn settings_of_a_group_are_used_and_wrong_ones_reported() {
    let server = Server::saying(Protocol::Anthropic, vec![Reply::text("hi")]);
    let home = home();
    settings(
        &home,
        "model = 'claude-of-the-group'\nsystem_prompt = 'Speak in rhymes.'\nmax_tokens = 99\ncolour = 'red'\n\
         [tools]\nallow = ['shell', 'fetch']\ndeny = ['fetch']\n[price]\ninput = 3\noutput = 15\n",
    );
    let mut bare = input(&server, "hi");
    bare.as_object_mut().unwrap().remove("model");
    let agent = start(&home, with(bare, "defaultModel", json!("claude-of-the-house")));
    let output = agent.output();
    let warned = output.result.unwrap();
    assert!(
        warned.starts_with("hi\n\n") && warned.contains("colour is left out: there is no such setting"),
        "{warned}"
    );
    assert!(output.cost_usd.unwrap() > 0.0);
    let request = server.newest();
    assert_eq!(
        (request.body["model"].as_str(), request.body["max_tokens"].as_u64()),
        (Some("claude-of-the-group"), Some(99))
    );
    assert!(request.system().contains("Speak in rhymes."));
    assert_eq!(request.tools(), ["shell"]);
}

#[test]
fn own_server_needs_only_its_address() {
    let server = Server::saying(Protocol::OpenAi, vec![Reply::text("local")]);
    let mut bare = input(&server, "hi");
    bare.as_object_mut().unwrap().remove("model");
    let output = Agent::start_with(&home(), &bare.to_string(), &[("HOME", "/dev/null")]).output();
    // If the home cannot be written, the turn fails instead of going on without a memory.
    assert!(output.error.is_some_and(|error| error.contains("cannot be saved")));
    let home = home();
    let own = home.path("home");
    let output = Agent::start_with(&home, &bare.to_string(), &[("HOME", own.to_str().unwrap())]).output();
    assert_eq!(output.result.as_deref(), Some("local"), "{output:?}");
    assert_eq!(server.newest().body["model"], "first-model");
}

#[test]
fn pictures_are_sent_unless_the_model_takes_none() {
    for protocol in BOTH {
        let server = Server::start(protocol, |request| {
            let body = request.body.to_string();
            if body.contains("image_url") || body.contains("\"type\":\"image\"") {
                assert!(body.contains("iVBORw0KGgo"), "{body}");
                return Reply::refused(400, "invalid_request_error", "image input is not supported by this model");
            }
            Reply::text(request.last())
        });
        let home = home();
        fs::write(home.path("group/a.png"), b"\x89PNG\r\n\x1a\n").unwrap();
        let images = json!([{"relativePath": "a.png", "mediaType": "image/png"}]);
        let said = start(&home, with(input(&server, "look"), "imageAttachments", images)).reply();
        assert!(said.contains("look") && said.contains("[The picture a.png is not shown.]"), "{said}");
        assert_eq!(server.requests().len(), 2);
    }
}

#[test]
fn keys_cannot_be_read_by_the_models_commands() {
    let server = Server::start(Protocol::Anthropic, |request| match request.number {
        // The shell's parent is the runner.
        0 => Reply::call(
            "shell",
            json!({"command": "cat /proc/$PPID/environ /proc/$PPID/mem >/dev/null 2>err; cat err"}),
        ),
        _ => Reply::text(request.last()),
    });
    let home = home();
    let said = start(&home, input(&server, "look")).reply();
    // Root may read everything; in a room nobody is root.
    if !rustix::process::geteuid().is_root() {
        assert!(said.contains("Permission denied"), "{said}");
    }
    assert!(!said.contains(KEY));
}

#[test]
fn turn_adds_little_to_the_servers_time() {
    let server = Server::start(Protocol::Anthropic, |request| Reply::text(format!("answer {}", request.number)));
    let home = home();
    let mut agent = start(&home, input(&server, "hi"));
    agent.reply();
    let mut best = f64::MAX;
    for n in 1..10 {
        let written = Instant::now();
        home.follow_up(&format!("{n:04}.json"), "again");
        agent.reply();
        let all = written.elapsed();
        let request = server.newest();
        let own = request.answered.unwrap() - request.at;
        best = best.min(all.saturating_sub(own).as_secs_f64() * 1000.0);
    }
    eprintln!("a turn adds {best:.2} ms to the server's time");
    assert!(best < 100.0, "{best}");
    home.close();
    assert!(agent.end().success());
}
