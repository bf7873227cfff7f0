//! Scheduled tasks of a running host: created, fired, paused, cancelled, missed and interrupted.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::harness::host::Host;
use crate::harness::rows::database;
use crate::harness::{SOON, eventually};
use crate::slots::{UNTIL_TOLD, go_on, run_now, task};

fn once(host: &Host, id: &str, folder: &str, prompt: &str, after: Duration) -> DateTime<Utc> {
    let due = Utc::now() + after;
    let new = json!({"id": id, "folder": folder, "prompt": prompt, "scheduleType": "once",
        "scheduleValue": due.format("%Y-%m-%dT%H:%M:%S%.3f").to_string()});
    host.api.post("/v1/tasks", &new).expect(201);
    due
}

fn history(host: &Host, id: &str) -> Vec<Value> {
    let list = host.api.get(&format!("/v1/tasks/{id}/history")).expect(200).json();
    list["history"].as_array().unwrap().clone()
}

fn show(host: &Host, id: &str) -> Value {
    host.api.get(&format!("/v1/tasks/{id}")).expect(200).json()
}

fn time(value: &Value) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(value.as_str().unwrap()).unwrap().to_utc()
}

#[test]
fn tasks_fire_on_time_and_their_firings_are_kept() {
    let host = Host::builder().start();
    host.register("web:a", "room");
    host.register("web:b", "other");
    let mut events = host.events();
    let due = once(&host, "first", "room", "!say the first", Duration::from_secs(2));
    let same = json!({"id": "second", "folder": "other", "prompt": "!say the second", "scheduleType": "once",
        "scheduleValue": due.format("%Y-%m-%dT%H:%M:%S%.3f").to_string()});
    host.api.post("/v1/tasks", &same).expect(201);
    events.message("web:a", SOON, |text| text == "the first");
    events.message("web:b", SOON, |text| text == "the second");
    let done = |id: &str| {
        eventually("the firing is over", SOON, || history(&host, id).into_iter().find(|fire| fire["state"] == "done"))
    };
    for (id, result) in [("first", "the first"), ("second", "the second")] {
        let fire = done(id);
        assert_eq!(fire["result"], result);
        let late = time(&fire["claimedAt"]) - time(&fire["due"]);
        // Milliseconds on a quiet machine; other tests run at the same time.
        assert!(late >= chrono::Duration::zero() && late < chrono::Duration::seconds(2), "{late}");
        assert_eq!(show(&host, id)["status"], "completed");
        assert_eq!(history(&host, id).len(), 1);
    }
    // The task has no further times, but can still be run by hand.
    run_now(&host, "first");
    eventually("it ran again", SOON, || {
        let fires = history(&host, "first");
        (fires.len() == 2 && fires.iter().all(|fire| fire["state"] == "done")).then_some(())
    });
    let hourly = task(&host, "room", "!say now", "isolated");
    run_now(&host, &hourly);
    events.message("web:a", SOON, |text| text == "now");
    assert_eq!(show(&host, &hourly)["status"], "active");
    host.api.delete(&format!("/v1/tasks/{hourly}")).expect(200);
    host.api.post(&format!("/v1/tasks/{hourly}/run"), &Value::Null).expect(409);
}

#[test]
fn agent_makes_and_ends_tasks_and_internal_texts_are_not_sent() {
    let host = Host::builder().start();
    host.register("web:a", "room");
    host.ask("web:a", "hello");
    let mut events = host.events();
    let due = Utc::now() + Duration::from_secs(4);
    let value = due.format("%Y-%m-%dT%H:%M:%S%.3f");
    let new = json!({"type": "schedule_task", "taskId": "mine", "schedule_type": "once", "schedule_value": value.to_string(),
        "prompt": "!say <internal>hidden</internal>reminder", "targetJid": "web:a"});
    let cron = json!({"type": "schedule_task", "taskId": "daily", "schedule_type": "cron", "schedule_value": "30 2 * * *",
        "timezone": "Europe/Berlin", "prompt": "x", "targetJid": "web:a"});
    let replies = host.ask("web:a", &format!("!task {new}\n!task {cron}"));
    assert!(replies.iter().all(|reply| reply.contains("\"ok\":true")), "{replies:?}");
    let next = time(&show(&host, "daily")["nextDue"]).with_timezone(&chrono_tz::Europe::Berlin);
    assert_eq!(next.format("%H:%M").to_string(), "02:30");
    let reminder = events.message("web:a", SOON, |text| text.contains("reminder"));
    assert_eq!(reminder.text(), "reminder");
    assert!(Utc::now() >= due);
    for (verb, status) in [("pause_task", "paused"), ("resume_task", "active"), ("cancel_task", "cancelled")] {
        host.ask("web:a", &format!("!task {}", json!({"type": verb, "taskId": "daily"})));
        assert_eq!(show(&host, "daily")["status"], status);
    }
    assert_eq!(host.ask("web:a", "!say <internal>\nonly thoughts\n</internal>"), Vec::<String>::new());
}

