//! The agent's stdout: whole frames from several threads, and a heartbeat during a turn.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use parlor_protocol::{Output, Turn};

use crate::limits;

/// The agent's stdout. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Wire {
    shared: Arc<Shared>,
}

struct Shared {
    /// The begin of the open turn. Its lock also keeps frames whole.
    turn: Mutex<Option<Instant>>,
    changed: Condvar,
    /// Where outputs go: to stdout, or to a test.
    write: Box<dyn Fn(&Output) + Send + Sync>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { turn: Mutex::default(), changed: Condvar::new(), write: Box::new(write) }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("turn", &self.turn).finish_non_exhaustive()
    }
}

impl Wire {
    /// A wire whose outputs a test reads.
    #[cfg(test)]
    pub fn captured() -> (Self, std::sync::mpsc::Receiver<Output>) {
        let (to, outputs) = std::sync::mpsc::channel();
        let write = Box::new(move |output: &Output| drop(to.send(output.clone())));
        (Self { shared: Arc::new(Shared { write, ..Shared::default() }) }, outputs)
    }

    /// A stdout that shows a sign of life each `heartbeat` while a turn is open.
    pub fn new(heartbeat: Duration) -> Self {
        let wire = Self::default();
        let beating = wire.clone();
        // Without the thread, a long turn only has no heartbeats.
        let _ = thread::Builder::new().name("heartbeat".into()).spawn(move || beating.beat(heartbeat));
        wire
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.shared.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a turn.
    pub fn begin_turn(&self) {
        *self.lock() = Some(Instant::now());
        self.shared.changed.notify_one();
    }

    /// Writes a text for the chat before the turn's end.
    pub fn say(&self, text: &str) {
        let output = Output { result: Some(text.to_owned()), turn: Some(Turn::Open), ..Output::default() };
        let guard = self.lock();
        (self.shared.write)(&output);
        drop(guard);
    }

    /// Ends the turn with its last output.
    pub fn end_turn(&self, output: &Output) {
        let mut turn = self.lock();
        *turn = None;
        match limits::explain(output) {
            Some(explained) => (self.shared.write)(&explained),
            None => (self.shared.write)(output),
        }
    }

    /// Waits at most `limit` for an unfinished frame; returns true if a turn was open.
    pub fn settle(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        loop {
            match self.shared.turn.try_lock() {
                Ok(turn) => return turn.is_some(),
                Err(TryLockError::Poisoned(_)) => return true,
                Err(TryLockError::WouldBlock) if Instant::now() >= end => return true,
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn beat(&self, interval: Duration) {
        let mut turn = self.lock();
        let mut last = Instant::now();
        loop {
            let Some(begun) = *turn else {
                turn = self.shared.changed.wait(turn).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let due = begun.max(last) + interval;
            let now = Instant::now();
            if now >= due {
                (self.shared.write)(&Output { heartbeat: true, ..Output::default() });
                last = now;
            } else {
                turn = self.shared.changed.wait_timeout(turn, due - now).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

/// Writes a frame. If that fails, the host is gone, and the agent exits.
fn write(output: &Output) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(output.to_frame().as_bytes()).and_then(|()| stdout.flush()) {
        eprintln!("the output cannot be written ({error}): the host is gone");
        std::process::exit(1);
    }
}
