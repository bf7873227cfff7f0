//! Tests of incoming messages.

use serde_json::json;

use super::{Answer, Served, start};

async fn post(api: &Served, jid: &str, body: serde_json::Value) -> Answer {
    api.call("POST", &format!("/v1/chats/{jid}/messages"), Some(body)).await
}

/// Text, sender and time.
type Row = (String, String, i64);

#[tokio::test]
async fn message_sent_twice_is_stored_once() {
    let api = start().await;
    api.group("web:lab", "lab").await;
    // The timestamp has another offset than the host's.
    let now = chrono::Utc::now().with_timezone(&chrono::FixedOffset::east_opt(3600).unwrap());
    let (ms, now) = (now.timestamp_millis(), now.to_rfc3339());
    let body = json!({"sender": "u1", "senderName": "Uma", "text": "hi", "id": "m-1", "timestamp": now});
    let first = post(&api, "web:lab", body.clone()).await;
    assert_eq!((first.status, first.json()), (202, json!({"seq": 1, "role": "trigger"})));
    let again = post(&api, "web%3Alab", body).await;
    assert_eq!(again.json(), json!({"seq": 1, "role": "trigger"}));
    let other = post(&api, "web:lab", json!({"sender": "u1", "text": "no id"})).await.json();
    let third = post(&api, "web:lab", json!({"sender": "u1", "text": "no id"})).await.json();
    assert!(other["seq"].as_i64().unwrap() > 1);
    assert!(third["seq"].as_i64() > other["seq"].as_i64(), "without ids each message is a new one");
    let stored: Vec<Row> = api
        .store
        .read(|db| {
            let mut s = db.prepare("SELECT text, sender_name, sent_at FROM inbound ORDER BY seq")?;
            Ok(s.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<Result<_, _>>()?)
        })
        .await
        .unwrap();
    assert_eq!(stored.len(), 3);
    assert_eq!(stored[0], ("hi".to_owned(), "Uma".to_owned(), ms));
    assert_eq!(stored[1].1, "u1");
    api.end().await;
}

#[tokio::test]
async fn unregistered_chat_is_refused_and_then_known() {
    let api = start().await;
    let answer = post(&api, "web:new", json!({"sender": "u1", "text": "hi"})).await;
    assert!(answer.problem(404, "chat_not_registered").contains("parlor groups add"));
    let chats = api.call("GET", "/v1/chats", None).await.json();
    assert_eq!(chats["chats"][0]["jid"], "web:new");
    assert_eq!(chats["chats"][0]["isRegistered"], false);
    api.end().await;
}

#[tokio::test]
async fn bad_requests_get_errors_that_name_the_fault() {
    let api = start().await;
    api.group("web:lab", "lab").await;
    let detail =
        post(&api, "web:lab", json!({"sender": "u", "text": "x", "colour": 1})).await.problem(400, "invalid_body");
    assert!(detail.contains("colour"), "{detail}");
    let detail = post(&api, "web:lab", json!({"text": "x"})).await.problem(400, "invalid_body");
    assert!(detail.contains("sender"), "{detail}");
    post(&api, "web:lab", json!({"sender": "u", "text": " \n"})).await.problem(400, "invalid_field");
    post(&api, "web:lab", json!({"sender": "", "text": "x"})).await.problem(400, "invalid_field");
    post(&api, "web:lab", json!({"sender": "u", "text": "x", "timestamp": "yesterday"}))
        .await
        .problem(400, "invalid_body");
    post(&api, "12036@g.us", json!({"sender": "u", "text": "x"})).await.problem(403, "chat_of_another_channel");
    post(&api, "telegram:1", json!({"sender": "u", "text": "x"})).await.problem(403, "chat_of_another_channel");
    post(&api, "web:a%20b", json!({"sender": "u", "text": "x"})).await.problem(400, "invalid_id");
    post(&api, "web:%ff", json!({"sender": "u", "text": "x"})).await.problem(400, "invalid_id");
    api.call("DELETE", "/v1/chats/web:lab/messages", None).await.problem(405, "method_not_allowed");
    api.call("GET", "/v1/chats/web:none/messages", None).await.problem(404, "not_found");
    api.call("GET", "/v1/chats/web:lab/messages?before=x", None).await.problem(400, "invalid_cursor");
    api.call("GET", "/v2", None).await.problem(404, "no_such_route");
    let stored: i64 =
        api.store.read(|db| Ok(db.query_row("SELECT count(*) FROM inbound", [], |r| r.get(0))?)).await.unwrap();
    assert_eq!(stored, 0);
    api.end().await;
}

