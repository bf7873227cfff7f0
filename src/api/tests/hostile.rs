//! Requests that must be refused, and clients that are slow, many or malformed.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::{Events, TOKEN, start, start_with};
use crate::api::{Limits, ListenError, Listeners};
use crate::config::settings::Settings;

fn tcp(settings: &mut Settings) {
    settings.listen = Some("127.0.0.1:0".parse().unwrap());
    settings.token = Some(TOKEN.into());
}

#[tokio::test]
async fn tcp_accepts_only_the_right_token_in_the_right_header() {
    let api = start_with(tcp, Limits::default()).await;
    let host = api.tcp.unwrap().to_string();
    let host = ("host", host.as_str());
    let bearer = format!("Bearer {TOKEN}");
    let bearer = ("authorization", bearer.as_str());
    assert_eq!(api.call_tcp("/v1/status", &[host, bearer]).await.status, 200);
    let answer = api.call_tcp("/v1/status", &[host]).await;
    answer.problem(401, "unauthorized");
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
    for path in ["/v1/status", "/healthz", "/readyz", "/metrics", "/v1/events", "/nothing"] {
        api.call_tcp(path, &[host]).await.problem(401, "unauthorized");
    }
    for query in ["token", "access_token", "authorization"] {
        api.call_tcp(&format!("/v1/status?{query}={TOKEN}"), &[host]).await.problem(401, "unauthorized");
    }
    api.call_tcp("/v1/status", &[("host", "evil.example"), bearer]).await.problem(403, "host_not_allowed");
    let origin = ("origin", "http://evil.example");
    api.call_tcp("/v1/status", &[host, bearer, origin]).await.problem(403, "origin_not_allowed");
    api.end().await;
}

#[tokio::test]
async fn tcp_address_or_token_alone_is_refused() {
    let api = start().await;
    for (listen, token) in [(Some("127.0.0.1:0".parse().unwrap()), None), (None, Some("t".into()))] {
        let mut settings = (*api.settings).clone();
        (settings.listen, settings.token) = (listen, token);
        assert!(matches!(Listeners::bind(&settings).await, Err(ListenError::HalfSet)));
    }
    api.end().await;
}

