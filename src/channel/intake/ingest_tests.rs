use super::*;
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::group::ContainerConfig;
use crate::domain::message::Quoted;
use crate::store::testing::store;
use crate::store::{Wake, events};

fn message(jid: &str, id: &str, text: &str) -> NewMessage {
    NewMessage {
        jid: jid.parse().unwrap(),
        platform_id: id.into(),
        sender: "ann".into(),
        sender_name: "Ann".into(),
        text: text.into(),
        attachments: Vec::new(),
        quoted: None,
        sent_at: SystemClock.now(),
    }
}

fn policy() -> Policy {
    Policy { max_age: Some(TimeDelta::hours(1)), ..Policy::plain("Andy") }
}

async fn register(store: &Store, jid: &str) {
    let group = Group {
        folder: "room".parse().unwrap(),
        jid: jid.parse().unwrap(),
        name: "Room".into(),
        trigger: None,
        requires_trigger: true,
        is_main: false,
        container_config: ContainerConfig::default(),
        created_at: SystemClock.now(),
        paused: None,
    };
    store.write(move |tx| groups::register(tx, &group)).await.unwrap();
}

/// Returns an ingest whose rules decide about senders.
fn ingest(store: &Store, dir: &tempfile::TempDir) -> Ingest {
    let file = dir.path().join("sender-allowlist.json");
    let rules = r#"{"default": {"allow": ["ann", "shut"], "mode": "trigger"},
        "chats": {"web:quiet": {"allow": ["ann"], "mode": "drop"}}}"#;
    std::fs::write(&file, rules).unwrap();
    let senders = Arc::new(Watched::new(file, SenderRules::from_file));
    let files = Attachments::new(store, Arc::new(SystemClock), dir.path().join("groups"), None, 1 << 20);
    Ingest::new(store.clone(), Arc::new(SystemClock), policy(), senders, files)
}