#[tokio::test]
async fn fields_in_every_unambiguous_form_are_accepted() {
    let api = start().await;
    api.group("web:lab", "lab").await;
    let send = async |body: &[u8]| {
        let stream = tokio::net::UnixStream::connect(api.socket()).await.unwrap();
        let headers = [("host", "x"), ("content-type", "application/json")];
        super::request(stream, "POST", "/v1/chats/web:lab/messages", &headers, body.to_vec().into()).await
    };
    for body in [
        &b"\xef\xbb\xbf{\"sender\":\"u\",\"text\":\"with a mark\"}"[..],
        br#"{"sender":4217,"text":"from a number","id":7,"timestamp":1767319445}"#,
        br#"{"sender":"u","text":"half a face \ud83d"}"#,
        b"{\"sender\":\"u\",\"text\":\"two\nlines and no \xff\"}",
    ] {
        assert_eq!(send(body).await.status, 202, "{}", String::from_utf8_lossy(body));
    }
    let stored: Vec<Row> = api
        .store
        .read(|db| {
            let mut s = db.prepare("SELECT text, sender, sent_at FROM inbound ORDER BY seq")?;
            Ok(s.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<Result<_, _>>()?)
        })
        .await
        .unwrap();
    let texts: Vec<&str> = stored.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(texts, ["with a mark", "from a number", "half a face \u{fffd}", "two\nlines and no \u{fffd}"]);
    assert_eq!((stored[1].1.as_str(), stored[1].2), ("4217", 1_767_319_445_000));
    for (reply, id) in [("\"m-1\"", "m-1"), ("12", "12"), (r#"{"id":"m-2","text":"what was said"}"#, "m-2")] {
        let body = format!("{{\"sender\":\"u\",\"text\":\"an answer\",\"replyTo\":{reply}}}");
        assert_eq!(send(body.as_bytes()).await.status, 202, "{reply}");
        let quoted: String = api
            .store
            .read(|db| Ok(db.query_row("SELECT quoted FROM inbound ORDER BY seq DESC LIMIT 1", [], |row| row.get(0))?))
            .await
            .unwrap();
        assert!(quoted.contains(id), "{quoted}");
    }
    for wrong in ["true", "{}", r#"{"id":"x","colour":1}"#, r#""""#] {
        let body = format!("{{\"sender\":\"u\",\"text\":\"an answer\",\"replyTo\":{wrong}}}");
        assert_eq!(send(body.as_bytes()).await.status, 400, "{wrong}");
    }
    for (field, value) in [("id", r"a\nb"), ("sender", r"a\u0007b"), ("id", ""), ("sender", "")] {
        let mut body = json!({"sender": "u", "text": "x", "id": "y"});
        body[field] = serde_json::from_str(&format!("\"{value}\"")).unwrap();
        let detail = send(body.to_string().as_bytes()).await.problem(400, "invalid_field");
        assert!(detail.contains(field), "{detail}");
    }
    send(r#"{"sender":"u","text":" \u200b\u2060 "}"#.as_bytes()).await.problem(400, "invalid_field");
    let wrong = send(br#"{"sender":"u","text":"x","timestamp":-5}"#).await.problem(400, "invalid_body");
    assert!(wrong.starts_with("timestamp does not fit"), "{wrong}");
    api.end().await;
}

#[tokio::test]
async fn full_store_answers_503_with_retry_after() {
    let api = start().await;
    api.group("web:lab", "lab").await;
    // A really full database: it may add no page.
    api.store.write(|tx| Ok(tx.query_row("PRAGMA max_page_count = 1", [], |_| Ok(()))?)).await.unwrap();
    let mut full = None;
    for n in 0..200 {
        let answer = post(&api, "web:lab", json!({"sender": "u", "text": format!("{n} {}", "x".repeat(4000))})).await;
        if answer.status != 202 {
            full = Some(answer);
            break;
        }
    }
    let answer = full.expect("the store fills up");
    answer.problem(503, "store_full");
    assert_eq!(answer.headers["retry-after"], "5");
    api.store.write(|tx| Ok(tx.query_row("PRAGMA max_page_count = 100000", [], |_| Ok(()))?)).await.unwrap();
    assert_eq!(post(&api, "web:lab", json!({"sender": "u", "text": "x".repeat(4000)})).await.status, 202, "it goes on");
    api.end().await;
}
