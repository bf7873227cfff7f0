//! A cold start: no container runs, a message comes, its answer is on an open stream. For comparison: a plain run of
//! the same command line with the same input, to its first byte; the difference is Parlor's share.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use parlor_protocol::RunInput;

use crate::Effort;
use crate::harness::events::Events;
use crate::harness::host::{Host, scratch};
use crate::harness::{SOON, eventually, process};
use crate::report::{Figure, Report, Target, ms};

const JID: &str = "web:cold";

pub fn measure(effort: Effort, report: &mut Report) {
    let host = host();
    let mut events = host.events();
    let argv = command_line(&host, &mut events);
    let n = effort.samples(40, 5);
    let (mut cold, mut plain, mut more) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..n {
        let (ours, bare) = in_turns(round, || one(&host, &mut events, JID), || plain_run(&argv, round));
        cold.push(ours);
        plain.push(bare);
        more.push(ours - bare);
    }
    report.add(Figure::new(
        "cold: accepted → reply, minus a plain run of the same argv",
        "ms",
        Target::AtMost(15.0),
        more,
    ));
    report.add(Figure::new("– cold: accepted → reply", "ms", Target::None, cold));
    report.add(Figure::new("– plain run of the same argv to its first byte", "ms", Target::None, plain));
    first_messages(n, &host, report);
}

/// Compares the first message of a group that was just registered with that of a group that has all its folders.
fn first_messages(n: usize, host: &Host, report: &mut Report) {
    let (mut events, mut other) = (host.events(), host.events());
    let mut more = Vec::new();
    for round in 0..n {
        let first = || {
            let (jid, folder) = (format!("web:new{round}"), format!("new{round}"));
            host.register(&jid, &folder);
            one(host, &mut events, &jid)
        };
        let (first, later) = in_turns(round, first, || one(host, &mut other, JID));
        more.push(first - later);
    }
    report.add(Figure::new(
        "cold: a new group's first message, minus one of a group that is known",
        "ms",
        Target::AtMost(5.0),
        more,
    ));
}

/// Measures both. The order alternates, so that neither profits from the other.
fn in_turns(round: usize, a: impl FnOnce() -> f64, b: impl FnOnce() -> f64) -> (f64, f64) {
    if round.is_multiple_of(2) {
        let a = a();
        (a, b())
    } else {
        let b = b();
        (a(), b)
    }
}

/// A host whose rooms close as soon as their turn is over.
pub fn host() -> Host {
    let host = Host::builder().env("IDLE_TIMEOUT", "1").start();
    host.register(JID, "cold");
    host
}

/// Measures a cold turn; returns the milliseconds to the reply. Nothing else runs during it, and nothing after it.
pub fn one(host: &Host, events: &mut Events, jid: &str) -> f64 {
    events.forget();
    let seq = host.send(jid, "hi");
    let accepted = Instant::now();
    let reply = events.message(jid, SOON, |text| text == "echo: hi");
    events.turn_done(jid, seq, SOON);
    nothing_lives(host);
    ms(reply.at.duration_since(accepted))
}

/// Waits until all rooms and their engine clients have ended.
pub fn nothing_lives(host: &Host) {
    host.wait_no_containers();
    eventually("the engine's client is gone", SOON, || run_client(host.pid()).is_none().then_some(()));
}

/// Runs a cold turn without measuring it, and returns the engine client's command line.
fn command_line(host: &Host, events: &mut Events) -> Vec<String> {
    let seq = host.send(JID, "!sleep 300");
    let argv = eventually("the engine's client runs", SOON, || run_client(host.pid()));
    events.turn_done(JID, seq, SOON);
    nothing_lives(host);
    argv
}

/// Returns the command line of the host's child that holds a run.
pub fn run_client(host: u32) -> Option<Vec<String>> {
    let lines = process::children(host).into_iter().filter_map(process::command_line);
    lines.into_iter().find(|words| words.iter().any(|w| w == "run") && words.iter().any(|w| w.starts_with("parlor-")))
}

/// Runs the same command line under another name and instance; returns the milliseconds to its first byte.
fn plain_run(argv: &[String], round: usize) -> f64 {
    let input = tempfile::Builder::new().prefix("pi-").tempdir_in(scratch()).unwrap();
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o777);
    fs::set_permissions(input.path(), mode).unwrap();
    let words: Vec<String> = argv.iter().map(|word| rewrite(word, input.path(), round)).collect();
    let stdin = RunInput {
        prompt: "<messages>\n<message sender=\"Ann\" time=\"2026-01-01T00:00:00.000Z\">hi</message>\n</messages>"
            .into(),
        group_folder: "cold".into(),
        chat_jid: JID.into(),
        assistant_name: Some("Andy".into()),
        run_id: Some(format!("plain-{round}")),
        provider: Some("guide".into()),
        ..RunInput::default()
    };
    let stdin = serde_json::to_vec(&stdin).unwrap();
    let started = Instant::now();
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&stdin).unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0]).expect("the plain run says nothing");
    let first = started.elapsed();
    fs::write(input.path().join("_close"), "").unwrap();
    let _ = stdout.read_to_end(&mut Vec::new());
    let status = child.wait().unwrap();
    assert!(status.success(), "the plain run ended with {status}");
    std::thread::sleep(Duration::from_millis(20));
    ms(first)
}

/// Replaces name, instance and input folder in a word of the command line.
fn rewrite(word: &str, input: &Path, round: usize) -> String {
    if word.starts_with("parlor-cold-") {
        return format!("plain-{}-{round}", std::process::id());
    }
    if word.starts_with("parlor.instance=") {
        return "parlor.instance=plain".into();
    }
    let Some(at) = word.find("/data/inputs/") else { return word.to_owned() };
    let start = word[..at].rfind(['=', ',']).map_or(0, |p| p + 1);
    let tail = at + "/data/inputs/".len();
    let end = word[tail..].find([',', ':']).map_or(word.len(), |p| tail + p);
    format!("{}{}{}", &word[..start], input.display(), &word[end..])
}
