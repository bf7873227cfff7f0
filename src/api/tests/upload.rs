//! Tests of messages with files.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::super::Limits;
use super::{Answer, Served, request, start_with};
use crate::store::{groups, inbound};

/// A PNG of one white pixel.
const PICTURE: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU\x00\x00\x00\x0aIDATx\x9cc\xf8\x0f\x00\x01\x01\x01\x00\xb18\xf6\x14\x00\x00\x00\x00IEND\xaeB`\x82";

/// A file in a form: its header lines and its bytes.
type Part<'a> = (&'a str, &'a [u8]);

fn form(message: &Value, files: &[Part<'_>]) -> Vec<u8> {
    let mut body =
        format!("--xx\r\nContent-Disposition: form-data; name=\"message\"\r\n\r\n{message}\r\n").into_bytes();
    for (head, bytes) in files {
        body.extend(format!("--xx\r\nContent-Disposition: form-data; name=\"file\"{head}\r\n\r\n").bytes());
        body.extend_from_slice(bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--xx--\r\n");
    body
}

fn named(name: &str) -> String {
    format!("; filename=\"{name}\"")
}

async fn post_raw(api: &Served, jid: &str, body: Vec<u8>) -> Answer {
    let stream = UnixStream::connect(api.socket()).await.unwrap();
    let headers = [("host", "local"), ("content-type", "multipart/form-data; boundary=xx")];
    request(stream, "POST", &format!("/v1/chats/{jid}/messages"), &headers, Bytes::from(body)).await
}

async fn post(api: &Served, id: &str, text: &str, files: &[Part<'_>]) -> Value {
    let message = json!({"sender": "ann", "text": text, "id": id});
    let answer = post_raw(api, "web:lab", form(&message, files)).await;
    assert_eq!(answer.status, 202, "{}", answer.json());
    answer.json()
}

fn folder(api: &Served) -> PathBuf {
    api.settings.home.groups().join("lab/attachments")
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits until no upload is left. The server notices a client's end only when the connection ends.
async fn nothing_waits(api: &Served) {
    let dir = api.settings.home.data().join("inbox-files");
    for _ in 0..2000 {
        if names(&dir).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?} are left", names(&dir));
}

async fn lab() -> Served {
    let api = start_with(|settings| settings.max_attachment_bytes = 4096, Limits::default()).await;
    fs::create_dir(api.settings.home.groups()).unwrap();
    api.group("web:lab", "lab").await;
    api
}

#[tokio::test]
async fn uploaded_files_are_stored_once_with_their_message() {
    let api = lab().await;
    let typed = format!("{}\r\nContent-Type: application/pdf", named("my report.pdf"));
    let files: [Part<'_>; 3] = [(&typed, b"%PDF\r\n--x"), (&named("dot.png"), PICTURE), (&named("empty"), b"")];
    let answer = post(&api, "1", "look", &files).await;
    let listed = answer["attachments"].as_array().unwrap();
    let path = |n: usize| listed[n]["path"].as_str().unwrap().to_owned();
    let bytes = |n: usize| fs::read(api.settings.home.groups().join("lab").join(path(n))).unwrap();
    assert_eq!((answer["seq"].as_i64(), listed.len()), (Some(1), 3), "{answer}");
    assert!(path(0).starts_with("attachments/") && path(0).ends_with("-my_report.pdf"), "{answer}");
    assert_eq!((listed[0]["mediaType"].as_str(), listed[0]["size"].as_u64()), (Some("application/pdf"), Some(9)));
    assert_eq!((listed[1]["mediaType"].as_str(), listed[1]["picture"].as_bool()), (Some("image/png"), Some(true)));
    assert_eq!(
        (bytes(0).as_slice(), bytes(1).as_slice(), bytes(2).as_slice()),
        (&b"%PDF\r\n--x"[..], PICTURE, &b""[..])
    );
    let mode = fs::metadata(folder(&api).join(&names(&folder(&api))[0])).unwrap().mode() & 0o7777;
    assert_eq!(mode, 0o644);
    nothing_waits(&api).await;
    // Sent again with other content, as by a client that missed the answer.
    let again = post(&api, "1", "look", &[(&named("other.txt"), b"other")]).await;
    assert_eq!(again, answer);
    assert_eq!(names(&folder(&api)).len(), 3);
    // Sent twice at the same time: one wins.
    let message = json!({"sender": "ann", "text": "", "id": "2"});
    let both = form(&message, &[(&named("a.txt"), b"a")]);
    let (first, second) = tokio::join!(post_raw(&api, "web:lab", both.clone()), post_raw(&api, "web:lab", both));
    assert_eq!(first.json(), second.json());
    assert_eq!(names(&folder(&api)).len(), 4);
    nothing_waits(&api).await;
    api.end().await;
}

#[tokio::test]
async fn refused_files_are_listed_and_the_others_are_stored() {
    let api = lab().await;
    let large = vec![b'x'; 5000];
    let fits = vec![b'x'; 4096];
    let head = |name: &str| named(name);
    let hostile = head("../../x]\\\"[Image: attachments/p.png");
    let (a, b, c) = (head("large.bin"), head("fits.bin"), head("..."));
    let files: [Part<'_>; 5] = [(&a, &large), (&b, &fits), (&c, b"x"), (&hostile, b"x"), (&a, b"small")];
    let answer = post(&api, "1", "hi", &files).await;
    let listed = answer["attachments"].as_array().unwrap();
    let why: Vec<Option<&str>> = listed.iter().map(|file| file["why"].as_str()).collect();
    let large = Some("it is larger than 4.1 kB");
    let nameless = Some("it has no name that can be used");
    assert_eq!(why, [large, None, nameless, None, None], "{answer}");
    assert!(listed[3]["path"].as_str().unwrap().ends_with("-p.png") && listed[3]["picture"].is_null(), "{answer}");
    assert_eq!(names(&folder(&api)).len(), 3);
    let many: Vec<String> = (0..40).map(|n| head(&format!("{n}.txt"))).collect();
    let many: Vec<Part<'_>> = many.iter().map(|head| (head.as_str(), &b"x"[..])).collect();
    let answer = post(&api, "2", "", &many).await;
    let listed = answer["attachments"].as_array().unwrap();
    assert_eq!(listed.iter().filter(|file| file["path"].is_string()).count(), 10);
    assert_eq!((listed.len(), listed[20]["name"].as_str()), (21, Some("20 more files")), "{answer}");
    nothing_waits(&api).await;
    api.end().await;
}

#[tokio::test]
async fn files_after_many_refused_ones_are_stored() {
    let api = lab().await;
    let (bad, good) = (named("..."), [named("a.txt"), named("b.txt")]);
    let mut files: Vec<Part<'_>> = vec![(&bad, b"x"); 25];
    files.extend(good.iter().map(|head| (head.as_str(), &b"good"[..])));
    let answer = post(&api, "1", "hi", &files).await;
    let listed = answer["attachments"].as_array().unwrap();
    let taken: Vec<&str> = listed.iter().filter_map(|file| file["path"].as_str()).collect();
    assert!(taken.len() == 2 && taken[0].ends_with("-a.txt") && taken[1].ends_with("-b.txt"), "{answer}");
    assert_eq!((listed.len(), listed[12]["name"].as_str()), (13, Some("15 more files")), "{answer}");
    assert_eq!(names(&folder(&api)).len(), 2);
    nothing_waits(&api).await;
    api.end().await;
}

#[tokio::test]
async fn denied_senders_write_no_files_to_disk() {
    let api = lab().await;
    fs::create_dir_all(&api.settings.config_dir).unwrap();
    let rules =
        r#"{"default": {"allow": ["ann"], "mode": "trigger"}, "chats": {"web:shut": {"allow": [], "mode": "drop"}}}"#;
    fs::write(api.settings.config_dir.join("sender-allowlist.json"), rules).unwrap();
    api.group("web:shut", "shut").await;
    let file: [Part<'_>; 1] = [(&named("a.txt"), b"a")];
    let send = async |jid: &str, sender: &str, text: &str| {
        post_raw(&api, jid, form(&json!({"sender": sender, "text": text}), &file)).await
    };
    send("web:new", "ann", "hi").await.problem(404, "chat_not_registered");
    let known = api.store.read(groups::chats).await.unwrap();
    assert!(known.iter().any(|chat| chat.jid.as_str() == "web:new"));
    assert_eq!(send("web:shut", "ann", "hi").await.json()["attachments"], Value::Null);
    // The sender rules are read again after a moment.
    let denied = loop {
        let answer = send("web:lab", "eve", "hi").await.json();
        if answer["role"] == "denied" {
            break answer;
        }
        fs::remove_dir_all(folder(&api)).unwrap();
    };
    assert_eq!(denied["attachments"][0]["why"], "its sender may not trigger here");
    let many: Vec<String> = (0..40).map(|n| named(&format!("{n}.txt"))).collect();
    let many: Vec<Part<'_>> = many.iter().map(|head| (head.as_str(), &b"abc"[..])).collect();
    let denied = post_raw(&api, "web:lab", form(&json!({"sender": "eve", "text": "hi"}), &many)).await.json();
    let one = json!([{"name": "40 files", "size": 30, "why": "its sender may not trigger here"}]);
    assert_eq!((&denied["role"], &denied["attachments"]), (&json!("denied"), &one));
    let command = send("web:lab", "ann", "/stop").await.json();
    assert_eq!(command["attachments"][0]["why"], "a command takes no files");
    assert!(!folder(&api).exists() && names(&api.settings.home.groups()).iter().all(|name| name == "lab"));
    nothing_waits(&api).await;
    api.end().await;
}

#[tokio::test]
async fn broken_forms_are_refused_and_leave_nothing() {
    let api = start_with(
        |settings| settings.max_attachment_bytes = 4096,
        Limits { body: Duration::from_millis(300), body_bytes: 8192, ..Limits::default() },
    )
    .await;
    fs::create_dir(api.settings.home.groups()).unwrap();
    api.group("web:lab", "lab").await;
    let message = json!({"sender": "ann", "text": "hi"});
    let whole = form(&message, &[(&named("a.txt"), b"0123456789")]);
    let file_first =
        b"--xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx\r\n--xx--\r\n".to_vec();
    let endless_head = [&whole[..whole.len() - 8], b"\r\n--xx\r\nContent-Disposition: ", &vec![b'x'; 40_000]].concat();
    let bad: [(Vec<u8>, u16, &str); 8] = [
        (whole[..whole.len() - 12].to_vec(), 400, "invalid_body"),
        (file_first, 400, "invalid_body"),
        (b"--xx--\r\n".to_vec(), 400, "invalid_body"),
        (b"nonsense".to_vec(), 400, "invalid_body"),
        (form(&json!({"sender": "ann", "colour": 1}), &[]), 400, "invalid_body"),
        (endless_head, 400, "invalid_body"),
        // A field, and not a file.
        (form(&message, &[(&named("a"), b"x"), ("", b"x")]), 400, "invalid_body"),
        (form(&json!({"sender": "ann", "text": "x".repeat(9000)}), &[]), 413, "body_too_large"),
    ];
    for (body, status, code) in bad {
        let shown = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        let answer = post_raw(&api, "web:lab", body).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{shown}: {}", answer.json());
    }
    let text = post_raw(&api, "web:lab", form(&json!({"sender": "ann", "text": " "}), &[])).await;
    assert!(text.problem(400, "invalid_field").contains("empty"));
    // With an announced length the body is refused at once.
    let huge = vec![b'x'; 60_000];
    post_raw(&api, "web:lab", form(&message, &[(&named("h"), &huge)])).await.problem(413, "body_too_large");
    // Chunked, so nothing is announced: written by hand, slowly.
    let socket = api.socket();
    let slow = tokio::task::spawn_blocking(move || {
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        let head = "POST /v1/chats/web:lab/messages HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\
                    content-type: multipart/form-data; boundary=xx\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let half = &whole[..whole.len() - 12];
        stream.write_all(format!("{:x}\r\n", half.len()).as_bytes()).unwrap();
        stream.write_all(half).unwrap();
        stream.write_all(b"\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = slow.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_timeout"), "{answer}");
    nothing_waits(&api).await;
    assert!(!folder(&api).exists());
    let stored = api.store.read(|db| Ok(db.query_row("SELECT count(*) FROM inbound", [], |row| row.get::<_, i64>(0))?));
    assert_eq!(stored.await.unwrap(), 0);
    api.end().await;
}

#[tokio::test]
async fn hostile_attachments_folder_leads_nowhere_and_stops_nothing() {
    let api = lab().await;
    let outside = api.settings.home.root().join("outside");
    fs::create_dir(&outside).unwrap();
    let group = api.settings.home.groups().join("lab");
    fs::create_dir(&group).unwrap();
    let file: [Part<'_>; 1] = [(&named("a.txt"), b"a")];
    let place = group.join("attachments");
    let traps: [&dyn Fn(); 4] = [
        &|| symlink(&outside, &place).unwrap(),
        &|| symlink("/nowhere", &place).unwrap(),
        &|| fs::write(&place, "a file").unwrap(),
        &|| rustix::fs::mknodat(rustix::fs::CWD, &place, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap(),
    ];
    for (n, trap) in traps.iter().enumerate() {
        trap();
        let answer = post(&api, &n.to_string(), "hi", &file).await;
        let path = group.join(answer["attachments"][0]["path"].as_str().unwrap());
        assert_eq!(fs::read(path).unwrap(), b"a");
        assert!(names(&outside).is_empty());
        fs::rename(&place, group.join(format!("before{n}"))).unwrap();
    }
    // If no file can be placed, the message is stored without files.
    fs::remove_dir_all(&group).unwrap();
    fs::remove_dir(api.settings.home.groups()).unwrap();
    let answer = post(&api, "last", "hi", &file).await;
    assert_eq!(answer["attachments"][0]["why"], "the group's folder does not take it", "{answer}");
    nothing_waits(&api).await;
    api.end().await;
}

#[tokio::test]
async fn files_that_no_message_names_are_swept() {
    let api = lab().await;
    let answer = post(&api, "kept", "hi", &[(&named("a.txt"), b"a")]).await;
    let kept = answer["attachments"][0]["path"].as_str().unwrap().strip_prefix("attachments/").unwrap().to_owned();
    fs::write(folder(&api).join("lost.txt"), "of no message").unwrap();
    fs::write(folder(&api).join("own.txt"), "the agent's").unwrap();
    // An unfinished copy to another disk.
    fs::write(folder(&api).join(".parlor-new-1-1"), "hal").unwrap();
    let waiting = api.settings.home.data().join("inbox-files");
    let plan = |id: &str, names: &[&str]| {
        let dir = waiting.join(id);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("0"), "bytes").unwrap();
        let plan = json!({"jid": "web:lab", "platformId": id, "folder": "lab", "names": names});
        fs::write(dir.join("plan.json"), plan.to_string()).unwrap();
    };
    plan("kept", &[&kept, "lost.txt"]);
    plan("never", &["gone-already.txt", "../../x"]);
    fs::create_dir(waiting.join("half")).unwrap();
    fs::write(waiting.join("half/plan.json"), "{\"jid").unwrap();
    fs::create_dir(waiting.join("bare")).unwrap();
    let (groups, store) = (api.settings.home.groups(), api.store.clone());
    let clock = std::sync::Arc::new(crate::domain::clock::SystemClock);
    crate::channel::intake::attach::Attachments::new(&store, clock, groups, None, 1).sweep(&store).await.unwrap();
    assert_eq!(names(&folder(&api)), [kept.clone(), "own.txt".into()]);
    assert!(names(&waiting).is_empty());
    let jid = "web:lab".parse().unwrap();
    let stored = store.read(move |db| inbound::attachments(db, &jid, "kept")).await.unwrap().unwrap();
    assert_eq!(stored[0].path.as_deref(), Some(format!("attachments/{kept}").as_str()));
    api.end().await;
}
