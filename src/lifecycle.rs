//! Signals, and the shutdown in two stages.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two stages of a shutdown: `soft` starts no new work and lets runs finish, `hard` ends all runs that are left.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled when nothing new may start.
    pub soft: CancellationToken,
    /// Cancelled when all that still runs must end.
    pub hard: CancellationToken,
}

impl Shutdown {
    /// Begins the shutdown: soft now, hard after the grace period.
    pub fn begin(&self, grace: Duration) {
        if self.soft.is_cancelled() {
            return;
        }
        self.soft.cancel();
        let hard = self.hard.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(grace) => hard.cancel(),
                () = hard.cancelled() => {}
            }
        });
    }
}

/// SIGTERM and SIGINT, caught from the creation of this value: a signal during the start is handled after it.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    /// Catches both from now on.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }

    /// Begins the shutdown at the first signal; the second one ends the grace period.
    pub async fn relay(mut self, shutdown: Shutdown, grace: Duration) {
        let mut first = true;
        loop {
            self.next().await;
            if std::mem::take(&mut first) {
                tracing::info!("shutting down: runs are asked to finish (again to end them now)");
                shutdown.begin(grace);
            } else {
                shutdown.hard.cancel();
            }
        }
    }
}
