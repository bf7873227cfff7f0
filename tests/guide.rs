//! The guide in Parlor's own image, over the API: everything that it reports as done is done.

use std::fs;

use serde_json::{Value, json};

use crate::harness::host::{Builder, Host};
use crate::harness::{SOON, eventually};

/// A host whose rooms have Parlor's own image.
fn builder() -> Builder {
    Host::builder().env("CONTAINER_IMAGE", "")
}

fn tasks(host: &Host) -> Vec<Value> {
    host.api.get("/v1/tasks").json()["tasks"].as_array().unwrap().clone()
}

#[test]
fn reminders_are_made_listed_changed_and_fire() {
    let host = builder().start();
    host.register("web:g", "g");
    let mut events = host.events();
    let ask = |text: &str| host.ask("web:g", text).join("\n");
    let made = ask("@Andy please remind me in 1 second to smile");
    assert!(made.starts_with("Done: reminder “smile”, next on "), "{made}");
    events.message("web:g", SOON, |text| text == "Reminder: smile");
    eventually("a reminder fires once", SOON, || tasks(&host).is_empty().then_some(()));

    let weekly = ask("every monday at 8:30 plan the week");
    assert!(weekly.contains("every Monday at 08:30"), "{weekly}");
    assert!(ask("every 2 minutes run date").starts_with("Done: task “run date”, every 2 minutes, next on "));
    let list = ask("list tasks");
    assert!(
        list.starts_with("1. reminder “plan the week” – every Monday at 08:30; next on Mon ")
            && list.contains("\n2. task “run date”"),
        "{list}"
    );
    assert_eq!(ask("pause 1"), "Done: reminder “plan the week” is paused.");
    assert_eq!(tasks(&host)[0]["status"], "paused");
    assert!(ask("resume 1").starts_with("Done: reminder “plan the week” is active again, next on Mon "));
    events.forget();
    assert_eq!(ask("run 2 now"), "Done: task “run date” runs now.");
    events.message("web:g", SOON, |text| text.contains("exit code 0"));
    assert_eq!(ask("cancel 2"), "Done: task “run date” is cancelled.");
    assert_eq!(ask("cancel 1"), "Done: reminder “plan the week” is cancelled.");
    assert_eq!(tasks(&host), Vec::<Value>::new());
    assert_eq!(ask("undo"), "Done: it is as before.");
    assert_eq!(tasks(&host)[0]["scheduleValue"], "30 8 * * 1", "{:?}", tasks(&host));
    assert!(ask("lösche alle Aufgaben").starts_with("Erledigt: 1 Aufgaben sind gelöscht."));
    // A due reminder is snoozed, although another room sent it.
    assert!(ask("snooze for 1 second").starts_with("Done: reminder “smile”, next on "));
    events.message("web:g", SOON, |text| text == "Reminder: smile");
    eventually("it fires once", SOON, || tasks(&host).is_empty().then_some(()));
    // The host accepts every recurring time that the guide makes.
    for rhythm in [
        "every last friday of the month",
        "every first monday of the month at 10",
        "every 15 minutes from 9 to 17",
        "every month on the last day",
        "every year on february 29",
        "every other day at 9",
        "every weekday except friday",
    ] {
        assert!(ask(&format!("{rhythm} stretch")).starts_with("Done: reminder “stretch”, "), "{rhythm}");
    }
    assert_eq!(tasks(&host).len(), 7);
    assert!(ask("cancel all").starts_with("Done: all 7 tasks are cancelled."));
    // The host's refusal is reported unchanged.
    let refused = ask("every 2 seconds say too often");
    assert!(refused.starts_with("Parlor refused this: ") && refused.contains("10000"), "{refused}");
    assert!(ask("pause 7").contains("no tasks"));
}

