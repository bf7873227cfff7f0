//! What turns use is counted by group and day, and a group whose budget is used up waits.

use serde_json::{Value, json};

use crate::harness::host::Host;
use crate::harness::rows::{database, runs};
use crate::harness::{SOON, eventually};

fn used(host: &Host) -> Vec<Value> {
    host.api.get("/v1/usage?days=2").expect(200).json()["usage"].as_array().unwrap().clone()
}

fn state(host: &Host, seq: i64) -> String {
    database(host).query_row("SELECT state FROM inbound WHERE seq = ?1", [seq], |row| row.get(0)).unwrap()
}

#[test]
fn turns_are_added_up_by_group_and_day() {
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
fn a_group_without_budget_left_waits_and_goes_on_when_it_is_raised() {
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
    // The room closes, what is written waits, and others go on.
    eventually("the room is closed", SOON, || (runs(&host, "a")[0]["state"] == "succeeded").then_some(()));
    let third = host.send("web:a", "later");
    let status = host.ask("web:a", "/status").join("\n");
    assert!(status.contains("today's budget of $1.00 is used up"), "{status}");
    assert_eq!(host.ask("web:b", "hello"), ["echo: hello"]);
    assert_eq!(state(&host, third), "pending");
    // `/stop` takes back what waits, and nothing more.
    assert!(host.ask("web:a", "/stop").join("").contains("Stopped"));
    assert_eq!(state(&host, third), "cancelled");
    let third = host.send("web:a", "later");
    let status = host.ask("web:a", "/status").join("\n");
    assert!(status.contains("today's budget of $1.00 is used up"), "{status}");
    let runs_before = runs(&host, "a").len();
    // Also after a restart, and the chat is not told again.
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
