//! Event streams whose clients do not read.

use crate::harness::host::Host;
use crate::harness::http::Connection;
use crate::harness::{SOON, process};

const CLIENTS: usize = 24;

#[test]
fn stalled_clients_cost_less_than_a_mib_each_and_lose_nothing() {
    let host = Host::builder().start();
    host.register("web:s", "s");
    let long = 16 << 20;
    let say = || {
        let mut events = host.events();
        let seq = host.send("web:s", &format!("!big {long}\n!say after"));
        events.turn_done("web:s", seq, SOON);
    };
    let grown = || {
        process::reset_peak(host.pid());
        let before = process::peak_kib(host.pid());
        say();
        process::peak_kib(host.pid()).saturating_sub(before)
    };
    // Measures the memory that the text itself takes on its way through the host.
    say();
    let alone = grown();
    let mut deaf: Vec<Connection> = (0..CLIENTS)
        .map(|_| {
            let mut client = Connection::open(host.api.socket()).unwrap();
            client.send("GET", "/v1/events?chat=web:s", b"").unwrap();
            assert_eq!(client.head().unwrap().0, 200);
            client
        })
        .collect();
    let beside = grown();
    let each = beside.saturating_sub(alone) / CLIENTS as u64;
    assert!(each < 1024, "{each} KiB a client: {alone} KiB alone, {beside} KiB with {CLIENTS} of them");
    // A client that reads late finds all events.
    let mut client = deaf.pop().unwrap();
    let (mut read, mut tail) = (0, Vec::new());
    while !tail.windows(7).any(|bytes| bytes == b"\"after\"") {
        let chunk = client.chunk().unwrap().expect("the stream goes on");
        read += chunk.len();
        tail.extend_from_slice(&chunk);
        let surplus = tail.len().saturating_sub(4096);
        tail.drain(..surplus);
    }
    assert!(read > long, "{read} bytes");
}
