//! Tests a running host against its OpenAPI document with schemathesis: for any request, the answer is in the
//! document, and is not an internal error of the host.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::host::Host;
use crate::harness::http::Connection;
use crate::harness::rows::runs;
use crate::harness::{SOON, eventually};

const TOKEN: &str = "correct-horse-battery-staple";

fn schemathesis() -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/schemathesis");
    assert!(program.exists(), "schemathesis is missing: run scripts/setup.sh test");
    program
}

/// A host that listens on TCP, which is all that schemathesis supports.
fn listening() -> (Host, SocketAddr) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let host = Host::builder()
        .env("PARLOR_LISTEN", address)
        .env("PARLOR_TOKEN", TOKEN)
        .env("MAX_CONCURRENT_CONTAINERS", "1")
        .start();
    (host, address)
}

/// Creates one object of each kind, and keeps one agent busy so that no other room opens meanwhile. Returns existing
/// ids by the names of parameters.
fn settle(host: &Host) -> Value {
    for name in ["past", "busy", "team"] {
        host.register(&format!("web:{name}"), name);
    }
    host.ask("web:past", "hello");
    host.api.patch("/v1/sessions/team", &json!({ "sessionId": "s-1" })).expect(200);
    let task =
        json!({ "folder": "team", "id": "t1", "prompt": "look", "scheduleType": "cron", "scheduleValue": "0 9 * * *" });
    host.api.post("/v1/tasks", &task).expect(201);
    host.send("web:busy", "!sleep 3600000");
    eventually("an agent works", SOON, || (runs(host, "busy").last()?["doing"] == "working").then_some(()));
    host.send("web:team", "what waits");
    let run = runs(host, "past").last().unwrap()["id"].clone();
    let delivery = host.api.get("/v1/outbox?all=true").json()["outbox"][0]["id"].clone();
    json!({ "folders": ["team"], "chats": ["web:team"], "tasks": ["t1"], "runs": [run], "deliveries": [delivery] })
}

/// Returns the configuration for schemathesis. Half of the ids in its requests exist; otherwise all would be refused.
fn config(known: &Value) -> String {
    let mut lines = vec!["seed = 20311\nrequest-timeout = 20\ncontinue-on-failure = true".to_owned()];
    let lists = known.as_object().unwrap().iter();
    lines.extend(lists.map(|(name, values)| format!("[dictionaries.{name}]\nvalues = {values}")));
    let known =
        |parameter: &str, name: &str| format!("\"{parameter}\" = {{ dictionary = \"{name}\", probability = 0.5 }}");
    lines.push("[parameters]".to_owned());
    lines.push(known("path.jid", "chats"));
    lines.extend(["path.folder", "query.folder", "body.folder"].map(|parameter| known(parameter, "folders")));
    for (path, name) in [("tasks", "tasks"), ("runs", "runs"), ("outbox", "deliveries")] {
        lines.push(format!("[[operations]]\ninclude-path-regex = \"^/v1/{path}/\"\n[operations.parameters]"));
        lines.push(known("path.id", name));
    }
    // The event stream has no end, and schemathesis would wait for it.
    lines.push("[[operations]]\ninclude-path = \"/v1/events\"\nenabled = false\n".to_owned());
    lines.join("\n")
}

#[test]
fn answers_to_generated_requests_match_the_document() {
    let (host, address) = listening();
    let known = settle(&host);
    let work = tempfile::tempdir().unwrap();
    let document = host.api.get("/v1/openapi.json").expect(200);
    fs::write(work.path().join("openapi.json"), &document.body).unwrap();
    fs::write(work.path().join("schemathesis.toml"), config(&known)).unwrap();
    let run = Command::new(schemathesis())
        .current_dir(work.path())
        .args(["--no-color", "--config-file", "schemathesis.toml", "run", "openapi.json"])
        .args(["--url", &format!("http://{address}")])
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        .args(["--phases", "coverage,fuzzing,stateful", "--max-examples", "20", "--generation-database", "none"])
        // Whether a value is accepted also depends on other fields and on the host's state, which the document cannot
        // express.
        .args(["--checks", "all", "--exclude-checks", "positive_data_acceptance", "--suppress-health-check", "all"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    let paths = document.json()["paths"].as_object().unwrap().clone();
    let operations = paths.values().flat_map(|path| path.as_object().unwrap().keys()).count();
    assert!(said.contains(&format!("Tested: {}", operations - 1)), "all but the stream: {said}");
}

#[test]
fn event_stream_matches_the_document() {
    let host = Host::builder().start();
    let document = host.api.get("/v1/openapi.json").expect(200).json();
    let described = &document["paths"]["/v1/events"]["get"]["responses"]["200"];
    let mut connection = Connection::open(host.api.socket()).unwrap();
    connection.send("GET", "/v1/events", b"").unwrap();
    let (status, headers) = connection.head().unwrap();
    let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(status, 200);
    assert!(described["content"][header("content-type").unwrap()].is_object(), "{described}");
    for (name, _) in described["headers"].as_object().unwrap() {
        assert!(header(&name.to_lowercase()).is_some(), "{name}: {headers:?}");
    }
}
