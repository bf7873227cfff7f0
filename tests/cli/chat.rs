//! `parlor chat -m`: one message, its answer, an exit code.

use std::io::BufRead;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Ran, command, pipe, run};
use crate::harness::SOON;
use crate::harness::host::Host;

const DAILY: &str = r#"!task {"type":"schedule_task","prompt":"x","schedule_type":"cron","schedule_value":"0 9 * * *","targetJid":"tty:main"}"#;

#[test]
fn chat_message_is_answered_with_and_without_a_running_host() {
    let mut host = Host::builder().prepare();
    let said = "!say **bold**\n- one\n- two";
    let inside = run(&host, &["chat", "-m", said]).expect(0);
    assert_eq!((inside.out.as_str(), inside.err.as_str()), ("**bold**\n- one\n- two\n", ""));
    assert!(host.containers().is_empty(), "the host inside took its room with it");
    let task = run(&host, &["chat", "-m", DAILY]).expect(0);
    assert!(task.out.contains("\"ok\":true"), "{}", task.out);
    assert_eq!(task.err, "1 task is scheduled, and fires only while a host runs: start one with `parlor up`.\n");

    host.start();
    let outside = run(&host, &["chat", "-m", said]).expect(0);
    assert_eq!((outside.out, outside.err), (inside.out, inside.err));
    assert_eq!(pipe(&host, &["chat"], "from a pipe\n").expect(0).out, "echo: from a pipe\n");
    assert_eq!(pipe(&host, &["chat", "-m", "-"], "from a pipe\n").expect(0).out, "echo: from a pipe\n");
    assert!(run(&host, &["chat", "-m", "/help"]).expect(0).out.contains("/new     begin"));
    assert_eq!(run(&host, &["chat", "-m", "!silent"]).expect(0).out, "");

    let failed = run(&host, &["chat", "-m", "!error auth"]).expect(1);
    // Only once: the chat has the notice already.
    assert!(!failed.out.is_empty() && failed.err.is_empty(), "{} {}", failed.out, failed.err);
    assert!(run(&host, &["chat", "-m", " "]).expect(2).err.contains("empty"));
    assert!(pipe(&host, &["chat"], "\n").expect(2).err.contains("empty"));
    assert!(run(&host, &["chat", "nowhere", "-m", "x"]).expect(1).err.contains("there are main"));

    run(&host, &["groups", "add", "web:lab", "lab", "--requires-trigger", "true"]).expect(0);
    let kept = run(&host, &["chat", "lab", "-m", "not addressed"]).expect(3);
    assert_eq!(kept.out, "");
    assert!(kept.err.starts_with("parlor: no answer comes"), "{}", kept.err);
    assert!(kept.err.contains("begin with @Andy"), "{}", kept.err);
    assert_eq!(run(&host, &["chat", "lab", "-m", "@andy hello"]).expect(0).out, "echo: hello\n");
}

#[test]
fn texts_up_to_a_mebibyte_are_answered_and_longer_ones_refused() {
    let host = Host::builder().start();
    host.register_main("tty:main", "main");
    let text = "<é>".repeat((1 << 20) / 4);
    let answer = pipe(&host, &["chat"], &text).expect(0).out;
    assert!(answer == format!("echo: {text}\n"), "{} bytes came back", answer.len());
    let refused = pipe(&host, &["chat"], &format!("{text}x")).expect(1);
    let message = serde_json::json!({ "sender": "ann", "text": format!("{text}x") });
    let problem = host.api.post("/v1/chats/tty:main/messages", &message).expect(400).json();
    assert_eq!(problem["code"], "invalid_field");
    assert!(refused.err.contains("1048577 bytes") && refused.err.contains("file"), "{}", refused.err);
}

