//! Tests of the operator's routes.

use serde_json::json;

use super::start;
use crate::container::run::run_log;
use crate::domain::ids::RunId;
use crate::domain::run::{Lane, RunState};
use crate::store::runs::{self, Run};

#[tokio::test]
async fn groups_are_registered_changed_and_removed() {
    let api = start().await;
    let new = json!({"jid": "web:lab", "name": "The Lab", "folder": "lab", "containerConfig": {"memory": "1g", "env": {"A": "b"}}});
    let made = api.call("POST", "/v1/groups", Some(new.clone())).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.json()["isMain"], false);
    assert_eq!(made.json()["requiresTrigger"], true);
    assert!(api.call("POST", "/v1/groups", Some(new)).await.problem(409, "conflict").contains("already"));
    let refused = json!({"jid": "web:x", "name": "x", "folder": "x", "isAdmin": true});
    assert!(api.call("POST", "/v1/groups", Some(refused)).await.problem(400, "invalid_body").contains("isAdmin"));
    for folder in ["../x", "global", "LAB"] {
        let body = json!({"jid": "web:y", "name": "y", "folder": folder});
        assert!([400, 409].contains(&api.call("POST", "/v1/groups", Some(body)).await.status), "{folder}");
    }
    let change = json!({"trigger": "@lab", "requiresTrigger": false, "isMain": true,
                        "containerConfig": {"memory": null, "cpus": "0.5", "env": {"C": "d"}}});
    let changed = api.call("PATCH", "/v1/groups/lab", Some(change)).await.json();
    assert_eq!((&changed["trigger"], &changed["isMain"]), (&json!("@lab"), &json!(true)));
    assert_eq!(changed["containerConfig"], json!({"version": 1, "cpus": "0.5", "env": {"A": "b", "C": "d"}}));
    let cleared = api.call("PATCH", "/v1/groups/lab", Some(json!({"trigger": null}))).await.json();
    assert_eq!(cleared["trigger"], json!(null));
    assert!(api.call("DELETE", "/v1/groups/lab", None).await.problem(409, "conflict").contains("main"));
    let other = json!({"jid": "tty:two", "folder": "two"});
    assert_eq!(api.call("POST", "/v1/groups", Some(other)).await.json()["name"], "tty:two");
    api.call("PATCH", "/v1/groups/two", Some(json!({"isMain": true}))).await;
    api.call("PATCH", "/v1/groups/two", Some(json!({"isMain": false}))).await.problem(400, "invalid_field");
    assert_eq!(api.call("DELETE", "/v1/groups/lab", None).await.status, 204);
    api.call("GET", "/v1/groups/lab", None).await.problem(404, "not_found");
    assert_eq!(api.call("GET", "/v1/groups", None).await.json()["groups"].as_array().unwrap().len(), 1);
    api.end().await;
}

#[tokio::test]
async fn container_settings_that_no_engine_accepts_are_refused() {
    let api = start().await;
    api.group("web:lab", "lab").await;
    for bad in [
        json!({"memory": "lots"}),
        json!({"memory": "2gg"}),
        json!({"cpus": "0"}),
        json!({"cpus": "NaN"}),
        json!({"pids": 0}),
        json!({"timeout": 1}),
        json!({"image": "--privileged"}),
        json!({"network": "a b"}),
        json!({"env": {"1A": "x"}}),
        json!({"version": 2}),
        json!({"privileged": true}),
        json!({"additionalMounts": [{"hostPath": "/a:/b"}]}),
        json!({"additionalMounts": [{"hostPath": "/a", "containerPath": "../../etc"}]}),
        json!({"model": "--x"}),
        json!([]),
    ] {
        let answer = api.call("PATCH", "/v1/groups/lab", Some(json!({"containerConfig": bad}))).await;
        answer.problem(400, "invalid_field");
    }
    api.end().await;
}

