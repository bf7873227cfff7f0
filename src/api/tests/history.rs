//! Tests of reading a chat's messages: paging back and polling.

use serde_json::{Value, json};

use super::{Served, start};

const MESSAGES: &str = "/v1/chats/web:a/messages";

async fn page(api: &Served, query: &str) -> Value {
    let answer = api.call("GET", &format!("{MESSAGES}{query}"), None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn texts(page: &Value) -> Vec<&str> {
    page["messages"].as_array().unwrap().iter().map(|message| message["text"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn polling_returns_messages_stored_since_the_last_answer() {
    let api = start().await;
    api.call("GET", MESSAGES, None).await.problem(404, "not_found");
    api.group("web:a", "room").await;
    let empty = page(&api, "").await;
    assert_eq!((&empty["messages"], &empty["before"]), (&json!([]), &Value::Null));
    let send = async |text: &str| {
        let body = json!({ "sender": "u", "text": text });
        assert_eq!(api.call("POST", MESSAGES, Some(body)).await.status, 202);
    };
    send("one").await;
    api.say("web:a", "two").await;
    let after = |page: &Value| page["after"].as_str().unwrap().to_owned();
    let first = page(&api, &format!("?after={}", after(&empty))).await;
    assert_eq!((texts(&first), &first["before"]), (vec!["two", "one"], &Value::Null));
    let newest = page(&api, "?limit=1").await;
    assert_eq!(texts(&newest), ["two"]);
    // A page of older messages gives no cursor for polling.
    let older = page(&api, &format!("?before={}", newest["before"].as_str().unwrap())).await;
    assert_eq!((texts(&older), &older["after"]), (vec!["one"], &Value::Null));
    assert_eq!(texts(&page(&api, &format!("?after={}", after(&first))).await), Vec::<&str>::new());
    send("three").await;
    for known in [&first, &newest] {
        assert_eq!(texts(&page(&api, &format!("?after={}", after(known))).await), ["three"]);
    }
    api.end().await;
}

#[tokio::test]
async fn history_cursors_that_cannot_be_followed_are_refused() {
    let api = start().await;
    api.group("web:a", "room").await;
    api.say("web:a", "one").await;
    let id = api.store.id().to_owned();
    for bad in ["x", "1-2", &format!("{id}-1"), &format!("{id}-1-x"), ""] {
        api.call("GET", &format!("{MESSAGES}?after={bad}"), None).await.problem(400, "invalid_cursor");
    }
    api.call("GET", &format!("{MESSAGES}?before=x"), None).await.problem(400, "invalid_cursor");
    api.call("GET", &format!("{MESSAGES}?before=5-i-1&after={id}-0-0"), None).await.problem(400, "invalid_query");
    let other = api.call("GET", &format!("{MESSAGES}?after=other-1-1"), None).await;
    other.problem(410, "resync");
    assert_eq!(other.json()["cursor"], format!("{id}-0-1"));
    api.call("GET", &format!("/v1/chats/web:b/messages?after={id}-0-0"), None).await.problem(404, "not_found");
    api.end().await;
}
