//! Replaces a group's actor after a panic and reports the panic. Its messages wait again; other groups are not
//! affected.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::sleep;

use super::recover::{self, Means};
use super::{Deps, start};
use crate::domain::ids::{ChatJid, DeliveryId};
use crate::store::runs::Run;
use crate::store::{StoreError, Tx, panic_text};

/// The wait between two tries of a failing store, and the least wait before the group continues.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs an actor to its end. Returns false if it panicked; its unfinished messages then wait again.
pub(super) async fn supervise(deps: &Arc<Deps>, jid: &ChatJid, actor: impl Future<Output = ()>) -> bool {
    let Err(payload) = AssertUnwindSafe(actor).catch_unwind().await else { return true };
    let text = panic_text(&*payload);
    tracing::error!("the actor of {jid} panicked ({text}): a defect of Parlor; its messages wait again");
    metrics::counter!("parlor_actor_panics_total").increment(1);
    // A panic that repeats with the same work must not use all of the processor.
    sleep(PAUSE).await;
    let runs = loop {
        match take_back(deps, jid).await {
            Ok(runs) => break runs,
            Err(error) if error.is_temporary() && !deps.shutdown.hard.is_cancelled() => sleep(PAUSE).await,
            Err(error) => {
                tracing::error!("cannot take back the work of the actor of {jid}: {error}");
                return false;
            }
        }
    };
    for run in runs {
        // The run's own task ends it, too, once its actor is gone; this waits for the end.
        if let Err(error) = deps.engine.remove(std::slice::from_ref(&run.container)).await {
            tracing::warn!("cannot end container {}: {error}", run.container);
        }
        start::clean_up(deps, &run.folder, run.id).await;
    }
    false
}

/// Makes a chat's unfinished messages wait again, as a start of the host does for all. The try counts.
async fn take_back(deps: &Arc<Deps>, jid: &ChatJid) -> Result<Vec<Run>, StoreError> {
    let (jid, clock, registry) = (jid.clone(), deps.clock.clone(), deps.registry.clone());
    let take_back = move |tx: &mut Tx<'_>| {
        let (id, route) = (|| DeliveryId(clock.ulid()), |jid: &ChatJid| registry.route(jid));
        recover::take_back(tx, &jid, &Means { now: clock.now(), id: &id, route: &route })
    };
    deps.store.write(take_back).await
}
