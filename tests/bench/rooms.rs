//! Measures five live rooms at once, each with ten people who write ten messages one after the other. Every message
//! has its own answer, in the order in which the messages were accepted.

use std::sync::Barrier;
use std::time::Instant;

use crate::Effort;
use crate::harness::SOON;
use crate::harness::host::Host;
use crate::harness::http::messages_path;
use crate::latency::{body, connection};
use crate::report::{Figure, Report, Target};

const ROOMS: usize = 5;
const SENDERS: usize = 10;
const EACH: usize = 10;

pub fn measure(effort: Effort, report: &mut Report) {
    let host = Host::builder().start();
    for room in 0..ROOMS {
        host.register(&jid(room), &format!("room{room}"));
        host.ask(&jid(room), "hello");
    }
    let samples = (0..effort.samples(10, 2)).map(|_| burst(&host)).collect();
    report.add(Figure::new(
        "500 messages to 5 live rooms: 50 senders, first accepted → last answer, each answered, in order",
        "messages/s",
        Target::AtLeast(2500.0),
        samples,
    ));
}

fn jid(room: usize) -> String {
    format!("web:room{room}")
}

/// A sender's record: the time at which its first message was accepted, and the number and text of each message.
type Sent = (Instant, Vec<(i64, String)>);

fn burst(host: &Host) -> f64 {
    let mut events = host.events();
    let together = Barrier::new(ROOMS * SENDERS);
    let sent: Vec<(usize, Sent)> = std::thread::scope(|scope| {
        let together = &together;
        let sender = |n: usize| scope.spawn(move || (n / SENDERS, send(host, n / SENDERS, n % SENDERS, together)));
        let senders: Vec<_> = (0..ROOMS * SENDERS).map(sender).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    let first = sent.iter().map(|(_, (first, _))| *first).min().unwrap();
    let mut expected = vec![Vec::new(); ROOMS];
    for (room, (_, messages)) in sent {
        expected[room].extend(messages);
    }
    let answered = expected.iter_mut().enumerate().map(|(room, messages)| {
        messages.sort_unstable();
        let (seq, last) = messages.last().unwrap();
        let answer = events.message(&jid(room), SOON, |text| text == last).at;
        events.turn_done(&jid(room), *seq, SOON);
        answer
    });
    let answered = answered.max().unwrap();
    for (room, messages) in expected.into_iter().enumerate() {
        let texts: Vec<String> = messages.into_iter().map(|(_, text)| text).collect();
        assert_eq!(events.texts(&jid(room)), texts, "room {room}: an answer is missing or out of order");
    }
    (ROOMS * SENDERS * EACH) as f64 / answered.duration_since(first).as_secs_f64()
}

fn send(host: &Host, room: usize, sender: usize, together: &Barrier) -> Sent {
    let mut connection = connection(host);
    let path = messages_path(&jid(room));
    let texts: Vec<String> = (0..EACH).map(|n| format!("{room}-{sender}-{n}")).collect();
    together.wait();
    let mut first = None;
    let accepted = texts.into_iter().map(|text| {
        let response = connection.call("POST", &path, &body(&format!("!say {text}"))).unwrap().expect(202);
        first.get_or_insert_with(Instant::now);
        (response.json()["seq"].as_i64().unwrap(), text)
    });
    let accepted = accepted.collect();
    (first.unwrap(), accepted)
}
