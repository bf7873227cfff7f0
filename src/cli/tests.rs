//! Tests of the commands' output and of their effect on a served API. The agent is a test double.

use std::path::PathBuf;

use clap::{CommandFactory, Parser};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::chat::{end, room, turn};
use super::client::{Client, ClientError, segment};
use super::help::{command, suggesting};
use super::{Cli, Failure, Program, Running, output};
use crate::api::Limits;
use crate::api::tests::{Served, serve_settings, settings, start};
use crate::config::settings::Settings;
use crate::domain::delivery::{DeliveryKind, NewDelivery};
use crate::domain::event::{Event, TurnState};
use crate::domain::ids::{ChatJid, DeliveryId};
use crate::domain::message::InboundState;
use crate::store::outbox::{self, Route};
use crate::store::{Store, Wake, events, inbound};

#[test]
fn command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn helps() {
    let mut all = String::new();
    let mut command = super::command().term_width(100);
    command.build();
    collect(&mut command, "parlor", &mut all);
    insta::assert_snapshot!(all);
}

fn collect(command: &mut clap::Command, name: &str, all: &mut String) {
    all.extend(["$ ", name, " --help\n", &command.render_long_help().to_string(), "\n"]);
    for sub in command.get_subcommands_mut() {
        let name = format!("{name} {}", sub.get_name());
        if sub.get_name() != "help" {
            collect(sub, &name, all);
        }
    }
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    for args in [&["parlor", "nonsense"][..], &["parlor", "tasks", "add", "main", "x"], &["parlor", "chat", "-m"]] {
        assert_eq!(Cli::try_parse_from(args).unwrap_err().exit_code(), 2, "{args:?}");
    }
    assert!(Cli::try_parse_from(["parlor", "tasks", "add", "main", "x", "--every", "1h"]).is_ok());
    assert!(
        Cli::try_parse_from(["parlor", "tasks", "add", "main", "x", "--every", "1h", "--cron", "* * * * *"]).is_err()
    );
}

#[test]
fn wrong_options_get_no_misleading_advice() {
    for (args, wrong) in [
        (&["parlor", "tasks", "add", "main", "x", "--prompt", "y"][..], "--prompt"),
        (&["parlor", "chat", "--json"], "--json"),
        (&["parlor", "groups", "list", "--frobnicate"], "--frobnicate"),
    ] {
        let told = suggesting(command().try_get_matches_from(args).unwrap_err()).to_string();
        assert!(told.contains(wrong) && !told.contains("as a value"), "{told}");
    }
    let similar =
        suggesting(command().try_get_matches_from(["parlor", "chat", "--messag", "x"]).unwrap_err()).to_string();
    assert!(similar.contains("'--message'"), "{similar}");
}

