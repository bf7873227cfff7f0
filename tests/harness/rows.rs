//! Rows of the store that no answer of the API shows.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;

use super::host::Host;
use super::{SOON, eventually};

/// Returns a group's runs, newest first.
pub fn runs(host: &Host, folder: &str) -> Vec<Value> {
    let listed = host.api.get(&format!("/v1/runs?folder={folder}")).expect(200).json();
    listed["runs"].as_array().unwrap().clone()
}

/// Returns a run's log once the run has ended: before that, the log is incomplete.
pub fn log_of(host: &Host, run: &str) -> String {
    eventually("the run has ended, and its log is there", SOON, || {
        let ended = !host.api.get(&format!("/v1/runs/{run}")).expect(200).json()["endedAt"].is_null();
        let answer = host.api.get(&format!("/v1/runs/{run}/log"));
        (ended && answer.status == 200).then(|| answer.text())
    })
}

/// Returns the number of unsuccessful tries of a message.
pub fn tries(host: &Host, seq: i64) -> i64 {
    database(host).query_row("SELECT tries FROM inbound WHERE seq = ?1", [seq], |row| row.get(0)).unwrap()
}

/// Opens the host's database, for rows that no list shows.
pub fn database(host: &Host) -> Connection {
    let db = Connection::open(host.root().join("data/parlor.db")).unwrap();
    db.busy_timeout(Duration::from_secs(10)).unwrap();
    db
}

/// Counts messages by state.
pub fn states(host: &Host) -> BTreeMap<String, i64> {
    let db = database(host);
    let mut s = db.prepare("SELECT state, count(*) FROM inbound GROUP BY state").unwrap();
    s.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
}
