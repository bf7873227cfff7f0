//! The outbound worker: delivers waiting rows of the outbox to the platforms.
//!
//! Delivery is in order within a chat, and concurrent between chats. A wake-up carries no data: the worker looks into
//! the store. Progress is stored after each part, and a restart continues after the last stored part. So after a
//! crash at most one part arrives twice, and none if the platform has idempotency keys. While nothing waits, no timer
//! runs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pace::{Bucket, Pace};
use super::post::{Post, Served};
use crate::channel::Registry;
use crate::domain::clock::SharedClock;
use crate::domain::ids::ChatJid;
use crate::store::{Store, outbox};

/// The most chats with a delivery at the same time.
const CHATS: usize = 16;
/// The least time between two looks at the outbox; wake-ups in between share one look.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The longest sleep, so that a jump of the wall clock is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// The wait after the store failed, or a channel panicked.
const TROUBLE: Duration = Duration::from_secs(2);
/// The time for a delivery in progress at shutdown.
const GRACE: Duration = Duration::from_secs(5);

/// Delivers texts to platforms.
#[derive(Debug)]
pub struct Outbound {
    post: Arc<Post>,
    /// The used rate limits; a chat without an entry has its full burst.
    buckets: HashMap<ChatJid, Bucket>,
    /// The chats that must wait, each with the end of the wait.
    resting: HashMap<ChatJid, Instant>,
    busy: HashMap<Id, ChatJid>,
    workers: JoinSet<Served>,
    shutdown: CancellationToken,
}

impl Outbound {
    /// A worker with the default [`Pace`].
    pub fn new(store: Store, clock: SharedClock, registry: Registry) -> Self {
        Self::with_pace(store, clock, registry, Pace::default())
    }

    /// A worker with its own pace.
    pub fn with_pace(store: Store, clock: SharedClock, registry: Registry, pace: Pace) -> Self {
        Self {
            post: Arc::new(Post::new(store, clock, registry, pace)),
            buckets: HashMap::new(),
            resting: HashMap::new(),
            busy: HashMap::new(),
            workers: JoinSet::new(),
            shutdown: CancellationToken::new(),
        }
    }

    /// Works until the shutdown, then waits for deliveries in progress. `wake` means that rows may be waiting.
    pub async fn run(mut self, wake: Arc<Notify>, shutdown: CancellationToken) {
        self.shutdown = shutdown.clone();
        while !shutdown.is_cancelled() {
            let sleep = self.look().await;
            let look_again = Instant::now() + LOOK_EVERY;
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = wake.notified() => {}
                Some(end) = self.workers.join_next_with_id() => self.ended(end),
                () = tokio::time::sleep(sleep.unwrap_or_default()), if sleep.is_some() => {}
            }
            while let Some(end) = self.workers.try_join_next_with_id() {
                self.ended(end);
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep_until(look_again) => {}
            }
        }
        let ended = async { while self.workers.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            tracing::warn!("a delivery did not end in time: it continues after the next start");
        }
    }

    /// Starts a delivery for every chat whose first row is due. Returns when to look again without a wake-up.
    async fn look(&mut self) -> Option<Duration> {
        let waiting = match self.post.store().read(outbox::waiting_chats).await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::warn!("cannot read the outbox: {error}");
                return Some(TROUBLE);
            }
        };
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        let pace = self.post.pace();
        self.buckets.retain(|_, bucket| !bucket.is_full(pace, now));
        let wall = self.post.now();
        let mut next: Option<Duration> = None;
        for (jid, due) in waiting {
            if self.busy.values().any(|busy| *busy == jid) {
                continue;
            }
            let rest = self.resting.get(&jid).map_or(Duration::ZERO, |until| until.duration_since(now));
            let delay = self.post.pace().wait(due, wall).max(rest);
            if !delay.is_zero() {
                next = Some(next.map_or(delay, |n| n.min(delay)));
            } else if self.busy.len() < CHATS {
                self.start(jid, now);
            }
        }
        next.map(|delay| delay.min(LONGEST_SLEEP))
    }

    fn start(&mut self, jid: ChatJid, now: Instant) {
        let bucket = self.buckets.remove(&jid).unwrap_or_else(|| Bucket::full(self.post.pace(), now));
        let work = self.post.clone().serve(jid.clone(), bucket, self.shutdown.clone());
        let id = self.workers.spawn(work).id();
        self.busy.insert(id, jid);
    }

    fn ended(&mut self, end: Result<(Id, Served), JoinError>) {
        let (id, served) = match end {
            Ok((id, served)) => (id, Some(served)),
            Err(error) => (error.id(), None),
        };
        let Some(jid) = self.busy.remove(&id) else { return };
        let now = Instant::now();
        let Some(served) = served else {
            tracing::error!("the channel of {jid} panicked in a delivery; the delivery is retried");
            self.resting.insert(jid, now + TROUBLE);
            return;
        };
        if let Some(rest) = served.rest {
            self.resting.insert(jid.clone(), now + rest);
        }
        self.buckets.insert(jid, served.bucket);
    }
}

#[cfg(test)]
#[path = "outbound_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "outbound_files_tests.rs"]
mod files_tests;
