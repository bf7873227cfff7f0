//! Turns due tasks into claimed firings and wakes their groups. The store is the truth: a wake-up or the timer only
//! means "look for due tasks", so recovery after a crash is the ordinary path.

mod plan;
mod timer;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::domain::clock::SharedClock;
use crate::domain::event::Event;
use crate::domain::task::{Fire, FireState, Task, TaskStatus};
use crate::store::tasks::{self, FireEnd};
use crate::store::{Store, StoreError, Tx, TxResult, events, groups};

pub use plan::{MISSED_AFTER, Plan, plan, replan, rezone};
use timer::{Rang, WallTimer};

/// The most due tasks in one write, so that a thousand tasks do not delay other writes.
const BATCH: u32 = 100;
/// The waits after a failed look at the store.
const RETRY: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];

/// Fires tasks when they are due.
#[derive(Debug)]
pub struct Scheduler {
    store: Store,
    clock: SharedClock,
    host: Tz,
}

impl Scheduler {
    /// Makes a scheduler; `host` is the zone of tasks without their own. If it has changed since the last start,
    /// their due times are moved before this returns, so that a ready host shows only the new ones.
    pub async fn start(store: Store, clock: SharedClock, host: Tz) -> Result<Self, StoreError> {
        let scheduler = Self { store, clock, host };
        match scheduler.replan_all(rezone).await? {
            0 => {}
            moved => tracing::info!("the host's zone is {host} now: {moved} tasks are due at other times"),
        }
        Ok(scheduler)
    }

    /// Works until the shutdown. `wake` means that tasks changed; `notify_one` is not lost before the wait begins.
    /// While nothing is scheduled, this needs no time.
    pub async fn run(self, wake: Arc<Notify>, shutdown: CancellationToken) {
        let timer = WallTimer::new();
        let mut failures = 0;
        let mut clock_set = false;
        loop {
            let next = match self.turn(clock_set).await {
                Ok(next) => {
                    failures = 0;
                    clock_set = false;
                    next
                }
                Err(StoreError::Closed) => return,
                Err(error) => {
                    let pause = RETRY[failures.min(RETRY.len() - 1)];
                    failures += 1;
                    tracing::error!("cannot fire due tasks: {error}; retrying in {pause:?}");
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = tokio::time::sleep(pause) => continue,
                    }
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = wake.notified() => {}
                rang = timer.wait(next, self.clock.now()) => clock_set = rang == Rang::ClockSet,
            }
        }
    }

    /// Fires every due task. Returns when to look again.
    async fn turn(&self, clock_set: bool) -> Result<Option<DateTime<Utc>>, StoreError> {
        if clock_set {
            let moved = self.replan_all(replan).await?;
            tracing::info!("the clock was set: {moved} tasks are due earlier than planned");
        }
        while self.fire_due().await? == BATCH as usize {}
        self.store.read(tasks::next_due).await
    }

    /// Fires a batch of due tasks, if there are any. Returns how many were handled.
    async fn fire_due(&self) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let host = self.host;
        let any = self.store.read(move |db| Ok(!tasks::due(db, now, 1)?.is_empty())).await?;
        if !any {
            return Ok(0);
        }
        self.store.write(move |tx| fire_batch(tx, now, host)).await
    }

    /// Gives every active task the due time from `plan`. Returns how many have changed.
    async fn replan_all(
        &self,
        plan: fn(&Task, DateTime<Utc>, Tz) -> Option<DateTime<Utc>>,
    ) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let host = self.host;
        self.store
            .write(move |tx| {
                let mut moved = 0;
                for mut task in tasks::list(tx, None, false)? {
                    if task.status == TaskStatus::Active
                        && let Some(next) = plan(&task, now, host)
                    {
                        task.next_due = Some(next);
                        tasks::update(tx, &task)?;
                        moved += 1;
                    }
                }
                Ok(moved)
            })
            .await
    }
}

/// Fires a batch of due tasks in one transaction. Returns how many were handled.
pub(crate) fn fire_batch(tx: &mut Tx<'_>, now: DateTime<Utc>, host: Tz) -> TxResult<usize> {
    let due = tasks::due(tx, now, BATCH)?;
    let count = due.len();
    for task in due {
        fire(tx, task, now, host)?;
    }
    Ok(count)
}

/// Claims a due task's time and plans the next one, in one transaction.
fn fire(tx: &mut Tx<'_>, mut task: Task, now: DateTime<Utc>, host: Tz) -> TxResult<()> {
    if groups::by_folder(tx, &task.folder)?.is_none() {
        tracing::warn!("task {} is cancelled: its group {} is gone", task.id, task.folder);
        task.status = TaskStatus::Cancelled;
        task.next_due = None;
        tasks::update(tx, &task)?;
        return changed(tx, &task, "cancelled", now);
    }
    let Some(plan) = plan(&task, now, host) else { return Ok(()) };
    let waiting = tasks::waits(tx, &task)?;
    task.next_due = plan.next;
    if plan.completed {
        task.status = TaskStatus::Completed;
    }
    // Before the claim, because storing a status that is not active takes back waiting firings, and this claim must
    // stay.
    tasks::update(tx, &task)?;
    let change = match plan.claim {
        None => "missed",
        // An earlier firing still waits to start, so the two become one.
        Some(_) if waiting && !plan.completed => "collapsed",
        Some(due) if tasks::claim(tx, &task, due, now)? => "fired",
        Some(_) => return Ok(()),
    };
    changed(tx, &task, change, now)
}

fn changed(tx: &mut Tx<'_>, task: &Task, change: &str, now: DateTime<Utc>) -> TxResult<()> {
    let event = Event::Task { task_id: task.id.clone(), chat_jid: task.jid.clone(), change: change.into() };
    events::append(tx, &event, now).map(drop)
}

/// At the start: marks the firings that the last host was running as interrupted, which never start again for their
/// due time. Returns them as they were.
pub fn recover(tx: &Tx<'_>, now: DateTime<Utc>) -> TxResult<Vec<Fire>> {
    let running = tasks::in_state(tx, FireState::Running)?;
    for fire in &running {
        let end = FireEnd {
            state: FireState::Interrupted,
            result: fire.result.clone(),
            error: Some("the host ended while it ran".into()),
        };
        tasks::end(tx, &fire.task_id, fire.due, &end, now)?;
    }
    Ok(running)
}

#[cfg(test)]
mod tests;
