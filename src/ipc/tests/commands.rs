//! Permitted and forbidden requests of groups.

use super::*;
use crate::domain::task::{ContextMode, FireState, TaskStatus};

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_to_the_own_chat_and_from_main_to_any() {
    let host = host().await;
    let served = host.serve();
    let (run_a, run_main) = (run(), run());
    served.open(&group("a"), run_a).await.unwrap();
    served.open(&group("main"), run_main).await.unwrap();
    host.put("a", "messages", "1.json", &message("web:a", "<internal>hm</internal> from a"));
    host.until_texts(1).await;
    host.put("main", "messages", "1.json", &message("web:b", "from main"));
    host.until_texts(2).await;
    let mut nothing = message("web:a", "<internal>only thoughts</internal>");
    nothing["id"] = "n1".into();
    host.put("a", "messages", "2.json", &nothing);
    assert_eq!(host.answer("a", "n1").await, json!({"ok": true, "sent": false}));
    let sent = host.deliveries().await;
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[0].new.jid.as_str(), sent[0].new.text.as_str()), ("web:a", "from a"));
    assert_eq!(sent[0].new.run_id, Some(run_a));
    assert_eq!((sent[1].new.jid.as_str(), sent[1].new.run_id), ("web:b", None));
    let said = host.store.read(move |db| outbox::said_in_open_turn(db, run_a)).await.unwrap();
    assert_eq!(said, ["from a"]);
    host.until_no_claims().await;
    assert!(names(&host.ipc("a", "messages")).is_empty());
    assert!(host.refusals().await.is_empty());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_keeps_the_order_of_names() {
    let host = host().await;
    let served = host.serve();
    fs::create_dir_all(host.ipc("a", "messages")).unwrap();
    for i in (0..150).rev() {
        host.put("a", "messages", &format!("{i:04}-x.json"), &message("web:a", &i.to_string()));
    }
    served.open(&group("a"), run()).await.unwrap();
    let expected: Vec<String> = (0..150).map(|i| i.to_string()).collect();
    assert_eq!(host.until_texts(150).await, expected);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_scheduled_changed_and_cancelled() {
    let mut host = host().await;
    let served = host.serve();
    served.open(&group("main"), run()).await.unwrap();
    served.open(&group("a"), run()).await.unwrap();
    let made = host
        .ask(
            "a",
            json!({"type": "schedule_task", "prompt": "p", "schedule_type": "interval", "schedule_value": "60000",
                   "context_mode": "group", "targetJid": "web:a"}),
        )
        .await;
    assert_eq!((&made["ok"], &made["status"]), (&json!(true), &json!("active")));
    let id = made["taskId"].as_str().unwrap().to_owned();
    let task = host.tasks().await.remove(0);
    assert_eq!((task.id.as_str(), task.context_mode), (id.as_str(), ContextMode::Group));
    assert_eq!(made["nextRun"], crate::domain::clock::rfc3339(task.next_due.unwrap()));

    let once =
        json!({"type": "update_task", "taskId": id, "schedule_type": "once", "schedule_value": "2099-01-01T00:00:00"});
    assert_eq!(host.ask("a", once).await["nextRun"], "2099-01-01T00:00:00.000Z", "the old time is gone");
    let paused = host.ask("a", json!({"type": "pause_task", "taskId": id})).await;
    assert_eq!(paused["status"], "paused");
    let resumed = host.ask("a", json!({"type": "resume_task", "taskId": id})).await;
    assert_eq!((&resumed["status"], &resumed["nextRun"]), (&json!("active"), &json!("2099-01-01T00:00:00.000Z")));
    assert_eq!(host.ask("a", json!({"type": "run_task_now", "taskId": id})).await["ok"], true);
    let again = host.ask("a", json!({"type": "run_task_now", "taskId": id})).await;
    assert!(again["error"].as_str().unwrap().contains("waits for its turn"));
    assert_eq!(host.ask("main", json!({"type": "cancel_task", "taskId": "x"})).await["ok"], false);
    assert_eq!(host.ask("a", json!({"type": "cancel_task", "taskId": id})).await["status"], "cancelled");
    assert_eq!(host.ask("a", json!({"type": "resume_task", "taskId": id})).await["ok"], false);
    let task = host.tasks().await.remove(0);
    assert_eq!((task.status, task.next_due), (TaskStatus::Cancelled, None));
    let fires = host.store.read(move |db| tasks::history(db, &task.id, 10)).await.unwrap();
    assert_eq!(fires.iter().map(|f| f.state).collect::<Vec<_>>(), [FireState::Cancelled], "what waited is taken back");
    let mut woken = Vec::new();
    while let Ok(wake) = host.wakes.try_recv() {
        woken.push(wake);
    }
    for wake in [Wake::Scheduler, Wake::Snapshots, Wake::Group("web:a".parse().unwrap())] {
        assert!(woken.contains(&wake), "{wake:?}");
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn main_registers_groups_with_what_an_agent_may_set() {
    let host = host().await;
    let served = host.serve();
    served.open(&group("main"), run()).await.unwrap();
    let answer = host
        .ask(
            "main",
            json!({"type": "register_group", "jid": "web:new", "name": "New", "folder": "new-one", "trigger": "@Bo",
                   "containerConfig": {"timeout": 60000, "additionalMounts": [{"hostPath": "/srv"}],
                                       "image": "evil", "env": {"A": "b"}, "network": "host"}}),
        )
        .await;
    assert_eq!(answer, json!({"ok": true, "jid": "web:new", "folder": "new-one"}));
    let folder = "NEW-ONE".parse().unwrap();
    let made = host.store.read(move |db| groups::by_folder(db, &folder)).await.unwrap().unwrap();
    assert!(!made.is_main && made.requires_trigger);
    assert_eq!(made.trigger.as_deref(), Some("@Bo"));
    let additional_mounts = made.container_config.additional_mounts.clone();
    let expected = ContainerConfig { timeout: Some(60_000), additional_mounts, ..ContainerConfig::default() };
    assert_eq!(made.container_config, expected);
    assert_eq!(made.container_config.additional_mounts[0].host_path, "/srv");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forbidden_requests_are_refused_and_recorded_without_effect() {
    let host = host().await;
    let served = host.serve();
    for folder in ["a", "b", "main"] {
        served.open(&group(folder), run()).await.unwrap();
    }
    let schedule = |chat: &str| {
        json!({"type": "schedule_task", "prompt": "p", "schedule_type": "cron", "schedule_value": "0 9 * * *",
               "targetJid": chat, "taskId": "bs"})
    };
    assert_eq!(host.ask("b", schedule("web:b")).await["ok"], true);
    let before = (host.tasks().await, host.store.read(groups::all).await.unwrap());
    let register = |jid: &str, folder: &str| json!({"type": "register_group", "jid": jid, "name": "n", "folder": folder, "trigger": "@x"});
    let mut main = register("web:x", "x");
    main["isMain"] = true.into();
    let mut claims = json!({"type": "pause_task", "taskId": "bs"});
    claims["groupFolder"] = "b".into();
    claims["isMain"] = true.into();
    claims["createdBy"] = "main".into();
    let too_often = json!({"type": "schedule_task", "prompt": "p", "schedule_type": "interval",
                           "schedule_value": "9999", "targetJid": "web:a"});
    let unknown_kind = json!({"type": "schedule_task", "prompt": "p", "schedule_type": "often",
                              "schedule_value": "1", "targetJid": "web:a"});
    let past = json!({"type": "schedule_task", "prompt": "p", "schedule_type": "once",
                      "schedule_value": "2001-01-01T00:00:00", "targetJid": "web:a"});
    let attempts = [
        ("a", schedule("web:b")),
        ("a", schedule("web:main")),
        ("a", schedule("web:nobody")),
        ("main", schedule("web:nobody")),
        ("a", json!({"type": "pause_task", "taskId": "bs"})),
        ("a", json!({"type": "resume_task", "taskId": "bs"})),
        ("a", json!({"type": "cancel_task", "taskId": "bs"})),
        ("a", json!({"type": "run_task_now", "taskId": "bs"})),
        ("a", json!({"type": "update_task", "taskId": "bs", "prompt": "evil"})),
        ("a", json!({"type": "cancel_task", "taskId": "../bs"})),
        ("a", claims),
        ("a", json!({"type": "refresh_groups"})),
        ("a", register("web:x", "x")),
        ("main", main),
        ("main", register("web:x", "../x")),
        ("main", register("web:x", "global")),
        ("main", register("web:x", "MAIN")),
        ("main", register("web:x", "A")),
        ("main", register("web:x", "")),
        ("main", register("web:a", "x")),
        ("main", register("a b", "x")),
        ("a", too_often),
        ("a", unknown_kind),
        ("a", past),
    ];
    let count = attempts.len();
    for (who, attempt) in attempts {
        let answer = host.ask(who, attempt.clone()).await;
        assert_eq!(answer["ok"], false, "{attempt}");
        assert!(!answer["error"].as_str().unwrap().is_empty(), "{attempt}");
        let refusal = host.refusals().await.remove(0);
        assert_eq!((refusal.folder.as_str(), answer["error"].as_str()), (who, Some(refusal.why.as_str())));
    }
    host.put("a", "messages", "1.json", &message("web:b", "not mine"));
    host.put("a", "messages", "2.json", &message("web:main", "not mine"));
    until("the messages to be handled", || names(&host.ipc("a", "messages")).is_empty()).await;
    host.until_no_claims().await;
    assert_eq!(host.refusals().await.len(), count + 2);
    assert!(host.texts().await.is_empty());
    assert_eq!((host.tasks().await, host.store.read(groups::all).await.unwrap()), before);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_removed_group_are_refused() {
    let host = host().await;
    let served = host.serve();
    served.open(&group("a"), run()).await.unwrap();
    host.store.write(|tx| groups::remove(tx, &"a".parse().unwrap(), chrono::Utc::now())).await.unwrap();
    host.put("a", "messages", "1.json", &message("web:a", "still here"));
    until("the message to be handled", || names(&host.ipc("a", "messages")).is_empty()).await;
    host.until_no_claims().await;
    assert!(host.texts().await.is_empty());
    assert!(host.refusals().await[0].why.contains("not a registered group"));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_task_can_be_run_again_and_a_cancelled_one_cannot() {
    let host = host().await;
    let served = host.serve();
    served.open(&group("a"), run()).await.unwrap();
    let once = json!({"type": "schedule_task", "taskId": "t", "prompt": "p", "schedule_type": "once",
        "schedule_value": "2099-01-01T00:00:00", "targetJid": "web:a"});
    assert_eq!(host.ask("a", once).await["ok"], true);
    let mut task = host.tasks().await.remove(0);
    (task.status, task.next_due) = (TaskStatus::Completed, None);
    host.store.write(move |tx| tasks::update(tx, &task)).await.unwrap();
    let again = json!({"type": "run_task_now", "taskId": "t"});
    assert_eq!(
        host.ask("a", again.clone()).await,
        json!({"ok": true, "taskId": "t", "status": "completed", "nextRun": null})
    );
    assert_eq!(host.ask("a", again.clone()).await["ok"], false, "it waits for its turn already");
    let waiting = host.store.read(|db| tasks::claimed(db, &"a".parse().unwrap())).await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!(host.ask("a", json!({"type": "cancel_task", "taskId": "t"})).await["ok"], true);
    assert!(host.ask("a", again).await["error"].as_str().unwrap().contains("was cancelled"));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_credited_to_the_chat_run_beside_a_task() {
    let host = host().await;
    let served = host.serve();
    let (chat, task, other) = (run(), run(), run());
    let none = Redactor::default();
    served.handle.open_room(&group("a"), task, Lane::Task, &none).await.unwrap();
    host.put("a", "messages", "1.json", &message("web:a", "by the task"));
    host.until_texts(1).await;
    served.open(&group("a"), chat).await.unwrap();
    host.put("a", "messages", "2.json", &message("web:a", "by either"));
    host.until_texts(2).await;
    served.handle.close_room(&group("a").folder, chat).await;
    served.handle.open_room(&group("a"), other, Lane::Task, &none).await.unwrap();
    host.put("a", "messages", "3.json", &message("web:a", "by one of two tasks"));
    host.until_texts(3).await;
    let runs: Vec<_> = host.deliveries().await.into_iter().map(|d| d.new.run_id).collect();
    assert_eq!(runs, [Some(task), Some(chat), None]);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_every_run_are_removed_from_a_rooms_files() {
    let host = host().await;
    let served = host.serve();
    let redactor = |value: &str| Redactor::new(&[secrecy::SecretString::from(value)]);
    let first = run();
    served.handle.open_room(&group("a"), first, Lane::Chat, &redactor("first-key-1")).await.unwrap();
    served.handle.open_room(&group("a"), run(), Lane::Task, &redactor("second-key-2")).await.unwrap();
    served.handle.close_room(&group("a").folder, first).await;
    host.put("a", "messages", "first-key-1.json", &message("web:a", "first-key-1 second-key-2"));
    assert_eq!(host.until_texts(1).await, ["[redacted] [redacted]"]);
    let task = json!({"type": "schedule_task", "prompt": "use first-key-1", "schedule_type": "interval",
        "schedule_value": "60000", "targetJid": "web:a"});
    assert_eq!(host.ask("a", task).await["ok"], true);
    assert_eq!(host.tasks().await[0].prompt, "use [redacted]");
    host.put("a", "messages", "3.json", &message("second-key-2", "x"));
    until("the file to be handled", || names(&host.ipc("a", "messages")).is_empty()).await;
    host.until_no_claims().await;
    assert!(host.refusals().await.iter().all(|r| !format!("{r:?}").contains("key-")));
    let stored: Vec<String> = host
        .store
        .read(|db| {
            let mut s = db.prepare("SELECT name || result FROM ipc_files")?;
            let rows = s.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
        .unwrap();
    assert!(stored.iter().all(|record| !record.contains("key-")), "{stored:?}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_escapes_are_delivered_and_broken_json_is_answered() {
    let host = host().await;
    let served = host.serve();
    served.open(&group("a"), run()).await.unwrap();
    let cut = br#"{"id":"r-1","type":"message","chatJid":"web:a","text":"cut \ud83d"}"#;
    host.put_bytes("a", "messages", "1.json", cut);
    assert_eq!(host.answer("a", "r-1").await["ok"], true);
    assert_eq!(host.texts().await, ["cut \u{fffd}"]);
    host.put_bytes("a", "messages", "2.json", br#"{"id":"r-2","type":"message","chatJid":"web:a","text":"brok"#);
    let answer = host.answer("a", "r-2").await;
    assert_eq!(answer["ok"], false);
    let why = answer["error"].as_str().unwrap();
    let refusals = host.refusals().await;
    assert_eq!(refusals.len(), 1);
    assert_eq!((refusals[0].what.as_str(), refusals[0].why.as_str()), ("messages/\"2.json\"", why));
    host.until_no_claims().await;
    let kept: Vec<String> = names(&host.data("quarantine/a"));
    assert_eq!(kept.len(), 2, "the file and its reason: {kept:?}");
    let records: i64 =
        host.store.read(|db| Ok(db.query_row("SELECT count(*) FROM ipc_files", [], |r| r.get(0))?)).await.unwrap();
    assert!(records <= 2);
    served.stop().await;
}
