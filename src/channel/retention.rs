//! Drops what nobody needs any more: events, delivered texts with their files, and IPC records older than [`KEEP`].

use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use crate::domain::clock::SharedClock;
use crate::store::{Store, StoreError, events, outbox_files};

/// How long events, delivered texts and records of handled IPC files are kept.
pub const KEEP: TimeDelta = TimeDelta::days(7);
/// Events dropped in one write.
const SLICE: u32 = 5_000;
/// How often old rows are looked for.
const EVERY: Duration = Duration::from_secs(24 * 3600);
/// How long after the start they are first looked for, so that the start is not slowed.
const FIRST: Duration = Duration::from_secs(60);

/// Looks for old rows daily until the shutdown.
pub async fn run(store: Store, clock: SharedClock, shutdown: CancellationToken) {
    let mut wait = FIRST;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = EVERY;
        if let Err(error) = expire(&store, &clock).await {
            tracing::warn!("old events could not be dropped, tried again in a day: {error}");
        }
    }
}

/// Drops old rows once.
pub async fn expire(store: &Store, clock: &SharedClock) -> Result<(), StoreError> {
    let before = clock.now() - KEEP;
    while store.write(move |tx| events::expire(tx, before, SLICE)).await? > 0 {}
    store.write(move |tx| events::expire_stories(tx, before)).await?;
    outbox_files::sweep(store).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::channel::Registry;
    use crate::domain::clock::{Clock, SystemClock};
    use crate::domain::delivery::{DeliveryKind, NewDelivery};
    use crate::domain::event::Event;
    use crate::domain::ids::DeliveryId;
    use crate::store::outbox::{self, Route};
    use crate::store::testing::store;
    use crate::store::{Tx, TxResult};

    #[tokio::test]
    async fn a_week_is_kept() {
        let (_dir, store, _wakes) = store();
        let clock: SharedClock = Arc::new(SystemClock);
        let now = clock.now();
        assert_eq!(Registry::default().route(&"x:y".parse().unwrap()), Route::Platform);
        for days in [6, 8] {
            let new = NewDelivery {
                id: DeliveryId(SystemClock.ulid()),
                jid: "web:a".parse().unwrap(),
                text: format!("{days} days old"),
                sender: None,
                reply_to: None,
                file: None,
                kind: DeliveryKind::Reply,
                run_id: None,
            };
            let at = now - TimeDelta::days(days);
            store.write(move |tx| outbox::put(tx, &new, Route::Local, false, at)).await.unwrap();
        }
        expire(&store, &clock).await.unwrap();
        let texts: Vec<_> = store.read(|db| events::after(db, 0, None)).await.unwrap();
        let texts: Vec<_> = texts.into_iter().map(|e| e.text.unwrap()).collect();
        assert_eq!(texts, ["6 days old"]);
        assert_eq!(store.read(|db| outbox::list(db, true, 9)).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn many_events_go_in_slices_and_new_ones_stay() {
        let (_dir, store, _wakes) = store();
        let clock: SharedClock = Arc::new(SystemClock);
        let now = clock.now();
        let rows = i64::from(SLICE) * 2 + 10;
        let add = move |tx: &mut Tx<'_>| -> TxResult<()> {
            for n in 0..rows + 3 {
                let at = if n < rows { now - TimeDelta::days(8) } else { now };
                let event = Event::Task {
                    task_id: "t".parse().unwrap(),
                    chat_jid: "web:a".parse().unwrap(),
                    change: "x".into(),
                };
                events::append(tx, &event, at)?;
            }
            Ok(())
        };
        store.write(add).await.unwrap();
        let before = now - KEEP;
        let first = store.write(move |tx| events::expire(tx, before, SLICE)).await.unwrap();
        assert_eq!(first, SLICE as usize);
        expire(&store, &clock).await.unwrap();
        assert_eq!(store.read(events::bounds).await.unwrap(), (Some(rows + 1), rows + 3));
    }
}