#[test]
fn tables_are_aligned_and_harmless() {
    let group = json!({"folder": "lab", "jid": "web:lab", "name": "evil\u{1b}[2J\nname", "isMain": false,
                       "requiresTrigger": true, "effective": {"trigger": "@Andy", "provider": "llm", "model": "m-1"}});
    let main = json!({"folder": "main", "jid": "tty:main", "name": "main", "isMain": true, "requiresTrigger": false,
                      "effective": {"trigger": "@Andy", "provider": "guide", "model": null}});
    let rows = [&group, &main].map(super::groups::row);
    insta::assert_snapshot!(output::table(&super::groups::HEADING, &rows), @r"
    FOLDER  CHAT      NAME       MAIN  TRIGGER     PROVIDER  MODEL
    lab     web:lab   evil�[2J…        @Andy       llm       m-1
    main    tty:main  main       yes   not needed  guide
    ");
}

#[test]
fn path_segments_are_escaped() {
    assert_eq!(segment("web:lab"), "web:lab");
    assert_eq!(segment("a/b c?é"), "a%2Fb%20c%3F%C3%A9");
}

#[tokio::test]
async fn missing_host_is_reported_with_the_remedy() {
    let client = Client::new(PathBuf::from("/nonexistent/home/data/parlor.sock"));
    let error = client.get("/v1/groups").await.unwrap_err();
    assert!(matches!(error, ClientError::NoHost(_)));
    assert_eq!(error.to_string(), "no host is running for /nonexistent/home: start it with `parlor up`");
}

/// Test double: answers every message of every chat with an echo, and ends the turn as its text asks.
fn echo(served: &mut Served) {
    let (store, mut wakes) = (served.store.clone(), served.wakes.take().unwrap());
    tokio::spawn(async move {
        while let Some(wake) = wakes.recv().await {
            if let Wake::Group(jid) = wake {
                answer(&store, jid).await;
            }
        }
    });
}

async fn answer(store: &Store, jid: ChatJid) {
    let now = chrono::Utc::now();
    let work = store.write(move |tx| {
        let found: Vec<(i64, String)> = tx
            .prepare(
                "SELECT seq, text FROM inbound WHERE jid = ?1 AND state = 'pending' AND role IN ('trigger', 'command')",
            )?
            .query_map([&jid], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for (seq, text) in found {
            let new = NewDelivery {
                id: DeliveryId(ulid::Ulid::new()),
                jid: jid.clone(),
                text: format!("echo: {text}"),
                sender: None,
                reply_to: None,
                file: None,
                kind: DeliveryKind::Reply,
                run_id: None,
            };
            outbox::put(tx, &new, Route::Local, false, now)?;
            inbound::settle(tx, &[seq], InboundState::Done)?;
            let fails = text.contains("fail");
            let state = if fails { TurnState::Failed } else { TurnState::Done };
            let reason = fails.then(|| "it was asked to".to_owned());
            let event = Event::Turn { chat_jid: jid.clone(), state, through_seq: seq, reason };
            events::append(tx, &event, now)?;
        }
        Ok(())
    });
    work.await.unwrap();
}

async fn say(client: &Client, group: Option<&str>, text: &str) -> (String, Result<(), Failure>) {
    let mut shown = String::new();
    let room = match room(client, group).await {
        Ok(room) => room,
        Err(failure) => return (shown, Err(failure)),
    };
    let result = turn::answer(client, &room, text, Vec::new(), &mut |text| {
        shown.push_str(text);
        Ok(())
    })
    .await;
    (shown, result)
}

#[tokio::test]
async fn chat_prints_answers_and_reports_a_failed_turn() {
    let mut served = start().await;
    echo(&mut served);
    let client = Client::new(served.socket());
    let (shown, result) = say(&client, None, "hello").await;
    assert_eq!(shown, "echo: hello");
    assert!(result.is_ok());
    let main = client.get("/v1/groups/main").await.unwrap();
    assert_eq!((&main["isMain"], &main["jid"]), (&json!(true), &json!("tty:main")), "the first chat makes main");
    let (shown, result) = say(&client, Some("main"), "fail please").await;
    assert_eq!(shown, "echo: fail please");
    let Err(Failure::Failed(why)) = result else { panic!("it fails") };
    assert_eq!(why, "the turn failed: it was asked to");
    let long = "x".repeat(200_000);
    assert_eq!(say(&client, None, &long).await.0.len(), 6 + 200_000);
    served.end().await;
}

#[tokio::test]
async fn chat_finds_groups_by_any_name_and_waits_only_for_real_turns() {
    let mut served = start().await;
    served.group("web:lab", "lab").await;
    echo(&mut served);
    let client = Client::new(served.socket());
    for name in ["lab", "LAB", "web:lab"] {
        assert_eq!(say(&client, Some(name), "hi").await.0, "echo: hi");
    }
    let (_, result) = say(&client, Some("nowhere"), "hi").await;
    let Err(Failure::Failed(why)) = result else { panic!("it fails") };
    assert!(why.contains("there are lab") && why.contains("groups add"), "{why}");
    let (_, result) = say(&client, None, "hi").await;
    let Err(Failure::Failed(why)) = result else { panic!("no main") };
    assert!(why.contains("set-main"), "{why}");
    served.group("tty:main", "main").await;
    assert_eq!(say(&client, None, "hi").await.0, "echo: hi", "registered by hand, and not made main");
    let patch = json!({ "requiresTrigger": true });
    client.call(http::Method::PATCH, "/v1/groups/lab", Some(&patch)).await.unwrap();
    let (_, result) = say(&client, Some("lab"), "not addressed").await;
    let Err(Failure::Code(super::NOT_ADDRESSED, why)) = result else { panic!("returns at once") };
    assert!(why.contains("begin with @Andy"), "{why}");
    assert_eq!(say(&client, Some("lab"), "@andy hi").await.0, "echo: @andy hi");
    served.end().await;
}

#[tokio::test]
async fn chat_without_a_local_main_group_advises_a_terminal_chat() {
    let mut served = start().await;
    served.group("owner@s.whatsapp.net", "main").await;
    echo(&mut served);
    let client = Client::new(served.socket());
    client.call(http::Method::PATCH, "/v1/groups/main", Some(&json!({ "isMain": true }))).await.unwrap();
    for wanted in [None, Some("main")] {
        let (_, result) = say(&client, wanted, "hi").await;
        let Err(Failure::Failed(why)) = result else { panic!("it fails") };
        assert!(why.contains("another platform") && why.contains("`parlor groups add tty:me me"), "{why}");
    }
    // The advised command works, and its group is then the default.
    served.group("tty:me", "me").await;
    assert_eq!(say(&client, Some("me"), "hi").await.0, "echo: hi");
    assert_eq!(say(&client, None, "hi").await.0, "echo: hi");
    served.group("web:lab", "lab").await;
    assert!(say(&client, None, "hi").await.1.is_err(), "which of the two?");
    served.end().await;
}

/// Test double: a program whose host is a served API with an echo.
struct TestProgram;

impl Program for TestProgram {
    type Host = Served;
    async fn start(&self, settings: Settings) -> anyhow::Result<Served> {
        let mut served = serve_settings(settings, Limits::default()).await;
        echo(&mut served);
        Ok(served)
    }
    async fn up(&self, _: Settings) -> anyhow::Result<()> {
        anyhow::bail!("a test double")
    }
}

impl Running for Served {
    fn hard(&self) -> CancellationToken {
        CancellationToken::new()
    }
    async fn stop(self) -> anyhow::Result<()> {
        self.end().await;
        Ok(())
    }
}

#[tokio::test]
async fn chat_starts_a_host_where_none_runs_and_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    let settings = settings(dir.path());
    let socket = settings.home.socket();
    let Cli { command: super::Command::Chat(chat), .. } = Cli::parse_from(["parlor", "chat", "-m", "hi"]) else {
        panic!("chat")
    };
    assert!(chat.run(settings, &TestProgram).await.is_ok());
    assert!(!socket.exists(), "the host is gone with the chat");
}

#[tokio::test]
async fn denied_sender_gets_an_error_at_once() {
    let mut served = start().await;
    served.group("web:lab", "lab").await;
    echo(&mut served);
    let client = Client::new(served.socket());
    let folder = &served.settings.config_dir;
    std::fs::create_dir_all(folder).unwrap();
    for mode in ["trigger", "drop"] {
        let rules = format!(r#"{{"default": {{"allow": ["no one"], "mode": "{mode}"}}}}"#);
        std::fs::write(folder.join("sender-allowlist.json"), rules).unwrap();
        let (shown, result) = say(&client, Some("lab"), "@Andy hi").await;
        let Err(Failure::Failed(why)) = result else { panic!("{mode}: {result:?}") };
        assert_eq!((shown.as_str(), why.as_str()), ("", "you may not trigger here (sender-allowlist.json)"));
    }
    served.end().await;
}

#[tokio::test]
async fn event_stream_has_its_start_cursor() {
    let served = start().await;
    served.group("web:lab", "lab").await;
    let client = Client::new(served.socket());
    let events = client.events(None, Some("web:lab")).await.unwrap();
    let cursor = events.cursor().unwrap().to_owned();
    drop(events);
    served.say("web:lab", "meanwhile").await;
    let mut events = client.events(Some(&cursor), Some("web:lab")).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().data["text"], "meanwhile");
    served.end().await;
}

/// Test double: a host whose runs never finish by themselves.
struct Endless(CancellationToken);

impl Running for Endless {
    fn hard(&self) -> CancellationToken {
        self.0.clone()
    }
    async fn stop(self) -> anyhow::Result<()> {
        self.0.cancelled().await;
        Ok(())
    }
}

#[tokio::test]
async fn second_signal_ends_the_inner_host_at_once() {
    let host = Endless(CancellationToken::new());
    assert!(end(Some(host), std::future::ready(()), Ok(())).await.is_ok());
    let told = end(None::<Endless>, std::future::pending(), Err(Failure::Said)).await;
    assert!(matches!(told, Err(Failure::Said)));
}

#[tokio::test]
async fn every_command_works_against_a_host() {
    let served = start().await;
    served.group("web:lab", "lab").await;
    let client = Client::new(served.socket());
    let commands: &[&[&str]] = &[
        &["groups", "list"],
        &["groups", "list", "--json"],
        &["groups", "list", "--available"],
        &["groups", "add", "web:two", "two", "--memory", "1g", "--mount", "/srv/x:x:rw", "--env", "A=b"],
        &["groups", "show", "two"],
        &["groups", "update", "two", "--memory", "", "--trigger", "@two"],
        &["groups", "update", "two", "--pids", "64", "--timeout", "5000"],
        &["groups", "update", "two", "--pids", "", "--timeout", ""],
        &["groups", "add", "web:three", "three", "--pids", "", "--mount", "/srv/x"],
        &["groups", "update", "three", "--mount", ""],
        &["groups", "set-main", "two"],
        &["tasks", "add", "lab", "look", "--id", "t1", "--every", "1h"],
        &["tasks", "list"],
        &["tasks", "list", "lab", "--json"],
        &["tasks", "show", "t"],
        &["tasks", "ls", "lab"],
        &["tasks", "add", "lab", "look", "--in", "90s"],
        &["tasks", "update", "t1", "--prompt", "look again"],
        &["tasks", "pause", "t1"],
        &["tasks", "resume", "t1"],
        &["tasks", "run", "t1"],
        &["tasks", "history", "t1"],
        &["tasks", "cancel", "t1"],
        &["runs", "list"],
        &["runs", "retry", "lab"],
        &["sessions", "list"],
        &["outbox", "list", "--all"],
        &["outbox", "retry"],
        &["refusals"],
        &["refusals", "--json"],
        &["status"],
        &["groups", "remove", "lab"],
    ];
    for args in commands {
        if let Err(failure) = run(&client, args).await {
            panic!("{args:?}: {failure:?}");
        }
    }
    let two: Value = client.get("/v1/groups/two").await.unwrap();
    for key in ["memory", "pids", "timeout"] {
        assert_eq!(two["containerConfig"][key], Value::Null, "{key}");
    }
    let three: Value = client.get("/v1/groups/three").await.unwrap();
    let mounts = &three["containerConfig"]["additionalMounts"];
    assert!(mounts.as_array().is_none_or(Vec::is_empty), "{mounts}");
    assert_eq!(
        two["containerConfig"]["additionalMounts"][0],
        json!({"hostPath": "/srv/x", "containerPath": "x", "readonly": false})
    );
    for args in [
        &["groups", "show", "none"][..],
        &["tasks", "list", "none"],
        &["runs", "list", "none"],
        &["tasks", "run", "t1"],
        &["sessions", "forget", "two"],
        &["runs", "stop", "x"],
    ] {
        assert!(matches!(run(&client, args).await, Err(Failure::Failed(_))), "{args:?}");
    }
    served.end().await;
}

async fn run(client: &Client, args: &[&str]) -> Result<(), Failure> {
    use super::Command;
    let cli = Cli::try_parse_from([&["parlor"], args].concat()).unwrap();
    match cli.command {
        Command::Groups(it) => it.run(client).await,
        Command::Tasks(it) => it.run(client).await,
        Command::Runs(it) => it.run(client, &crate::config::home::Home::new("/nonexistent".into())).await,
        Command::Sessions(it) => it.run(client).await,
        Command::Outbox(it) => it.run(client).await,
        Command::Refusals(it) => it.run(client).await,
        Command::Status(it) => it.run(client).await,
        other => panic!("{other:?}"),
    }
}