fn talking(host: &Host, text: &str) -> Child {
    command(host, &["chat", "-m", text]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn chat_reports_a_host_that_ends_and_the_next_start_answers() {
    let mut host = Host::builder().start();
    host.register_main("tty:main", "main");
    let mut events = host.events();
    let chat = talking(&host, "!sleep 700");
    events.wait("started turn", SOON, |e| e.is_turn("tty:main", "started", 1));
    let cursor = events.cursor().unwrap();
    host.kill();
    let told = Ran::of(&chat.wait_with_output().unwrap()).expect(1);
    assert!(told.err.contains("the host ended before the turn did"), "{}", told.err);
    assert!(run(&host, &["runs", "retry", "main"]).expect(1).err.contains("start it with `parlor up`"));
    host.start();
    host.events_since(&cursor).message("tty:main", SOON, |text| text == "slept 700");
    // After Ctrl-C the host completes the turn.
    let mut events = host.events();
    let chat = talking(&host, "!sleep 300");
    events.wait("started turn", SOON, |e| e.is_turn("tty:main", "started", 2));
    signal(&chat, Signal::INT);
    let told = Ran::of(&chat.wait_with_output().unwrap()).expect(130);
    assert!(told.err.contains("the host still answers"), "{}", told.err);
    events.message("tty:main", SOON, |text| text == "slept 300");
}

#[test]
fn second_signal_ends_a_host_inside_at_once() {
    let host = Host::builder().env("PARLOR_SHUTDOWN_GRACE", "60000").prepare();
    let chat = talking(&host, "!sleep 60000");
    crate::harness::eventually("the room", SOON, || (!host.containers().is_empty()).then_some(()));
    let begin = std::time::Instant::now();
    signal(&chat, Signal::INT);
    signal(&chat, Signal::TERM);
    let told = Ran::of(&chat.wait_with_output().unwrap()).expect(130);
    assert!(told.err.contains("as soon as a host runs again"), "{}", told.err);
    assert!(begin.elapsed().as_secs() < 30, "{:?}", begin.elapsed());
    assert!(host.containers().is_empty());
}

#[test]
fn signal_ends_a_host_inside_and_its_rooms_and_loses_nothing() {
    let mut host = Host::builder().prepare();
    for (wanted, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let chat = talking(&host, "!sleep 400");
        crate::harness::eventually("the room", SOON, || (!host.containers().is_empty()).then_some(()));
        signal(&chat, wanted);
        let told = Ran::of(&chat.wait_with_output().unwrap()).expect(code);
        assert!(told.err.contains("as soon as a host runs again"), "{}", told.err);
        assert!(host.containers().is_empty(), "after {wanted:?}");
    }
    host.start();
    crate::harness::eventually("three answers", SOON, || {
        let said = run(&host, &["outbox", "list", "--all", "--json"]).expect(0).json();
        let texts = said.as_array().unwrap().iter().filter(|row| row["text"] == "slept 400").count();
        (texts == 3).then_some(())
    });
}

#[test]
fn files_go_with_a_message() {
    let host = Host::builder().env("PARLOR_MAX_ATTACHMENT_BYTES", 200_000).start();
    host.register_main("tty:main", "main");
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str, size: usize| {
        let path = dir.path().join(name);
        std::fs::write(&path, vec![b'x'; size]).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let (small, large) = (path("my \"notes\".txt", 150_000), path("large.bin", 200_001));
    let sent = run(&host, &["chat", "-m", "!prompt", "--attach", &small, "--attach", &large]).expect(0);
    assert!(sent.out.contains("-my_22notes_22.txt (150.0 kB)]"), "{}", sent.out);
    assert_eq!(sent.err, "Not taken: large.bin: it is larger than 200.0 kB\n");
    let alone = pipe(&host, &["chat", "--attach", &small], "").expect(0);
    assert!(alone.out.contains("[File: attachments/"), "{}", alone.out);
    let huge = path("huge.bin", 8 << 20);
    let refused = run(&host, &["chat", "-m", "x", "--attach", &huge]).expect(1);
    assert!(refused.err.contains("fewer or smaller files"), "{}", refused.err);
    let missing = run(&host, &["chat", "-m", "x", "--attach", "/no/such"]).expect(2);
    assert!(missing.err.contains("/no/such cannot be attached: No such file"), "{}", missing.err);
    let folder = run(&host, &["chat", "-m", "x", "--attach", dir.path().to_str().unwrap()]).expect(2);
    assert!(folder.err.contains("pack it"), "{}", folder.err);
}

/// Returns a pipe whose reader is gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn host_inside_ends_cleanly_without_a_reader_of_its_output() {
    let host = Host::builder().prepare();
    let output = command(&host, &["chat", "-m", DAILY]).stdout(Stdio::piped()).stderr(closed()).output().unwrap();
    let told = Ran::of(&output).expect(0);
    assert!(told.out.contains("\"ok\":true"), "{}", told.out);
    assert!(host.containers().is_empty());
    // The same if the error cannot be printed.
    let output = command(&host, &["chat", "nowhere", "-m", "x"]).stderr(closed()).output().unwrap();
    Ran::of(&output).expect(1);
    let output = command(&host, &["chat", "-m", "!say x"]).stdout(closed()).stderr(closed()).output().unwrap();
    Ran::of(&output).expect(141);
    assert!(host.containers().is_empty());
}

#[test]
fn closed_pipe_ends_a_command_without_an_error_message() {
    let host = Host::builder().start();
    host.register_main("tty:main", "main");
    for args in [&["groups", "list"][..], &["status", "--json"], &["doctor"], &["chat", "-m", "hello"]] {
        let output = command(&host, args).stdout(closed()).output().unwrap();
        let told = Ran::of(&output);
        assert_eq!((told.code, told.err.as_str()), (141, ""), "{args:?}");
    }
    // A command that follows a stream does not go on for ever.
    let mut events = command(&host, &["events"]).stdout(closed()).stderr(Stdio::piped()).spawn().unwrap();
    let code = crate::harness::eventually("the end of the events", SOON, || {
        host.send("tty:main", "/status");
        events.try_wait().unwrap()
    });
    assert_eq!(code.code(), Some(141));
}

#[test]
fn chat_explains_a_missing_answer_and_waits_up_to_the_limit() {
    let host = Host::builder().start();
    host.register_main("tty:main", "main");
    let late = run(&host, &["chat", "-m", "!sleep 600000", "--timeout", "1s"]).expect(124);
    assert!(late.err.contains("no answer in 1 s"), "{}", late.err);
    assert!(run(&host, &["chat", "-m", "x", "--timeout", "soon"]).expect(2).err.contains("such as 90s"));

    host.register_with("web:a", "a", &serde_json::json!({"budget": {"usd": 1.0}}));
    let seq = host.send("web:a", "!usage 1 1 1.5");
    host.events().turn_done("web:a", seq, SOON);
    let mut chat = command(&host, &["chat", "a", "-m", "hello"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufReader::new(chat.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("Waiting: ") && line.contains("budget"), "{line}");
    signal(&chat, Signal::INT);
    assert_eq!(chat.wait().unwrap().code(), Some(130));
}
