//! Secrets reach the agents that need them over stdin, and are nowhere else.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::host::Host;
use crate::harness::{SOON, engine, eventually, rows};
use crate::outputs::base64;
use crate::room::{inspect, sh};

const KEY: &str = "sk-ant-test-5f2c9e81d7";
const TOKEN: &str = "to\"ken\\with-quotes-93b1";

/// Collects every file below a folder, without following links.
fn files(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), all),
            Ok(kind) if kind.is_file() => all.push(entry.path()),
            _ => {}
        }
    }
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    let json = serde_json::to_string(secret).unwrap();
    [secret, json.trim_matches('"')].iter().any(|form| memchr::memmem::find(bytes, form.as_bytes()).is_some())
}

/// Returns the places outside the agent that contain a secret.
fn found(host: &Host, name: Option<&str>) -> Vec<String> {
    let mut places = Vec::new();
    let mut look = |place: String, bytes: &[u8]| {
        if [KEY, TOKEN].iter().any(|secret| holds(bytes, secret)) {
            places.push(place);
        }
    };
    let own = std::process::id().to_string();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let pid = process.file_name().to_string_lossy().into_owned();
        if pid.bytes().all(|b| b.is_ascii_digit()) && pid != own {
            for file in ["cmdline", "environ"] {
                look(format!("/proc/{pid}/{file}"), &fs::read(process.path().join(file)).unwrap_or_default());
            }
        }
    }
    if let Some(name) = name {
        look("inspect".into(), &engine::run(&["inspect", name]).stdout);
        look("logs".into(), &engine::run(&["logs", name]).stdout);
    }
    look("the host's log".into(), host.log().as_bytes());
    let mut all = Vec::new();
    for dir in ["data", "groups"] {
        files(&host.root().join(dir), &mut all);
    }
    assert!(all.iter().any(|path| path.ends_with("parlor.db-wal")), "the store is looked into, too");
    for path in all {
        look(path.display().to_string(), &fs::read(&path).unwrap_or_default());
    }
    for path in ["/v1/runs", "/v1/outbox", "/v1/sessions", "/v1/groups", "/metrics"] {
        look(path.into(), &host.api.get(path).body);
    }
    places
}

#[test]
fn secrets_go_in_over_stdin_and_are_found_nowhere_else() {
    let env = format!("ANTHROPIC_API_KEY={KEY}\nCLAUDE_CODE_OAUTH_TOKEN='{TOKEN}'\nOTHER_KEY=sk-not-named-here\n");
    let host = Host::builder().env("LOG_LEVEL", "debug").dot_env(&env).start();
    let config = json!({ "provider": "image", "network": "none" });
    host.register_with("web:k", "k", &config);
    host.register_with("web:g", "g", &json!({ "provider": "guide" }));
    // The agent has its secrets, but not the rest of `.env`. It compares them by itself: nothing is printed.
    fs::create_dir_all(host.root().join("groups/k")).unwrap();
    let input: Value = serde_json::from_str(&host.ask("web:k", "!stdin")[0]).unwrap();
    let secrets = input["secrets"].as_object().unwrap();
    assert_eq!(secrets.keys().collect::<Vec<_>>(), ["ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"]);
    assert!(secrets.values().all(|v| v == "[redacted]"), "{secrets:?}");
    assert_eq!(input["provider"], "image");
    let without: Value = serde_json::from_str(&host.ask("web:g", "!stdin")[0]).unwrap();
    assert_eq!(without.get("secrets"), None, "the guide needs none");

    // An agent that leaks them: in texts, in several forms, as a session id, on stderr, outside of outputs.
    let said = host.ask("web:k", "!secret ANTHROPIC_API_KEY\n!secret CLAUDE_CODE_OAUTH_TOKEN");
    assert_eq!(said, ["[redacted]", "[redacted]"]);
    let frame =
        |json: &str| base64(format!("---NANOCLAW_OUTPUT_START---\n{json}\n---NANOCLAW_OUTPUT_END---\n").as_bytes());
    let session = json!({ "status": "success", "result": null, "turn": "open", "newSessionId": KEY }).to_string();
    assert_eq!(host.ask("web:k", &format!("!raw {}\n!silent", frame(&session))), Vec::<String>::new());
    let kind = json!({ "status": KEY, "turn": "open" }).to_string();
    let said = host.ask("web:k", &format!("!raw {}\n!say done", frame(&kind)));
    assert!(said[0].contains("could not be read") && said[0].contains("[redacted]"), "{said:?}");
    let by_file = json!({ "type": "message", "chatJid": "web:k", "text": format!("by file: {KEY} {TOKEN}") });
    let by_file = base64(by_file.to_string().as_bytes());
    host.ask("web:k", &format!("!sh cd /workspace/ipc; echo {by_file} | base64 -d > t; mv t messages/x.json"));
    eventually("the text by file", SOON, || {
        host.api.get("/v1/outbox?all=true").text().contains("by file: [redacted] [redacted]").then_some(())
    });
    let name = inspect(&host, "k")["Name"].as_str().unwrap().trim_start_matches('/').to_owned();
    // The live container is searched from inside as well: only its processes' memory may contain them.
    let inside = sh(
        &host,
        "web:k",
        "for f in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do grep -laF -e sk-ant-test -e with-quotes $f; done 2>/dev/null; \
         grep -rlF -e sk-ant-test /workspace /home /tmp /app/agent 2>/dev/null; echo end",
    );
    assert_eq!(inside.lines().filter(|line| !line.contains("/cmdline")).collect::<Vec<_>>(), ["end"]);
    assert_eq!(found(&host, Some(&name)), Vec::<String>::new());

    // After a failure, whose log and error contain everything else.
    let leak = base64(format!("{TOKEN} {KEY}\n").as_bytes());
    host.ask("web:k", &format!("!sh echo {leak} | base64 -d > /proc/1/fd/2\n!secret ANTHROPIC_API_KEY\n!exit 4"));
    let id = rows::runs(&host, "k")[0]["id"].as_str().unwrap().to_owned();
    let log = rows::log_of(&host, &id);
    let run = host.api.get(&format!("/v1/runs/{id}")).expect(200).json();
    assert_eq!(run["error"], "Container exited with code 4: [redacted] [redacted]", "{log}");
    assert!(log.contains("== stderr\n[redacted] [redacted]") && log.contains("== prompt"), "{log}");
    assert_eq!(found(&host, None), Vec::<String>::new());
    // No core dump is written, whatever the caller's limit.
    let limits = fs::read_to_string(format!("/proc/{}/limits", host.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
}
