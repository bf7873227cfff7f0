//! Waits for the host's answer to a request.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::CommandResult;
use crate::watch::Watch;

/// A watched `results/` folder. Open it before you write the request, so that you cannot miss the answer.
#[derive(Debug)]
pub struct Results {
    dir: std::path::PathBuf,
    watch: Watch,
}

impl Results {
    /// Starts to watch `<ipc>/results`.
    pub fn open(ipc: &Path) -> Self {
        let dir = ipc.join("results");
        let watch = Watch::new(&dir);
        Self { dir, watch }
    }

    /// Returns the result of the request `id`; None if the host does not answer within `timeout`.
    pub fn wait(&mut self, id: &str, timeout: Duration) -> Option<CommandResult> {
        let end = Instant::now() + timeout;
        let path = self.dir.join(format!("{id}.json"));
        loop {
            let result = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let left = end.saturating_duration_since(Instant::now());
            if result.is_some() || left.is_zero() {
                return result;
            }
            self.watch.wait(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_is_seen_at_once_and_a_timeout_returns_none() {
        let ipc = tempfile::tempdir().unwrap();
        let dir = ipc.path().join("results");
        fs::create_dir(&dir).unwrap();
        let mut results = Results::open(ipc.path());
        let mut seen_at_once = false;
        // A busy machine may be late once; a watcher that only polls each second is late each time.
        for name in ["a", "b", "c", "d", "e"] {
            let dir = dir.clone();
            let writer = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                let written = Instant::now();
                let answer = br#"{"ok":false,"error":"no","x":1}"#;
                crate::files::write_atomically(&dir, &format!("{name}.json"), answer).unwrap();
                written
            });
            let result = results.wait(name, Duration::from_secs(10)).unwrap();
            let seen = Instant::now();
            let written = writer.join().unwrap();
            seen_at_once |= seen.saturating_duration_since(written) < Duration::from_millis(800);
            assert_eq!((result.ok, result.error.as_deref()), (false, Some("no")));
            assert_eq!(result.details["x"], 1);
        }
        assert!(seen_at_once, "the watch did not wake");
        assert_eq!(results.wait("none", Duration::from_millis(30)), None);
    }
}
