//! Signals, and the shutdown in two stages.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// When to end: `soft` stops taking new work and lets runs finish, `hard` ends what is left.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Nothing new starts.
    pub soft: CancellationToken,
    /// What lives is ended.
    pub hard: CancellationToken,
}

impl Shutdown {
    /// Begins the shutdown: soft now, hard after the grace.
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

/// SIGTERM and SIGINT, caught from the moment this is made: one that comes while the host still starts is heard after.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    /// Catches them from now on.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// Returns at the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }

    /// Begins the shutdown at the first one; the second one cuts the grace short.
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
