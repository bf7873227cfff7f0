//! What an agent may print.

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
fn what_is_valid_among_disorder_is_delivered_in_order() {
    let stage = Stage::new();
    let mut bytes: Vec<u8> = Vec::new();
    let mut put = |part: &[u8]| bytes.extend_from_slice(part);
    put(format!("{END}\n{}", says("after a stray end")).as_bytes());
    put(format!("log {START}\n{}{END} tail\n", says("markers inside lines")).as_bytes());
    put(format!("{START}\n{{\"status\":\"success\",\"result\":\"lost\"\n{}", says("after a nested start")).as_bytes());
    put(b"\0\0\xff\xfe\x80 bytes between\n");
    put(says("after bytes").as_bytes());
    put(&[START.as_bytes(), b"\n{\"status\":\"success\",\"result\":\"\xff\xfe\"}\n", END.as_bytes(), b"\n"].concat());
    put(says(&format!("text with\n{START}\nand\n{END}\nas data")).as_bytes());
    put(frame("null").as_bytes());
    put(frame("[]").as_bytes());
    put(frame(r#"{"status":"maybe","result":"no"}"#).as_bytes());
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
    // A text that `!chunks` announces comes as its own output.
    assert_eq!(texts, expected);
    assert_eq!(stage.host.ask(ROOM, "still here"), ["echo: still here"]);
    assert_eq!(stage.host.containers().len(), 1, "the same run goes on");
    // A run's complaints that the chat hears of are few, so this is for another one.
    stage.end_run();
    let open = base64(format!("{START}\n{{\"status\":\"success\"").as_bytes());
    let texts = stage.host.ask(ROOM, &format!("!say a start without an end\n!raw {open}\n!crash 0"));
    assert_eq!(texts[0], "a start without an end");
    assert!(texts[1].contains("ended inside an output"), "{texts:?}");
    assert_eq!(stage.host.ask(ROOM, "again"), ["echo: again"]);
}

#[test]
fn floods_on_stdout_and_stderr_need_no_memory_and_delay_nobody() {
    let stage = Stage::with(Host::builder().env("CONTAINER_MAX_OUTPUT_SIZE", "1048576"));
    assert_eq!(stage.host.ask(OTHER, "hello"), ["echo: hello"]);
    stage.host.ask(ROOM, "hello");
    process::reset_peak(stage.host.pid());
    let resting = process::peak_kib(stage.host.pid());
    let mut events = stage.host.events();
    let endless = stage.host.send(ROOM, "!sh (head -c 67108864 /dev/zero; echo) > /proc/1/fd/1; echo a long line");
    assert_eq!(stage.host.ask(OTHER, "beside a line"), ["echo: beside a line"]);
    events.turn_done(ROOM, endless, 3 * SOON);
    let grown = process::peak_kib(stage.host.pid()) - resting;
    assert!(grown < 48 << 10, "a line without end grew the host by {grown} KiB");
    let flood = stage.host.send(ROOM, "!flood-outputs 20000");
    let mut slowest = Duration::ZERO;
    for n in 0..5 {
        let asked = Instant::now();
        assert_eq!(stage.host.ask(OTHER, &format!("follow-up {n}")), [format!("echo: follow-up {n}")]);
        slowest = slowest.max(asked.elapsed());
    }
    events.turn_done(ROOM, flood, 2 * SOON);
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let numbers: Vec<String> = events.texts(ROOM).into_iter().filter(|t| t.parse::<u32>().is_ok()).collect();
    assert!(
        numbers.iter().map(String::as_str).eq((0..20_000)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str))
    );
    let noise = stage.host.send(ROOM, "!stderr 2");
    assert_eq!(stage.host.ask(OTHER, "beside noise"), ["echo: beside noise"]);
    events.turn_done(ROOM, noise, SOON);
    let grown = process::peak_kib(stage.host.pid()) - resting;
    println!("grown by {grown} KiB");
    assert!(grown < 100 << 10, "the host grew by {grown} KiB");
}