#[tokio::test]
async fn tasks_are_created_changed_listed_and_cancelled() {
    let api = start().await;
    api.group("web:lab", "lab").await;
    let new = json!({"folder": "lab", "id": "t1", "prompt": "look", "scheduleType": "cron", "scheduleValue": "0 9 * * *",
                     "timezone": "Europe/Berlin"});
    let made = api.call("POST", "/v1/tasks", Some(new.clone())).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    assert_eq!((&made["status"], &made["contextMode"]), (&json!("active"), &json!("isolated")));
    assert!(made["nextDue"].as_str().is_some());
    api.call("POST", "/v1/tasks", Some(new)).await.problem(409, "conflict");
    let bad = json!({"folder": "lab", "prompt": "x", "scheduleType": "cron", "scheduleValue": "every day"});
    api.call("POST", "/v1/tasks", Some(bad)).await.problem(400, "invalid_field");
    let orphan = json!({"folder": "none", "prompt": "x", "scheduleType": "interval", "scheduleValue": "60000"});
    api.call("POST", "/v1/tasks", Some(orphan)).await.problem(404, "not_found");
    assert_eq!(api.call("POST", "/v1/tasks/t1/pause", None).await.json()["status"], "paused");
    assert_eq!(
        api.call("PATCH", "/v1/tasks/t1", Some(json!({"status": "active", "prompt": "look again"}))).await.json()["prompt"],
        "look again"
    );
    assert_eq!(api.call("POST", "/v1/tasks/t1/run", None).await.status, 200);
    let history = api.call("GET", "/v1/tasks/t1/history", None).await.json();
    assert_eq!(history["history"][0]["state"], "claimed");
    assert_eq!(api.call("DELETE", "/v1/tasks/t1", None).await.json()["status"], "cancelled");
    assert_eq!(api.call("GET", "/v1/tasks", None).await.json()["tasks"], json!([]));
    assert_eq!(api.call("GET", "/v1/tasks?all=true&folder=lab", None).await.json()["tasks"][0]["id"], "t1");
    api.call("POST", "/v1/tasks/t1/resume", None).await.problem(409, "conflict");
    api.call("GET", "/v1/tasks/none", None).await.problem(404, "not_found");
    api.call("GET", "/v1/tasks?colour=1", None).await.problem(400, "invalid_query");
    api.end().await;
}

fn run(id: RunId, folder: &str, state: RunState) -> Run {
    Run {
        id,
        folder: folder.parse().unwrap(),
        jid: format!("web:{folder}").parse().unwrap(),
        lane: Lane::Chat,
        task_id: None,
        due: None,
        state,
        container: "parlor-x".into(),
        session_id: None,
        started_at: chrono::Utc::now(),
        ended_at: None,
        exit_code: None,
        error: None,
        outputs: 0,
        cost_usd: None,
        tokens: 0,
    }
}

#[tokio::test]
async fn runs_are_listed_stopped_and_their_logs_read() {
    let api = start().await;
    let (live, ended) = (RunId(ulid::Ulid::new()), RunId(ulid::Ulid::new()));
    api.group("web:busy", "busy").await;
    let rows = [run(live, "busy", RunState::Running), run(ended, "busy", RunState::Failed)];
    api.store.write(move |tx| rows.iter().try_for_each(|r| runs::put(tx, r))).await.unwrap();
    let list = api.call("GET", "/v1/runs?folder=busy", None).await.json();
    assert_eq!(list["runs"].as_array().unwrap().len(), 2);
    assert_eq!(api.call("GET", &format!("/v1/runs/{live}"), None).await.json()["state"], "running");
    assert_eq!(api.call("DELETE", &format!("/v1/runs/{live}"), None).await.status, 204);
    api.call("DELETE", &format!("/v1/runs/{ended}"), None).await.problem(409, "not_running");
    api.call("GET", &format!("/v1/runs/{ended}/log"), None).await.problem(404, "no_log");
    let folder = api.settings.home.runs(&"busy".parse().unwrap());
    std::fs::create_dir_all(&folder).unwrap();
    let path = run_log::path(&folder, ended);
    // A run is writing this log: a reader must get all of it or nothing.
    std::fs::write(path.with_extension("log.tmp"), "").unwrap();
    api.call("GET", &format!("/v1/runs/{ended}/log"), None).await.problem(404, "no_log");
    std::fs::write(path, "exit 1").unwrap();
    let log = api.call("GET", &format!("/v1/runs/{ended}/log"), None).await;
    assert_eq!((log.status, &log.body[..]), (200, &b"exit 1"[..]));
    api.call("GET", "/v1/runs/x%20z", None).await.problem(400, "invalid_id");
    api.call("GET", "/v1/runs/xyz", None).await.problem(404, "not_found");
    api.end().await;
}

