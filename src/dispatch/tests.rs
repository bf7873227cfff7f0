//! Actors on a real store and real folders, with a scripted engine (`house`).

pub(super) mod house;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use super::*;
use crate::domain::clock::from_ms;
use crate::domain::delivery::{DeliveryKind, NewDelivery};
use crate::domain::group::{ContainerConfig, Group};
use crate::domain::ids::DeliveryId;
use crate::domain::run::RunState;
use crate::store::outbox::Route;
use crate::store::runs::Run;
use crate::store::{Wake, inbound, outbox, runs};
use house::{House, jid};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn opening_room_obeys_stop_shutdown_and_removal() {
    let asks = ["stop", "stop by the operator", "end of the run", "removal", "shutdown"];
    for ask in asks {
        let house = House::build(None).await;
        house.say("a", "hello").await;
        house.importing(true).await;
        assert_eq!(house.doing("a").await, [Doing::Opening], "{ask}");
        let run = house.runs("a").await.remove(0);
        match ask {
            "stop" => house.say("a", "/stop").await,
            "stop by the operator" => assert!(house.dispatch.stop(&"a".parse().unwrap()).await),
            "end of the run" => assert!(house.dispatch.stop_run(&jid("a"), run.id).await),
            "removal" => {
                house.store.write(|tx| groups::remove(tx, &"a".parse().unwrap(), Utc::now())).await.unwrap();
            }
            _ => {
                house.shutdown.begin(SOON);
                house.dispatch.finished().await;
            }
        }
        // The image build ends with the last room that waits for it.
        house.importing(false).await;
        let ended = house
            .eventually("the end of the run", async || {
                let mut runs = house.runs("a").await;
                runs.iter().all(|run| run.state != RunState::Starting).then(|| runs.pop())
            })
            .await;
        let (state, message) = match ask {
            // No run is stored: the message's next run is its first.
            "shutdown" => (None, "pending 0"),
            "removal" => (Some(RunState::Stopped), "failed 0"),
            _ => (Some(RunState::Stopped), "cancelled 0"),
        };
        assert_eq!(
            (ended.map(|run| run.state), house.messages("a").await.remove(0).as_str()),
            (state, message),
            "{ask}"
        );
        let left = |name: &str| std::fs::read_dir(house.dir.path().join("data").join(name)).map_or(0, Iterator::count);
        house.eventually("nothing is left of it", async || (left("inputs") == 0).then_some(())).await;
        let names: Vec<_> = std::fs::read_dir(house.dir.path().join("data")).unwrap().collect();
        assert!(!names.iter().any(|name| name.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tar")));
        assert_eq!(house.doing("a").await, [], "{ask}");
    }
}

#[tokio::test]
async fn container_that_a_slow_client_makes_late_is_ended() {
    let house = House::build(Some("an-image")).await;
    house.engine.answers.store(false, Ordering::Relaxed);
    house.say("a", "hello").await;
    house.eventually("a works", async || (house.doing("a").await == [Doing::Working]).then_some(())).await;
    house.engine.slow.store(true, Ordering::Relaxed);
    house.say("a", "/stop").await;
    let ended = async || (!house.runs("a").await.iter().any(|run| run.ended_at.is_none())).then_some(());
    house.eventually("the run ends", ended).await;
    assert!(!house.engine.slow.load(Ordering::Relaxed), "nobody looked for it");
    assert!(!house.engine.there.load(Ordering::Relaxed), "it lives on");
}

#[tokio::test]
async fn image_build_is_shared_and_ends_with_its_last_waiter() {
    let house = House::build(None).await;
    let engine: Arc<dyn ContainerEngine> = house.engine.clone();
    let wait = || {
        let (rooms, engine) = (house.dispatch.shared.deps.rooms.clone(), engine.clone());
        tokio::spawn(async move { rooms.image_in_advance(&engine, "guide").await })
    };
    let first = wait();
    house.importing(true).await;
    let second = wait();
    // On this test's single thread, the second caller waits after this.
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert!(*house.engine.importing.borrow(), "the other one still waits for it");
    second.abort();
    house.importing(false).await;
}

#[tokio::test]
async fn panicked_actor_is_replaced_and_its_messages_wait_again() {
    let house = House::build(Some("an-image")).await;
    house.say("b", "hello").await;
    house.eventually("b is answered", async || (house.doing("b").await == [Doing::Idle]).then_some(())).await;
    let beside = house.runs("b").await;
    house.engine.answers.store(false, Ordering::Relaxed);
    house.say("a", "hello").await;
    house.eventually("a works", async || (house.doing("a").await == [Doing::Working]).then_some(())).await;
    house.engine.answers.store(true, Ordering::Relaxed);
    house.clock.0.store(true, Ordering::Relaxed);
    house.dispatch.wake(&jid("a"));
    house.eventually("a is answered", async || (house.messages("a").await == ["done 1"]).then_some(())).await;
    let states: Vec<RunState> = house.runs("a").await.iter().map(|run| run.state).collect();
    assert_eq!(states, [RunState::Running, RunState::Interrupted]);
    assert_eq!((house.doing("b").await, house.runs("b").await), (vec![Doing::Idle], beside));
    house.say("a", "again").await;
    house.eventually("it goes on", async || (house.messages("a").await.len() == 2).then_some(())).await;
}

const QUOTA: &str = r#"{"status":"error","error":"no more","errorKind":"quota","turn":"done"}"#;

#[tokio::test]
async fn failed_turn_sends_one_notice_and_fails_its_run() {
    let house = House::build(Some("an-image")).await;
    house.script(&[QUOTA, QUOTA]);
    house.say("a", "hello").await;
    let run = house
        .eventually("the run ends", async || house.runs("a").await.into_iter().find(|run| run.ended_at.is_some()))
        .await;
    assert_eq!(house.messages("a").await, ["failed 0"]);
    assert_eq!(house.texts("a").await, ["The agent's quota is used up: no more"]);
    assert_eq!((run.state, run.error.as_deref()), (RunState::Failed, Some("no more")));
}

#[tokio::test]
async fn pause_ends_when_the_operator_acts() {
    for by in ["/new", "settings", "retry"] {
        let house = House::build(Some("an-image")).await;
        house.script(&[r#"{"status":"error","error":"slow down","errorKind":"quota","retryAt":"9999-01-01T00:00:00Z","turn":"done"}"#]);
        house.say("a", "hello").await;
        house.eventually("it is paused", async || house.group("a").await.paused).await;
        let until = house.group("a").await.paused.unwrap().until;
        assert!(until - Utc::now() <= chrono::TimeDelta::days(7), "{until}");
        house.eventually("its room is gone", async || house.doing("a").await.is_empty().then_some(())).await;
        let waiting = house.dispatch.activity(&"a".parse().unwrap()).await.waiting.unwrap();
        assert!(waiting.starts_with("waits until ") && waiting.contains("quota is used up: slow down"), "{waiting}");
        house.script(&[]);
        match by {
            "/new" => house.say("a", "/new").await,
            "settings" => {
                let mut group = house.group("a").await;
                group.container_config.memory = Some("1g".into());
                house.store.write(move |tx| groups::update(tx, &group)).await.unwrap();
            }
            _ => {
                house.store.write(|tx| groups::set_pause(tx, &"a".parse().unwrap(), None)).await.unwrap();
                house.dispatch.go_on(&jid("a")).await;
            }
        }
        house.eventually(by, async || (house.messages("a").await[0] == "done 0").then_some(())).await;
        assert!(house.group("a").await.paused.is_none());
    }
}

#[tokio::test]
async fn messages_in_a_row_are_one_turn_and_commands_do_not_wait() {
    let house = House::with(Some("an-image"), |settings| settings.settle = Duration::from_secs(2)).await;
    for text in ["one", "two", "/status", "three"] {
        house.say("a", text).await;
    }
    house
        .eventually("the command is done", async || {
            let messages = house.messages("a").await;
            assert!(messages[2] == "done 0" || messages[0] == "pending 0", "{messages:?}");
            (messages[2] == "done 0").then_some(())
        })
        .await;
    house
        .eventually("they are answered", async || {
            let messages = house.messages("a").await;
            messages.iter().all(|message| message == "done 0").then_some(())
        })
        .await;
    let prompts = house.engine.prompts.lock().unwrap().clone();
    assert_eq!(prompts.len(), 1, "{prompts:?}");
    assert!(["one", "two", "three"].iter().all(|word| prompts[0].contains(&format!(">{word}<"))), "{prompts:?}");
}

#[tokio::test]
async fn news_search_skips_texts_of_the_chats_own_agent() {
    let house = House::build(Some("an-image")).await;
    let earlier = NewDelivery {
        id: DeliveryId(Ulid::new()),
        jid: jid("a"),
        text: "an earlier answer".into(),
        sender: None,
        reply_to: None,
        file: None,
        kind: DeliveryKind::Reply,
        run_id: Some(RunId(Ulid::new())),
    };
    house.store.write(move |tx| outbox::put(tx, &earlier, Route::Local, false, from_ms(1))).await.unwrap();
    house.script(&[r#"{"status":"success","result":"hello","turn":"done"}"#]);
    house.say("a", "hello").await;
    house.eventually("it is done", async || (house.messages("a").await == ["done 0"]).then_some(())).await;
    let told = house.store.read(|db| Ok(db.query_row("SELECT seq FROM told", [], |row| row.get::<_, i64>(0))?));
    assert_eq!(told.await.unwrap(), 1, "the agent's own words up to its turn are known");
}
