//! Time limits of runs, and agents that do not exit. The shortest hard timeout is the idle time plus 30 s, so one
//! host waits for all cases at once.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::harness::host::Host;
use crate::harness::rows::log_of;
use crate::harness::{SOON, eventually, image};

/// Hangs without reading its input in a group's first run; answers in every other run.
const DEAF: &str = "#!/bin/sh
if [ ! -e /workspace/group/seen ]; then touch /workspace/group/seen; exec sleep 1000; fi
cat > /dev/null
echo '---NANOCLAW_OUTPUT_START---'
echo '{\"status\":\"success\",\"result\":\"heard\"}'
echo '---NANOCLAW_OUTPUT_END---'
";

/// Returns a group's runs, the oldest first.
fn runs(host: &Host, folder: &str) -> Vec<Value> {
    let mut all = host.api.get(&format!("/v1/runs?folder={folder}")).json()["runs"].as_array().unwrap().clone();
    all.reverse();
    all
}

fn lasted(run: &Value) -> Duration {
    let at = |key: &str| run[key].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    (at("endedAt") - at("startedAt")).to_std().unwrap()
}

#[test]
fn silent_run_is_ended_and_its_messages_are_retried() {
    let host = Host::builder().env("IDLE_TIMEOUT", 100).env("MAX_CONCURRENT_CONTAINERS", 20).start();
    let config = json!({ "timeout": 2000 });
    for folder in ["silent", "replied", "beating", "stderr", "inputs"] {
        host.register_with(&format!("web:{folder}"), folder, &config);
    }
    host.register_with("web:patient", "patient", &json!({ "timeout": 3_600_000 }));
    host.register_with("web:deaf", "deaf", &json!({ "timeout": 2000, "image": image::script("deaf-agent", DEAF) }));
    let mut events = host.events();
    let started = Instant::now();
    let send = |folder: &str, text: &str| host.send(&format!("web:{folder}"), text);
    let silent = send("silent", "!once !hang\n!say back");
    let replied = send("replied", "!open a part\n!hang");
    let beating = send("beating", "!heartbeat 10 4000\n!say still here");
    let stderr = send("stderr", "!once !sh while :; do echo tick > /proc/1/fd/2; sleep 0.5; done\n!say back");
    let inputs = send("inputs", "!once !sleep 1000000\n!say back");
    let patient = send("patient", "!sleep 37000");
    let deaf = send("deaf", &"a long message ".repeat(16_000));
    for folder in ["silent", "stderr", "inputs", "deaf"] {
        eventually("the run is live", SOON, || runs(&host, folder).first().map(drop));
    }
    // An input that is delivered in the middle restarts the time.
    std::thread::sleep(Duration::from_secs(15).saturating_sub(started.elapsed()));
    let late = send("inputs", "!say late");

    let limit = Duration::from_secs(90);
    events.turn_done("web:replied", replied, limit);
    events.turn_done("web:silent", silent, limit);
    events.turn_done("web:stderr", stderr, limit);
    events.turn_done("web:deaf", deaf, limit);
    events.turn_done("web:beating", beating, limit);
    events.turn_done("web:patient", patient, limit);
    events.turn_done("web:inputs", inputs, limit);
    events.turn_done("web:inputs", late, limit);

    for folder in ["silent", "stderr", "inputs", "deaf"] {
        let all = runs(&host, folder);
        assert_eq!(all.len(), 2, "{folder}: {all:?}");
        assert_eq!(
            (&all[0]["state"], &all[0]["error"]),
            (&json!("timed_out"), &json!("Container timed out after 2000 ms"))
        );
        // 30.1 s, plus the grace of an agent that ignores SIGTERM, plus the delay of a busy machine.
        let (least, most) = if folder == "inputs" { (44, 65) } else { (30, 50) };
        let lasted = lasted(&all[0]).as_secs();
        assert!((least..most).contains(&lasted), "{folder}: {lasted} s");
    }
    // This agent exits by itself after 40 s of heartbeats: it was never stopped.
    let beating = runs(&host, "beating");
    assert_eq!((beating.len(), &beating[0]["state"]), (1, &json!("succeeded")));
    assert!(lasted(&beating[0]) > Duration::from_secs(38));
    // This group has a longer timeout.
    let patient = runs(&host, "patient");
    assert_eq!((patient.len(), &patient[0]["state"]), (1, &json!("succeeded")));
    assert_eq!(events.texts("web:patient"), ["slept 37000"]);
    // This agent had replied: it is shut down as idle, which is no failure.
    let replied = runs(&host, "replied");
    assert_eq!((replied.len(), &replied[0]["state"], &replied[0]["error"]), (1, &json!("succeeded"), &Value::Null));
    assert!(lasted(&replied[0]) > Duration::from_secs(29));
    assert_eq!(events.texts("web:replied"), ["a part"]);
    assert_eq!(events.texts("web:silent"), ["once: over", "back"]);
    assert_eq!(events.texts("web:inputs"), ["once: over", "back", "late"]);
    assert_eq!(events.texts("web:deaf"), ["heard"]);
    let log = log_of(&host, runs(&host, "silent")[0]["id"].as_str().unwrap());
    assert!(log.contains("output_seen: false") && log.contains("exit: ended by the host: HardTimeout"), "{log}");
    host.wait_no_containers();
}

#[test]
fn turn_has_an_absolute_limit_and_an_idle_room_closes() {
    let host = Host::builder().env("IDLE_TIMEOUT", 300).env("PARLOR_TURN_LIMIT", 5000).start();
    host.register("web:t", "t");
    let said = host.ask("web:t", "!once !heartbeat 1000 100\n!say back");
    assert_eq!(said, ["once: over", "back"]);
    let all = runs(&host, "t");
    assert_eq!((&all[0]["state"], all.len()), (&json!("timed_out"), 2));
    assert!(all[0]["error"].as_str().unwrap().contains("longer than any turn may"), "{all:?}");
    // The idle room is asked to exit, and exits successfully.
    host.wait_no_containers();
    let run = eventually("the run has ended", SOON, || runs(&host, "t").pop().filter(|r| !r["endedAt"].is_null()));
    assert_eq!((&run["state"], &run["exitCode"]), (&json!("succeeded"), &json!(0)));
}

#[test]
fn processes_left_by_an_agent_end_with_its_room() {
    let host = Host::builder().env("IDLE_TIMEOUT", 100).start();
    host.register("web:d", "d");
    let said = host.ask("web:d", "!daemon\n!daemon\n!say left two");
    assert_eq!(said.last().unwrap(), "left two");
    host.wait_no_containers();
    assert_eq!(host.ask("web:d", "!say again"), ["again"]);
    // An idle agent that ignores the request to exit: `_close`, then the grace, then the kill.
    assert_eq!(host.ask("web:d", "!ignore-input"), ["ignoring input"]);
    let mut events = host.events();
    let seq = host.send("web:d", "!say heard by the next");
    // The message is in the input folder of a run that does not read it: `/stop` still works.
    host.ask("web:d", "/stop");
    events.wait("the message is taken back", SOON, |e| e.is_turn("web:d", "cancelled", seq));
    assert_eq!(host.ask("web:d", "!say once more"), ["once more"]);
}
