//! The host's long-lived tasks by name. If one panics or ends by itself, the host shuts down and exits with an error,
//! so that its service starts it again. Recovery is the ordinary start.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::anyhow;
use tokio::task::{Id, JoinError, JoinSet};

use crate::lifecycle::Shutdown;
use crate::store::panic_text;

/// The tasks that are watched together.
#[derive(Debug, Default)]
pub(super) struct Workers {
    tasks: JoinSet<()>,
    named: HashMap<Id, Worker>,
}

#[derive(Debug)]
struct Worker {
    name: &'static str,
    /// Its work may be finished before the shutdown.
    may_end: bool,
}

impl Workers {
    /// Starts a task that works until the shutdown.
    pub(super) fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.add(Worker { name, may_end: false }, work);
    }

    /// Starts a task that may finish earlier.
    pub(super) fn spawn_once(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.add(Worker { name, may_end: true }, work);
    }

    fn add(&mut self, worker: Worker, work: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(work).id();
        self.named.insert(id, worker);
    }

    /// Waits for all tasks. The first failure begins the shutdown and is returned.
    pub(super) async fn watch(mut self, shutdown: Shutdown, grace: Duration) -> anyhow::Result<()> {
        let mut first = Ok(());
        while let Some(ended) = self.tasks.join_next_with_id().await {
            let Some(error) = self.failure(ended, &shutdown) else { continue };
            tracing::error!("{error}: Parlor shuts down");
            if first.is_ok() {
                first = Err(error);
            }
            shutdown.begin(grace);
        }
        first
    }

    fn failure(&mut self, ended: Result<(Id, ()), JoinError>, shutdown: &Shutdown) -> Option<anyhow::Error> {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        let worker = self.named.remove(&id);
        let (name, may_end) = worker.map_or(("a task", true), |worker| (worker.name, worker.may_end));
        match ended {
            Ok(_) if may_end || shutdown.soft.is_cancelled() => None,
            Ok(_) => Some(anyhow!("{name} ended by itself, a defect of Parlor")),
            Err(error) => Some(match error.try_into_panic() {
                Ok(payload) => anyhow!("{name} panicked ({}), a defect of Parlor", panic_text(&*payload)),
                Err(error) => anyhow!("{name} was ended: {error}"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn watched(workers: Workers, shutdown: &Shutdown) -> Option<String> {
        let ended = workers.watch(shutdown.clone(), Duration::from_secs(60)).await;
        ended.err().map(|error| error.to_string())
    }

    #[tokio::test]
    async fn worker_that_ends_by_itself_ends_the_host_with_an_error() {
        for panics in [false, true] {
            let shutdown = Shutdown::default();
            let mut workers = Workers::default();
            let soft = shutdown.soft.clone();
            workers.spawn("the patient one", async move { soft.cancelled().await });
            workers.spawn_once("the greeting", async {});
            workers.spawn("the outbox", async move { assert!(!panics, "number {}", 7) });
            let error = watched(workers, &shutdown).await.unwrap();
            assert!(shutdown.soft.is_cancelled() && error.starts_with("the outbox "), "{error}");
            assert_eq!(error.contains("panicked (number 7)"), panics, "{error}");
        }
    }

    #[tokio::test]
    async fn worker_that_ends_at_shutdown_fails_only_if_it_panics() {
        for panics in [false, true] {
            let shutdown = Shutdown::default();
            let mut workers = Workers::default();
            let soft = shutdown.soft.clone();
            workers.spawn("the scheduler", async move {
                soft.cancelled().await;
                assert!(!panics);
            });
            shutdown.begin(Duration::from_secs(60));
            assert_eq!(watched(workers, &shutdown).await.is_some(), panics);
        }
    }
}
