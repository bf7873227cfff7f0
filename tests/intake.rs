//! Intake of messages: each stored once, in order of arrival, as context or as a request, depending on the sender's
//! rights.

use serde_json::json;

use crate::harness::host::Host;
use crate::harness::rows::{database, runs};
use crate::harness::{SOON, eventually};

#[test]
fn context_window_is_bounded_and_the_prompt_says_so() {
    let host = Host::builder().start();
    for name in ["a", "b"] {
        let group = json!({"jid": format!("web:{name}"), "name": name, "folder": name, "trigger": "@Andy"});
        host.api.post("/v1/groups", &group).expect(201);
    }
    for n in 0..230 {
        host.send("web:a", &format!("line {n}."));
    }
    let prompt = host.ask("web:a", "@Andy !prompt").join("\n");
    assert!(prompt.contains("\n(30 earlier messages are left out.)\n"), "{prompt}");
    assert!(prompt.contains(">line 30.<") && prompt.contains(">line 229.<") && !prompt.contains(">line 29.<"));
    // The window is also limited by size, and always contains the trigger.
    for n in 0..5 {
        host.send("web:b", &format!("{n}{}", "x".repeat(20_000)));
    }
    let prompt = host.ask("web:b", &format!("@Andy !prompt {}", "y".repeat(100_000))).join("\n");
    assert!(prompt.contains("\n(2 earlier messages are left out.)\n"), "{}", &prompt[..80]);
    assert!(prompt.contains(&"y".repeat(100_000)) && prompt.contains(">2xx") && !prompt.contains(">1xx"));
}

#[test]
fn messages_are_ordered_by_arrival_whatever_their_times() {
    let host = Host::builder().env("PARLOR_TRIGGER_MAX_AGE", 0).start();
    host.register("web:a", "room");
    let mut events = host.events();
    let first = host.send("web:a", "!sleep 300");
    events.wait("started turn", SOON, |e| e.is_turn("web:a", "started", first));
    let mut last = first;
    // A clock that is far ahead, one that stands still, one that goes backwards.
    let times = ["2031-01-01T00:00:00Z", "2031-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"];
    for (n, time) in times.iter().enumerate() {
        let message =
            json!({"sender": "ann", "text": format!("!ledger {n}"), "id": format!("m{n}"), "timestamp": time});
        for _ in 0..2 {
            // Sent twice, as by a platform that missed the acknowledgement.
            last = host.api.post("/v1/chats/web:a/messages", &message).expect(202).json()["seq"].as_i64().unwrap();
        }
    }
    events.turn_done("web:a", last, SOON);
    let ledger = std::fs::read_to_string(host.root().join("groups/room/ledger.txt")).unwrap();
    assert_eq!(ledger, "0\n1\n2\n3\n");
}

#[test]
fn sender_list_drops_others_and_a_broken_one_all_but_the_owner() {
    let mut host = Host::builder().tolerate("sender-allowlist.json cannot be used").prepare();
    std::fs::create_dir_all(host.config_dir()).unwrap();
    let rules = host.config_dir().join("sender-allowlist.json");
    std::fs::write(&rules, r#"{"default": {"allow": ["ann"], "mode": "drop"}, "logDenied": false}"#).unwrap();
    host.start();
    host.register("web:a", "room");
    host.register_main("web:own", "own");
    let eve = json!({"sender": "eve", "text": "@Andy !say evil"});
    host.api.post("/v1/chats/web:a/messages", &eve).expect(202);
    let prompt = host.ask("web:a", "!prompt").join("\n");
    assert!(prompt.contains("!prompt") && !prompt.contains("evil") && !prompt.contains("eve"), "{prompt}");
    std::fs::write(&rules, "{broken").unwrap();
    let role = |seq: i64| -> String {
        database(&host).query_row("SELECT role FROM inbound WHERE seq = ?1", [seq], |row| row.get(0)).unwrap()
    };
    // The file is read again within a moment.
    eventually("the broken list counts", SOON, || {
        (role(host.send("web:a", "@Andy !silent")) == "denied").then_some(())
    });
    assert_eq!(host.ask("web:own", "hello"), ["echo: hello"]);
    // The answer to a dropped message says so.
    let answer = host.api.post("/v1/chats/web:a/messages", &eve).expect(202).json();
    let why = answer["why"].as_str().unwrap();
    assert!(why.starts_with("sender-allowlist.json cannot be used: it is not JSON: line 1"), "{why}");
    assert!(why.contains(r#"It should look like this: {"default""#), "{why}");
    let said = host.command().args(["chat", "room", "-m", "@Andy hello"]).output().unwrap();
    let told = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(1), "{told}");
    assert!(told.contains("until that file is mended only the owner's group may trigger"), "{told}");
}

#[test]
fn chat_given_to_another_group_never_reaches_the_old_room() {
    let host = Host::builder().start();
    host.register("web:a", "old");
    let mut events = host.events();
    let seq = host.send("web:a", "!say up\n!sleep 60000");
    events.message("web:a", SOON, |text| text == "up");
    host.api.delete("/v1/groups/old").expect(204);
    host.register("web:a", "new");
    events.wait("failed turn", SOON, |e| e.is_turn("web:a", "failed", seq));
    assert_eq!(host.ask("web:a", "!ledger mine"), ["ledger: mine"]);
    assert!(host.root().join("groups/new/ledger.txt").exists());
    eventually("the old room is gone", SOON, || {
        host.containers().iter().all(|name| name.starts_with("parlor-new-")).then_some(())
    });
    eventually("its run has ended", SOON, || (runs(&host, "old")[0]["state"] == "stopped").then_some(()));
}
