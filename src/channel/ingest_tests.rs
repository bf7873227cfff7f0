use super::*;
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::group::ContainerConfig;
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
        sent_at: SystemClock.now(),
    }
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

/// An intake whose rules say what a sender's words are worth.
fn ingest(store: &Store, dir: &tempfile::TempDir) -> Ingest {
    let file = dir.path().join("sender-allowlist.json");
    let rules = r#"{"default": {"allow": ["ann", "shut"], "mode": "trigger"},
        "chats": {"web:quiet": {"allow": ["ann"], "mode": "drop"}}}"#;
    std::fs::write(&file, rules).unwrap();
    let senders = Arc::new(Watched::new(file, SenderRules::from_file));
    let files = Attachments::new(store, Arc::new(SystemClock), dir.path().join("groups"), None, 1 << 20);
    Ingest::new(store.clone(), Arc::new(SystemClock), "Andy", senders, files)
}

/// What waits for the chat's agent.
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
    // The registration's own; wakes come after the answers to those who wrote.
    assert_eq!(wakes.recv().await, Some(Wake::Snapshots));
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
        assert_eq!(judge(&free, &message("web:a", "9", "hi"), &everyone, "Andy"), Verdict::Keep(Role::Trigger));
    }
    let own = Group { trigger: Some("!bot".into()), ..group };
    assert_eq!(judge(&own, &message("web:a", "9", "!BOT hi"), &everyone, "Andy"), Verdict::Keep(Role::Trigger));
    assert_eq!(judge(&own, &message("web:a", "9", "@Andy hi"), &everyone, "Andy"), Verdict::Keep(Role::Context));
}

#[tokio::test]
async fn dropped_words_are_not_kept_and_do_not_end_what_was_kept_before() {
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
async fn what_cannot_be_kept_is_refused_with_a_reason() {
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
