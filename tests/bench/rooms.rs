//! Five live rooms and a hundred messages for each, sent by five clients at once: every message has an answer of its
//! own, in order.

use std::sync::Barrier;
use std::time::Instant;

use crate::Effort;
use crate::harness::SOON;
use crate::harness::host::Host;
use crate::harness::http::messages_path;
use crate::latency::{body, connection};
use crate::report::{Figure, Report, Target};

const ROOMS: usize = 5;
const EACH: usize = 100;

pub fn measure(effort: Effort, report: &mut Report) {
    let host = Host::builder().start();
    for room in 0..ROOMS {
        host.register(&jid(room), &format!("room{room}"));
        host.ask(&jid(room), "hello");
    }
    let samples = (0..effort.samples(10, 2)).map(|_| burst(&host)).collect();
    report.add(Figure::new(
        "500 messages to 5 live rooms: first accepted → last answer, each answered, in order",
        "messages/s",
        Target::AtLeast(2500.0),
        samples,
    ));
}

fn jid(room: usize) -> String {
    format!("web:room{room}")
}

fn burst(host: &Host) -> f64 {
    let mut events = host.events();
    let together = Barrier::new(ROOMS);
    let (first, lasts) = std::thread::scope(|scope| {
        let together = &together;
        let clients: Vec<_> = (0..ROOMS).map(|room| scope.spawn(move || client(host, room, together))).collect();
        let ends: Vec<(Instant, i64)> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        (ends.iter().map(|end| end.0).min().unwrap(), ends.iter().map(|end| end.1).collect::<Vec<_>>())
    });
    let answered = (0..ROOMS).map(|room| {
        let last = format!("{room}-{}", EACH - 1);
        let answer = events.message(&jid(room), SOON, |text| text == last).at;
        events.turn_done(&jid(room), lasts[room], SOON);
        answer
    });
    let answered = answered.max().unwrap();
    for room in 0..ROOMS {
        let expected: Vec<String> = (0..EACH).map(|n| format!("{room}-{n}")).collect();
        assert_eq!(events.texts(&jid(room)), expected, "room {room}: an answer is missing or out of order");
    }
    (ROOMS * EACH) as f64 / answered.duration_since(first).as_secs_f64()
}

/// Sends one room's messages; returns when the first was accepted, and the last one's number.
fn client(host: &Host, room: usize, together: &Barrier) -> (Instant, i64) {
    let mut connection = connection(host);
    let path = messages_path(&jid(room));
    let bodies: Vec<Vec<u8>> = (0..EACH).map(|n| body(&format!("!say {room}-{n}"))).collect();
    together.wait();
    let mut first = None;
    let mut last = 0;
    for body in bodies {
        let response = connection.call("POST", &path, &body).unwrap().expect(202);
        first.get_or_insert_with(Instant::now);
        last = response.json()["seq"].as_i64().unwrap();
    }
    (first.unwrap(), last)
}
