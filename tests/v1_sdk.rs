//! An image at the level of NanoClaw v1: the operator's TypeScript on the vendor's SDK, compiled at each start from the
//! group's own copy. It does not know Parlor. Only the vendor's cloud is a stand-in (`harness/vendor.rs`).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::harness::claude::{build, builder};
use crate::harness::engine::Engine;
use crate::harness::host::Host;
use crate::harness::vendor::{Answer, Asked, KEY, Vendor};

/// Time limit of a turn on a busy machine: the agent first compiles itself.
const TURN: Duration = Duration::from_secs(90);

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1-sdk")
}

/// Returns the image, which is based on Parlor's image `full` for its Node and its Claude Code.
fn image(base: &str) -> &'static str {
    let image = "parlor-test-v1-sdk";
    let base = format!("BASE={base}");
    let folder = fixture().display().to_string();
    let output = Engine::default().run(&["build", "--quiet", "--tag", image, "--build-arg", &base, &folder]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    image
}

fn ask(host: &Host, text: &str) -> Vec<String> {
    let mut events = host.events();
    let seq = host.send("web:a", text);
    events.turn_done("web:a", seq, TURN);
    events.texts("web:a")
}

/// Repeats the last message; `send` makes a tool send a text first.
fn repeat(asked: &Asked) -> Answer {
    let last = asked.last().join("\n");
    if asked.has_result() {
        return Answer::Say(format!("result: {last}"));
    }
    let text = last.rsplit_once("</message>").and_then(|(before, _)| before.rsplit_once('>')).map(|(_, text)| text);
    match text {
        Some("send") => Answer::Tool("mcp__host__send_message", json!({ "text": "on my way" })),
        text => Answer::Say(format!("heard: {}", text.unwrap_or(&last))),
    }
}

#[test]
fn v1_sdk_agent_answers_resumes_and_is_compiled_from_the_groups_copy() {
    let vendor = Vendor::start(repeat);
    let source = fixture().join("src");
    let base = build(&builder(&vendor.dot_env()).prepare());
    let mut host = builder(&vendor.dot_env())
        .env("CONTAINER_IMAGE", image(&base))
        .env("AGENT_RUNNER_SRC", source.display())
        .start();
    host.register("web:a", "room");
    assert_eq!(ask(&host, "hello"), ["heard: hello"]);
    assert_eq!(vendor.asked()[0].credentials, KEY, "the key came on stdin");
    // In through the input folder that the agent polls; out through an IPC file.
    assert_eq!(ask(&host, "again"), ["heard: again"]);
    let mut events = host.events();
    let seq = host.send("web:a", "send");
    events.turn_done("web:a", seq, TURN);
    // A v1 image does not wait for the result of its file, and files and outputs have no common order.
    events.message("web:a", TURN, |text| text == "on my way");
    let runs = host.api.get("/v1/runs?folder=room").json();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1, "{runs}");

    // A later room resumes the session, and compiles the group's changed agent.
    assert!(host.terminate().success());
    let copy = host.root().join("data/sessions/room/agent-runner-src/agent.ts");
    let own = fs::read_to_string(&copy).unwrap().replace("? event.result :", "? `own: ${event.result}` :");
    fs::write(&copy, own).unwrap();
    host.start();
    assert_eq!(ask(&host, "later"), ["own: heard: later"]);
    let resumed = vendor.asked().pop().unwrap().said();
    assert!(resumed.contains("heard: hello") && resumed.contains("later"), "{resumed}");
}
