//! Threads of the host that die or cannot be started: the host never goes on as if nothing had happened.

use std::time::{Duration, Instant};

use crate::harness::SOON;
use crate::harness::faults::{panic_switch, thread_limit};
use crate::harness::host::{Host, scratch};

#[test]
fn host_ends_with_an_error_if_its_writer_dies_and_loses_nothing() {
    let dir = tempfile::tempdir_in(scratch()).unwrap();
    let switch = dir.path().join("switch");
    let mut host = Host::builder().envs(panic_switch("store-writer", &switch)).tolerate("").start();
    host.register("web:a", "room");
    assert_eq!(host.ask("web:a", "before"), ["echo: before"]);
    std::fs::write(&switch, "").unwrap();
    // The message is refused or the connection breaks: it is not stored.
    let body = serde_json::json!({ "sender": "ann", "text": "meanwhile" }).to_string();
    let answer = host.api.try_call("POST", "/v1/chats/web:a/messages", body.as_bytes());
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status >= 500));
    let status = host.wait_ended();
    assert_eq!(status.code(), Some(1), "{}", host.log());
    // The end of the writer also ends the wake-ups that follow a commit: either may be reported first.
    let last = host.log().lines().last().unwrap_or_default().to_owned();
    let named = ["the store's writer", "the routing of wake-ups"].map(|name| format!("parlor: {name} ended by itself"));
    assert!(named.iter().any(|name| last.starts_with(name)), "{}", host.log());
    std::fs::remove_file(&switch).unwrap();
    host.start();
    assert_eq!(host.ask("web:a", "after"), ["echo: after"]);
}

#[test]
fn host_with_too_few_threads_reports_it_or_works_with_them() {
    let mut started = 0;
    for threads in [0, 1, 2, 4, 6, 8, 9, 10, 11, 12, 13, 14, 16, 24] {
        let mut host = Host::builder().envs(thread_limit(threads)).prepare();
        host.spawn();
        let deadline = Instant::now() + SOON;
        let ended = loop {
            if let Some(status) = host.try_ended() {
                break Some(status);
            }
            if host.api.try_call("GET", "/readyz", b"").is_ok_and(|response| response.status == 200) {
                break None;
            }
            assert!(Instant::now() < deadline, "with {threads} threads it neither starts nor ends: {}", host.log());
            std::thread::sleep(Duration::from_millis(5));
        };
        if let Some(status) = ended {
            let log = host.log();
            assert_eq!(status.code(), Some(1), "{threads}: {log}");
            let last = log.lines().last().unwrap_or_default();
            assert!(last.starts_with("parlor: ") && last.contains("allow more threads"), "{threads}: {log}");
            assert!(!log.contains("panicked"), "{threads}: {log}");
            assert_eq!(started, 0, "fewer threads were enough");
        } else {
            started += 1;
            host.register("web:a", "room");
            assert_eq!(host.ask("web:a", "hello"), ["echo: hello"], "{threads}");
            assert!(host.terminate().success(), "{}", host.log());
        }
    }
    assert!(started > 0, "none was enough");
}
