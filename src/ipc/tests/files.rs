//! Files that agents send.

use super::crashes::leave_claimed;
use super::*;
use crate::domain::ids::DeliveryId;
use crate::ipc::command::Kind;

fn file(chat: &str, path: &str, id: &str) -> Value {
    json!({"type": "file", "chatJid": chat, "path": path, "id": id})
}

fn in_group(host: &Host, folder: &str, name: &str, content: &str) -> PathBuf {
    let dir = host.root.path().join("groups").join(folder);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(name), content).unwrap();
    dir.join(name)
}

fn kept(host: &Host, id: DeliveryId) -> String {
    fs::read_to_string(host.store.files().path(id, "a.txt")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sent_file_is_kept_unchanged_and_a_refusal_leaves_nothing() {
    let host = host().await;
    let source = in_group(&host, "a", "a.txt", "first");
    in_group(&host, "a", "large", &"x".repeat((1 << 20) + 1));
    fs::hard_link(&source, source.with_file_name("second-name")).unwrap();
    let served = host.serve();
    served.open(&group("a"), run()).await.unwrap();
    for (name, path, why) in [
        ("h", "a.txt", "a hard link"),
        ("l", "large", "at most 1048576 are read"),
        ("m", "none", "cannot be sent"),
        ("u", "../b/x", "not a path below"),
        ("r", "/etc/passwd", "not a path below"),
        ("e", "", "not a path below"),
    ] {
        host.put("a", "messages", &format!("{name}.json"), &file("web:a", path, name));
        let answer = host.answer("a", name).await;
        assert!(answer["error"].as_str().unwrap().contains(why), "{answer}");
    }
    fs::remove_file(source.with_file_name("second-name")).unwrap();
    host.put("a", "messages", "1.json", &file("web:b", "a.txt", "other"));
    assert_eq!(host.answer("a", "other").await["ok"], false);
    assert_eq!(host.refusals().await.len(), 7);
    let copies = host.data("outbox-files");
    assert!(!copies.exists() || names(&copies).is_empty(), "a copy was left");

    host.put("a", "messages", "2.json", &file("web:a", "a.txt", "fine"));
    let answer = host.answer("a", "fine").await;
    assert_eq!((&answer["ok"], &answer["size"], &answer["name"]), (&json!(true), &json!(5), &json!("a.txt")));
    fs::write(source, "second").unwrap();
    let sent = host.deliveries().await.remove(0).new;
    assert_eq!((sent.text.as_str(), sent.file.as_ref().unwrap().size), ("", 5));
    assert_eq!(kept(&host, sent.id), "first");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_is_sent_once_despite_a_crash_around_the_commit() {
    let host = host().await;
    in_group(&host, "a", "a.txt", "whole");
    let (before, after) = (Ulid::new(), Ulid::new());
    // Claimed and half copied; nothing is committed.
    leave_claimed(&host, before, "a", Kind::Message, &file("web:a", "a.txt", "r1"));
    host.store.files().keep(DeliveryId(before), "a.txt", b"ha").unwrap();
    // Committed: the kept copy is the file that was sent, whatever the source is now.
    leave_claimed(&host, after, "a", Kind::Message, &file("web:a", "a.txt", "r2"));
    host.store.files().keep(DeliveryId(after), "a.txt", b"sent before").unwrap();
    let recorded = json!({"ok": true, "deliveryId": after.to_string()}).to_string();
    let record = move |tx: &mut crate::store::Tx<'_>| {
        let folder = "a".parse().unwrap();
        ipc_files::record(tx, &after.to_string(), &folder, "x", &recorded, chrono::Utc::now())
    };
    host.store.write(record).await.unwrap();
    for _ in 0..2 {
        let served = host.serve();
        served.open(&group("a"), run()).await.unwrap();
        assert_eq!(host.answer("a", "r1").await["size"], 5);
        assert_eq!(host.answer("a", "r2").await["deliveryId"], after.to_string());
        host.until_no_claims().await;
        served.stop().await;
    }
    assert_eq!(host.deliveries().await.len(), 1);
    assert_eq!([before, after].map(|id| kept(&host, DeliveryId(id))), ["whole", "sent before"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_chat_are_bounded() {
    let host = host().await;
    in_group(&host, "a", "a.txt", "abc");
    let served = host.serve();
    served.open(&group("a"), run()).await.unwrap();
    host.put("a", "messages", "1.json", &file("web:a", "a.txt", "one"));
    assert_eq!(host.answer("a", "one").await["ok"], true);
    let nearly = outbox::MAX_FILE_BYTES as i64 - 2;
    host.store.write(move |tx| Ok(tx.execute("UPDATE outbox SET file_size = ?1", [nearly])?)).await.unwrap();
    host.put("a", "messages", "2.json", &file("web:a", "a.txt", "two"));
    let answer = host.answer("a", "two").await;
    assert!(answer["error"].as_str().unwrap().contains("already take 256 MiB"), "{answer}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_files_are_removed_after_an_hour() {
    let host = host().await;
    let now = std::time::SystemTime::now();
    let hour = Duration::from_secs(3_600);
    for (name, at) in [
        ("old.json.tmp", now - hour - Duration::from_secs(60)),
        ("new.json.tmp", now),
        ("odd.json.tmp", now + 100 * hour),
        ("own.tmp", now - 2 * hour),
    ] {
        let path = host.ipc("a", "tasks").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = fs::File::create(path).unwrap();
        file.set_modified(at).unwrap();
    }
    fs::create_dir(host.ipc("a", "tasks").join("folder.json.tmp")).unwrap();
    let served = host.serve();
    served.open(&group("a"), run()).await.unwrap();
    assert_eq!(names(&host.ipc("a", "tasks")), ["folder.json.tmp", "new.json.tmp", "odd.json.tmp", "own.tmp"]);
    served.stop().await;
}
