//! A host that dies between any two steps, and a store that refuses all writes.

use super::*;
use crate::domain::message::{NewMessage, Role};
use crate::domain::run::RunState;
use crate::ipc::claim::Claimed;
use crate::ipc::command::Kind;
use crate::store::inbound;
use crate::store::runs::{self, Run};

pub(super) fn leave_claimed(host: &Host, id: Ulid, folder: &str, kind: Kind, content: &Value) {
    let claimed = Claimed::new(id, &folder.parse().unwrap(), kind, "x.json".as_ref());
    fs::create_dir_all(host.data("claimed")).unwrap();
    fs::write(host.data("claimed").join(claimed.file()), content.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_before_a_crash_take_effect_once() {
    let host = host().await;
    let (before, after, third) =
        (Ulid::new(), Ulid::from_parts(u64::MAX >> 20, 1), Ulid::from_parts(u64::MAX >> 20, 2));
    let with_id = |text: &str, id: &str| {
        let mut file = message("web:a", text);
        file["id"] = id.into();
        file
    };
    // Claimed, and nothing more.
    leave_claimed(&host, before, "a", Kind::Message, &with_id("not yet sent", "r1"));
    // Claimed and committed, but the file is still there.
    leave_claimed(&host, after, "a", Kind::Message, &with_id("sent before", "r2"));
    let recorded = json!({"ok": true, "deliveryId": "kept"}).to_string();
    host.store
        .write(move |tx| {
            let folder = "a".parse().unwrap();
            ipc_files::record(tx, &after.to_string(), &folder, "x", &recorded, chrono::Utc::now())
        })
        .await
        .unwrap();
    leave_claimed(&host, third, "a", Kind::Task, &json!({"type": "nonsense"}));
    fs::write(host.data("claimed/not a claim"), "x").unwrap();
    fs::create_dir_all(host.ipc("a", "messages")).unwrap();
    host.put("a", "messages", "1.json", &message("web:a", "new"));

    for _ in 0..3 {
        let served = host.serve();
        served.open(&group("a"), run()).await.unwrap();
        assert_eq!(host.until_texts(2).await, ["not yet sent", "new"]);
        assert_eq!(host.answer("a", "r1").await["deliveryId"], before.to_string());
        assert_eq!(host.answer("a", "r2").await["deliveryId"], "kept");
        until("claimed files to go", || names(&host.data("claimed")) == ["not a claim"]).await;
        served.stop().await;
    }
    assert_eq!(names(&host.data("quarantine/a")).len(), 2, "what cannot be handled, and why");
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_loses_no_request_and_needs_no_restart() {
    let host = host().await;
    let served = host.serve();
    served.open(&group("a"), run()).await.unwrap();
    host.store
        .write(|tx| {
            let pages: i64 = tx.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            tx.pragma_update(None, "max_page_count", pages)?;
            Ok(())
        })
        .await
        .unwrap();
    let big = "x".repeat(20_000);
    for i in 0..40 {
        host.put("a", "messages", &format!("{i:02}.json"), &message("web:a", &format!("{i} {big}")));
    }
    let claimed = host.data("claimed");
    until("a batch to be claimed", || fs::read_dir(&claimed).unwrap().count() > 0).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(host.texts().await.len() < 40);
    assert!(!host.data("quarantine/a").join("x").exists());
    host.store.write(|tx| Ok(tx.pragma_update(None, "max_page_count", 1_000_000)?)).await.unwrap();
    let texts = host.until_texts(40).await;
    for i in 0..40 {
        let start = format!("{i} ");
        assert_eq!(texts.iter().filter(|t| t.starts_with(&start)).count(), 1, "{i}");
    }
    assert!(names(&host.data("quarantine/a")).is_empty());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_left_by_groups_are_handled_at_start_and_end_of_run() {
    let host = host().await;
    for folder in ["a", "b"] {
        fs::create_dir_all(host.ipc(folder, "messages")).unwrap();
        host.put(folder, "messages", "1.json", &message(&format!("web:{folder}"), "left"));
    }
    let served = host.serve();
    let all = host.store.read(groups::all).await.unwrap();
    served.handle.sweep_all(all.into_iter().map(|g| g.folder).collect());
    host.until_texts(2).await;
    until("rooms to close", || served.handle.shared.rooms().is_empty()).await;
    assert!(!host.ipc("main", "").exists(), "groups that left nothing cost nothing");

    let (first, second) = (run(), run());
    served.open(&group("a"), first).await.unwrap();
    served.open(&group("a"), second).await.unwrap();
    served.handle.close_room(&group("a").folder, first).await;
    host.put("a", "messages", "2.json", &message("web:a", "still live"));
    host.until_texts(3).await;
    for i in 0..20 {
        host.put("a", "messages", &format!("3-{i}.json"), &message("web:a", "last words"));
    }
    served.handle.close_room(&group("a").folder, second).await;
    assert_eq!(host.texts().await.len(), 23, "all handled when the room is closed");
    until("rooms to close", || served.handle.shared.rooms().is_empty()).await;
    // A room opens again as it did the first time.
    served.open(&group("a"), run()).await.unwrap();
    host.put("a", "messages", "4.json", &message("web:a", "again"));
    host.until_texts(24).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_of_a_killed_host_reach_the_retry_without_secrets() {
    let host = host().await;
    fs::write(host.root.path().join(".env"), "KEY=a-key-to-keep\n").unwrap();
    let (earlier, last) = (RunId(Ulid::from_parts(1, 1)), RunId(Ulid::from_parts(2, 1)));
    host.store
        .write(move |tx| {
            let now = chrono::Utc::now();
            for (id, lane) in [(earlier, Lane::Chat), (last, Lane::Chat), (RunId(Ulid::from_parts(3, 1)), Lane::Task)] {
                let run = Run {
                    id,
                    folder: "a".parse().unwrap(),
                    jid: "web:a".parse().unwrap(),
                    lane,
                    task_id: None,
                    due: None,
                    state: RunState::Running,
                    container: id.to_string(),
                    session_id: None,
                    started_at: now,
                    ended_at: None,
                    exit_code: None,
                    error: None,
                    outputs: 0,
                    cost_usd: None,
                    tokens: 0,
                };
                runs::put(tx, &run)?;
                let new = NewMessage {
                    jid: run.jid,
                    platform_id: run.container,
                    sender: "u".into(),
                    sender_name: "U".into(),
                    text: "x".into(),
                    attachments: Vec::new(),
                    quoted: None,
                    sent_at: now,
                };
                let seq = inbound::insert(tx, &new, Role::Trigger, now)?;
                inbound::give(tx, &[seq], id, "")?;
            }
            runs::interrupt_live(tx, now)?;
            inbound::reclaim_all(tx)
        })
        .await
        .unwrap();
    leave_claimed(&host, Ulid::new(), "a", Kind::Message, &message("web:a", "said with a-key-to-keep"));
    leave_claimed(&host, Ulid::new(), "b", Kind::Message, &message("web:b", "of no run"));
    fs::create_dir_all(host.ipc("main", "messages")).unwrap();
    host.put("main", "messages", "1.json", &message("web:main", "left with a-key-to-keep"));
    let served = host.serve();
    served.handle.recovered().await;
    let said = host.store.read(move |db| outbox::said_in_open_turn(db, last)).await.unwrap();
    assert_eq!(said, ["said with [redacted]"]);
    served.handle.sweep_all(vec!["main".parse().unwrap()]);
    let texts = host.until_texts(3).await;
    assert_eq!(texts[1..], ["of no run", "left with [redacted]"]);
    assert_eq!(host.deliveries().await[1].new.run_id, None);
    served.stop().await;
}
