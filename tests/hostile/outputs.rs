//! Hostile outputs of an agent.

use std::time::{Duration, Instant};

use super::{OTHER, ROOM, Stage};
use crate::harness::host::Host;
use crate::harness::{SOON, process};

const START: &str = "---NANOCLAW_OUTPUT_START---";
const END: &str = "---NANOCLAW_OUTPUT_END---";

fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let sign = SIGNS[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= three.len() { char::from(sign) } else { '=' });
        }
    }
    text
}

fn frame(json: &str) -> String {
    format!("{START}\n{json}\n{END}\n")
}

fn says(text: &str) -> String {
    frame(&serde_json::json!({ "status": "success", "result": text, "turn": "open" }).to_string())
}

#[test]
fn valid_outputs_among_garbage_are_delivered_in_order() {
    let stage = Stage::new();
    let mut bytes: Vec<u8> = Vec::new();
    let mut put = |part: &[u8]| bytes.extend_from_slice(part);
    put(format!("{END}\n{}", says("after a stray end")).as_bytes());
    put(format!("log {START}\n{}{END} tail\n", says("markers inside lines")).as_bytes());
    put(format!("{START}\n{{\"status\":\"success\",\"result\":\"lost\"\n{}", says("after a nested start")).as_bytes());
    put(b"\0\0\xff\xfe\x80 bytes between\n");
    put(says("after bytes").as_bytes());
    put(&[START.as_bytes(), b"\n{\"status\":\"success\",\"result\":{},\"turn\":\"open\"}\n", END.as_bytes(), b"\n"]
        .concat());
    put(says(&format!("text with\n{START}\nand\n{END}\nas data")).as_bytes());
    put(frame("null").as_bytes());
    put(frame("[]").as_bytes());
    put(frame(r#"{"status":"maybe","result":"no","turn":"open"}"#).as_bytes());
    put(frame("").as_bytes());
    put(format!(
        "{START}\r\n{}\r\n{END}\r\n",
        r#"{"status":"success","result":"with carriage returns","turn":"open"}"#
    )
    .as_bytes());
    put(frame(&format!(
        r#"{{"status":"success","result":"deep","turn":"open","x":{}{}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    ))
    .as_bytes());
    let text = format!("!raw {}\n!chunks 1 0 é😀 byte by byte\n!say the end", base64(&bytes));
    let texts = stage.host.ask(ROOM, &text);
    let texts: Vec<&str> = texts.iter().map(String::as_str).filter(|t| !t.contains("could not be read")).collect();
    let markers = format!("text with\n{START}\nand\n{END}\nas data");
    let expected = [
        "after a stray end",
        "markers inside lines",
        "after a nested start",
        "after bytes",
        &markers,
        "with carriage returns",
        "deep",
        "é😀 byte by byte",
        "the end",
    ];
    // The text of `!chunks` is a separate output.
    assert_eq!(texts, expected);
    assert_eq!(stage.host.ask(ROOM, "still here"), ["echo: still here"]);
    assert_eq!(stage.host.containers().len(), 1, "the same run goes on");
    // The chat gets only a few complaints per run, so the next case needs a new run.
    stage.end_run();
    let open = base64(format!("{START}\n{{\"status\":\"success\"").as_bytes());
    let texts = stage.host.ask(ROOM, &format!("!say a start without an end\n!raw {open}\n!crash 0"));
    assert_eq!(texts[0], "a start without an end");
    assert!(texts[1].contains("ended inside an output"), "{texts:?}");
    assert_eq!(stage.host.ask(ROOM, "again"), ["echo: again"]);
}

/// Number of the flood's outputs, and how many have a text.
const OUTPUTS: usize = 1_000_000;
const EVERY: usize = 100;

#[test]
fn flood_of_outputs_needs_no_memory_and_delays_nobody() {
    let limits = Host::builder().env("CONTAINER_MAX_OUTPUT_SIZE", 1 << 20).env("PARLOR_MAX_RESULT_SIZE", 8 << 20);
    let stage = Stage::with(limits);
    let host = &stage.host;
    assert_eq!(host.ask(OTHER, "hello"), ["echo: hello"]);
    host.ask(ROOM, "hello");
    process::reset_peak(host.pid());
    let resting = process::peak_kib(host.pid());
    let grown = |what: &str, most: u64| {
        let grown = process::peak_kib(host.pid()).saturating_sub(resting);
        assert!(grown < most << 10, "{what} grew the host by {grown} KiB");
    };
    let mut events = host.events();

    // A line of 128 MiB inside an output: it is dropped with one complaint, and the rest is read.
    let began = Instant::now();
    let line = "dd if=/dev/zero bs=1M count=128 2>/dev/null; echo";
    let script = format!("(echo {START}; {line}; echo {END}) > /proc/1/fd/1; echo after a long line");
    let endless = host.send(ROOM, &format!("!sh {script}"));
    assert_eq!(host.ask(OTHER, "beside a line"), ["echo: beside a line"]);
    events.turn_done(ROOM, endless, 4 * SOON);
    println!("a line of 128 MiB: {:?}", began.elapsed());
    let texts = events.texts(ROOM);
    assert!(texts.len() == 2 && texts[0].contains("an output is longer than"), "{texts:?}");
    assert_eq!(texts[1], "after a long line");
    grown("a line without an end", 48);

    // A million outputs: most are heartbeats, with texts spread among them.
    let began = Instant::now();
    let flood = host.send(ROOM, &format!("!flood-outputs {OUTPUTS} {EVERY}"));
    let mut slowest = Duration::ZERO;
    for n in 0..5 {
        let asked = Instant::now();
        assert_eq!(host.ask(OTHER, &format!("follow-up {n}")), [format!("echo: follow-up {n}")]);
        slowest = slowest.max(asked.elapsed());
    }
    events.turn_done(ROOM, flood, 4 * SOON);
    let took = began.elapsed();
    println!("{OUTPUTS} outputs: {took:?}, beside them an answer took {slowest:?}");
    assert!(slowest < (took / 4).max(Duration::from_secs(2)), "{slowest:?} of {took:?}");
    let numbers: Vec<usize> = events.texts(ROOM).iter().filter_map(|text| text.parse().ok()).collect();
    assert!(numbers.iter().copied().eq((0..OUTPUTS).step_by(EVERY)), "{} texts", numbers.len());
    grown("a million outputs", 64);

    let noise = host.send(ROOM, "!stderr 2");
    assert_eq!(host.ask(OTHER, "beside noise"), ["echo: beside noise"]);
    events.turn_done(ROOM, noise, SOON);
    grown("noise on stderr", 64);
    // All outputs came from one run, and each was counted.
    assert_eq!(host.containers().len(), 2);
    stage.end_run();
    let run = host.api.get("/v1/runs?folder=room").json()["runs"][0].clone();
    assert!(run["outputs"].as_u64() > Some(OUTPUTS as u64), "{run}");
}

#[test]
fn fields_of_outputs_are_cleaned_and_limited() {
    let stage = Stage::new();
    let raw = |json: &serde_json::Value| format!("!raw {}", base64(frame(&json.to_string()).as_bytes()));
    let names: Vec<String> = (0..5_000).map(|n| format!("{n:08}.json")).collect();
    let absurd = serde_json::json!({
        "status": "success", "result": "a\u{1b}[31mb\0\n\tc\u{7}", "turn": "open", "consumed": names,
        "retryAt": "9".repeat(10_000), "costUsd": 1e300,
        "usage": { "input_tokens": u64::MAX, "deep": [[["x"]]], "output_tokens": -1 },
    });
    let texts = stage.host.ask(ROOM, &format!("{0}\n{0}\n!say the end", raw(&absurd)));
    assert_eq!(texts, ["ab\n\tc", "ab\n\tc", "the end"]);
    let log = stage.host.log();
    for field in ["consumed", "retryAt", "costUsd", "usage"] {
        assert_eq!(log.matches(&format!("{field} of an output is over")).count(), 1, "{field} in {log}");
    }
    assert_eq!(stage.host.api.get("/v1/usage?folder=room").json()["usage"], serde_json::json!([]));

    // An error is one line of limited length wherever it is shown.
    let mut events = stage.host.events();
    let error = format!("it\n\u{1b}[31mfailed\u{1b}[0m {}", "é".repeat(50_000));
    let failed = serde_json::json!({
        "status": "error", "result": null, "turn": "done", "errorKind": "auth", "error": error,
    });
    stage.host.send(ROOM, &raw(&failed));
    let turn = events.wait("the failed turn", SOON, |e| e.name == "turn" && e.data["state"] == "failed");
    let reason = turn.data["reason"].as_str().unwrap();
    assert!(reason.starts_with("it failed éé") && reason.ends_with('…'), "{reason}");
    assert!(reason.chars().count() <= 2_000 && !reason.chars().any(char::is_control));
    let notice = events.texts(ROOM).pop().unwrap();
    assert!(notice.contains("it failed éé") && notice.chars().count() < 2_500, "{notice}");
    assert!(!notice.chars().any(char::is_control), "{notice:?}");

    // Broken ends of turns without a waiting message are ordinary complaints.
    stage.host.ask(ROOM, "hello again");
    let (broken, mut events) = (frame(r#"{"status":"success","result":5}"#).repeat(500), stage.host.events());
    stage.host.send(ROOM, &format!("!raw {}", base64(broken.as_bytes())));
    events.wait("the broken turn", SOON, |e| e.name == "turn" && e.data["state"] == "failed");
    stage.host.send(ROOM, "still here");
    events.message(ROOM, SOON, |text| text == "echo: still here");
    let texts = events.texts(ROOM);
    assert!(texts.len() < 10, "{} texts: {texts:?}", texts.len());

    // The end of stderr, which the host shows as the reason.
    stage.host.send(ROOM, "!crash 3 \u{1b}]0;title\u{7}it \u{1b}[31mbroke\u{1b}[0m\u{8}");
    let run = events.wait("the crashed run", SOON, |e| e.name == "run" && e.data["state"] == "failed");
    assert_eq!(run.data["error"], "Container exited with code 3: it broke");
}
