//! Remembers MCP servers that did not start, so that the next runs do not wait for a dead server again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Duration, Utc};
use parlor_protocol::files::write_atomically;
use serde::{Deserialize, Serialize};

use super::Server;

/// The file with these servers, in the kept folder of the agent's home.
const FILE: &str = "parlor-mcp-silent.json";
/// The time after which such a server is tried again.
const MEMORY: Duration = Duration::hours(1);
/// The largest file that is read, in bytes.
const LIMIT: u64 = 64 << 10;

/// Servers that did not start in the last hour.
#[derive(Debug, Default)]
pub struct Silent {
    file: PathBuf,
    known: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// A hash of its settings: with other settings it counts as another server.
    server: String,
    since: DateTime<Utc>,
}

impl Silent {
    /// Reads the servers that are recorded in `kept`.
    pub fn read(kept: &Path, now: DateTime<Utc>) -> Self {
        let file = kept.join(FILE);
        let small = fs::metadata(&file).is_ok_and(|meta| meta.is_file() && meta.len() <= LIMIT);
        let known = if small { fs::read(&file).unwrap_or_default() } else { Vec::new() };
        let mut known: BTreeMap<String, Entry> = serde_json::from_slice(&known).unwrap_or_default();
        known.retain(|_, entry| (now - entry.since).abs() < MEMORY);
        Self { file, known }
    }

    /// Returns why a server should not be started now; None if it did not fail lately.
    pub fn why(&self, name: &str, server: &Server) -> Option<String> {
        self.known.get(name).filter(|entry| entry.server == mark(server)).map(|_| late(server))
    }

    /// Records for each server whether it answered at its start.
    pub fn note<'a>(&mut self, started: impl IntoIterator<Item = (&'a str, &'a Server, bool)>, now: DateTime<Utc>) {
        let before = self.known.clone();
        for (name, server, answered) in started {
            if answered {
                self.known.remove(name);
            } else {
                self.known.insert(name.to_owned(), Entry { server: mark(server), since: now });
            }
        }
        if self.known != before
            && let Some(dir) = self.file.parent()
            && let Err(error) = serde_json::to_vec(&self.known)
                .map_err(std::io::Error::other)
                .and_then(|json| fs::create_dir_all(dir).and_then(|()| write_atomically(dir, FILE, &json)))
        {
            eprintln!("servers that did not start cannot be noted: {error}");
        }
    }
}

/// Returns the reason for leaving out a server that does not answer. The words are the same in each run, so that the
/// chat gets them once.
pub fn late(server: &Server) -> String {
    format!(
        "it did not answer within {} seconds; start_timeout in its table sets how long it may take. It is tried again an hour \
         later, or when its settings are changed",
        server.start.as_secs()
    )
}

/// Returns a hash of the server's settings, which reveals nothing of them.
fn mark(server: &Server) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    format!("{server:?}").hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_toml::Way;

    fn server(url: &str) -> Server {
        let way = Way::Address { url: url.into(), headers: BTreeMap::new() };
        Server { way, start: std::time::Duration::from_secs(60) }
    }

    #[test]
    fn dead_server_is_skipped_until_its_settings_change_or_an_hour_passes() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other, now) = (server("http://a"), server("http://b"), Utc::now());
        let read = |now| Silent::read(dir.path(), now);
        assert_eq!(read(now).why("x", &one), None);
        read(now).note([("x", &one, false), ("y", &one, true)], now);
        assert!(read(now).why("x", &one).is_some_and(|why| why.contains("within 60 seconds")));
        assert_eq!((read(now).why("x", &other), read(now).why("y", &one)), (None, None));
        assert_eq!(read(now + Duration::hours(2)).why("x", &one), None);
        read(now).note([("x", &one, true)], now);
        assert_eq!(read(now).why("x", &one), None);
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(read(now).why("x", &one), None);
    }
}
