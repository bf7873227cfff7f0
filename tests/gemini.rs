//! Gemini CLI itself in a real room of the image `full`. Only the vendor's cloud is a stand-in: a server that speaks
//! its protocol and answers as the test decides (`harness/models/`).

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::harness::claude::{build, builder};
use crate::harness::door::Door;
use crate::harness::eventually;
use crate::harness::host::Host;
use crate::harness::models::{KEY, Protocol, Reply, Request, Server};
use crate::harness::rows::runs;
use crate::outputs::base64;

/// Time limit of a turn on a busy machine: the agent is a program of 90 MB that is compiled at each start.
const TURN: Duration = Duration::from_secs(60);

fn start(server: &Server) -> Host {
    let mut host = builder(&server.dot_env()).env("PARLOR_PROVIDER", "gemini").prepare();
    build(&host);
    host.start();
    host
}

fn ask(host: &Host, jid: &str, text: &str) -> Vec<String> {
    let mut events = host.events();
    let seq = host.send(jid, text);
    events.turn_done(jid, seq, TURN);
    events.texts(jid)
}

/// Returns the part of a text between two marks.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    text.split_once(from)?.1.split_once(to).map(|(inside, _)| inside)
}

/// Repeats the chat's last messages; `[sh: …]` in one runs a command, `[send: …]` sends a text.
fn repeat(request: &Request) -> Reply {
    let last = request.last();
    if request.has_result() {
        return Reply::text(format!("result: {last}"));
    }
    if let Some(command) = between(&last, "[sh: ", "]#") {
        let command = command.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&");
        return Reply::Calls("I try it.".into(), vec![("run_shell_command".into(), json!({ "command": command }))]);
    }
    if let Some(text) = between(&last, "[send: ", "]") {
        return Reply::call("mcp_parlor_send_message", json!({ "text": text }));
    }
    let heard: Vec<&str> = last
        .split("</message>")
        .filter_map(|part| part.rsplit_once("<message ")?.1.split_once('>').map(|(_, text)| text))
        .collect();
    Reply::text(format!("heard: {}", heard.join(" and ")))
}

#[test]
fn gemini_has_tools_memory_follow_ups_and_a_later_room() {
    let gates: Arc<[Door; 2]> = Arc::default();
    let ours = Arc::clone(&gates);
    let server = Server::start(Protocol::Gemini, move |request| {
        for (word, gate) in [("[wait]", &ours[0]), ("[hold]", &ours[1])] {
            if request.last().contains(word) {
                gate.pass();
            }
        }
        repeat(request)
    });
    let mut host = start(&server);
    host.register_with("web:g", "room", &json!({ "model": "gemini-2.5-flash" }));
    let group = host.root().join("groups/room");
    fs::create_dir_all(host.root().join("groups/global")).unwrap();
    fs::write(host.root().join("groups/global/CLAUDE.md"), "The password is swordfish.").unwrap();
    fs::create_dir_all(group.join("attachments")).unwrap();
    fs::write(group.join("CLAUDE.md"), "The colour is mauve.").unwrap();
    fs::write(group.join("attachments/p.png"), crate::claude::PICTURE).unwrap();
    let agent = host.root().join("data/sessions/room/agent");
    fs::create_dir_all(&agent).unwrap();
    let settings =
        "model = \"not-this-one\"\nsystem_prompt = \"Be brief.\"\n[env]\nTEA = \"green\"\n[tools]\ndeny = [\"glob\"]\n";
    fs::write(agent.join("agent.toml"), settings).unwrap();

    let said = ask(&host, "web:g", "hello [Image: attachments/p.png]").join("\n");
    assert!(said.starts_with("heard: hello [Image: attachments/p.png]"), "{said}");
    assert!(said.contains("gemini cannot leave out tools"), "{said}");
    let first = server.requests().remove(0);
    let whole = first.body.to_string();
    assert!(whole.contains("swordfish") && whole.contains("mauve") && whole.contains(&base64(crate::claude::PICTURE)));
    assert!(first.system().contains("Be brief."), "{}", first.system());
    assert!(first.tools().contains(&"mcp_parlor_schedule_task".to_owned()), "{:?}", first.tools());

    // A command runs in the room, without the key; a message that arrives meanwhile is answered afterwards.
    let mut events = host.events();
    let command =
        "[sh: (env; cat /proc/$PPID/environ) | tr '\\0' '\\n' > made; until [ -e go ]; do sleep 0.1; done; echo $TEA]#";
    let working = host.send("web:g", command);
    eventually("the command runs", TURN, || group.join("made").exists().then_some(()));
    let late = host.send("web:g", "and this");
    events.wait("the follow-up's turn", TURN, |event| event.is_turn("web:g", "started", late));
    fs::write(group.join("go"), "").unwrap();
    events.turn_done("web:g", working, TURN);
    events.turn_done("web:g", late, TURN);
    let texts = events.texts("web:g");
    assert!(texts.len() == 2 && texts[0].contains("green") && texts[1] == "heard: and this", "{texts:?}");
    let environment = fs::read_to_string(group.join("made")).unwrap();
    assert!(environment.contains("GEMINI_CLI=1") && !environment.contains(KEY), "{environment}");
    let sent = ask(&host, "web:g", "[send: on my way]");
    assert!(sent.len() == 2 && sent[0] == "on my way" && sent[1].contains("is on its way"), "{sent:?}");
    // Messages that arrive while the model works wait, and become one prompt.
    let mut events = host.events();
    let thinking = host.send("web:g", "[wait] first");
    eventually("the model is asked", TURN, || server.newest().last().contains("[wait]").then_some(()));
    host.send("web:g", "second");
    let late = host.send("web:g", "third");
    events.wait("the follow-up's turn", TURN, |event| event.is_turn("web:g", "started", late));
    gates[0].open();
    events.turn_done("web:g", thinking, TURN);
    events.turn_done("web:g", late, TURN);
    let texts = events.texts("web:g").join("\n");
    assert!(texts.starts_with("heard: [wait] first\nheard: second") && texts.ends_with("third"), "{texts}");
    let done = runs(&host, "room");
    assert!(done.len() == 1 && done[0]["costUsd"].is_null(), "one room for all of it, and no price: {done:?}");

    // A later room, within the same minute, knows the conversation.
    assert!(host.terminate().success());
    host.start();
    assert_eq!(ask(&host, "web:g", "again"), ["heard: again"]);
    let resumed = server.newest().body["contents"].to_string();
    assert!(resumed.contains("heard: hello") && resumed.contains("and this"), "{resumed}");
    let used = host.api.get("/v1/usage").json()["usage"][0].clone();
    assert!(used["inputTokens"].as_u64() > Some(0) && used["outputTokens"].as_u64() > Some(0), "{used}");

    // If the host dies in the middle of a turn, the turn is answered after its next start.
    let mut events = host.events();
    host.send("web:g", "[hold] on");
    let cursor = events.wait("the turn", TURN, |e| e.data["state"] == "started").id.unwrap();
    eventually("the model is asked", TURN, || server.newest().last().contains("[hold]").then_some(()));
    host.kill();
    gates[1].open();
    host.start();
    let mut events = host.events_since(&cursor);
    events.message("web:g", TURN, |text| text == "heard: [hold] on");
    assert!(server.newest().body["contents"].to_string().contains("heard: again"));
    assert!(server.requests().iter().all(|request| request.path.contains("/gemini-2.5-flash:")));
}
