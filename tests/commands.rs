//! `/stop`, `/new` and `/status`: their effects, their speed, and who may use them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::host::Host;
use crate::harness::http::messages_path;
use crate::harness::rows::{runs, states};
use crate::harness::{SOON, eventually};

#[test]
fn stop_ends_a_stubborn_agent_and_cancels_waiting_messages() {
    let host = Host::builder().start();
    host.register("web:a", "room");
    let mut events = host.events();
    let hung = host.send("web:a", "!say hanging\n!hang");
    events.message("web:a", SOON, |text| text == "hanging");
    let queued = host.send("web:a", "queued");
    let run = runs(&host, "room")[0]["container"].as_str().unwrap().to_owned();
    events.wait("the queued one", SOON, |e| e.is_turn("web:a", "started", queued));
    let sent = std::time::Instant::now();
    let stop = host.send("web:a", "/stop");
    let after = host.send("web:a", "after");
    events.wait("cancelled turn", SOON, |e| e.is_turn("web:a", "cancelled", queued));
    let gone =
        eventually("the container is gone", SOON, || (!host.containers().contains(&run)).then(|| sent.elapsed()));
    events.message("web:a", SOON, |text| text == "Stopped.");
    events.turn_done("web:a", after, SOON);
    // On a quiet machine a second is promised. Asking this agent to exit first would take ten seconds.
    assert!(gone < Duration::from_millis(9_500), "{gone:?}");
    eprintln!("/stop took {gone:?}");
    assert!(hung < queued && queued < stop && stop < after);
    assert_eq!(events.texts("web:a"), ["hanging", "Stopped.", "echo: after"]);
    assert_eq!(states(&host)["cancelled"], 2);
    assert_eq!(host.ask("web:a", "/stop"), ["Nothing is running."]);
}

#[test]
fn message_right_after_a_stop_is_answered() {
    let host = Host::builder().env("MAX_CONCURRENT_CONTAINERS", "1").start();
    host.register("web:a", "room");
    host.register("web:b", "other");
    for round in 0..5 {
        let mut events = host.events();
        // In every other round the other room makes the first message wait for its container.
        let busy = (round % 2 == 0).then(|| host.send("web:b", "!sleep 400"));
        host.send("web:a", "!sleep 20000");
        std::thread::sleep(Duration::from_millis(round * 90));
        host.send("web:a", "/stop");
        let after = host.send("web:a", &format!("after {round}"));
        events.turn_done("web:a", after, SOON);
        assert_eq!(events.texts("web:a").last().unwrap(), &format!("echo: after {round}"));
        assert!(events.texts("web:a").iter().all(|text| !text.starts_with("slept")));
        if let Some(busy) = busy {
            events.turn_done("web:b", busy, SOON);
        }
    }
}

#[test]
fn stop_of_one_run_does_not_affect_the_other_lane() {
    let host = Host::builder().start();
    host.register("web:a", "room");
    let mut events = host.events();
    let seq = host.send("web:a", "!say chatting\n!sleep 20000");
    events.message("web:a", SOON, |text| text == "chatting");
    let task = json!({"folder": "room", "prompt": "!say beside\n!sleep 1500", "scheduleType": "interval",
        "scheduleValue": "3600000"});
    let task = host.api.post("/v1/tasks", &task).expect(201).json();
    host.api.post(&format!("/v1/tasks/{}/run", task["id"].as_str().unwrap()), &Value::Null).expect(200);
    events.message("web:a", SOON, |text| text == "beside");
    let chat = runs(&host, "room").into_iter().find(|run| run["lane"] == "chat").unwrap();
    host.api.delete(&format!("/v1/runs/{}", chat["id"].as_str().unwrap())).expect(204);
    events.wait("cancelled turn", SOON, |e| e.is_turn("web:a", "cancelled", seq));
    events.message("web:a", SOON, |text| text == "slept 1500");
    eventually("it has ended", SOON, || {
        let chat = runs(&host, "room").into_iter().find(|run| run["lane"] == "chat")?;
        (chat["state"] == "stopped").then_some(())
    });
    host.api.delete(&format!("/v1/runs/{}", chat["id"].as_str().unwrap())).expect(409);
}

#[test]
fn new_forgets_the_session_also_of_a_turn_that_is_open() {
    let host = Host::builder().start();
    host.register("web:a", "room");
    let session = |host: &Host| {
        let input = host.ask("web:a", "!stdin").pop().unwrap();
        serde_json::from_str::<Value>(&input).unwrap()["sessionId"].clone()
    };
    host.ask("web:a", "!session first\n!exit 0");
    assert_eq!(session(&host), "first");
    assert_eq!(host.ask("web:a", "/new"), ["A new conversation begins."]);
    host.wait_no_containers();
    assert_eq!(session(&host), Value::Null);
    let mut events = host.events();
    let seq = host.send("web:a", "!session second\n!say open\n!sleep 700");
    events.message("web:a", SOON, |text| text == "open");
    host.send("web:a", "/new");
    events.turn_done("web:a", seq, SOON);
    assert_eq!(events.texts("web:a"), ["session second", "open", "A new conversation begins.", "slept 700"]);
    host.wait_no_containers();
    assert_eq!(session(&host), Value::Null);
}

#[test]
fn commands_need_no_trigger_but_the_right_to_trigger() {
    let host = Host::builder().prepare();
    std::fs::create_dir_all(host.config_dir()).unwrap();
    let rules = json!({"default": {"allow": ["ann"], "mode": "trigger"}, "logDenied": true});
    std::fs::write(host.config_dir().join("sender-allowlist.json"), rules.to_string()).unwrap();
    let mut host = host;
    host.start();
    host.api.post("/v1/groups", &json!({"jid": "web:a", "name": "a", "folder": "room"})).expect(201);
    let say = |sender: &str, text: &str| {
        let message = json!({"sender": sender, "senderName": sender, "text": text});
        host.api.post(&messages_path("web:a"), &message).expect(202).json()["seq"].as_i64().unwrap()
    };
    let mut events = host.events();
    let seq = say("ann", "@Andy !say works\n!sleep 1500");
    events.message("web:a", SOON, |text| text == "works");
    say("eve", "/stop");
    say("eve", "@Andy !say mine");
    say("ann", "/status");
    let status = events.message("web:a", SOON, |text| text.contains("waiting message"));
    assert!(status.text().contains("The room works (run "), "{}", status.text());
    assert!(status.text().contains("1 of 5 containers in use"), "{}", status.text());
    events.turn_done("web:a", seq, SOON);
    assert_eq!(events.texts("web:a").last().unwrap(), "slept 1500");
    // Eve's message is context, and marked as hers.
    let seq = say("ann", "@Andy !prompt");
    let prompt = events.message("web:a", SOON, |text| text.contains("<messages>")).text().to_owned();
    assert!(prompt.contains(r#"denied="true">/stop</message>"#), "{prompt}");
    assert!(prompt.contains(r#"denied="true">@Andy !say mine</message>"#), "{prompt}");
    events.turn_done("web:a", seq, SOON);
    let status = host.ask("web:a", "/status").join("\n");
    assert!(status.contains("The room is open and idle") && status.contains("0 waiting messages"), "{status}");
}
