//! A door that holds requests to a stand-in until a test opens it.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// The longest wait: a failed test must not hang.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Door {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Door {
    /// Opens the door for everyone, permanently.
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    /// Waits until the door is open.
    pub fn pass(&self) {
        let open = self.open.lock().unwrap();
        drop(self.changed.wait_timeout_while(open, LIMIT, |open| !*open).unwrap());
    }
}
