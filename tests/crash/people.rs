//! People who write without a pause, and repeat each message until it is accepted.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::Random;
use crate::harness::SOON;
use crate::harness::http::{Connection, messages_path};

/// A message that got its 202.
pub struct Accepted {
    pub seq: i64,
    /// The last text of its turn.
    pub reply: String,
}

/// Writes until the test is over.
pub fn talk(socket: &Path, jid: &str, pause: u64, mut random: Random, over: &AtomicBool) -> Vec<Accepted> {
    let mut accepted = Vec::new();
    let mut line = Line::new(socket);
    while !over.load(Ordering::Relaxed) {
        let reply = format!("{jid} {}", accepted.len());
        let text = match random.below(40) {
            0..16 => format!("!say {reply}"),
            16..24 => format!("!say first half\n!say {reply}"),
            24..29 => format!("!sleep {}\n!say {reply}", random.below(400)),
            29..38 => format!("!sh {}\n!say {reply}", drop_message(jid)),
            _ => format!("!sh {}\n!say {reply}", drop_task(jid)),
        };
        let body = json!({ "sender": "ann", "text": text, "id": format!("m{}", accepted.len()) }).to_string();
        let answer = line.insist(&messages_path(jid), body.as_bytes(), &[202]);
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        accepted.push(Accepted { seq: answer["seq"].as_i64().unwrap(), reply });
        std::thread::sleep(Duration::from_millis(pause / 2 + random.below(pause)));
    }
    accepted
}

/// Runs tasks before they are due, until the test is over.
pub fn run_tasks(socket: &Path, tasks: &[String], over: &AtomicBool) {
    let mut line = Line::new(socket);
    for task in tasks.iter().cycle() {
        if over.load(Ordering::Relaxed) {
            return;
        }
        // A firing that still waits is a conflict.
        line.insist(&format!("/v1/tasks/{task}/run"), b"", &[200, 409]);
        std::thread::sleep(Duration::from_millis(700));
    }
}

/// A connection that is opened again when the host restarts.
struct Line<'a> {
    socket: &'a Path,
    connection: Option<Connection>,
}

impl<'a> Line<'a> {
    fn new(socket: &'a Path) -> Self {
        Self { socket, connection: None }
    }

    /// Repeats a request until its status is one of `fine`.
    fn insist(&mut self, path: &str, body: &[u8], fine: &[u16]) -> Vec<u8> {
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < 4 * SOON, "{path}: the host does not come back");
            match self.ask(path, body) {
                Ok((found, answer)) if fine.contains(&found) => return answer,
                // The host is not ready yet, or it shuts down.
                Ok((503, _)) => {}
                Ok((found, answer)) => panic!("{path}: {found} {}", String::from_utf8_lossy(&answer)),
                Err(_) => self.connection = None,
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn ask(&mut self, path: &str, body: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(self.socket)?),
        };
        let response = connection.call("POST", path, body)?;
        Ok((response.status, response.body))
    }
}

/// Returns a shell script that writes a file with a unique text. The room's own ledger has `+` from before the write
/// and `=` from after it: with both, the file was written; with only `+`, it may have been.
fn drop_message(jid: &str) -> String {
    drop_file("messages", &format!(r#""type":"message","chatJid":"{jid}","text":"ipc '$n'""#))
}

/// Returns a script like that of [`drop_message`], for a task that is due soon.
fn drop_task(jid: &str) -> String {
    let due = "$(date -u -d @$(($(date +%s)+4)) +%Y-%m-%dT%H:%M:%S)";
    drop_file(
        "tasks",
        &format!(
            r#""id":"'$n'","type":"schedule_task","taskId":"once-'$n'","prompt":"!ledger once-'$n'","schedule_type":"once","schedule_value":"'{due}'","timezone":"UTC","targetJid":"{jid}""#
        ),
    )
}

fn drop_file(folder: &str, fields: &str) -> String {
    format!(
        "n=$(cat /proc/sys/kernel/random/uuid); f=/workspace/ipc/{folder}/$n.json; l=/workspace/group/dropped-{folder}; \
         echo +$n >>$l; echo '{{{fields}}}' >$f.tmp; mv $f.tmp $f && echo =$n >>$l"
    )
}
