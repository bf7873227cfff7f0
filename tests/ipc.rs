//! Agents' requests by files, through a real room: each is done once, answered, and visible to everyone who should
//! see it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::events::Events;
use crate::harness::host::Host;
use crate::harness::{SOON, eventually};

const MAIN: &str = "web:main";
const ROOM: &str = "web:room";

fn groups() -> Host {
    let host = Host::builder().start();
    host.register_main(MAIN, "main");
    host.register(ROOM, "room");
    host
}

/// Writes a request in a chat's room, and returns the host's answer.
#[track_caller]
fn request(host: &Host, chat: &str, kind: &str, request: &Value) -> Value {
    let texts = host.ask(chat, &format!("!{kind} {request}"));
    let answer =
        texts.iter().find_map(|text| serde_json::from_str::<Value>(text).ok().filter(|v| v["ok"].is_boolean()));
    answer.unwrap_or_else(|| panic!("{request}: {texts:?}"))
}

#[track_caller]
fn done(host: &Host, chat: &str, kind: &str, asked: &Value) -> Value {
    let answer = request(host, chat, kind, asked);
    assert_eq!(answer["ok"], true, "{asked}: {answer}");
    answer
}

/// Returns a file of the room's IPC folder, read inside the room.
#[track_caller]
fn shown(host: &Host, chat: &str, file: &str) -> Value {
    let text = host.ask(chat, &format!("!sh cat /workspace/ipc/{file}")).concat();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}: {text}"))
}

fn task(host: &Host, id: &str) -> Value {
    host.api.get(&format!("/v1/tasks/{id}")).expect(200).json()
}

fn said(events: &mut Events, chat: &str, text: &str) {
    events.message(chat, SOON, |t| t == text);
}

#[test]
fn messages_go_to_the_own_chat_and_from_main_to_any() {
    let host = groups();
    let mut events = host.events();
    let to =
        |chat: &str, text: &str| json!({ "type": "message", "chatJid": chat, "text": text, "sender": "Researcher" });
    let answer = done(&host, ROOM, "message", &to(ROOM, "to myself"));
    let arrived = events.message(ROOM, SOON, |text| text == "to myself");
    assert_eq!(arrived.data["sender"], "Researcher");
    assert_eq!(arrived.data["deliveryId"], answer["deliveryId"]);
    done(&host, MAIN, "message", &to(ROOM, "from main"));
    said(&mut events, ROOM, "from main");
    done(&host, MAIN, "message", &to(MAIN, "main to itself <internal>not this</internal>"));
    said(&mut events, MAIN, "main to itself");
    // A file without an id is handled, but gets no answer.
    host.ask(ROOM, &format!("!sh cd /workspace/ipc; echo '{}' > t; mv t messages/plain.json", to(ROOM, "plain")));
    said(&mut events, ROOM, "plain");
    let left = host.ask(ROOM, "!sh ls /workspace/ipc/messages /workspace/ipc/results | grep -c plain");
    assert!(left[0].starts_with('0'), "{left:?}");
    // Messages are sent in the order of their files' names.
    host.ask(
        ROOM,
        "!sh cd /workspace/ipc; for n in 1 2 3 4 5 6 7 8 9; do printf '{\"type\":\"message\",\"chatJid\":\"web:room\",\"text\":\"in order %s\"}' $n > t$n; done; for n in 1 2 3 4 5 6 7 8 9; do mv t$n messages/$n.json; done",
    );
    said(&mut events, ROOM, "in order 9");
    let order: Vec<String> = events.texts(ROOM).into_iter().filter(|text| text.starts_with("in order")).collect();
    assert_eq!(order, (1..10).map(|n| format!("in order {n}")).collect::<Vec<_>>());
    assert_eq!(host.api.get("/v1/refusals").expect(200).json()["refusals"], json!([]));
}

