//! Claude Code itself in a real room of the image `full`. Only the vendor's cloud is a stand-in: a server that speaks
//! its protocol and answers as the test decides (`harness/vendor.rs`).

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::claude::{build, builder, parlor};
use crate::harness::door::Door;
use crate::harness::host::Host;
use crate::harness::vendor::{Answer, Asked, KEY, Vendor};
use crate::harness::{SOON, engine, eventually};
use crate::outputs::base64;
use crate::slots::{run_now, task};

/// Time limit of a turn on a busy machine: the agent is a program of 380 MB.
const TURN: Duration = Duration::from_secs(60);

fn start(dot_env: &str) -> Host {
    let mut host = builder(dot_env).prepare();
    build(&host);
    host.start();
    host
}

/// A picture of one white pixel.
pub const PICTURE: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU\x00\x00\x00\x0aIDATx\x9cc\xf8\x0f\x00\x01\x01\x01\x00\xb18\xf6\x14\x00\x00\x00\x00IEND\xaeB`\x82";

/// Returns the part of a text between two marks.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    text.split_once(from)?.1.split_once(to).map(|(inside, _)| inside)
}

/// Repeats the chat's last message. `[bash: …]` in it runs a command first; a tool's result is repeated unchanged.
fn repeat(asked: &Asked) -> Answer {
    let last = asked.last().join("\n");
    if asked.has_result() {
        return Answer::Say(format!("result: {last}"));
    }
    if let Some(command) = between(&last, "[bash: ", "]#") {
        return Answer::Bash(command.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"));
    }
    if let Some(text) = between(&last, "[send: ", "]") {
        return Answer::Tool("mcp__parlor__send_message", json!({ "text": text }));
    }
    let text = last.rsplit_once("</message>").and_then(|(before, _)| before.rsplit_once('>')).map(|(_, text)| text);
    Answer::Say(format!("heard: {}", text.unwrap_or(&last)))
}

fn runs(host: &Host, folder: &str) -> Vec<Value> {
    host.api.get(&format!("/v1/runs?folder={folder}")).json()["runs"].as_array().unwrap().clone()
}

fn cost(run: &Value) -> f64 {
    run["costUsd"].as_f64().unwrap_or_else(|| panic!("no cost in {run}"))
}

fn ask(host: &Host, jid: &str, text: &str) -> Vec<String> {
    let mut events = host.events();
    let seq = host.send(jid, text);
    events.turn_done(jid, seq, TURN);
    events.texts(jid)
}

#[test]
fn claude_code_has_tools_follow_ups_memory_and_later_rooms() {
    let doors: Arc<[Door; 2]> = Arc::default();
    let gates = Arc::clone(&doors);
    let vendor = Vendor::start(move |asked| {
        let last = asked.last().join("\n");
        for (word, gate) in [("[wait]", &gates[0]), ("[hold]", &gates[1])] {
            if last.contains(word) {
                gate.pass();
            }
        }
        if last.contains("[full]") { Answer::SayWhenFull("full".into()) } else { repeat(asked) }
    });
    let mut host = start(&vendor.dot_env());
    host.register("web:a", "room");
    fs::create_dir_all(host.root().join("groups/global")).unwrap();
    fs::write(host.root().join("groups/global/CLAUDE.md"), "The password is swordfish.").unwrap();

    let group = host.root().join("groups/room");
    fs::create_dir_all(group.join("attachments")).unwrap();
    fs::write(group.join("attachments/p.png"), PICTURE).unwrap();
    assert_eq!(ask(&host, "web:a", "hello [Image: attachments/p.png]"), ["heard: hello [Image: attachments/p.png]"]);
    let first = vendor.asked().remove(0);
    assert!(first.body["messages"].to_string().contains(&base64(PICTURE)), "{}", first.body);
    // A picture in a follow-up is shown, too.
    let later = [PICTURE, b"later"].concat();
    fs::write(group.join("attachments/q.png"), &later).unwrap();
    ask(&host, "web:a", "and [Image: attachments/q.png]");
    let asked = vendor.asked().pop().unwrap();
    assert!(asked.body["messages"].to_string().contains(&base64(&later)), "{}", asked.body);
    assert_eq!(first.credentials, KEY);
    assert!(first.system().contains("swordfish"), "{}", first.system());

    // A command runs in the room, and a message that arrives meanwhile joins the turn.
    let mut events = host.events();
    let command = "[bash: echo $((6*7)) > made; until [ -e go ]; do sleep 0.1; done; sleep 5; cat made]#";
    let working = host.send("web:a", command);
    eventually("the command runs", TURN, || group.join("made").exists().then_some(()));
    let late = host.send("web:a", "and this");
    events.wait("the follow-up's turn", TURN, |event| event.is_turn("web:a", "started", late));
    fs::write(group.join("go"), "").unwrap();
    events.turn_done("web:a", working, TURN);
    events.turn_done("web:a", late, TURN);
    let texts = events.texts("web:a");
    assert_eq!(texts.len(), 1, "one answer for both: {texts:?}");
    assert!(texts[0].starts_with("result: 42"), "{texts:?}");
    let joined = vendor.asked().pop().unwrap();
    assert!(joined.has_result() && joined.said().contains("and this"), "{}", joined.said());
    // The host's tools are available, and return the host's answer.
    let sent = ask(&host, "web:a", "[send: on my way]");
    assert!(sent.len() == 2 && sent[0] == "on my way" && sent[1].contains("is on its way"), "{sent:?}");
    // A message that arrives while the cloud works is answered afterwards.
    let mut events = host.events();
    let thinking = host.send("web:a", "[wait] first");
    eventually("the cloud is asked", TURN, || vendor.asked().pop()?.said().contains("[wait]").then_some(()));
    let late = host.send("web:a", "second");
    events.wait("the follow-up's turn", TURN, |event| event.is_turn("web:a", "started", late));
    doors[0].open();
    events.turn_done("web:a", thinking, TURN);
    events.turn_done("web:a", late, TURN);
    assert_eq!(events.texts("web:a"), ["heard: [wait] first", "heard: second"]);
    assert_eq!(runs(&host, "room").len(), 1, "one room for all of it");

    // A later room knows the conversation, and is billed only for its own request: all requests cost the same.
    let requests = vendor.asked().len();
    assert!(host.terminate().success());
    host.start();
    assert_eq!(ask(&host, "web:a", "again"), ["heard: again"]);
    let resumed = vendor.asked().pop().unwrap().said();
    assert!(resumed.contains("heard: hello") && resumed.contains("and this"), "{resumed}");
    assert!(host.terminate().success());
    host.start();
    let costs: Vec<f64> = runs(&host, "room").iter().map(cost).collect();
    let one = costs[1] / requests as f64;
    assert!(one > 0.0 && (costs[0] - one).abs() < one / 10.0, "{costs:?} for one request and for {requests}");

    // A conversation that becomes too long is compacted, and archived before.
    assert_eq!(ask(&host, "web:a", "[full]"), ["full"]);
    ask(&host, "web:a", "go on");
    let kept = fs::read_dir(group.join("conversations")).unwrap().next().unwrap().unwrap().path();
    let kept = fs::read_to_string(kept).unwrap();
    assert!(kept.contains("Ann: hello") && kept.contains("heard: again"), "{kept}");

    // If the host dies in the middle of a turn, the turn is answered after its next start.
    let mut events = host.events();
    host.send("web:a", "[hold] on");
    let cursor = events.wait("the turn", TURN, |e| e.data["state"] == "started").id.unwrap();
    eventually("the cloud is asked", TURN, || vendor.asked().iter().any(|a| a.said().contains("[hold]")).then_some(()));
    host.kill();
    doors[1].open();
    host.start();
    let mut events = host.events_since(&cursor);
    events.message("web:a", TURN, |text| text == "heard: [hold] on");
    assert_eq!(events.texts("web:a"), ["heard: [hold] on"]);
}

#[test]
fn conversation_is_billed_once_across_rooms_and_tasks() {
    let broken = AtomicBool::new(false);
    let vendor = Vendor::start(move |asked| {
        if asked.has_result() && !broken.swap(true, Ordering::Relaxed) {
            return Answer::Refuse(529, "overloaded_error", Vec::new());
        }
        repeat(asked)
    });
    let mut host = start(&vendor.dot_env());
    host.register_with("web:a", "room", &json!({ "env": { "CLAUDE_CODE_MAX_RETRIES": "0" } }));
    assert_eq!(ask(&host, "web:a", "hello"), ["heard: hello"]);
    // A task has its own conversation, beside the chat's room.
    run_now(&host, &task(&host, "room", "look around", "isolated"));
    eventually("the task is done", TURN, || {
        let runs = runs(&host, "room");
        (runs.len() == 2 && runs[0]["state"] == "succeeded").then_some(())
    });
    // The chat's conversation continues in a later room, and the next room fails after a part of its work.
    for (text, told) in [("again", 1), ("[bash: echo done]#", 2)] {
        assert!(host.terminate().success());
        host.start();
        let texts = ask(&host, "web:a", text);
        assert_eq!(texts.len(), told, "{texts:?}");
    }
    assert!(host.terminate().success());
    host.start();
    let refused = 1;
    let answered = vendor.asked().len() - refused;
    assert_eq!(answered, 5, "three turns, half of one, and the rest of it in the next try");
    let costs: Vec<f64> = runs(&host, "room").iter().map(cost).collect();
    let (all, one) = (costs.iter().sum::<f64>(), costs.last().unwrap());
    assert!((all / one - answered as f64).abs() < 0.1, "{costs:?} for {answered} answers");
}

#[test]
fn used_up_subscription_pauses_the_group_until_its_reset() {
    let resets = chrono::Utc::now().timestamp() + 7200;
    let vendor = Vendor::start(move |_| {
        let headers = [
            ("anthropic-ratelimit-unified-status", "rejected".to_owned()),
            ("anthropic-ratelimit-unified-reset", resets.to_string()),
            ("anthropic-ratelimit-unified-representative-claim", "five_hour".to_owned()),
        ];
        Answer::Refuse(429, "rate_limit_error", headers.to_vec())
    });
    // Only a subscription's token has such a limit.
    let mut host =
        builder(&format!("ANTHROPIC_BASE_URL={}\nCLAUDE_CODE_OAUTH_TOKEN=sk-ant-oat01-{KEY}\n", vendor.url)).prepare();
    build(&host);
    host.start();
    host.register_with("web:quota", "quota", &json!({ "env": { "CLAUDE_CODE_MAX_RETRIES": "0" } }));
    let mut events = host.events();
    host.send("web:quota", "hello");
    let told = events.message("web:quota", TURN, |text| text.contains("quota is used up until "));
    assert!(told.text().ends_with("I go on by myself."), "{}", told.text());
    let until = eventually("the group is paused", TURN, || {
        let status = host.api.get("/v1/status").expect(200).json();
        let group = status["groups"].as_array().unwrap().iter().find(|group| group["folder"] == "quota")?.clone();
        group["paused"]["until"].as_str()?.parse::<chrono::DateTime<chrono::Utc>>().ok()
    });
    assert_eq!(until.timestamp(), resets);
}

#[test]
fn long_command_sends_heartbeats() {
    let vendor = Vendor::start(repeat);
    let mut host = builder(&vendor.dot_env()).env("IDLE_TIMEOUT", 100).prepare();
    build(&host);
    host.start();
    // The hard limit is 30 s here; the command takes longer.
    let config = json!({ "timeout": 2000, "env": { "PARLOR_HEARTBEAT_MS": "5000" } });
    host.register_with("web:a", "room", &config);
    let mut events = host.events();
    let seq = host.send("web:a", "[bash: for i in $(seq 36); do sleep 1; done; echo rested]#");
    events.turn_done("web:a", seq, 2 * TURN);
    assert_eq!(events.texts("web:a"), ["result: rested"]);
    assert_eq!(runs(&host, "room").len(), 1, "it was not tried twice");
}

#[test]
fn image_status_and_doctor_report_the_image() {
    let mut host = builder("ANTHROPIC_API_KEY=sk-ant-nobody-asks\n").prepare();
    let doctor = |host: &Host| {
        let output = parlor(host, &["doctor", "--json"]).output().unwrap().stdout;
        let findings: Vec<Value> = serde_json::from_slice(&output).unwrap();
        findings.into_iter().find(|finding| finding["check"] == "claude").expect("a finding on Claude Code")
    };
    let name = build(&host);
    let status = parlor(&host, &["image", "status", "--json"]).output().unwrap().stdout;
    let status: Value = serde_json::from_slice(&status).unwrap();
    assert_eq!(status["full"], json!({ "image": name, "present": true }));
    assert_eq!(doctor(&host)["state"], "ok");
    // For another version another image is needed, which does not exist.
    let other = parlor(&host, &["image", "status", "--json"]).env("PARLOR_CLAUDE_VERSION", "2.1.1").output().unwrap();
    let other: Value = serde_json::from_slice(&other.stdout).unwrap();
    assert_eq!(other["full"]["present"], false);
    assert_ne!(other["full"]["image"], status["full"]["image"]);
    // The same holds for an image without the optional parts.
    let other = parlor(&host, &["image", "status", "--json"]).env("PARLOR_IMAGE_WITH", "").output().unwrap();
    let other: Value = serde_json::from_slice(&other.stdout).unwrap();
    assert_ne!(other["full"]["image"], status["full"]["image"]);
    host.start();
    eventually("the start says who answers", SOON, || host.log().contains("provider: claude").then_some(()));
    // Rooms run as any user; the program has the requested version.
    let version =
        engine::lines(&["run", "--rm", "--user", "12345:12345", "--entrypoint", "claude", &name, "--version"]);
    assert_eq!(version, ["2.1.329 (Claude Code)"]);
}
