//! Hostile content of agents' folders.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, Mode, RenameFlags, mkfifoat, renameat_with};

use super::*;

/// Waits until a message that comes after the attack was sent.
async fn others_go_on(host: &Host, count: usize) {
    host.put("a", "messages", "zzz.json", &message("web:a", "after"));
    let texts = host.until_texts(count).await;
    assert_eq!(texts.last().unwrap(), "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn special_files_go_to_quarantine() {
    let host = host().await;
    // All files are there before the host starts; otherwise it would claim the first ones while others are being
    // made.
    let dir = host.ipc("a", "messages");
    fs::create_dir_all(&dir).unwrap();
    let secret = host.root.path().join("secret.json");
    fs::write(&secret, message("web:a", "secret").to_string()).unwrap();
    mkfifoat(CWD, dir.join("fifo.json"), Mode::RWXU).unwrap();
    let _socket = UnixListener::bind(dir.join("socket.json")).unwrap();
    symlink(&secret, dir.join("link.json")).unwrap();
    fs::hard_link(&secret, dir.join("hard.json")).unwrap();
    fs::create_dir(dir.join("empty.json")).unwrap();
    fs::create_dir_all(dir.join("full.json/x/y")).unwrap();
    fs::write(dir.join("full.json/x/1.json"), "x").unwrap();
    fs::create_dir(dir.join("locked.json")).unwrap();
    fs::set_permissions(dir.join("locked.json"), fs::Permissions::from_mode(0o0)).unwrap();
    symlink("loop.json", dir.join("loop.json")).unwrap();
    fs::File::create(dir.join("sparse.json")).unwrap().set_len(10 << 30).unwrap();
    let served = host.serve();
    served.open(&group("a"), run()).await.unwrap();
    others_go_on(&host, 1).await;
    until("the folder to be empty", || names(&dir).is_empty()).await;
    host.until_no_claims().await;
    let reasons = names(&host.data("quarantine/a")).iter().filter(|n| n.ends_with(".reason")).count();
    assert_eq!(reasons, 9);
    assert!(!fs::read_dir(host.data("quarantine/a")).unwrap().any(|e| e.unwrap().metadata().unwrap().len() > 1 << 20));
    assert_eq!(fs::read_to_string(&secret).unwrap(), message("web:a", "secret").to_string());
    assert_eq!(host.texts().await, ["after"]);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_content_is_refused_in_bounded_time() {
    let host = host().await;
    let served = host.serve();
    served.open(&group("a"), run()).await.unwrap();
    let deep = format!(
        r#"{{"type":"message","chatJid":"web:a","text":"x","y":{}1{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let long = message("web:a", &"x".repeat(300 * 1024)).to_string();
    let huge = message("web:a", &"x".repeat(50 << 20)).to_string();
    for (i, bytes) in [deep.as_bytes(), long.as_bytes(), huge.as_bytes(), b"", b"{", b"null", b"\xff\xff", b"\0\0"]
        .into_iter()
        .enumerate()
    {
        host.put_bytes("a", "messages", &format!("{i}.json"), bytes);
    }
    others_go_on(&host, 1).await;
    host.until_no_claims().await;
    let reasons: Vec<String> = names(&host.data("quarantine/a"))
        .into_iter()
        .filter(|n| n.ends_with(".reason"))
        .map(|n| fs::read_to_string(host.data("quarantine/a").join(n)).unwrap())
        .collect();
    assert_eq!(reasons.len(), 8);
    for why in ["deeper than 64", "more than 256 KiB", "at most 1048576", "not JSON"] {
        assert!(reasons.iter().any(|r| r.contains(why)), "{why}: {reasons:?}");
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_names_are_treated_as_data() {
    let host = host().await;
    let served = host.serve();
    served.open(&group("a"), run()).await.unwrap();
    let long = [&[b'x'; 250][..], b".json"].concat();
    let hostile: [&[u8]; 7] = [
        b"new\nline.json",
        b"\x1b[31mred.json",
        b"-rf.json",
        b"\xff\xfe.json",
        b"..json.json",
        b"a b;c$(d).json",
        &long,
    ];
    for name in hostile {
        let path = host.ipc("a", "messages").join(OsStr::from_bytes(name));
        let temporary = host.ipc("a", "messages").join("t.tmp");
        fs::write(&temporary, message("web:a", "named").to_string()).unwrap();
        fs::rename(temporary, path).unwrap();
    }
    assert_eq!(host.until_texts(7).await, ["named"; 7]);
    for ignored in [".json", "x.json.tmp", "x.JSON", "json"] {
        fs::write(host.ipc("a", "messages").join(ignored), message("web:a", "ignored").to_string()).unwrap();
    }
    host.put_bytes("a", "messages", "\u{1b}[2J.json", b"bad");
    others_go_on(&host, 8).await;
    host.until_no_claims().await;
    let reason = names(&host.data("quarantine/a")).into_iter().find(|n| n.ends_with(".reason")).unwrap();
    let reason = fs::read_to_string(host.data("quarantine/a").join(reason)).unwrap();
    assert!(!reason.contains('\u{1b}') && reason.contains("u{1b}"), "{reason}");
    assert_eq!(host.texts().await.len(), 8);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_folders_have_no_effect_and_the_room_continues() {
    let host = host().await;
    let outside = host.root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("1.json"), message("web:a", "outside").to_string()).unwrap();
    let served = host.serve();
    // Often, so that some replacements happen between the host's own steps.
    for round in 0..20 {
        let before = round == 0;
        for side in ["messages", "tasks", "results"] {
            let path = host.ipc("a", side);
            fs::create_dir_all(host.ipc("a", "")).unwrap();
            if before {
                symlink(&outside, &path).unwrap();
            } else {
                // In one step, because the host would make a new folder between two.
                let link = host.ipc("a", &format!("link-{side}-{round}"));
                symlink(&outside, &link).unwrap();
                renameat_with(CWD, &link, CWD, &path, RenameFlags::EXCHANGE).unwrap();
            }
        }
        if before {
            served.open(&group("a"), run()).await.unwrap();
        }
        until("folders of our own", || {
            ["messages", "tasks", "results"]
                .iter()
                .all(|s| fs::symlink_metadata(host.ipc("a", s)).is_ok_and(|m| m.is_dir()))
        })
        .await;
        let mut file = message("web:a", "inside");
        let id = format!("r{round}");
        file["id"] = id.clone().into();
        host.put("a", "messages", "1.json", &file);
        assert_eq!(host.answer("a", &id).await["ok"], true);
    }
    assert_eq!(host.until_texts(20).await, ["inside"; 20]);
    assert_eq!(names(&outside), ["1.json"]);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_swapped_in_a_loop_have_no_effect() {
    let host = host().await;
    let served = host.serve();
    served.open(&group("a"), run()).await.unwrap();
    let outside = host.root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("1.json"), message("web:a", "outside").to_string()).unwrap();
    let room = host.ipc("a", "");
    let stop = CancellationToken::new();
    let (stopped, target) = (stop.clone(), outside.clone());
    let attacker = std::thread::spawn(move || {
        let mut n = 0_u64;
        while !stopped.is_cancelled() {
            for side in ["messages", "results"] {
                n += 1;
                let _ = fs::rename(room.join(side), room.join(format!("old{n}")));
                let _ = symlink(&target, room.join(side));
                let _ = fs::remove_file(room.join(side));
                let _ = fs::create_dir(room.join(side));
                let file = message("web:a", "inside").to_string().replace('{', r#"{"id":"r","#);
                if fs::write(room.join("t.tmp"), file).is_ok() {
                    let _ = fs::rename(room.join("t.tmp"), room.join(side).join("2.json"));
                }
                if n.is_multiple_of(512) {
                    for i in n - 511..=n {
                        let _ = fs::remove_dir_all(room.join(format!("old{i}")));
                    }
                }
            }
        }
        n
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.cancel();
    assert!(attacker.join().unwrap() > 100);
    let left = names(&outside);
    // The attacker's own rename through the link may have put these files there; the host did not.
    assert!(left.iter().all(|n| n == "1.json" || n == "2.json"), "{left:?}");
    assert!(!host.texts().await.contains(&"outside".to_string()));
    // The room recovers once the attack has ended.
    until("a folder of our own", || fs::symlink_metadata(host.ipc("a", "messages")).is_ok_and(|m| m.is_dir())).await;
    host.put("a", "messages", "end.json", &message("web:a", "end"));
    let end = Instant::now() + Duration::from_secs(20);
    while !host.texts().await.contains(&"end".to_string()) {
        assert!(Instant::now() < end, "the room never recovered");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_quarantine_have_their_limits() {
    let host = host().await;
    fs::create_dir_all(host.ipc("a", "messages")).unwrap();
    fs::create_dir_all(host.ipc("a", "results")).unwrap();
    let old = fs::File::create(host.ipc("a", "results/old.json")).unwrap();
    old.set_modified(std::time::SystemTime::now() - Duration::from_secs(3_700)).unwrap();
    for i in 0..995 {
        fs::write(host.ipc("a", "results").join(format!("kept{i:04}.json")), "{}").unwrap();
    }
    let quarantine = host.data("quarantine/a");
    fs::create_dir_all(&quarantine).unwrap();
    for i in 0..998_u128 {
        let name = format!("{}.a.m", Ulid::from_parts(1, i));
        fs::write(quarantine.join(&name), "x").unwrap();
        fs::write(quarantine.join(name + ".reason"), "x").unwrap();
    }
    let served = host.serve();
    served.open(&group("a"), run()).await.unwrap();
    assert!(!host.ipc("a", "results/old.json").exists());
    for i in 0..10 {
        let mut file = message("web:a", "x");
        file["id"] = format!("r{i}").into();
        host.put("a", "messages", &format!("{i}.json"), &file);
        host.put_bytes("a", "messages", &format!("{i}-bad.json"), b"bad");
    }
    host.answer("a", "r9").await;
    until("all to be handled", || names(&host.ipc("a", "messages")).is_empty()).await;
    host.until_no_claims().await;
    assert_eq!(names(&host.ipc("a", "results")).len(), 1_000);
    assert_eq!(names(&quarantine).len(), 2_000);
    assert!(!quarantine.join(format!("{}.a.m", Ulid::from_parts(1, 0))).exists(), "the oldest go");
    served.stop().await;
}