#[test]
fn tasks_are_made_changed_and_ended_by_files() {
    let host = groups();
    let mut events = host.events();
    let schedule = json!({
        "type": "schedule_task", "taskId": "daily", "prompt": "!say the task ran", "schedule_type": "cron",
        "schedule_value": "0 9 1 1 *", "targetJid": ROOM, "timezone": "Asia/Tokyo",
    });
    let answer = done(&host, ROOM, "task", &schedule);
    assert_eq!(answer["taskId"], "daily");
    let next = answer["nextRun"].as_str().unwrap();
    assert!(next.ends_with("-01-01T00:00:00.000Z"), "nine in Tokyo: {next}");
    let known = task(&host, "daily");
    assert_eq!(
        (&known["folder"], &known["contextMode"], &known["status"]),
        (&json!("room"), &json!("isolated"), &json!("active"))
    );
    let snapshot = shown(&host, ROOM, "current_tasks.json");
    assert_eq!(snapshot[0]["id"], "daily");
    assert_eq!(snapshot[0]["next_run"], next);
    // The same id again is refused: it would hide the first task.
    assert_eq!(request(&host, ROOM, "task", &schedule)["ok"], false);
    let verb = |verb: &str| json!({ "type": verb, "taskId": "daily" });
    done(&host, ROOM, "task", &verb("pause_task"));
    assert_eq!(task(&host, "daily")["status"], "paused");
    assert_eq!(shown(&host, ROOM, "current_tasks.json")[0]["status"], "paused");
    done(&host, ROOM, "task", &verb("resume_task"));
    assert_eq!(task(&host, "daily")["status"], "active");
    let update = json!({ "type": "update_task", "taskId": "daily", "prompt": "!say updated", "schedule_type": "interval", "schedule_value": "3600000" });
    done(&host, ROOM, "task", &update);
    let known = task(&host, "daily");
    assert_eq!((&known["prompt"], &known["scheduleType"]), (&json!("!say updated"), &json!("interval")));
    done(&host, ROOM, "task", &verb("run_task_now"));
    said(&mut events, ROOM, "updated");
    // Main may change the task, too.
    done(&host, MAIN, "task", &verb("cancel_task"));
    assert_eq!(task(&host, "daily")["status"], "cancelled");
    eventually("the snapshot follows", SOON, || (shown(&host, ROOM, "current_tasks.json") == json!([])).then_some(()));
    for (what, value) in
        [("interval", "9999"), ("cron", "* * *"), ("once", "2099-01-01T00:00:00 Berlin"), ("monthly", "1")]
    {
        let bad = json!({ "type": "schedule_task", "prompt": "p", "schedule_type": what, "schedule_value": value, "targetJid": ROOM });
        let answer = request(&host, ROOM, "task", &bad);
        assert_eq!(answer["ok"], false, "{what} {value}: {answer}");
        assert!(answer["error"].as_str().unwrap().len() > 20, "{answer}");
    }
    assert_eq!(host.api.get("/v1/tasks").expect(200).json()["tasks"], json!([]));
}

#[test]
fn group_that_main_registers_answers_and_is_listed_at_once() {
    let host = groups();
    let available = || shown(&host, MAIN, "available_groups.json");
    let unknown = json!({ "sender": "ann", "text": "hi" });
    host.api.post("/v1/chats/web:new/messages", &unknown).expect(404);
    done(&host, MAIN, "task", &json!({ "type": "refresh_groups" }));
    let find = |jid: &str| {
        let groups = available()["groups"].as_array().unwrap().clone();
        groups.into_iter().find(|group| group["jid"] == jid)
    };
    assert_eq!(find("web:new").map(|group| group["isRegistered"].clone()), Some(json!(false)));
    let register = json!({
        "type": "register_group", "jid": "web:new", "name": "New", "folder": "new-group", "trigger": "@Bot",
        "containerConfig": { "timeout": 120_000, "image": "evil", "network": "host", "env": { "A": "b" } },
    });
    done(&host, MAIN, "task", &register);
    eventually("the live room's snapshot", SOON, || (find("web:new")?["isRegistered"] == true).then_some(()));
    let group = host.api.get("/v1/groups/new-group").expect(200).json();
    assert_eq!(
        (&group["isMain"], &group["requiresTrigger"], &group["trigger"]),
        (&json!(false), &json!(true), &json!("@Bot"))
    );
    let config = &group["containerConfig"];
    assert_eq!(config["timeout"], 120_000);
    for key in ["image", "network"] {
        assert!(config[key].is_null(), "{key} is the operator's: {config}");
    }
    assert!(config["env"].as_object().is_none_or(serde_json::Map::is_empty), "{config}");
    assert_eq!(host.ask("web:new", "@bot hello"), ["echo: hello"]);
    // Other groups see no chats at all.
    assert_eq!(shown(&host, ROOM, "available_groups.json")["groups"], json!([]));
    // A message for main's new group arrives there.
    let mut events = host.events();
    done(&host, MAIN, "message", &json!({ "type": "message", "chatJid": "web:new", "text": "welcome" }));
    said(&mut events, "web:new", "welcome");
}

#[test]
fn files_left_by_a_run_or_before_a_start_are_handled() {
    let mut host = groups();
    let mut events = host.events();
    let file = json!({ "type": "message", "chatJid": ROOM, "text": "last words" });
    let seq = host.send(ROOM, &format!("!sh cd /workspace/ipc; echo '{file}' > t; mv t messages/x.json\n!exit 0"));
    said(&mut events, ROOM, "last words");
    events.turn_done(ROOM, seq, SOON);
    host.wait_no_containers();
    let cursor = events.cursor().unwrap();
    host.terminate();
    // Files in a folder while no host runs wait for the next one, whoever wrote them.
    let folder = host.root().join("data/ipc/room/messages");
    std::fs::write(
        folder.join("waiting.json"),
        json!({ "type": "message", "chatJid": ROOM, "text": "waited" }).to_string(),
    )
    .unwrap();
    host.start();
    let mut events = host.events_since(&cursor);
    said(&mut events, ROOM, "waited");
    assert!(events.next(Duration::from_millis(200)).is_none_or(|event| event.name != "message"), "once");
    assert!(std::fs::read_dir(folder).unwrap().next().is_none());
}