#[tokio::test]
async fn socket_of_a_dead_host_is_replaced_and_of_a_live_one_is_not() {
    use std::os::unix::fs::PermissionsExt;
    let api = start().await;
    let mode = std::fs::metadata(api.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(Listeners::bind(&api.settings).await, Err(ListenError::InUse(_))));
    assert_eq!(api.call("GET", "/healthz", None).await.status, 200, "the live one is still there");
    let (settings, dir) = (api.settings.clone(), api.dir.as_ref().unwrap().path().to_owned());
    api.end().await;
    std::fs::create_dir_all(dir.join("data")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(settings.home.socket()).unwrap());
    assert!(settings.home.socket().exists());
    let listeners = Listeners::bind(&settings).await.unwrap();
    assert!(UnixStream::connect(settings.home.socket()).await.is_ok());
    drop(listeners);
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn socket_works_in_a_home_with_a_long_path() {
    let long = "d".repeat(120);
    let api = start_with(
        |settings| {
            let root = settings.home.root().join(&long);
            std::fs::create_dir_all(root.join("data")).unwrap();
            settings.home = crate::config::home::Home::new(root);
        },
        Limits::default(),
    )
    .await;
    let (short, _folder) = crate::api::short_path(&api.socket()).unwrap();
    let stream = UnixStream::connect(short).await.unwrap();
    let answer = super::request(stream, "GET", "/healthz", &[("host", "x")], "".into()).await;
    assert_eq!(answer.status, 200);
    api.end().await;
}

#[tokio::test]
async fn bodies_that_are_too_large_or_too_deep_are_refused() {
    let api = start().await;
    api.group("web:lab", "lab").await;
    let text = "x".repeat((4 << 20) - 100);
    let answer = api.call("POST", "/v1/chats/web:lab/messages", Some(json!({"sender": "u", "text": text}))).await;
    answer.problem(400, "invalid_field");
    let text = "x".repeat(4 << 20);
    let answer = api.call("POST", "/v1/chats/web:lab/messages", Some(json!({"sender": "u", "text": text}))).await;
    assert!(answer.problem(413, "body_too_large").contains("4194304"));
    // The same without an announced length.
    let mut stream = UnixStream::connect(api.socket()).await.unwrap();
    stream
        .write_all(b"POST /v1/chats/web:lab/messages HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
    for _ in 0..12 {
        // The refusal comes in the middle of the body, but the rest is still read: a client that writes everything
        // first also gets the answer.
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let stream = UnixStream::connect(api.socket()).await.unwrap();
    let answer = super::request(
        stream,
        "PATCH",
        "/v1/groups/lab",
        &[("host", "x"), ("content-type", "application/json")],
        format!("{{\"containerConfig\":{deep}}}").into(),
    );
    answer.await.problem(400, "invalid_body");
    api.end().await;
}

#[tokio::test]
async fn slow_heads_and_bodies_are_cut_off() {
    let limits = Limits { head: Duration::from_millis(300), body: Duration::from_millis(300), ..Limits::default() };
    let api = start_with(tcp, limits).await;
    api.group("web:lab", "lab").await;
    // The head arrives byte by byte; each byte alone is in time.
    let mut slow = TcpStream::connect(api.tcp.unwrap()).await.unwrap();
    let mut closed = false;
    for byte in b"GET /v1/status HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ".iter().chain(std::iter::repeat_n(&b'x', 200)) {
        if slow.write_all(&[*byte]).await.is_err() {
            closed = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A full head at this pace would take at least five seconds.
    assert!(closed, "closed while it trickled");
    let mut slow = UnixStream::connect(api.socket()).await.unwrap();
    slow.write_all(b"POST /v1/chats/web:lab/messages HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
        .await
        .unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), slow.read_to_end(&mut answer)).await.expect("it ends").unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_timeout"), "{answer}");
    api.end().await;
}

#[tokio::test]
async fn client_that_leaves_its_answer_unread_is_cut_off() {
    let limits = Limits { stall: Duration::from_millis(200), ..Limits::default() };
    let api = start_with(|_| {}, limits).await;
    let mut stuck = Events::open(&api.socket(), "", &[]).await;
    api.say("web:a", &"x".repeat(8 << 20)).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    // Bytes sent before the cut can be read; the rest never comes.
    let mut ended = false;
    while let Some(frame) = http_body_util::BodyExt::frame(&mut stuck.body).await {
        ended = frame.is_err();
    }
    assert!(ended, "the stream was cut in the middle");
    api.end().await;
}

#[tokio::test]
async fn body_types_that_another_origin_can_send_are_refused() {
    let api = start_with(tcp, Limits::default()).await;
    api.group("web:lab", "lab").await;
    let body = json!({"sender": "u", "text": "hi"}).to_string();
    let send = async |path: &str, method: &str, kind: &[&str], body: &str| {
        let mut headers = vec![("host", "x")];
        headers.extend(kind.iter().map(|kind| ("content-type", *kind)));
        let stream = UnixStream::connect(api.socket()).await.unwrap();
        super::request(stream, method, path, &headers, body.to_owned().into()).await
    };
    let path = "/v1/chats/web:lab/messages";
    for kind in [
        &["text/plain"][..],
        &["application/x-www-form-urlencoded"],
        &["text/plain; application/json"],
        &["application/jsonp"],
        &["application/json; charset=utf-16"],
        &["application/json", "text/plain"],
        &["multipart/mixed; boundary=xx"],
        &[""],
        &[],
    ] {
        send(path, "POST", kind, &body).await.problem(415, "unsupported_media_type");
    }
    for (method, path, body) in [
        ("POST", "/v1/groups", json!({"jid": "web:b", "folder": "b"})),
        ("PATCH", "/v1/groups/lab", json!({"name": "b"})),
        ("POST", "/v1/tasks", json!({"folder": "lab"})),
        ("PATCH", "/v1/tasks/t", json!({"prompt": "b"})),
        ("PATCH", "/v1/sessions/lab", json!({"sessionId": "b"})),
        ("POST", "/v1/runs/retry", json!({"folder": "lab"})),
        ("POST", "/v1/outbox/retry", json!({"id": "b"})),
    ] {
        let answer = send(path, method, &["text/plain"], &body.to_string()).await;
        answer.problem(415, "unsupported_media_type");
        let form = send(path, method, &["multipart/form-data; boundary=xx"], &body.to_string()).await;
        form.problem(415, "unsupported_media_type");
    }
    for kind in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""] {
        assert_eq!(send(path, "POST", &[kind], &body).await.status, 202, "{kind}");
    }
    assert_eq!(send("/v1/outbox/retry", "POST", &[], "").await.status, 200, "nothing needs no kind");
    // The target's host differs from the header's.
    let token = format!("Bearer {TOKEN}");
    let own = format!("localhost:{}", api.tcp.unwrap().port());
    let headers = [("host", own.as_str()), ("authorization", token.as_str())];
    api.call_tcp("http://evil.example/v1/status", &headers).await.problem(403, "host_not_allowed");
    assert_eq!(api.call_tcp(&format!("http://{own}/v1/status"), &headers).await.status, 200);
    api.end().await;
}

#[tokio::test]
async fn malformed_requests_get_an_error_or_are_closed() {
    let api = start().await;
    for bytes in
        [&b"\0\0\0\0\r\n\r\n"[..], b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\r\n\r\n"]
    {
        let mut stream = UnixStream::connect(api.socket()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.expect("closed").unwrap();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{:?}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(api.call("GET", "/healthz", None).await.status, 200);
    api.end().await;
}

#[tokio::test]
async fn a_thousand_idle_connections_disturb_nobody() {
    let api = start().await;
    api.group("web:lab", "lab").await;
    let twenty = async || {
        let begun = Instant::now();
        for _ in 0..20 {
            let body = json!({"sender": "u", "text": "hi"});
            assert_eq!(api.call("POST", "/v1/chats/web:lab/messages", Some(body)).await.status, 202);
        }
        begun.elapsed()
    };
    let alone = twenty().await;
    let mut idle = Vec::new();
    for _ in 0..1000 {
        idle.push(UnixStream::connect(api.socket()).await.unwrap());
    }
    let beside = twenty().await;
    assert!(beside < (alone * 20).max(Duration::from_secs(10)), "{beside:?}, alone {alone:?}");
    drop(idle);
    api.end().await;
}

#[tokio::test]
async fn connections_over_the_limit_get_503_until_others_end() {
    let api = start_with(|_| {}, Limits { connections: 3, ..Limits::default() }).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Events::open(&api.socket(), "", &[]).await);
    }
    let mut stream = UnixStream::connect(api.socket()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(String::from_utf8(answer).unwrap().contains("too_many_connections"));
    drop(held);
    let free = async {
        loop {
            let mut stream = UnixStream::connect(api.socket()).await.unwrap();
            let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            if answer.starts_with(b"HTTP/1.1 200") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), free).await.expect("a place becomes free");
    api.end().await;
}
