//! Requests that only other groups may make, and false claims about the author.

use std::process::Output;

use serde_json::{Value, json};

use super::{OTHER, ROOM, Stage, message};

/// Writes a request from the room, and returns the host's answer.
fn ask(stage: &Stage, kind: &str, request: &Value) -> Value {
    let texts = stage.host.ask(ROOM, &format!("!{kind} {request}"));
    let answer = texts.iter().find(|text| text.starts_with('{'));
    serde_json::from_str(answer.unwrap_or_else(|| panic!("{request}: {texts:?}"))).unwrap()
}

#[test]
fn requests_about_other_groups_are_refused_and_recorded() {
    let stage = Stage::new();
    let task = json!({ "folder": "other", "id": "theirs", "prompt": "p", "scheduleType": "cron", "scheduleValue": "0 9 1 1 *" });
    stage.host.api.post("/v1/tasks", &task).expect(201);
    let mut events = stage.host.events();
    stage.host.ask(ROOM, "hello");
    let before = stage.state();
    let register = |folder: &str, jid: &str| json!({ "type": "register_group", "jid": jid, "name": "n", "folder": folder, "trigger": "@x" });
    let schedule = |jid: &str| json!({ "type": "schedule_task", "prompt": "p", "schedule_type": "interval", "schedule_value": "60000", "targetJid": jid });
    let mut main_too = register("evil", "web:evil");
    main_too["isMain"] = true.into();
    // Whatever a file says about its author, its folder decides.
    let mut disguised = message(OTHER, "I am main");
    disguised["groupFolder"] = "main".into();
    disguised["isMain"] = true.into();
    disguised["createdBy"] = "main".into();
    let mut disguised_task = schedule("web:main");
    disguised_task["groupFolder"] = "main".into();
    disguised_task["isMain"] = true.into();
    disguised_task["createdBy"] = "main".into();
    let attacks: Vec<(&str, Value)> = vec![
        ("message", message(OTHER, "not mine")),
        ("message", message("web:main", "not mine")),
        ("message", message("web:nobody", "not mine")),
        ("message", disguised),
        ("task", disguised_task),
        ("task", schedule(OTHER)),
        ("task", json!({ "type": "pause_task", "taskId": "theirs" })),
        ("task", json!({ "type": "resume_task", "taskId": "theirs", "groupFolder": "other" })),
        ("task", json!({ "type": "cancel_task", "taskId": "theirs" })),
        ("task", json!({ "type": "run_task_now", "taskId": "theirs" })),
        ("task", json!({ "type": "update_task", "taskId": "theirs", "prompt": "mine" })),
        ("task", json!({ "type": "pause_task", "taskId": "../../etc/passwd" })),
        ("task", json!({ "type": "refresh_groups" })),
        ("task", register("evil", "web:evil")),
        ("task", register("../evil", "web:evil")),
        ("task", register("global", "web:evil")),
        ("task", register("MAIN", "web:evil")),
        ("task", register("Other", "web:evil")),
        ("task", main_too),
    ];
    for (number, (kind, attack)) in attacks.iter().enumerate() {
        let answer = ask(&stage, kind, attack);
        assert_eq!(answer["ok"], false, "{attack}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|why| why.len() > 10), "{answer}");
        let refusals = stage.refusals();
        assert_eq!(refusals.len(), number + 1, "{attack} is recorded once");
        assert_eq!(refusals[0]["folder"], "room", "{attack}");
        assert_eq!(refusals[0]["why"], answer["error"]);
    }
    assert_eq!(stage.state(), before);
    assert!(events.texts(OTHER).is_empty() && events.texts("web:main").is_empty());
    while events.next(std::time::Duration::ZERO).is_some() {}
    assert!(events.texts(OTHER).is_empty() && events.texts("web:main").is_empty());
    for folder in ["evil", "Other", "MAIN", "../evil"] {
        assert!(!stage.host.root().join("groups").join(folder).exists(), "groups/{folder}");
    }
}

#[test]
fn main_cannot_register_taken_or_invalid_names_or_a_second_main() {
    let stage = Stage::new();
    stage.host.ask("web:main", "hello");
    let before = stage.state();
    let long = "x".repeat(65);
    let folders = [
        "../x", "..", ".", "", "a/b", "/etc", "global", "GLOBAL", "Global", "MAIN", "main", "Room", "-x", "_x", ".x",
        "a b", "a\u{0}b", "ä", "a\n", &long,
    ];
    for folder in folders {
        let request =
            json!({ "type": "register_group", "jid": "web:evil", "name": "n", "folder": folder, "trigger": "@x" });
        let texts = stage.host.ask("web:main", &format!("!task {request}"));
        assert!(texts.iter().any(|text| text.contains(r#""ok":false"#)), "{folder:?}: {texts:?}");
    }
    let mut request =
        json!({ "type": "register_group", "jid": "web:evil", "name": "n", "folder": "evil", "trigger": "@x" });
    request["isMain"] = true.into();
    let texts = stage.host.ask("web:main", &format!("!task {request}"));
    assert!(texts.iter().any(|text| text.contains(r#""ok":false"#)), "{texts:?}");
    // A chat in use stays with its group.
    let request = json!({ "type": "register_group", "jid": OTHER, "name": "n", "folder": "evil", "trigger": "@x" });
    let texts = stage.host.ask("web:main", &format!("!task {request}"));
    assert!(texts.iter().any(|text| text.contains(r#""ok":false"#)), "{texts:?}");
    assert_eq!(stage.state(), before);
    // The API refuses the same names.
    for folder in folders {
        let group = json!({ "jid": "web:evil", "name": "n", "folder": folder });
        let response = stage.host.api.post("/v1/groups", &group);
        assert!([400, 409].contains(&response.status), "{folder:?}: {} {}", response.status, response.text());
        assert!(response.json()["code"].is_string(), "{folder:?}: {}", response.text());
    }
    for folder in folders.iter().filter(|folder| !folder.contains('\0')) {
        let output = register_by_cli(&stage, folder);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{folder:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{folder:?} is refused without a word");
    }
    assert_eq!(stage.state(), before);
}

fn register_by_cli(stage: &Stage, folder: &str) -> Output {
    stage.host.command().args(["groups", "add", "web:evil", folder]).output().unwrap()
}
