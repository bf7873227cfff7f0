//! A gate that a stand-in's answers wait at.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// Closed at first; once open, it stays so.
#[derive(Debug, Default)]
pub struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    /// Waits until it is open, but not longer than the limit.
    pub fn pass(&self, limit: Duration) {
        let open = self.open.lock().unwrap();
        drop(self.changed.wait_timeout_while(open, limit, |open| !*open).unwrap());
    }
}
