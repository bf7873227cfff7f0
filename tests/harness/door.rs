//! A door that requests of a stand-in wait at, until a test opens it.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// Nobody waits longer than this: a test that failed must not hang.
const LIMIT: Duration = Duration::from_secs(60);

/// A closed door.
#[derive(Default)]
pub struct Door {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Door {
    /// Lets everyone through from now on.
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    /// Waits until it is open.
    pub fn pass(&self) {
        let open = self.open.lock().unwrap();
        drop(self.changed.wait_timeout_while(open, LIMIT, |open| !*open).unwrap());
    }
}
