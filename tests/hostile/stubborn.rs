//! Containers that refuse to end.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::host::Host;
use crate::harness::{SOON, engine, eventually, image};

/// Hard timeout of the tests' groups. It is at least the idle timeout plus half a minute, so both are short.
const TIMEOUT: u64 = 31_000;

#[test]
fn deaf_agent_is_stopped_by_a_person_and_by_a_shutdown() {
    let mut host = Host::builder().start();
    host.register("web:room", "room");
    let mut events = host.events();
    host.send("web:room", "!daemon\n!hang");
    events.message("web:room", SOON, |text| text.starts_with("daemon "));
    let asked = Instant::now();
    host.send("web:room", "/stop");
    host.wait_no_containers();
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(host.ask("web:room", "again"), ["echo: again"]);
    // A child that holds stdout does not outlive the agent.
    let room = host.containers();
    let answers = host.ask("web:room", "!daemon\n!exit 0");
    assert_eq!(answers.last().map(String::as_str), Some("exiting"));
    host.wait_no_containers();
    assert_eq!(host.ask("web:room", "once more"), ["echo: once more"]);
    assert_ne!(host.containers(), room);
    // The agent neither reads its inputs nor exits on `_close`.
    let mut events = host.events();
    let seq = host.send("web:room", "!ignore-input");
    events.turn_done("web:room", seq, SOON);
    let asked = Instant::now();
    assert!(host.terminate().success());
    assert!(asked.elapsed() < Duration::from_secs(40), "{:?}", asked.elapsed());
    assert!(host.containers().is_empty());
}

/// Three kinds at once, so that their timeouts pass together.
#[test]
fn deaf_agents_end_at_their_timeout_and_their_groups_work_again() {
    let host = Host::builder().env("IDLE_TIMEOUT", "1000").env("CONTAINER_TIMEOUT", "1000").start();
    let kinds = [("hangs", "!once !hang"), ("daemons", "!once !daemon\n!once !hang"), ("forgets", "!ignore-input")];
    let mut events = host.events();
    let started = Instant::now();
    for (folder, attack) in kinds {
        host.register_with(&format!("web:{folder}"), folder, &json!({ "timeout": 1000 }));
        host.send(&format!("web:{folder}"), attack);
    }
    eventually("the three rooms", SOON, || (host.containers().len() == 3).then_some(()));
    let first = host.containers();
    let limit = Duration::from_millis(TIMEOUT) + Duration::from_secs(25);
    eventually("the first rooms are gone", limit, || {
        host.containers().iter().all(|c| !first.contains(c)).then_some(())
    });
    assert!(started.elapsed() > Duration::from_secs(5), "{:?}", started.elapsed());
    for (folder, _) in kinds {
        let jid = format!("web:{folder}");
        let seq = host.send(&jid, "back");
        events.turn_done(&jid, seq, SOON);
        assert!(events.texts(&jid).contains(&"echo: back".to_owned()), "{folder}: {:?}", events.texts(&jid));
    }
}

/// An image whose program never reads its input.
struct Blind(String);

impl Blind {
    fn make() -> Self {
        let name = format!("parlor-test-blind-{}", std::process::id());
        let run = |args: &[&str]| {
            let output = engine::run(args);
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        run(&["create", "--name", &name, image::test_agent()]);
        run(&["commit", "--change", r#"ENTRYPOINT ["/bin/busybox","sleep","600"]"#, &name, &name]);
        run(&["rm", &name]);
        Self(name)
    }
}

impl Drop for Blind {
    fn drop(&mut self) {
        engine::run(&["rmi", "--force", &self.0]);
    }
}

#[test]
fn agent_that_never_reads_a_large_input_is_stopped() {
    let blind = Blind::make();
    let host = Host::builder().start();
    host.register_with("web:room", "room", &json!({ "image": blind.0 }));
    host.register("web:other", "other");
    // Escaping makes the prompt five times as long: more than any pipe holds.
    let message = json!({ "sender": "ann", "text": "&".repeat(250_000) });
    host.api.post("/v1/chats/web:room/messages", &message).expect(202);
    eventually("its container", SOON, || (host.containers().len() == 1).then_some(()));
    assert_eq!(host.ask("web:other", "meanwhile"), ["echo: meanwhile"]);
    host.api.patch("/v1/groups/room", &json!({ "containerConfig": { "image": null } })).expect(200);
    host.send("web:room", "/stop");
    eventually("it is stopped", SOON, || (host.containers().len() == 1).then_some(()));
    assert_eq!(host.ask("web:room", "again"), ["echo: again"]);
}