#[tokio::test]
async fn sessions_outbox_status_and_health_are_served() {
    let api = start().await;
    api.group("web:busy", "busy").await;
    api.call("GET", "/v1/sessions/busy", None).await.problem(404, "not_found");
    assert_eq!(api.call("PATCH", "/v1/sessions/busy", Some(json!({"sessionId": "s-1"}))).await.status, 200);
    assert_eq!(api.call("GET", "/v1/sessions", None).await.json()["sessions"][0]["sessionId"], "s-1");
    assert_eq!(api.call("DELETE", "/v1/sessions/busy", None).await.status, 204);
    api.call("DELETE", "/v1/sessions/busy", None).await.problem(404, "not_found");
    api.say("web:busy", &"é".repeat(300)).await;
    assert_eq!(api.call("GET", "/v1/outbox", None).await.json()["outbox"], json!([]));
    let all = api.call("GET", "/v1/outbox?all=true", None).await.json();
    assert_eq!((&all["outbox"][0]["state"], &all["outbox"][0]["length"]), (&json!("delivered"), &json!(300)));
    let one = all["outbox"][0]["id"].as_str().unwrap().to_owned();
    let whole = api.call("GET", &format!("/v1/outbox/{one}"), None).await.json();
    assert_eq!((whole["text"].as_str().unwrap().chars().count(), &whole["state"]), (300, &json!("delivered")));
    api.call("GET", &format!("/v1/outbox/{}", ulid::Ulid::new()), None).await.problem(404, "not_found");
    assert_eq!(api.call("POST", "/v1/outbox/retry", None).await.json(), json!({"retried": 0}));
    api.call("POST", "/v1/outbox/retry", Some(json!({"id": ulid::Ulid::new().to_string()})))
        .await
        .problem(404, "not_found");
    for none in ["", " ", "01A*", &"A".repeat(65)] {
        let refused = api.call("POST", "/v1/outbox/retry", Some(json!({"id": none}))).await;
        let detail = refused.problem(400, "invalid_body");
        assert!(detail.starts_with("id does not fit: "), "{none:?}: {detail}");
    }
    assert_eq!(api.call("POST", "/v1/outbox/retry", Some(json!({"id": null}))).await.json(), json!({"retried": 0}));
    assert_eq!(api.call("POST", "/v1/runs/retry", Some(json!({"folder": "busy"}))).await.json(), json!({"retried": 0}));
    assert_eq!(api.call("GET", "/v1/refusals", None).await.json(), json!({"refusals": []}));
    api.call("POST", "/v1/chats/web:busy/messages", Some(json!({"sender": "u", "text": "hi"}))).await;
    let status = api.call("GET", "/v1/status", None).await.json();
    assert_eq!(status["groups"][0]["waiting"], "waits for a slot");
    assert_eq!(status["groups"][0]["messages"], json!({"pending": 1}));
    assert_eq!(status["engine"]["unsupported"][0]["what"], "cpus");
    assert_eq!(api.call("GET", "/readyz", None).await.status, 200);
    api.ready.send(false).unwrap();
    api.call("GET", "/readyz", None).await.problem(503, "not_ready");
    assert_eq!(api.call("GET", "/healthz", None).await.status, 200);
    assert_eq!(api.call("GET", "/metrics", None).await.status, 200);
    api.end().await;
}