#[test]
fn guide_handles_files_memory_and_commands_of_the_group() {
    let host = builder().env("TZ", "Asia/Tokyo").start();
    host.register_main("tty:main", "main");
    let folder = host.root().join("groups/main");
    let ask = |text: &str| host.ask("tty:main", text).join("\n");
    assert!(ask("remember that Ann likes tea").contains("I will remember"));
    let memory = fs::read_to_string(folder.join("CLAUDE.md")).unwrap();
    assert!(memory.ends_with("\n- Ann likes tea\n"), "{memory}");
    assert!(ask("what do you remember").ends_with("- Ann likes tea"));
    fs::write(folder.join("notes.txt"), "line one").unwrap();
    assert_eq!(ask("show notes.txt"), "notes.txt:\n```\nline one\n```");
    assert!(ask("list files").contains("\n- notes.txt (8 bytes)"));
    assert!(ask("show ../../../workspace/project/parlor.toml").contains("my folder"));
    assert_eq!(ask("run pwd; echo made > made.txt; date +%Z"), "```\n/workspace/group\nJST\n```\nexit code 0");
    assert_eq!(fs::read_to_string(folder.join("made.txt")).unwrap(), "made\n");
    assert!(ask("run echo no >&2; exit 3").ends_with("It failed: exit code 3."));
    assert!(ask("status").contains("the main group"));
    assert!(ask("time").contains("JST"));
    assert!(ask("@andy gibberish").contains("For example"));
    // A chat that wrote but is not registered yet becomes a group.
    let stranger = json!({ "sender": "eve", "text": "hello?" });
    host.api.post("/v1/chats/web:new/messages", &stranger).expect(404);
    // The list is made before a run, not for each message.
    ask("/new");
    let chats = ask("list chats");
    assert!(chats.lines().any(|line| line.starts_with("- web:new (") && line.ends_with(", available")), "{chats}");
    assert!(ask("register web:new as newcomers").starts_with("Done: web:new is a group now"));
    assert_eq!(host.api.get("/v1/groups/newcomers").json()["isMain"], false);
    assert_eq!(host.ask("web:new", "@Andy say welcome"), ["welcome"]);
    assert!(host.ask("web:new", "@Andy register web:x as main2").join("").contains("refused"));
}

#[test]
fn retried_turn_makes_its_task_and_memory_entry_once() {
    let mut host = builder().env("MAX_CONCURRENT_CONTAINERS", 1).start();
    host.register("web:busy", "busy");
    host.register("web:g", "g");
    let wait = "while [ ! -e go ]; do sleep 0.05; done";
    let mut events = host.events();
    host.send("web:busy", &format!("run {wait}"));
    events.wait("the other group works", SOON, |e| e.is_turn("web:busy", "started", 1));
    // All messages wait for the one slot and become one turn: the task is made, then the turn goes on.
    host.send("web:g", "remember that Ann likes tea");
    host.send("web:g", "remind me in 1 hour to stretch");
    let seq = host.send("web:g", &format!("run {wait}"));
    eventually("its folder is there", SOON, || fs::write(host.root().join("groups/busy/go"), "").ok());
    let first = eventually("the task is made", SOON, || tasks(&host).pop());
    let cursor = events.cursor().unwrap();
    drop(events);
    host.crash_and_restart();
    fs::write(host.root().join("groups/g/go"), "").unwrap();
    let mut events = host.events_since(&cursor);
    events.turn_done("web:g", seq, SOON);
    let said = events.texts("web:g");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("I will remember it"), "{said:?}");
    assert!(said[0].contains("\nDone: reminder “stretch”, next on ") && said[0].contains("exit code 0"), "{said:?}");
    assert_eq!(tasks(&host), [first], "the same task, once");
    let memory = fs::read_to_string(host.root().join("groups/g/CLAUDE.md")).unwrap();
    assert_eq!(memory.matches("- Ann likes tea").count(), 1, "{memory}");
    // The same words in a new message are a new request.
    host.ask("web:g", "remind me in 1 hour to stretch");
    assert_eq!(tasks(&host).len(), 2);
}
