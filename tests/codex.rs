//! Codex itself in a real room of the image `full`. Only the vendor's cloud is a stand-in: a server that speaks the
//! Responses API and answers as the test decides (`harness/models/responses.rs`).

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::claude::{build, parlor};
use crate::harness::codex::{TURN, ask, command, register, script, start, tool};
use crate::harness::door::Door;
use crate::harness::eventually;
use crate::harness::models::{KEY, Protocol, Reply, Request, Server};
use crate::harness::rows::runs;
use crate::outputs::base64;

/// A picture of one white pixel.
const PICTURE: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU\x00\x00\x00\x0aIDATx\x9cc\xf8\x0f\x00\x01\x01\x01\x00\xb18\xf6\x14\x00\x00\x00\x00IEND\xaeB`\x82";

/// Returns the part of a text between two marks.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    text.split_once(from)?.1.split_once(to).map(|(inside, _)| inside)
}

/// Carries out the commands in brackets of the chat's last message, and repeats it.
fn repeat(request: &Request) -> Reply {
    let last = request.last();
    let is_result = request.body["input"]
        .as_array()
        .and_then(|items| items.last().cloned())
        .is_some_and(|item| item["type"].as_str().is_some_and(|kind| kind.ends_with("_output")));
    if is_result {
        return Reply::text(format!("result: {last}"));
    }
    let plain = |text: &str| text.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&");
    if let Some(line) = between(&last, "[sh: ", "]#") {
        return command(&plain(line));
    }
    if let Some(line) = between(&last, "[script: ", "]#") {
        return script(&plain(line));
    }
    if let Some(text) = between(&last, "[send: ", "]") {
        return tool("send_message", json!({ "text": text }));
    }
    let text = last.rsplit_once("</message>").and_then(|(before, _)| before.rsplit_once('>')).map(|(_, text)| text);
    Reply::text(format!("heard: {}", text.unwrap_or(&last)))
}

/// Returns all texts of a request's conversation.
fn said(request: &Request) -> String {
    ["developer", "user", "assistant", "tool"].map(|role| request.messages(role).join("\n")).join("\n")
}

/// Returns the files below a folder that contain a text.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(holding(&path, text));
        } else if fs::read(&path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text)) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// Returns the tokens that the stand-in counts for reading these requests.
fn read<'a>(requests: impl IntoIterator<Item = &'a Request>) -> u64 {
    requests.into_iter().map(|request| request.body.to_string().len() as u64 / 4).sum()
}

#[test]
fn codex_has_tools_follow_ups_memory_and_later_rooms() {
    let door = Arc::new(Door::default());
    let gate = Arc::clone(&door);
    let server = Server::start(Protocol::Responses, move |request| {
        if request.last().contains("[wait]") {
            gate.pass();
        }
        repeat(request)
    });
    let mut host = start(&server);
    register(&host, "web:a", "room");
    let group = host.root().join("groups/room");
    fs::create_dir_all(host.root().join("groups/global")).unwrap();
    fs::write(host.root().join("groups/global/CLAUDE.md"), "The password is swordfish.").unwrap();
    fs::create_dir_all(group.join("attachments")).unwrap();
    fs::write(group.join("CLAUDE.md"), "Ann likes tea.").unwrap();
    fs::write(group.join("attachments/p.png"), PICTURE).unwrap();

    assert_eq!(ask(&host, "web:a", "hello [Image: attachments/p.png]"), ["heard: hello [Image: attachments/p.png]"]);
    let first = server.requests().remove(0);
    assert!(first.body["input"].to_string().contains(&base64(PICTURE)), "{}", first.body);
    assert!(said(&first).contains("swordfish") && said(&first).contains("Ann likes tea"), "{}", said(&first));
    assert!(said(&first).contains("danger-full-access"), "the room is the sandbox: {}", said(&first));

    // A command runs in the room and cannot see the key. A message that arrives meanwhile joins the turn.
    let mut events = host.events();
    let line = "[sh: echo $((6*7)) > made; env > env; cat /proc/*/environ | grep -ac sk-test > seen; \
                until [ -e go ]; do sleep 0.1; done; which parlor-tool; id -u; cat made]#";
    let working = host.send("web:a", line);
    eventually("the command runs", TURN, || group.join("made").exists().then_some(()));
    let late = host.send("web:a", "and this");
    events.wait("the follow-up's turn", TURN, |event| event.is_turn("web:a", "started", late));
    fs::write(group.join("go"), "").unwrap();
    events.turn_done("web:a", working, TURN);
    events.turn_done("web:a", late, TURN);
    let texts = events.texts("web:a");
    assert_eq!(texts, ["heard: and this"], "one answer for both");
    let joined = said(&server.newest());
    assert!(joined.contains("parlor-tool\n") && joined.contains("\n42"), "{joined}");
    let environment = fs::read_to_string(group.join("env")).unwrap();
    assert!(!environment.contains(KEY) && environment.contains("PARLOR_GROUP=room"), "{environment}");
    assert_eq!(fs::read_to_string(group.join("seen")).unwrap().trim(), "0", "processes that hold the key");
    // The host's tools are available, and return the host's answer.
    let sent = ask(&host, "web:a", "[send: on my way]");
    assert!(sent.len() == 2 && sent[0] == "on my way" && sent[1].contains("is on its way"), "{sent:?}");
    // A message that arrives while the cloud works is answered afterwards.
    let mut events = host.events();
    let thinking = host.send("web:a", "[wait] first");
    eventually("the cloud is asked", TURN, || server.newest().last().contains("[wait]").then_some(()));
    let late = host.send("web:a", "second");
    events.wait("the follow-up's turn", TURN, |event| event.is_turn("web:a", "started", late));
    door.open();
    events.turn_done("web:a", thinking, TURN);
    events.turn_done("web:a", late, TURN);
    assert_eq!(events.texts("web:a"), ["heard: [wait] first", "heard: second"]);
    assert_eq!(runs(&host, "room").len(), 1, "one room for all of it");

    // A later room knows the conversation and the present memory, and is billed only for its own request.
    assert!(host.terminate().success());
    fs::write(group.join("CLAUDE.md"), "Ann likes coffee.").unwrap();
    host.start();
    assert_eq!(ask(&host, "web:a", "again"), ["heard: again"]);
    let newest = server.newest();
    let known = said(&newest);
    assert!(known.contains("heard: hello") && known.contains("and this") && known.contains("coffee"), "{known}");
    assert!(host.terminate().success());
    host.start();
    let all = runs(&host, "room");
    let written = "heard: again".len() as u64 / 4 + 1;
    assert_eq!(all[0]["tokens"].as_u64(), Some(read([&newest]) + written), "{all:?}");
    let earlier = read(&server.requests()[..newest.number]);
    let all_tokens = all[1]["tokens"].as_u64().unwrap();
    assert!((earlier..earlier + 1000).contains(&all_tokens), "{earlier} were read, {all_tokens} are counted");

    // Codex's files belong to the group alone, and contain no key.
    let kept = host.root().join("data/sessions/room/.codex");
    assert!(!holding(&kept, "heard: hello").is_empty());
    assert_eq!(holding(&kept, KEY), Vec::<String>::new());
    host.register_with("web:b", "other", &json!({ "provider": "exec" }));
    assert!(!host.root().join("data/sessions/other/.codex").exists());
}

#[test]
fn codex_applies_the_groups_settings_and_has_its_own_models() {
    let server = Server::start(Protocol::Responses, repeat);
    let mut host = start(&server);
    host.register_with("web:a", "room", &json!({ "provider": "codex" }));
    let agent = host.root().join("data/sessions/room/agent");
    fs::create_dir_all(&agent).unwrap();
    let settings = "system_prompt = 'Answer in German.'\n[env]\nMY_COLOUR = 'blue'\n[[hooks]]\nevent = 'PreToolUse'\n\
                    command = 'true'\n[codex]\neffort = 'high'\nprice = { input = 1, output = 2 }\n[mcp.second]\ncommand = '/app/agent-runner'\nargs = ['mcp']\n";
    fs::write(agent.join("agent.toml"), settings).unwrap();
    // No model is named: the program uses its own default, which calls tools in a script.
    let texts = ask(&host, "web:a", "[script: echo $MY_COLOUR $((6*7)) $OPENAI_API_KEY]#");
    assert!(
        texts[0].starts_with("result: ") && texts[0].contains("blue 42 \\n") || texts[0].contains("blue 42\\n"),
        "{texts:?}"
    );
    assert!(texts[0].contains("a hook is left out: the provider codex has no hooks"), "{texts:?}");
    let first = server.requests().remove(0);
    assert!(said(&first).contains("Answer in German."), "{}", said(&first));
    assert_eq!(first.body["reasoning"]["effort"], "high", "{}", first.body);
    assert!(first.body.to_string().contains("mcp__second"), "{}", first.body);
    assert_eq!(ask(&host, "web:a", "more"), ["heard: more"], "what is wrong is told once");
    assert!(host.terminate().success());
    host.start();
    let cost = runs(&host, "room")[0]["costUsd"].as_f64().unwrap();
    let least = read(&server.requests()) as f64 / 1e6;
    assert!((least..least * 1.1).contains(&cost), "{cost} for {least} read at a dollar");
}

#[test]
fn codex_without_a_key_reports_the_remedy() {
    let mut host = crate::harness::claude::builder("ANTHROPIC_API_KEY=sk-ant-nobody-asks\n").prepare();
    build(&host);
    host.start();
    register(&host, "web:a", "room");
    let mut events = host.events();
    let seq = host.send("web:a", "hello");
    events.wait("a failed turn", TURN, |event| event.is_turn("web:a", "failed", seq));
    let texts = events.texts("web:a");
    assert!(texts.len() == 1 && texts[0].contains("OPENAI_API_KEY"), "{texts:?}");
    let doctor = || {
        let output = parlor(&host, &["doctor", "--json"]).env("PARLOR_PROVIDER", "codex").output().unwrap().stdout;
        let findings: Vec<Value> = serde_json::from_slice(&output).unwrap();
        findings.into_iter().find(|finding| finding["check"] == "codex").expect("a finding on Codex")
    };
    let missing = doctor();
    assert!(missing["state"] == "failed" && missing.to_string().contains("OPENAI_API_KEY"), "{missing}");
    fs::write(host.root().join(".env"), "OPENAI_BASE_URL=http://127.0.0.1:9/v1\n").unwrap();
    assert_eq!(doctor()["state"], "ok");
}
