//! The snapshots of tasks and chats for rooms.

use std::os::unix::fs::{MetadataExt, symlink};

use super::*;
use crate::safe_dir::Owner;

fn read(host: &Host, folder: &str, name: &str) -> Value {
    serde_json::from_slice(&fs::read(host.ipc(folder, name)).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_show_all_to_main_and_own_tasks_to_others() {
    let host = host().await;
    let served = host.serve();
    served.open(&group("main"), run()).await.unwrap();
    served.open(&group("a"), run()).await.unwrap();
    assert_eq!(read(&host, "a", "current_tasks.json"), json!([]));
    for (folder, id) in [("a", "of-a"), ("b", "of-b")] {
        let answer = host
            .ask(
                "main",
                json!({"type": "schedule_task", "prompt": "p", "schedule_type": "once", "taskId": id,
                       "schedule_value": "2099-01-01T00:00:00", "targetJid": format!("web:{folder}")}),
            )
            .await;
        assert_eq!(answer["ok"], true);
    }
    served.handle.snapshots_changed();
    until("fresh snapshots", || read(&host, "main", "current_tasks.json").as_array().unwrap().len() == 2).await;
    until("fresh snapshots", || read(&host, "a", "current_tasks.json") != json!([])).await;
    assert_eq!(
        read(&host, "a", "current_tasks.json"),
        json!([{"id": "of-a", "groupFolder": "a", "prompt": "p", "schedule_type": "once",
                "schedule_value": "2099-01-01T00:00:00", "status": "active", "next_run": "2099-01-01T00:00:00.000Z"}])
    );
    let groups = read(&host, "main", "available_groups.json");
    assert_eq!(groups["groups"].as_array().unwrap().len(), 3);
    assert_eq!(groups["groups"][0]["isRegistered"], true);
    assert_eq!(read(&host, "a", "available_groups.json")["groups"], json!([]));
    assert!(!host.ipc("b", "current_tasks.json").exists(), "only live rooms are told");

    // Unchanged content is not written again, except for a room that asks for it.
    let inode = || fs::metadata(host.ipc("main", "available_groups.json")).unwrap().ino();
    let (first, other) = (inode(), fs::metadata(host.ipc("a", "current_tasks.json")).unwrap().ino());
    served.handle.snapshots_changed();
    assert_eq!(host.ask("main", json!({"type": "refresh_groups"})).await["ok"], true);
    until("a rewriting", || inode() != first).await;
    assert_eq!(fs::metadata(host.ipc("a", "current_tasks.json")).unwrap().ino(), other);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_in_place_of_snapshots_are_replaced() {
    let host = host().await;
    let served = host.serve();
    fs::create_dir_all(host.ipc("a", "")).unwrap();
    let target = host.root.path().join("target");
    fs::write(&target, "untouched").unwrap();
    symlink(&target, host.ipc("a", "current_tasks.json")).unwrap();
    fs::create_dir_all(host.ipc("a", "available_groups.json").join("x")).unwrap();
    served.open(&group("a"), run()).await.unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "untouched");
    assert_eq!(read(&host, "a", "current_tasks.json"), json!([]));
    assert_eq!(read(&host, "a", "available_groups.json")["groups"], json!([]));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_for_the_agent_belong_to_its_user() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let host = host().await;
    let mut deps = host.deps();
    deps.room_owner = Some(Owner { uid: 4_321, gid: 4_322 });
    let (handle, service) = IpcService::new(deps).unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(service.run(shutdown.clone()));
    handle.open_room(&group("a"), run(), Lane::Chat, &Redactor::default()).await.unwrap();
    let mut file = message("web:a", "x");
    file["id"] = "r".into();
    host.put("a", "messages", "1.json", &file);
    host.answer("a", "r").await;
    for path in ["", "messages", "tasks", "results", "results/r.json", "current_tasks.json", "available_groups.json"] {
        let meta = fs::metadata(host.ipc("a", path)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (4_321, 4_322), "{path}");
    }
    for path in ["claimed", "quarantine", "quarantine/a"] {
        assert_eq!(fs::metadata(host.data(path)).unwrap().mode() & 0o7777, 0o700, "{path}");
    }
    shutdown.cancel();
    task.await.unwrap();
}
