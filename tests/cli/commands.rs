//! Commands that list, show and change things.

use serde_json::json;

use super::{command, run};
use crate::harness::host::Host;
use crate::harness::{SOON, eventually};

#[test]
fn lists_are_tables_for_people_and_json_for_programs() {
    let host = Host::builder().start();
    host.register_main("tty:main", "main");
    let unknown = json!({ "sender": "bob", "text": "hi" });
    host.api.post("/v1/chats/web:new/messages", &unknown).expect(404);
    run(&host, &["tasks", "add", "main", "!say tick", "--every", "1h", "--id", "t1"]).expect(0);
    host.ask("tty:main", "hello");
    let lists: [(&[&str], &str); 6] = [
        (&["groups", "list"], "tty:main"),
        (&["groups", "list", "--available"], "web:new"),
        (&["tasks", "list"], "t1"),
        (&["runs", "list"], "main"),
        (&["sessions", "list"], "test-"),
        (&["outbox", "list", "--all"], "echo: hello"),
    ];
    for (args, content) in lists {
        let table = run(&host, args).expect(0).out;
        assert!(table.contains(content) && !table.contains('{'), "{args:?}: {table}");
        let json = run(&host, &[args, &["--json"]].concat()).expect(0).json();
        assert!(json.as_array().unwrap().len() == 1 && json.to_string().contains(content), "{args:?}: {json}");
    }
    assert_eq!(run(&host, &["status", "--json"]).expect(0).json()["ready"], true);
    assert!(run(&host, &["status"]).expect(0).out.contains("is ready"));
    assert_eq!(run(&host, &["tasks", "show", "t1", "--json"]).expect(0).json()["prompt"], "!say tick");

    run(&host, &["tasks", "run", "t1"]).expect(0);
    let fire = eventually("the task's history", SOON, || {
        let history = run(&host, &["tasks", "history", "t1", "--json"]).expect(0).json();
        (history[0]["state"] == "done").then(|| history[0].clone())
    });
    assert_eq!(fire["result"], "tick");

    let run_id = run(&host, &["runs", "list", "--json"]).expect(0).json()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(run(&host, &["runs", "show", &run_id, "--json"]).expect(0).json()["id"], json!(run_id));
    for (args, code) in [
        (&["runs", "show", "x"][..], 1),
        (&["groups", "show", "none"], 1),
        (&["tasks", "add", "main", "x"], 2),
        (&["tasks", "add", "main", "x", "--every", "soon"], 2),
        (&["nonsense"], 2),
        (&["runs", "list", "--no-such-flag"], 2),
        (&["--log-level", "loud", "status"], 1),
    ] {
        let refused = run(&host, args).expect(code);
        assert!(refused.out.is_empty() && !refused.err.is_empty(), "{args:?}");
    }
}

#[test]
fn failed_messages_are_retried_by_hand_and_deliveries_shown() {
    let host = Host::builder().start();
    host.register_main("tty:main", "main");
    run(&host, &["chat", "-m", "!once !error auth"]).expect(1);
    let before = run(&host, &["status", "--json"]).expect(0).json();
    assert_eq!(before["groups"][0]["messages"]["failed"], 1);
    let mut events = host.events();
    assert_eq!(run(&host, &["runs", "retry", "main"]).expect(0).out, "1 message is tried again in main.\n");
    events.message("tty:main", SOON, |text| text == "once: over");
    events.turn_done("tty:main", 1, SOON);
    assert_eq!(run(&host, &["runs", "retry", "main"]).expect(0).out, "main has no failed messages.\n");
    run(&host, &["runs", "retry", "none"]).expect(1);

    let long = "word ".repeat(200);
    host.ask("tty:main", &format!("!say {long}end"));
    let rows = run(&host, &["outbox", "list", "--all", "--json"]).expect(0).json();
    let id = rows[0]["id"].as_str().unwrap();
    assert!(rows[0]["text"].as_str().unwrap().len() < 300, "a list is short");
    let whole = run(&host, &["outbox", "show", id, "--json"]).expect(0).json();
    assert_eq!((&whole["text"], &whole["state"]), (&json!(format!("{long}end")), &json!("delivered")));
    assert!(run(&host, &["outbox", "show", id]).expect(0).out.contains("word end"));
    run(&host, &["outbox", "show", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]).expect(1);
}

