//! The usage of turns is counted by group and day, and a group with a used-up budget waits.

use std::fs;

use serde_json::{Value, json};

use crate::harness::host::{Builder, Host};
use crate::harness::models::{Protocol, Reply, Server};
use crate::harness::rows::{database, runs};
use crate::harness::{SOON, eventually};

fn used(host: &Host) -> Vec<Value> {
    host.api.get("/v1/usage?days=2").expect(200).json()["usage"].as_array().unwrap().clone()
}

fn state(host: &Host, seq: i64) -> String {
    database(host).query_row("SELECT state FROM inbound WHERE seq = ?1", [seq], |row| row.get(0)).unwrap()
}

#[test]
fn usage_is_summed_by_group_and_day() {
    let mut host = Host::builder().env("TZ", "UTC").start();
    host.register("web:a", "a");
    host.register("web:b", "b");
    assert!(used(&host).is_empty());
    host.ask("web:a", "!usage 100 20 0.25");
    host.ask("web:a", "!usage 10 2 0.5");
    host.ask("web:b", "!usage 7 0 0");
    host.ask("web:b", "nothing is reported");
    host.crash_and_restart();
    let rows = used(&host);
    let of = |folder: &str| rows.iter().find(|row| row["folder"] == folder).unwrap();
    let a = json!({"folder": "a", "day": of("a")["day"], "turns": 2, "inputTokens": 110, "outputTokens": 22,
        "cacheReadTokens": 0, "cacheWriteTokens": 0, "costUsd": 0.75});
    assert_eq!(of("a"), &a);
    assert_eq!((&of("b")["turns"], &of("b")["inputTokens"], &of("b")["costUsd"]), (&json!(1), &json!(7), &json!(0.0)));
    let shown = host.command().args(["usage", "--days", "2"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("$0.7500") && shown.contains("unknown"), "{shown}");
    assert!(shown.ends_with("Together: 139 tokens, $0.7500.\n"), "{shown}");
    let one = host.command().args(["usage", "b", "--json"]).output().unwrap();
    let one: Value = serde_json::from_slice(&one.stdout).unwrap();
    assert_eq!(one.as_array().unwrap().len(), 1);
}

#[test]
fn group_with_a_used_up_budget_waits_until_it_is_raised() {
    let mut host = Host::builder().env("PARLOR_BUDGET_TOKENS", 1000).start();
    host.register_with("web:a", "a", &json!({"budget": {"usd": 1.0}}));
    host.register("web:b", "b");
    let mut events = host.events();
    let first = host.send("web:a", "!usage 1 1 0.6");
    events.turn_done("web:a", first, SOON);
    let second = host.send("web:a", "!usage 1 1 0.6");
    events.turn_done("web:a", second, SOON);
    let notice = events.message("web:a", SOON, |text| text.contains("budget"));
    let text = notice.data["text"].as_str().unwrap();
    assert!(text.starts_with("Today's budget of $1.00 is used up ($1.20 used): "), "{text}");
    // The room closes, new messages wait, and other groups continue.
    eventually("the room is closed", SOON, || (runs(&host, "a")[0]["state"] == "succeeded").then_some(()));
    let third = host.send("web:a", "later");
    let status = host.ask("web:a", "/status").join("\n");
    assert!(status.contains("today's budget of $1.00 is used up"), "{status}");
    assert_eq!(host.ask("web:b", "hello"), ["echo: hello"]);
    assert_eq!(state(&host, third), "pending");
    // `/stop` cancels the waiting messages, and nothing else.
    assert!(host.ask("web:a", "/stop").join("").contains("Stopped"));
    assert_eq!(state(&host, third), "cancelled");
    let third = host.send("web:a", "later");
    let status = host.ask("web:a", "/status").join("\n");
    assert!(status.contains("today's budget of $1.00 is used up"), "{status}");
    let runs_before = runs(&host, "a").len();
    // The same after a restart, and the chat gets no second notice.
    host.crash_and_restart();
    assert_eq!(host.ask("web:b", "again"), ["echo: again"]);
    assert_eq!(state(&host, third), "pending");
    assert_eq!(runs(&host, "a").len(), runs_before);
    let mut events = host.events();
    let raised = host.command().args(["groups", "update", "a", "--budget-usd", "2"]).output().unwrap();
    assert!(raised.status.success(), "{raised:?}");
    events.turn_done("web:a", third, SOON);
    assert_eq!(events.texts("web:a"), ["echo: later"]);
}

#[test]
fn price_of_the_model_sets_the_cost_whatever_the_group_reports() {
    let server = Server::start(Protocol::Anthropic, |_| Reply::text("hi"));
    let host = llm(&server, "claude-sonnet-5").start();
    host.register("web:a", "a");
    let agent = host.root().join("data/sessions/a/agent");
    fs::create_dir_all(&agent).unwrap();
    fs::write(agent.join("agent.toml"), "[llm]\nprice = { input = 0, output = 0 }\n").unwrap();
    host.ask("web:a", "hello");
    let row = used(&host).remove(0);
    let of = |key: &str| row[key].as_f64().unwrap();
    let cost = of("inputTokens") * 2.0
        + of("outputTokens") * 10.0
        + of("cacheReadTokens") * 0.2
        + of("cacheWriteTokens") * 2.5;
    assert!(cost > 0.0 && (of("costUsd") - cost / 1e6).abs() < 1e-9, "{row}");
    assert_eq!(row["unpriced"], Value::Null);
    let shown = host.command().args(["usage"]).output().unwrap();
    assert!(!String::from_utf8(shown.stdout).unwrap().contains("unknown"));
}

#[test]
fn budget_in_money_without_a_price_is_refused_at_once() {
    let server = Server::start(Protocol::Anthropic, |_| Reply::text("hi"));
    let host = llm(&server, "claude-of-nobody").start();
    host.register("web:a", "a");
    let refused = host.command().args(["groups", "update", "a", "--budget-usd", "1"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    for part in ["a budget of $1.00 has no effect on llm:claude-of-nobody", "prices.toml", "a budget in tokens"] {
        assert!(!refused.status.success() && said.contains(part), "{part}: {said}");
    }
    host.api.patch("/v1/groups/a", &json!({"containerConfig": {"budget": {"tokens": 1000}}})).expect(200);
    // With such a budget for all groups, the host does not start.
    let mut house = llm(&server, "claude-of-nobody").env("PARLOR_BUDGET_USD", 1).prepare();
    let settings = [("PARLOR_BUDGET_USD", "1"), ("PARLOR_PROVIDER", "llm"), ("PARLOR_MODEL", "claude-of-nobody")];
    let doctor = house.command().arg("doctor").envs(settings).output().unwrap();
    let found = String::from_utf8_lossy(&doctor.stdout);
    assert!(
        !doctor.status.success() && found.contains("PARLOR_BUDGET_USD") && found.contains("has no price"),
        "{found}"
    );
    house.spawn();
    assert!(!house.wait_ended().success());
    // A price is the only thing that is missing.
    fs::write(house.root().join("prices.toml"), "[\"claude-of-*\"]\ninput = 1\noutput = 1e3\n").unwrap();
    house.start();
    house.register("web:a", "a");
    house.ask("web:a", "hello");
    assert!(used(&house)[0]["costUsd"].as_f64().unwrap() > 0.0);
    fs::write(house.root().join("prices.toml"), "[gpt-5.4]\ninput = 1\noutput = 1\n").unwrap();
    let doctor = house.command().arg("doctor").output().unwrap();
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("[\"gpt-5.4\"] meant"), "{doctor:?}");
}

#[test]
fn budget_also_applies_to_a_model_of_the_groups_choice() {
    let server = Server::start(Protocol::Anthropic, |_| Reply::text("hi"));
    let host = llm(&server, "claude-sonnet-5").start();
    host.register_with("web:a", "a", &json!({"budget": {"usd": 100.0}}));
    let agent = host.root().join("data/sessions/a/agent");
    fs::create_dir_all(&agent).unwrap();
    fs::write(agent.join("agent.toml"), "model = 'claude-of-nobody'\n[llm]\nprice = { input = 0, output = 0 }\n")
        .unwrap();
    let mut events = host.events();
    host.send("web:a", "hello");
    let notice = events.message("web:a", SOON, |text| text.contains("budget"));
    for part in ["$100.00 cannot be kept", "claude-of-nobody", "prices.toml", "--budget-tokens"] {
        assert!(notice.text().contains(part), "{part}: {}", notice.text());
    }
    let waits = host.send("web:a", "more");
    let status = host.ask("web:a", "/status").join("\n");
    assert!(status.contains("cannot be kept"), "{status}");
    assert_eq!(state(&host, waits), "pending");
    assert_eq!(used(&host)[0]["unpriced"], "claude-of-nobody");
    let shown = host.command().args(["usage"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("unknown") && shown.contains("No price is known of claude-of-nobody"), "{shown}");
}

#[test]
fn budget_notice_names_the_flag_of_the_used_up_budget() {
    let host = Host::builder().start();
    host.register_with("web:a", "a", &json!({"budget": {"tokens": 100}}));
    let mut events = host.events();
    host.send("web:a", "!usage 100 20 0");
    let notice = events.message("web:a", SOON, |text| text.contains("budget"));
    assert!(notice.text().contains("`parlor groups update a --budget-tokens …`"), "{}", notice.text());
}

fn llm(server: &Server, model: &str) -> Builder {
    Host::builder()
        .env("CONTAINER_IMAGE", "")
        .env("PARLOR_PROVIDER", "llm")
        .env("PARLOR_MODEL", model)
        .dot_env(&server.dot_env())
}
