//! An agent's outputs: delivered as they come, however they are split, and kept in the run's log up to its limit.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::host::Host;
use crate::harness::{SOON, eventually, process, rows};

const START: &str = "---NANOCLAW_OUTPUT_START---";
const END: &str = "---NANOCLAW_OUTPUT_END---";

/// Encodes bytes for the scripted agent's `!raw`.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for at in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]));
        }
        text.push_str(&"=="[..3 - chunk.len()]);
    }
    text
}

/// Returns the log of a group's last run, once it is written.
fn last_log(host: &Host, folder: &str) -> (PathBuf, String) {
    let run = rows::runs(host, folder)[0]["id"].as_str().unwrap().to_owned();
    let path = host.root().join(format!("data/runs/{folder}/{}.log", run.to_lowercase()));
    (path, rows::log_of(host, &run))
}

fn session(host: &Host, folder: &str) -> Option<String> {
    let answer = host.api.get(&format!("/v1/sessions/{folder}"));
    (answer.status == 200).then(|| answer.json()["sessionId"].as_str().unwrap().to_owned())
}

#[test]
fn outputs_are_delivered_at_once_in_order_and_whole() {
    let host = Host::builder().start();
    host.register("web:o", "o");
    let mut events = host.events();
    // The agent continues only after its first output was seen in the chat.
    let seq = host.send(
        "web:o",
        "!open before\n!sh while [ ! -e go ]; do sleep 0.05; done; echo between\n!outputs 3 of\n!say after",
    );
    events.message("web:o", SOON, |text| text == "before");
    fs::write(host.root().join("groups/o/go"), "").unwrap();
    events.turn_done("web:o", seq, SOON);
    assert_eq!(events.texts("web:o"), ["before", "between", "output 1", "output 2", "output 3", "after"]);
    assert_eq!(session(&host, "o").as_deref(), Some("of-3"));

    // Characters and markers that are split between reads; markers inside a text.
    let text = format!("héllo 漢字 😀\n{END}\n{START}\n{{}} <b>& \"quoted\" \\ tail");
    for (size, pause) in [(1, 0), (7, 1), (4093, 0)] {
        assert_eq!(host.ask("web:o", &format!("!chunks {size} {pause} {text}")), [text.as_str()], "{size}");
    }
}

