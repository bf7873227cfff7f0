//! The end of a host and its next start: graceful, forced, and after a kill by somebody else.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::host::Host;
use crate::harness::rows::{database, states};
use crate::harness::{SOON, eventually};

#[test]
fn graceful_shutdown_leaves_nothing_to_repair() {
    let mut host = Host::builder().start();
    for name in ["a", "b", "c", "d"] {
        host.register(&format!("web:{name}"), name);
    }
    host.ask("web:a", "idle from now on");
    let mut events = host.events();
    let b = host.send("web:b", "!say b works\n!sleep 1000");
    let task = crate::slots::task(&host, "c", "!say c works\n!sleep 1000", "isolated");
    crate::slots::run_now(&host, &task);
    for name in ["b", "c"] {
        events.message(&format!("web:{name}"), SOON, |text| text.ends_with("works"));
    }
    // The message is too late for the live room, which finishes without it.
    host.signal(Signal::TERM);
    eventually("the host ends", SOON, || host.log().contains("shutting down").then_some(()));
    let late = host.api.post("/v1/chats/web:d/messages", &serde_json::json!({"sender": "ann", "text": "late"}));
    let started = Instant::now();
    assert!(host.wait_ended().success());
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert_eq!(host.containers(), Vec::<String>::new());
    let db = database(&host);
    let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM inbound WHERE state = 'in_flight'"), 0);
    assert_eq!(count("SELECT count(*) FROM runs WHERE state IN ('starting', 'running')"), 0);
    assert_eq!(count("SELECT count(*) FROM runs WHERE state <> 'succeeded'"), 0);
    assert_eq!(count("SELECT count(*) FROM fires WHERE state <> 'done'"), 0);
    assert_eq!(count("SELECT count(*) FROM outbox WHERE state = 'pending'"), 0);
    assert_eq!(count(&format!("SELECT count(*) FROM inbound WHERE seq = {b} AND state = 'done'")), 1);
    assert_eq!(std::fs::read_dir(host.root().join("data/inputs")).unwrap().count(), 0);
    drop(db);
    if late.status == 202 {
        host.start();
        eventually("the late message is answered", SOON, || {
            host.api.get("/v1/outbox?all=true").text().contains("echo: late").then_some(())
        });
    }
}

#[test]
fn second_signal_ends_stubborn_rooms_at_once_and_loses_nothing() {
    let mut host = Host::builder().start();
    host.register("web:a", "room");
    let mut events = host.events();
    host.send("web:a", "!once !hang");
    eventually("it hangs", SOON, || host.root().join("groups/room/.once").exists().then_some(()));
    events.forget();
    let cursor = host.api.get("/v1/status").expect(200).json()["cursor"].as_str().unwrap().to_owned();
    let started = Instant::now();
    host.signal(Signal::TERM);
    eventually("the host ends", SOON, || host.log().contains("shutting down").then_some(()));
    host.signal(Signal::TERM);
    assert!(host.wait_ended().success());
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    assert_eq!(host.containers(), Vec::<String>::new());
    assert_eq!(states(&host).get("in_flight"), None);
    host.start();
    host.events_since(&cursor).message("web:a", SOON, |text| text == "once: over");
}

#[test]
fn shutdown_grace_has_a_limit() {
    let mut host = Host::builder().env("PARLOR_SHUTDOWN_GRACE", "700").start();
    host.register("web:a", "room");
    host.send("web:a", "!hang");
    eventually("its room is open", SOON, || (!host.containers().is_empty()).then_some(()));
    let started = Instant::now();
    host.signal(Signal::INT);
    assert!(host.wait_ended().success());
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(700) && took < Duration::from_secs(12), "{took:?}");
    assert_eq!(host.containers(), Vec::<String>::new());
    assert_eq!(states(&host)["pending"], 1);
}

#[test]
fn start_removes_only_its_own_orphaned_containers() {
    let mut host = Host::builder().start();
    let neighbour = Host::builder().start();
    for (host, text) in [(&host, "!sleep 600"), (&neighbour, "!sleep 60000")] {
        host.register("web:a", "room");
        host.send("web:a", text);
        eventually("its room is open", SOON, || (!host.containers().is_empty()).then_some(()));
    }
    let second = host.command().arg("up").output().unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another Parlor runs with the home"), "{said}");
    let (orphans, others) = (host.containers(), neighbour.containers());
    host.crash_and_restart();
    eventually("the orphan is gone", SOON, || host.containers().iter().all(|c| !orphans.contains(c)).then_some(()));
    assert_eq!(neighbour.containers(), others);
    eventually("the message is answered", SOON, || {
        host.api.get("/v1/outbox?all=true").text().contains("slept 600").then_some(())
    });
    neighbour.ask("web:a", "/stop");
}

#[test]
fn signal_right_after_the_start_is_handled() {
    let mut host = Host::builder().start();
    for _ in 0..8 {
        assert!(host.terminate().success(), "{}", host.log());
        host.start();
    }
}
