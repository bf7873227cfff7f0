//! Tests of the event stream.

use std::time::Duration;

use serde_json::json;

use super::{Events, start, start_with};
use crate::api::Limits;
use crate::domain::event::{Event, TurnState};
use crate::domain::typing::Typing;

#[tokio::test]
async fn events_arrive_live_and_again_after_a_cursor() {
    let api = start().await;
    let mut live = Events::open(&api.socket(), "", &[]).await;
    let begin = live.headers["parlor-cursor"].to_str().unwrap().to_owned();
    assert_eq!(begin, format!("{}-0", api.store.id()));
    assert_eq!(live.headers["content-type"], "text/event-stream");
    let text = "line\nbreaks \"quoted\" \u{7} é😀";
    api.say("web:a", text).await;
    let turn = Event::Turn { chat_jid: "web:a".parse().unwrap(), state: TurnState::Done, through_seq: 4, reason: None };
    api.store.write(move |tx| crate::store::events::append(tx, &turn, chrono::Utc::now())).await.unwrap();
    let (id, name, data) = live.next().await.unwrap();
    assert_eq!((id.as_deref(), name.as_str()), (Some(format!("{}-1", api.store.id()).as_str()), "message"));
    assert_eq!((data["chatJid"].as_str(), data["text"].as_str()), (Some("web:a"), Some(text)));
    let (_, name, data) = live.next().await.unwrap();
    let time = data["time"].as_str().unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok() && time.ends_with('Z'), "{time}");
    let expected = json!({"chatJid": "web:a", "state": "done", "throughSeq": 4, "time": time});
    assert_eq!((name.as_str(), &data), ("turn", &expected));

    let mut all = Events::open(&api.socket(), &format!("?since={begin}"), &[]).await;
    assert_eq!(all.next().await.unwrap().2["text"], text);
    // The browser's last event id takes precedence over the address of its first request.
    let id = id.unwrap();
    let mut rest = Events::open(&api.socket(), &format!("?since={begin}"), &[("last-event-id", &id)]).await;
    assert_eq!(rest.next().await.unwrap().1, "turn");
    api.end().await;
}

#[tokio::test]
async fn stream_of_one_chat_has_only_its_events() {
    let api = start().await;
    let mut own = Events::open(&api.socket(), "?chat=web:b", &[]).await;
    for n in 0..1500 {
        api.say("web:a", &n.to_string()).await;
    }
    api.say("web:b", "for b").await;
    for jid in ["web:a", "web:b"] {
        api.typing.send(Typing { jid: jid.parse().unwrap(), on: true }).unwrap();
    }
    let mut seen = [own.next().await.unwrap(), own.next().await.unwrap()];
    seen.sort_by(|a, b| a.1.cmp(&b.1));
    assert_eq!(seen[0].2["text"], "for b");
    let time = seen[1].2["time"].as_str().unwrap();
    assert_eq!(seen[1], (None, "typing".into(), json!({"chatJid": "web:b", "on": true, "time": time})));
    api.end().await;
}

#[tokio::test]
async fn messages_of_other_clients_arrive_once_at_every_client() {
    let api = start().await;
    api.group("web:a", "room").await;
    let mut live = Events::open(&api.socket(), "?chat=web:a", &[]).await;
    let sent = crate::domain::clock::rfc3339(chrono::Utc::now());
    let text = "what was asked \u{1f600} \"so\"";
    let body = json!({"sender": "u1", "senderName": "Uma", "text": text, "id": "m-1", "timestamp": sent});
    for _ in 0..2 {
        api.call("POST", "/v1/chats/web:a/messages", Some(body.clone())).await;
    }
    api.say("web:a", "the answer").await;
    let (id, name, data) = live.next().await.unwrap();
    let time = data["time"].as_str().unwrap();
    let expected = json!({
        "chatJid": "web:a", "seq": 1, "id": "m-1", "sender": "u1", "senderName": "Uma", "text": text, "role": "trigger",
        "state": "pending", "sentAt": sent, "time": time,
    });
    assert_eq!((id.is_some(), name.as_str(), &data), (true, "message_in", &expected));
    assert_eq!(live.next().await.unwrap().2["text"], "the answer", "the repetition is no news");
    // An expired text must not remove the rest of its event.
    api.store.write(|tx| Ok(tx.execute("DELETE FROM inbound", [])?)).await.unwrap();
    let begin = format!("?since={}-0", api.store.id());
    let (_, _, data) = Events::open(&api.socket(), &begin, &[]).await.next().await.unwrap();
    assert_eq!((&data["senderName"], &data["text"]), (&json!("Uma"), &json!(null)));
    api.end().await;
}

