//! Measures what a live room adds: from a follow-up to its answer, and from an IPC file to its event.

use std::fs::File;
use std::io::Write;
use std::time::Instant;

use serde_json::json;

use crate::Effort;
use crate::harness::events::Events;
use crate::harness::host::{Host, scratch};
use crate::harness::{SOON, http};
use crate::report::{Figure, Report, Target, ms};

const JID: &str = "web:warm";

pub fn measure(effort: Effort, report: &mut Report) {
    let host = Host::builder().start();
    host.register(JID, "warm");
    host.ask(JID, "hello");
    let n = effort.samples(300, 30);
    let fsync = Figure::new("– one fsync of this disk", "ms", Target::None, fsyncs(n));
    report.add(Figure::new(
        "warm follow-up: accepted → reply",
        "ms",
        Target::AtMost(5.0),
        warm(&host, &mut host.events(), JID, n),
    ));
    report.add(fsync);
    report.add(Figure::new(
        "IPC file renamed in the container → event",
        "ms",
        Target::AtMost(5.0),
        ipc(&host, effort.samples(200, 20)),
    ));
}

/// Sends follow-ups one after the other.
pub fn warm(host: &Host, events: &mut Events, jid: &str, n: usize) -> Vec<f64> {
    let follow_up = |round: usize| {
        let text = format!("again {round}");
        let seq = host.send(jid, &text);
        let accepted = Instant::now();
        let expected = format!("echo: {text}");
        let reply = events.message(jid, SOON, |t| t == expected);
        events.turn_done(jid, seq, SOON);
        events.forget();
        ms(reply.at.saturating_duration_since(accepted))
    };
    (0..n).map(follow_up).collect()
}

fn fsyncs(n: usize) -> Vec<f64> {
    let dir = tempfile::tempdir_in(scratch()).unwrap();
    let mut file = File::create(dir.path().join("probe")).unwrap();
    let mut one = || {
        file.write_all(&[7; 4096]).unwrap();
        let started = Instant::now();
        file.sync_data().unwrap();
        ms(started.elapsed())
    };
    (0..n).map(|_| one()).collect()
}

/// The agent reports the time at which it writes the file.
fn ipc(host: &Host, n: usize) -> Vec<f64> {
    let mut events = host.events();
    let mut one = |round: usize| {
        let file = json!({ "type": "message", "chatJid": JID, "text": format!("file {round}") }).to_string();
        let seq = host.send(JID, &format!("!ipctime messages {round}.json {}", base64(file.as_bytes())));
        events.turn_done(JID, seq, SOON);
        let expected = format!("file {round}");
        let arrived = events.message(JID, SOON, |text| text == expected).ns;
        let dropped = events.message(JID, SOON, |text| text.parse::<i128>().is_ok());
        let dropped: i128 = dropped.text().parse().unwrap();
        events.forget();
        (arrived - dropped) as f64 / 1e6
    };
    (0..n).map(&mut one).collect()
}

/// Encodes standard base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
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

/// Returns the body of a message, which can be sent many times.
pub fn body(text: &str) -> Vec<u8> {
    json!({ "sender": "ann", "senderName": "Ann", "text": text }).to_string().into_bytes()
}

/// Opens a separate connection for a client that sends at the same time as others.
pub fn connection(host: &Host) -> http::Connection {
    http::Connection::open(host.api.socket()).unwrap()
}