#[test]
fn task_that_waits_for_a_container_can_be_paused_or_cancelled() {
    let host = Host::builder().env("MAX_CONCURRENT_CONTAINERS", "1").start();
    for name in ["a", "b", "c"] {
        host.register(&format!("web:{name}"), name);
    }
    let mut events = host.events();
    let busy = host.send("web:a", UNTIL_TOLD);
    events.wait("started turn", SOON, |e| e.is_turn("web:a", "started", busy));
    let (paused, removed) = (task(&host, "b", "!say paused", "isolated"), task(&host, "c", "!say removed", "group"));
    let run = task(&host, "b", "!say runs", "group");
    for id in [&paused, &removed, &run] {
        run_now(&host, id);
    }
    once(&host, "last", "b", "!say last", Duration::from_secs(2));
    eventually("the last time has come", SOON, || (show(&host, "last")["status"] == "completed").then_some(()));
    host.api.post(&format!("/v1/tasks/{paused}/pause"), &Value::Null).expect(200);
    host.api.delete("/v1/tasks/last").expect(200);
    host.api.delete("/v1/groups/c").expect(204);
    go_on(&host, "a");
    events.message("web:b", SOON, |text| text == "runs");
    host.ask("web:a", "hello");
    assert_eq!(events.texts("web:b"), ["runs"]);
    assert_eq!(events.texts("web:c"), Vec::<String>::new());
    for id in [&paused, &removed, &"last".to_owned()] {
        assert_eq!(history(&host, id)[0]["state"], "cancelled", "{id}");
    }
    assert_eq!(show(&host, &removed)["status"], "cancelled");
}

#[test]
fn missed_times_become_one_run_or_none() {
    let mut host = Host::builder().start();
    host.register("web:a", "room");
    let make = |id: &str, missed: &str| {
        let new = json!({"id": id, "folder": "room", "prompt": format!("!say {id}"), "scheduleType": "interval",
            "scheduleValue": "60000", "missed": missed});
        host.api.post("/v1/tasks", &new).expect(201);
    };
    make("made-up-for", "run");
    make("skipped", "skip");
    let cursor = {
        let mut events = host.events();
        host.send("web:a", "hello");
        events.message("web:a", SOON, |text| text == "echo: hello");
        events.cursor().unwrap()
    };
    assert!(host.terminate().success());
    // Ten minutes without a host, which nobody has to wait for.
    let db = database(&host);
    db.execute("UPDATE tasks SET next_due = next_due - 600000, anchor = anchor - 600000", []).unwrap();
    drop(db);
    host.start();
    let mut events = host.events_since(&cursor);
    events.message("web:a", SOON, |text| text == "made-up-for");
    for (id, fires) in [("made-up-for", 1), ("skipped", 0)] {
        let next = time(&show(&host, id)["nextDue"]);
        assert!(next > Utc::now() && next < Utc::now() + Duration::from_secs(61), "{next}");
        assert_eq!(history(&host, id).len(), fires, "{id}");
    }
}

#[test]
fn due_time_starts_once_however_often_the_host_is_killed() {
    let mut host = Host::builder().start();
    host.register("web:a", "room");
    host.ask("web:a", "hello");
    let mut told = 0;
    for round in 0..8_u64 {
        let id = format!("t{round}");
        let mut events = host.events();
        once(&host, &id, "room", &format!("!ledger {id}\n!sleep 150"), Duration::from_millis(250));
        if round % 4 == 3 {
            // Killed while it is certainly working.
            events.message("web:a", SOON, |text| text == format!("ledger: {id}"));
        } else {
            std::thread::sleep(Duration::from_millis(235 + round * 40));
        }
        host.crash_and_restart();
        let fire = eventually("the firing is over", SOON, || {
            let fires = history(&host, &id);
            assert!(fires.len() <= 1, "{fires:?}");
            fires.into_iter().next().filter(|fire| fire["state"] == "done" || fire["state"] == "interrupted")
        });
        told += usize::from(fire["state"] == "interrupted");
    }
    let ledger = std::fs::read_to_string(host.root().join("groups/room/ledger.txt")).unwrap();
    for round in 0..8 {
        let times = ledger.lines().filter(|line| *line == format!("t{round}")).count();
        let done = history(&host, &format!("t{round}"))[0]["state"] == "done";
        assert!(times == 1 || (times == 0 && !done), "t{round} ran {times} times");
    }
    assert!(told > 0, "no round hit a firing that had started");
    let notices = host.api.get("/v1/outbox?all=true").text().matches("was interrupted by a restart of Parlor").count();
    assert_eq!(notices, told);
}

#[test]
fn silent_task_gives_its_container_back() {
    let host = Host::builder().start();
    host.register("web:a", "room");
    let silent = task(&host, "room", "!silent", "isolated");
    run_now(&host, &silent);
    eventually("its room is open", SOON, || (!host.containers().is_empty()).then_some(()));
    let began = std::time::Instant::now();
    host.wait_no_containers();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let fire = eventually("the firing is over", SOON, || {
        history(&host, &silent).into_iter().find(|fire| fire["state"] == "done")
    });
    assert_eq!((&fire["result"], &fire["error"]), (&Value::Null, &Value::Null));
}

#[test]
fn typing_is_sent_from_the_start_of_a_turn_to_its_end() {
    let host = Host::builder().start();
    host.register("web:a", "room");
    let mut events = host.events();
    for _ in 0..2 {
        events.forget();
        let seq = host.send("web:a", "!sleep 300");
        events.turn_done("web:a", seq, SOON);
        events.wait("the end of typing", SOON, |e| e.name == "typing" && e.data["on"] == json!(false));
    }
    let typing: Vec<bool> =
        events.seen.iter().filter(|e| e.name == "typing").map(|e| e.data["on"] == json!(true)).collect();
    assert_eq!(typing, [true, false, true, false]);
    assert!(events.seen.iter().filter(|e| e.name == "typing").all(|e| e.id.is_none()));
}