#[tokio::test]
async fn cursors_that_cannot_be_followed_get_resync() {
    let api = start().await;
    for text in ["one", "two", "three"] {
        api.say("web:a", text).await;
    }
    let id = api.store.id().to_owned();
    for bad in ["other-1".to_owned(), format!("{id}-4")] {
        let answer = api.call("GET", &format!("/v1/events?since={bad}"), None).await;
        answer.problem(410, "resync");
        assert_eq!(answer.json()["cursor"], format!("{id}-3"));
    }
    for bad in ["x", "abc-", "abc-x", "abc--1", "-"] {
        let answer = api.call("GET", &format!("/v1/events?since={bad}"), None).await;
        assert!(answer.status == 400 || answer.status == 410, "{bad}: {answer:?}");
    }
    // The first two events expire: cursor 1 is too old, and cursor 2 just fits.
    api.store.write(|tx| Ok(tx.execute("DELETE FROM events WHERE seq <= 2", [])?)).await.unwrap();
    api.call("GET", &format!("/v1/events?since={id}-1"), None).await.problem(410, "resync");
    let mut rest = Events::open(&api.socket(), &format!("?since={id}-2"), &[]).await;
    assert_eq!(rest.next().await.unwrap().2["text"], "three");
    api.store.write(|tx| Ok(tx.execute("DELETE FROM events", [])?)).await.unwrap();
    api.call("GET", &format!("/v1/events?since={id}-2"), None).await.problem(410, "resync");
    Events::open(&api.socket(), &format!("?since={id}-3"), &[]).await;
    api.end().await;
}

#[tokio::test]
async fn text_of_48_mib_arrives_in_one_event() {
    let api = start().await;
    let mut live = Events::open(&api.socket(), "", &[]).await;
    let text = "0123456789abcde\n".repeat(3 << 20);
    api.say("web:a", &text).await;
    api.say("web:a", "after").await;
    let (_, _, data) = live.next().await.unwrap();
    assert!(data["text"].as_str() == Some(&text));
    assert_eq!(live.next().await.unwrap().2["text"], "after");
    api.end().await;
}

#[tokio::test]
async fn quiet_streams_are_kept_alive_and_end_with_the_host() {
    let limits = Limits { keep_alive: Duration::from_millis(30), ..Limits::default() };
    let api = start_with(|_| {}, limits).await;
    let mut live = Events::open(&api.socket(), "", &[]).await;
    let first = live.block().await.unwrap();
    assert!(first.starts_with(": "));
    for _ in 0..3 {
        assert_eq!(live.block().await.unwrap(), ": \n\n");
    }
    let socket = api.socket();
    api.stop.cancel();
    while live.block().await.is_some() {}
    api.task.await.unwrap();
    assert!(!socket.exists(), "the socket goes with the host");
}

#[tokio::test]
async fn slow_reader_blocks_nobody_and_loses_nothing() {
    let api = start().await;
    let mut slow = Events::open(&api.socket(), "", &[]).await;
    let mut quick = Events::open(&api.socket(), "", &[]).await;
    let text = "x".repeat(100_000);
    for n in 0..200 {
        api.say("web:a", &format!("{n} {text}")).await;
        let (_, _, data) = quick.next().await.unwrap();
        assert!(data["text"].as_str().unwrap().starts_with(&format!("{n} ")));
    }
    for n in 0..200 {
        let (_, _, data) = slow.next().await.unwrap();
        assert!(data["text"].as_str().unwrap().starts_with(&format!("{n} ")));
    }
    api.end().await;
}