#[test]
fn malformed_outputs_cause_notices_and_nothing_else() {
    let host = Host::builder().env("PARLOR_MAX_RESULT_SIZE", 65_536).start();
    host.register("web:o", "o");
    let open = |text: &str| json!({ "status": "success", "result": text, "turn": "open", "unknown": [1] }).to_string();
    let frame = |body: &str| format!("{START}\n{body}\n{END}\n");
    let mut raw = Vec::new();
    raw.extend_from_slice(format!("log text\n{END}\n x{START}\n{START} \n").as_bytes());
    raw.extend_from_slice(format!("{START}\nlost\n{}", frame(&open("kept"))).as_bytes());
    raw.extend_from_slice(format!("{START}\r\n{}\r\n{END}\r\n", open("carriage returns")).as_bytes());
    let spread =
        serde_json::to_string_pretty(&json!({ "status": "success", "result": "lines", "turn": "open" })).unwrap();
    raw.extend_from_slice(frame(&spread).as_bytes());
    raw.extend_from_slice(b"\0\xff\xfe\0 binary\n");
    raw.extend_from_slice(START.as_bytes());
    raw.extend_from_slice(b"\n{\"status\":\"success\",\"turn\":\"open\",\"result\":\"half \xf0\x9f\"}\n");
    raw.extend_from_slice(format!("{END}\n").as_bytes());
    raw.extend_from_slice(frame("{\"status\":\"maybe\",\"turn\":\"open\"}").as_bytes());
    raw.extend_from_slice(frame(&"[".repeat(2000)).as_bytes());
    raw.extend_from_slice(frame(&open(&"y".repeat(70_000))).as_bytes());
    raw.extend_from_slice(frame(&open("the last")).as_bytes());
    // Pieces that split everything, because of the message's size limit.
    let pieces: Vec<String> = raw.chunks(30_011).map(|piece| format!("!raw {}", base64(piece))).collect();
    let said = host.ask("web:o", &format!("{}\n!say fine", pieces.join("\n")));
    let (notices, replies): (Vec<&String>, Vec<&String>) =
        said.iter().partition(|text| text.starts_with("Something the agent put out could not be read"));
    assert_eq!(replies, ["kept", "carriage returns", "lines", "half \u{fffd}", "the last", "fine"], "{said:?}");
    // The chat is notified of the first three faults; the log has all.
    assert_eq!(notices.len(), 3, "{said:?}");
    let log = host.log();
    for what in ["had not begun", "inside another one", "not valid", "longer than 65536 bytes"] {
        assert!(log.contains(what), "{what} in {log}");
    }
    assert_eq!(host.ask("web:o", "!say the same room"), ["the same room"]);
    assert_eq!(host.api.get("/v1/runs?folder=o").json()["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn unreadable_last_output_ends_the_turn_at_once() {
    let host = Host::builder().env("PARLOR_MAX_RESULT_SIZE", 65_536).start();
    host.register("web:o", "o");
    let raw = |json: &[u8]| {
        format!("!raw {}", base64(&[START.as_bytes(), b"\n", json, b"\n", END.as_bytes(), b"\n"].concat()))
    };
    // Afterwards the agent waits for its next input, as after any answer.
    assert_eq!(host.ask("web:o", &raw(br#"{"status":"success","result":"cut \ud83d"}"#)), ["cut \u{fffd}"]);
    let long = serde_json::json!({ "status": "success", "result": "y".repeat(70_000), "turn": "done" }).to_string();
    for (json, why) in
        [(&br#"{"status":"success","result":5}"#[..], "not valid"), (long.as_bytes(), "longer than 65536 bytes")]
    {
        let mut events = host.events();
        let seq = host.send("web:o", &raw(json));
        events.wait("the turn has failed", SOON, |e| e.is_turn("web:o", "failed", seq));
        let texts = events.texts("web:o");
        assert!(texts.len() == 1 && texts[0].contains("could not be read") && texts[0].contains(why), "{texts:?}");
    }
    assert_eq!(host.ask("web:o", "!say goes on"), ["goes on"]);
}

#[test]
fn floods_and_endless_lines_need_no_memory_and_are_logged_in_part() {
    let host = Host::builder().env("CONTAINER_MAX_OUTPUT_SIZE", 4096).start();
    host.register("web:f", "f");
    host.ask("web:f", "!say warm");
    process::reset_peak(host.pid());
    let before = process::peak_kib(host.pid());
    // 100 MB without a newline on stdout, a flood on stderr, many outputs: the next output is still read.
    let seq = host.send(
        "web:f",
        "!sh head -c 100000000 /dev/zero > /proc/1/fd/1; echo > /proc/1/fd/1\n!stderr 2\n!flood-outputs 5000\n!big 300000",
    );
    let mut events = host.events();
    events.turn_done("web:f", seq, 2 * SOON);
    let texts = events.texts("web:f");
    assert_eq!(texts.last().unwrap().len(), 300_000, "what the log keeps does not limit what is read");
    let numbers: Vec<&String> = texts.iter().filter(|text| text.parse::<u32>().is_ok()).collect();
    assert!(numbers.iter().map(|text| text.parse::<u32>().unwrap()).is_sorted());
    let grown = process::peak_kib(host.pid()).saturating_sub(before);
    assert!(grown < 100_000, "{grown} KiB more");
    host.ask("web:f", "/new");
    let (path, log) = last_log(&host, "f");
    assert!(log.contains("stdout_truncated: true\nstderr_truncated: true\n"), "{log}");
    assert!(log.len() < 2000, "a summary on success: {log}");
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn run_log_has_the_runs_course_and_the_prompt_only_if_asked() {
    let host = Host::builder().env("IDLE_TIMEOUT", 1).start();
    host.register("web:l", "l");
    let folder = host.root().join("data/runs/l");
    fs::create_dir_all(&folder).unwrap();
    // Two large logs that are the oldest, and more than a hundred others.
    for n in 0..120 {
        let file = fs::File::create(folder.join(format!("00000000000000000000000{n:03}.log"))).unwrap();
        file.set_len(if n < 30 { 60 << 20 } else { 10 }).unwrap();
    }
    let prompt = "!say well, a-word-of-the-prompt";
    host.ask("web:l", prompt);
    let (path, log) = last_log(&host, "l");
    let run = host.api.get("/v1/runs?folder=l").json()["runs"][0].clone();
    for line in [
        format!("run: {}", run["id"].as_str().unwrap()),
        format!("container: {}", run["container"].as_str().unwrap()),
        "exit: 0".to_owned(),
        "outputs: 1".to_owned(),
        "output_seen: true".to_owned(),
        "stdout_truncated: false".to_owned(),
        "session: new".to_owned(),
    ] {
        assert!(log.lines().any(|l| l == line), "{line} in {log}");
    }
    let value = |key: &str| log.lines().find_map(|l| l.strip_prefix(key)).unwrap().to_owned();
    assert!(value("prompt_length: ").parse::<usize>().unwrap() > prompt.len());
    assert!(value("duration_ms: ").parse::<u64>().unwrap() > 0);
    let paths = value("container_paths: ");
    for path in ["/workspace/group", "/workspace/ipc", "/workspace/ipc/input", "/home/node/.claude", "/app/agent"] {
        assert!(paths.split(' ').any(|p| p == path), "{path} in {paths}");
    }
    assert!(!log.contains("a-word-of-the-prompt") && !log.contains("== argv"), "{log}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = eventually("the logs are rotated", SOON, || {
        let all: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).collect();
        (all.len() == 91).then_some(all)
    });
    assert!(kept.iter().all(|size| *size < 1 << 20), "the oldest go first");

    // The second run resumes the session; its failure is logged in full, except for the prompt.
    host.ask("web:l", "!once !exit 3\n!say a-word-of-the-prompt");
    let (_, log) = last_log(&host, "l");
    let session = log.lines().find_map(|l| l.strip_prefix("session: ")).unwrap();
    assert!(session.starts_with("test-"), "{log}");
    assert!(log.contains("exit: 3\nerror: Container exited with code 3"), "{log}");
    for section in ["== argv", "--rm", "== mounts", "-> /workspace/group (rw)", "== stderr", "== stdout", "exiting"] {
        assert!(log.contains(section), "{section} in {log}");
    }
    assert!(!log.contains("== prompt") && !log.contains("a-word-of"), "{log}");
    assert!(!host.log().contains("a-word-of"), "{}", host.log());
    drop(host);

    let host = Host::builder().env("IDLE_TIMEOUT", 1).env("LOG_LEVEL", "debug").start();
    host.register("web:l", "l");
    host.ask("web:l", prompt);
    let (_, log) = last_log(&host, "l");
    assert!(
        log.contains("== prompt\n<context format=\"2\"") && log.contains("a-word-of-the-prompt</message>"),
        "{log}"
    );
    assert!(log.contains("== argv") && log.contains("== stdout"));
    let folder = host.root().join("data/runs/l");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn sessions_of_successful_turns_are_kept_and_resumed() {
    let host = Host::builder().env("IDLE_TIMEOUT", 1).start();
    host.register("web:s", "s");
    let resumed = || serde_json::from_str::<Value>(&host.ask("web:s", "!stdin")[0]).unwrap()["sessionId"].clone();
    assert_eq!(resumed(), Value::Null);
    host.ask("web:s", "!session first\n!say x");
    assert_eq!(session(&host, "s").as_deref(), Some("first"));
    assert_eq!(resumed(), "first");
    // An id from a turn that fails later is not kept.
    let mut events = host.events();
    let seq = host.send("web:s", "!session bad\n!error other");
    events.wait("the turn fails", SOON, |e| e.is_turn("web:s", "failed", seq));
    assert_eq!(resumed(), "first");
    // A session that the vendor lost: the turn is repeated without it, and the chat is notified.
    let said = host.ask("web:s", "!error-resumed session_missing");
    assert_eq!(said, ["The earlier conversation is gone; a new one begins.", "a new session"]);
    assert_ne!(session(&host, "s").as_deref(), Some("first"));
    // `/new` forgets the session.
    host.ask("web:s", "!session second");
    host.ask("web:s", "/new");
    assert_eq!(session(&host, "s"), None);
    assert_eq!(resumed(), Value::Null);
    assert!(session(&host, "s").is_some());
}

#[test]
fn run_without_frames_is_read_from_its_last_line() {
    let host = Host::builder().start();
    host.register("web:b", "b");
    let bare = json!({ "status": "success", "result": "bare", "newSessionId": "bare-1" });
    let raw = base64(format!("some log\n{bare}\n\n").as_bytes());
    assert_eq!(host.ask("web:b", &format!("!raw {raw}\n!crash 0")), ["bare"]);
    assert_eq!(session(&host, "b").as_deref(), Some("bare-1"));
    let run = eventually("the run has ended", SOON, || {
        let run = host.api.get("/v1/runs?folder=b").json()["runs"][0].clone();
        (!run["endedAt"].is_null()).then_some(run)
    });
    assert_eq!((&run["state"], &run["outputs"]), (&json!("succeeded"), &json!(1)));
}
