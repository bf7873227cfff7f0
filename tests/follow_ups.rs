//! Messages for a live room: in order, and never lost while the room closes.

use std::time::Duration;

use serde_json::json;

use crate::harness::SOON;
use crate::harness::host::Host;
use crate::harness::rows::{runs, tries};

#[test]
fn burst_of_messages_goes_to_the_live_room_in_order() {
    let host = Host::builder().start();
    host.register("web:a", "room");
    let mut events = host.events();
    let first = host.send("web:a", "!sleep 300");
    events.wait("started turn", SOON, |e| e.is_turn("web:a", "started", first));
    let mut last = first;
    for n in 0..200 {
        let seq = host.send("web:a", &format!("!ledger {n}"));
        assert!(seq > last);
        last = seq;
    }
    events.turn_done("web:a", last, SOON);
    let wanted: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    let ledger = std::fs::read_to_string(host.root().join("groups/room/ledger.txt")).unwrap();
    assert_eq!(ledger.lines().collect::<Vec<_>>(), wanted);
    let replies: Vec<String> =
        events.texts("web:a").iter().filter_map(|t| t.strip_prefix("ledger: ").map(str::to_owned)).collect();
    assert_eq!(replies, wanted);
    assert_eq!(runs(&host, "room").len(), 1, "one run had them all");
}

/// Each message is timed to arrive while the room of the last one closes: before, at, and after `_close`.
#[test]
fn message_while_the_room_closes_is_answered_once_and_soon() {
    const ROUNDS: u64 = 20;
    let idle = 30;
    let host = Host::builder().env("IDLE_TIMEOUT", idle).start();
    let groups = ["web:a", "web:b", "web:c"];
    for jid in groups {
        host.register(jid, &jid[4..]);
    }
    std::thread::scope(|scope| {
        for (lane, jid) in (0..).zip(groups) {
            let host = &host;
            scope.spawn(move || {
                let mut events = host.events();
                let mut wanted = Vec::new();
                for round in 0..ROUNDS {
                    let seq = host.send(jid, &format!("round {round}"));
                    events.turn_done(jid, seq, SOON);
                    wanted.push(format!("echo: round {round}"));
                    // From before the end of the idle time until the container has exited.
                    std::thread::sleep(Duration::from_millis(idle - 6 + (round * 7 + lane * 3) % 60));
                }
                assert_eq!(events.texts(jid), wanted);
            });
        }
    });
    let all: usize = groups.iter().map(|jid| runs(&host, &jid[4..]).len()).sum();
    assert!(all > groups.len(), "rooms closed between messages: {all} runs");
}

#[test]
fn message_that_an_ending_room_did_not_take_opens_the_next_one() {
    let host = Host::builder().start();
    host.register("web:a", "room");
    let mut events = host.events();
    let first = host.send("web:a", "!sleep 400\n!exit 0");
    events.wait("started turn", SOON, |e| e.is_turn("web:a", "started", first));
    let second = host.send("web:a", "are you there");
    events.turn_done("web:a", first, SOON);
    events.turn_done("web:a", second, SOON);
    assert_eq!(events.texts("web:a"), ["slept 400", "exiting", "echo: are you there"]);
    // Only a counted try leads to a back-off.
    assert_eq!(tries(&host, second), 0);
}

#[test]
fn message_that_the_agent_never_took_outlives_the_turn() {
    let host = Host::builder().start();
    for (name, code) in [("a", 0), ("b", 3)] {
        let jid = format!("web:{name}");
        host.register(&jid, name);
        let mut events = host.events();
        let first = host.send(&jid, &format!("!say half\n!sleep 600\n!crash {code}"));
        events.message(&jid, SOON, |text| text == "half");
        let second = host.send(&jid, "are you there");
        events.wait("end of the first", SOON, |e| ["done", "failed"].iter().any(|state| e.is_turn(&jid, state, first)));
        events.message(&jid, SOON, |text| text == "echo: are you there");
        assert_eq!(events.texts(&jid).iter().filter(|text| *text == "half").count(), 1);
        assert_eq!(tries(&host, second), 0);
    }
}

#[test]
fn context_waits_for_the_next_triggered_turn() {
    let host = Host::builder().start();
    let group = json!({"jid": "web:a", "name": "a", "folder": "room", "trigger": "@Rob"});
    host.api.post("/v1/groups", &group).expect(201);
    for text in ["one", "@Andy is not here", "@Robert neither", "two"] {
        host.send("web:a", text);
    }
    let texts = host.ask("web:a", "  @rOB !prompt");
    let prompt = &texts[0];
    for text in ["one", "@Andy is not here", "@Robert neither", "two"] {
        assert!(prompt.contains(&format!(" context=\"true\">{text}</message>")), "{text} in {prompt}");
    }
    assert_eq!(prompt.lines().filter(|line| line.starts_with("<message ")).count(), 5, "{prompt}");
    // Context is given once: the next turn has only later messages, also in a live room.
    host.send("web:a", "three");
    let prompt = host.ask("web:a", "@Rob !prompt").join("\n");
    assert!(prompt.contains(">three</message>") && !prompt.contains(">two</message>"), "{prompt}");
}