/// Returns the messages that wait for the chat's agent.
async fn waiting(store: &Store, jid: &str) -> Vec<(i64, String, Role)> {
    let jid = jid.to_owned();
    let query = "SELECT seq, text, role FROM inbound WHERE jid = ?1 AND state = 'pending' ORDER BY seq";
    let read = store.read(move |db| {
        let mut statement = db.prepare(query)?;
        let rows = statement.query_map([jid], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    });
    read.await.unwrap()
}

#[tokio::test]
async fn a_message_is_stored_once_and_wakes_its_group() {
    let (dir, store, mut wakes) = store();
    register(&store, "web:a").await;
    // The registration's own wake-ups. They come after the answers to the writers.
    assert_eq!(wakes.recv().await, Some(Wake::Snapshots));
    assert_eq!(wakes.recv().await, Some(Wake::Registered("room".parse().unwrap())));
    let ingest = ingest(&store, &dir);
    let Accepted { seq: first, role, .. } = ingest.accept(message("web:a", "1", "@andy hi")).await.unwrap();
    assert_eq!(role, Role::Trigger);
    assert_eq!(wakes.recv().await, Some(Wake::Group("web:a".parse().unwrap())));
    let again = ingest.accept(message("web:a", "1", "changed")).await.unwrap();
    assert_eq!(
        again,
        Accepted { seq: first, role: Role::Trigger, attachments: Vec::new() },
        "as it was stored, not as it would be now"
    );
    let second = ingest.accept(message("web:a", "2", "by the way")).await.unwrap().seq;
    assert!(second > first);
    assert!(wakes.try_recv().is_err(), "neither a duplicate nor context wakes anyone");
    let stored = waiting(&store, "web:a").await;
    assert_eq!(stored, [(first, "@andy hi".into(), Role::Trigger), (second, "by the way".into(), Role::Context)]);
}

#[tokio::test]
async fn an_unregistered_chat_is_refused_and_becomes_known() {
    let (dir, store, _wakes) = store();
    let refused = ingest(&store, &dir).accept(message("web:new", "1", "hi")).await;
    assert!(matches!(refused, Err(IngestError::NotRegistered(jid)) if jid.as_str() == "web:new"));
    let chats = store.read(groups::chats).await.unwrap();
    assert_eq!((chats[0].jid.as_str(), chats[0].is_registered), ("web:new", false));
    assert_eq!(waiting(&store, "web:new").await, []);
}

#[tokio::test]
async fn roles_follow_sender_trigger_and_command() {
    let (dir, store, _wakes) = store();
    register(&store, "web:a").await;
    let ingest = ingest(&store, &dir);
    let cases = [
        ("ann", "@Andy hi", Role::Trigger),
        ("ann", "hi Andy", Role::Context),
        ("ann", "/stop", Role::Command),
        ("ann", "@andy /new", Role::Command),
        ("eve", "@Andy hi", Role::Denied),
        ("eve", "/stop", Role::Denied),
    ];
    let mut roles = Vec::new();
    for (n, (sender, text, _)) in cases.iter().enumerate() {
        let new = NewMessage { sender: (*sender).into(), ..message("web:a", &n.to_string(), text) };
        roles.push(ingest.accept(new).await.unwrap().role);
    }
    let stored = waiting(&store, "web:a").await;
    assert_eq!(stored.iter().map(|m| m.2).collect::<Vec<_>>(), cases.map(|c| c.2));
    assert_eq!(roles, cases.map(|c| c.2));

    let group = store.read(|db| groups::by_jid(db, &"web:a".parse().unwrap())).await.unwrap().unwrap();
    let everyone = SenderRules::from_file(Ok(None));
    for free in [Group { is_main: true, ..group.clone() }, Group { requires_trigger: false, ..group.clone() }] {
        assert_eq!(
            judge(&free, &message("web:a", "9", "hi"), &everyone, &Policy::plain("Andy"), SystemClock.now()),
            Verdict::Keep(Role::Trigger)
        );
    }
    let own = Group { trigger: Some("!bot".into()), ..group };
    assert_eq!(
        judge(&own, &message("web:a", "9", "!BOT hi"), &everyone, &Policy::plain("Andy"), SystemClock.now()),
        Verdict::Keep(Role::Trigger)
    );
    assert_eq!(
        judge(&own, &message("web:a", "9", "@Andy hi"), &everyone, &Policy::plain("Andy"), SystemClock.now()),
        Verdict::Keep(Role::Context)
    );
}

#[tokio::test]
async fn dropped_messages_lose_their_text_and_end_no_known_message() {
    let (dir, store, _wakes) = store();
    register(&store, "web:quiet").await;
    let ingest = ingest(&store, &dir);
    let eve = |id: &str| NewMessage { sender: "eve".into(), ..message("web:quiet", id, "secret words") };
    let dropped = ingest.accept(eve("1")).await.unwrap();
    assert_eq!(dropped.role, Role::Denied);
    assert_eq!(ingest.accept(eve("1")).await.unwrap(), dropped);
    let kept = ingest.accept(message("web:quiet", "2", "@Andy hi")).await.unwrap();
    assert_eq!(ingest.accept(eve("2")).await.unwrap(), kept);
    let stored = waiting(&store, "web:quiet").await;
    assert_eq!(stored, [(kept.seq, "@Andy hi".to_owned(), Role::Trigger)]);
    let words: i64 = store
        .read(|db| Ok(db.query_row("SELECT count(*) FROM inbound WHERE text LIKE '%secret%'", [], |r| r.get(0))?))
        .await
        .unwrap();
    assert_eq!(words, 0);
    let told = store.read(|db| events::after(db, 0, None)).await.unwrap();
    assert_eq!(told.iter().filter_map(|e| e.text.as_deref()).collect::<Vec<_>>(), ["@Andy hi"]);
}

#[tokio::test]
async fn invalid_messages_are_refused_with_a_reason() {
    let (dir, store, _wakes) = store();
    register(&store, "web:a").await;
    let ingest = ingest(&store, &dir);
    let long = "x".repeat(MAX_TEXT + 1);
    for (id, text, what) in [("1", long.as_str(), "1048577 bytes"), ("1", " \n", "empty"), ("", "x", "the id has 0")] {
        match ingest.accept(message("web:a", id, text)).await {
            Err(IngestError::Invalid(reason)) => assert!(reason.contains(what), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    ingest.accept(message("web:a", "1", "a\0b")).await.unwrap();
    let stored = waiting(&store, "web:a").await;
    assert_eq!(stored[0].1, "a\u{fffd}b");
    let told = store.read(|db| events::after(db, 0, None)).await.unwrap();
    assert_eq!(told.iter().map(|e| e.text.as_deref()).collect::<Vec<_>>(), [Some("a\u{fffd}b")], "only what was kept");
}

#[tokio::test]
async fn fifty_writers_share_commits_and_lose_nothing() {
    let (dir, store, _wakes) = store();
    register(&store, "web:a").await;
    let ingest = ingest(&store, &dir);
    let writers: Vec<_> = (0..50)
        .map(|writer| {
            let ingest = ingest.clone();
            tokio::spawn(async move {
                let mut last = 0;
                for n in 0..40 {
                    let new = message("web:a", &format!("{writer}-{n}"), "hi");
                    let seq = ingest.accept(new).await.unwrap().seq;
                    assert!(seq > last, "a later message came before an earlier one");
                    last = seq;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(waiting(&store, "web:a").await.len(), 2000);
}

#[tokio::test]
async fn old_messages_start_nothing_but_replies_to_the_assistant_do() {
    use crate::domain::delivery::{DeliveryKind, NewDelivery};
    use crate::domain::ids::DeliveryId;
    use crate::store::outbox::{self, Route};
    let (dir, store, _wakes) = store();
    register(&store, "web:a").await;
    let ingest = ingest(&store, &dir);
    let aged = |id: &str, minutes: i64, text: &str| NewMessage {
        sent_at: SystemClock.now() - TimeDelta::minutes(minutes),
        ..message("web:a", id, text)
    };
    for (id, minutes, text, role) in [
        ("1", 59, "@Andy hi", Role::Trigger),
        ("2", 61, "@Andy hi", Role::Context),
        ("3", 366 * 24 * 60, "/stop", Role::Context),
        ("4", -600, "/stop", Role::Command),
    ] {
        assert_eq!(ingest.accept(aged(id, minutes, text)).await.unwrap().role, role, "{id}");
    }
    let said = NewDelivery {
        id: DeliveryId(SystemClock.ulid()),
        jid: "web:a".parse().unwrap(),
        text: "Did you take them? ".repeat(100),
        sender: None,
        reply_to: None,
        file: None,
        kind: DeliveryKind::Reply,
        run_id: None,
    };
    let delivery = said.id.to_string();
    store.write(move |tx| outbox::put(tx, &said, Route::Local, false, SystemClock.now())).await.unwrap();
    let reply = |n: &str, quoted: Quoted| NewMessage { quoted: Some(quoted), ..message("web:a", n, "yes") };
    let named = |id: &str| Quoted { id: id.into(), ..Quoted::default() };
    for (n, quoted, role) in [
        ("5", named(&delivery), Role::Trigger),
        ("6", named("1"), Role::Context),
        ("7", Quoted { assistant: true, ..named("1") }, Role::Context),
        ("8", Quoted { assistant: true, ..named("elsewhere") }, Role::Trigger),
        ("9", named("elsewhere"), Role::Context),
    ] {
        assert_eq!(ingest.accept(reply(n, quoted)).await.unwrap().role, role, "{n}");
    }
    let quoted: Vec<Option<String>> = store
        .read(|db| {
            let mut s = db.prepare("SELECT quoted FROM inbound WHERE platform_id IN ('5', '6', '9') ORDER BY seq")?;
            Ok(s.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
        })
        .await
        .unwrap();
    let quoted: Vec<Quoted> = quoted.into_iter().map(|json| serde_json::from_str(&json.unwrap()).unwrap()).collect();
    let text = quoted[0].text.as_deref().unwrap();
    assert!(text.starts_with("Did you") && text.ends_with('…') && text.chars().count() == 1001, "{text}");
    assert_eq!((quoted[0].sender.as_deref(), quoted[0].assistant), (Some("Andy"), true));
    assert_eq!((quoted[1].sender.as_deref(), quoted[1].text.as_deref()), (Some("Ann"), Some("@Andy hi")));
    assert_eq!(quoted[2], named("elsewhere"));
}

#[test]
fn trigger_may_count_anywhere() {
    let group = Group {
        folder: "room".parse().unwrap(),
        jid: "web:a".parse().unwrap(),
        name: "Room".into(),
        trigger: None,
        requires_trigger: true,
        is_main: false,
        container_config: ContainerConfig::default(),
        created_at: SystemClock.now(),
        paused: None,
    };
    let rules = SenderRules::from_file(Ok(None));
    let role = |anywhere, text: &str| {
        let policy = Policy { anywhere, ..Policy::plain("Mo") };
        judge(&group, &message("web:a", "1", text), &rules, &policy, SystemClock.now())
    };
    assert_eq!(role(false, "hey @Mo"), Verdict::Keep(Role::Context));
    assert_eq!(role(true, "hey @Mo"), Verdict::Keep(Role::Trigger));
    assert_eq!(role(true, "hey Moritz"), Verdict::Keep(Role::Context));
}
