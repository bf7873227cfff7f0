//! How a room notices new files.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn renamed_written_and_linked_files_are_seen() {
    let host = host().await;
    let served = host.serve();
    served.open(&group("a"), run()).await.unwrap();
    let dir = host.ipc("a", "messages");
    let text = message("web:a", "x").to_string();
    // By events alone: a watched room is not scanned.
    host.put("a", "messages", "renamed.json", &message("web:a", "x"));
    host.until_texts(1).await;
    fs::write(dir.join("written.json"), &text).unwrap();
    host.until_texts(2).await;
    fs::write(dir.join("t.tmp"), &text).unwrap();
    fs::hard_link(dir.join("t.tmp"), dir.join("linked.json")).unwrap();
    fs::remove_file(dir.join("t.tmp")).unwrap();
    host.until_texts(3).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_events_rooms_are_scanned_each_second() {
    let host = host().await;
    let served = host.serve();
    served.handle.shared.watch.break_down();
    served.open(&group("a"), run()).await.unwrap();
    for count in 1..=2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        host.put("a", "messages", "x.json", &message("web:a", "x"));
        host.until_texts(count).await;
    }
    // Replaced folders are noticed, too.
    fs::rename(host.ipc("a", "messages"), host.ipc("a", "old")).unwrap();
    until("a new folder", || host.ipc("a", "messages").exists()).await;
    host.put("a", "messages", "x.json", &message("web:a", "x"));
    host.until_texts(3).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_events_lose_no_files() {
    let host = host().await;
    let served = host.serve();
    served.open(&group("a"), run()).await.unwrap();
    served.handle.shared.watch.lose_events();
    served.handle.shared.watch.break_down();
    host.put("a", "messages", "x.json", &message("web:a", "x"));
    host.until_texts(1).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_that_open_and_close_all_the_time_stay_watched() {
    let host = host().await;
    let served = host.serve();
    for i in 0..40 {
        let run = run();
        served.open(&group("a"), run).await.unwrap();
        host.put("a", "messages", &format!("{i}.json"), &message("web:a", "x"));
        host.until_texts(i + 1).await;
        served.handle.close_room(&group("a").folder, run).await;
    }
    until("the room to close", || served.handle.shared.rooms().is_empty()).await;
    let open = fs::read_dir("/proc/self/fd").unwrap().count();
    for _ in 0..20 {
        let run = run();
        served.open(&group("a"), run).await.unwrap();
        served.handle.close_room(&group("a").folder, run).await;
    }
    until("the room to close", || served.handle.shared.rooms().is_empty()).await;
    // Other tests of this process open files, too; a leak would be five for each opening.
    let now = fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(now < open + 90, "{open} descriptors before, {now} after");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_shutdown_no_room_opens() {
    let host = host().await;
    let served = host.serve();
    let handle = served.handle.clone();
    handle.open_room(&group("a"), run(), Lane::Chat, &Redactor::default()).await.unwrap();
    served.stop().await;
    assert!(handle.open_room(&group("b"), run(), Lane::Chat, &Redactor::default()).await.is_err());
    host.put("a", "messages", "x.json", &message("web:a", "later"));
    let served = host.serve();
    served.handle.sweep_all(vec!["a".parse().unwrap()]);
    host.until_texts(1).await;
    served.stop().await;
}
