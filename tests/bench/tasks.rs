//! Measures the time from a task's due time to its engine client, and to its reply.

use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::harness::SOON;
use crate::harness::host::Host;
use crate::report::{Figure, Report, Target, ms};
use crate::{Effort, cold};

const JID: &str = "web:cold";

pub fn measure(effort: Effort, report: &mut Report) {
    let host = cold::host();
    let mut events = host.events();
    let (mut started, mut replied, mut more) = (Vec::new(), Vec::new(), Vec::new());
    // Watching processes takes a core, so each firing is either watched or timed.
    for round in 0..effort.samples(20, 3) {
        let due = schedule(&host, round);
        started.push(ms(client_started(&host).saturating_duration_since(due)));
        events.message(JID, SOON, |text| text == format!("task {round}"));
        end_room(&host);
    }
    for round in 100..100 + effort.samples(20, 3) {
        let due = schedule(&host, round);
        let reply = events.message(JID, SOON, |text| text == format!("task {round}"));
        let reply = ms(reply.at.saturating_duration_since(due));
        end_room(&host);
        replied.push(reply);
        more.push(reply - cold::one(&host, &mut events, JID));
    }
    report.add(Figure::new("task: due → engine's client started", "ms", Target::AtMost(20.0), started));
    report.add(Figure::new("task: due → reply, minus a cold start", "ms", Target::AtMost(20.0), more));
    report.add(Figure::new("– task: due → reply", "ms", Target::None, replied));
}

/// Makes a task that is due in a second or two; returns its due time.
fn schedule(host: &Host, round: usize) -> Instant {
    let due = chrono::DateTime::<chrono::Utc>::from_timestamp(chrono::Utc::now().timestamp() + 2, 0).unwrap();
    let task = json!({
        "folder": "cold", "prompt": format!("!say task {round}"), "scheduleType": "once", "timezone": "UTC",
        "scheduleValue": due.format("%Y-%m-%dT%H:%M:%S").to_string(),
    });
    host.api.post("/v1/tasks", &task).expect(201);
    Instant::now() + SystemTime::from(due).duration_since(SystemTime::now()).unwrap()
}

/// Ends the task's room, which would otherwise stay for ten seconds after its result.
fn end_room(host: &Host) {
    for name in host.containers() {
        let run = name.rsplit('-').next().unwrap_or_default().to_uppercase();
        // The room may be closing by itself.
        let _ = host.api.delete(&format!("/v1/runs/{run}"));
    }
    cold::nothing_lives(host);
}

/// Waits for the engine's client; returns the time of its start.
fn client_started(host: &Host) -> Instant {
    let deadline = Instant::now() + SOON;
    while cold::run_client(host.pid()).is_none() {
        assert!(Instant::now() < deadline, "the task did not start");
        std::thread::sleep(Duration::from_micros(500));
    }
    Instant::now()
}
