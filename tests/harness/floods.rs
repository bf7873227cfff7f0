//! Rooms that write as fast as the machine allows.

use super::events::Events;
use super::host::Host;
use super::{SOON, eventually};

/// A flood of work without output. It is not in [`OF_WORDS`].
pub const OF_WORK: (&str, &str) = ("work on every core", "for n in 1 2 3 4; do (while :; do :; done) & done; wait");

/// Each flood's name, and its script, which runs in the agent's place until it is ended.
pub const OF_WORDS: [(&str, &str); 4] = [
    ("one line without an end", "while :; do dd if=/dev/zero bs=1M count=1024; done > /proc/1/fd/1"),
    ("short lines", "exec yes x > /proc/1/fd/1"),
    ("stderr", "exec yes 'it does not work' > /proc/1/fd/2"),
    ("broken markers", "exec yes ---NANOCLAW_OUTPUT_END--- > /proc/1/fd/1"),
];

/// Starts a flood in a group of the test agent. Its turn never ends by itself.
pub fn begin(host: &Host, (jid, folder): (&str, &str), script: &str) {
    let sign = host.root().join("groups").join(folder).join("loud");
    let _ = std::fs::remove_file(&sign);
    host.send(jid, &format!("!sh : > /workspace/group/loud; {script}"));
    eventually("the flood begins", SOON, || sign.exists().then_some(()));
}

/// Ends a flood and its room. `events` are those of its chat.
pub fn end(host: &Host, jid: &str, events: &mut Events) {
    host.send(jid, "/stop");
    events.wait("the room's end", SOON, |e| e.name == "run" && e.data["state"] == "stopped");
    events.forget();
}