#[test]
fn run_is_stopped_alone_and_a_removed_group_with_its_rooms() {
    let host = Host::builder().start();
    host.register("web:a", "room");
    let mut events = host.events();
    let seq = host.send("web:a", "!sleep 60000");
    events.wait("started turn", SOON, |e| e.is_turn("web:a", "started", seq));
    run(&host, &["tasks", "add", "room", "!sleep 60000", "--every", "1h", "--id", "t1"]).expect(0);
    run(&host, &["tasks", "run", "t1"]).expect(0);
    let live = |lane: &str| {
        let all = run(&host, &["runs", "list", "--json"]).expect(0).json();
        let one = all.as_array().unwrap().iter().find(|r| r["lane"] == lane && r["state"] == "running");
        one.map(|r| r["id"].as_str().unwrap().to_owned())
    };
    let task = eventually("the task's run", SOON, || live("task"));
    let chat = live("chat").unwrap();
    eventually("two rooms", SOON, || (host.containers().len() == 2).then_some(()));
    run(&host, &["runs", "stop", &task]).expect(0);
    eventually("the task's run is gone", SOON, || live("task").is_none().then_some(()));
    assert_eq!(live("chat").as_deref(), Some(chat.as_str()), "the chat's run lives on");
    eventually("one room", SOON, || (host.containers().len() == 1).then_some(()));
    assert!(run(&host, &["runs", "stop", &task]).expect(1).err.contains("has ended"));

    run(&host, &["groups", "remove", "room"]).expect(0);
    host.wait_no_containers();
    assert!(host.root().join("groups/room").is_dir(), "its files stay");
}

#[test]
fn files_that_the_operator_adds_to_a_group_belong_to_the_agent() {
    let host = Host::builder().start();
    let added = run(&host, &["groups", "add", "web:a", "room", "--requires-trigger", "false"]).expect(0);
    let folder = host.root().join("groups/room");
    assert_eq!(added.out, format!("Registered room for web:a.\nIts folder: {}\n", folder.display()));
    std::fs::write(folder.join("note.txt"), "by the operator\n").unwrap();
    let said = host.ask("web:a", "!sh echo by the agent >> note.txt; touch new && cat note.txt");
    assert_eq!(said, ["by the operator\nby the agent"]);
}

#[test]
fn start_prints_its_home_its_engine_and_where_to_chat() {
    let token = "0123456789abcdef-secret";
    let host = Host::builder()
        .dot_env(&format!("PARLOR_TOKEN={token}\nANTHROPIC_API_KEY=sk-not-a-key\n"))
        .env("PARLOR_LISTEN", "127.0.0.1:0")
        .env("PARLOR_PROVIDER", "auto")
        .start();
    let first = eventually("the end of the greeting", SOON, || {
        let log = host.log();
        log.contains("no groups yet: `parlor chat`").then_some(log)
    });
    for line in [
        &format!("Parlor {}, home {}", env!("CARGO_PKG_VERSION"), host.root().display()),
        &format!("engine: {}", crate::harness::engine::name()),
        "provider: image (CONTAINER_IMAGE is set, and there is a key for it)",
        "hidden from main: data, .env",
        "data/parlor.sock",
        "API: http://127.0.0.1:",
    ] {
        assert!(first.contains(line), "no {line:?} in {first}");
    }
    assert!(!first.contains(token) && !first.contains("sk-not"), "{first}");
    // A second host is refused, with the reason.
    let mut second = command(&host, &["up"]);
    let refused = super::Ran::of(&second.output().unwrap()).expect(1);
    assert!(refused.err.contains("another Parlor runs with the home"), "{}", refused.err);
}
