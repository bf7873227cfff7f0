//! A group's actor that panics is reported and made anew: its messages wait again, and other groups notice nothing.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::sleep;

use super::{Deps, backoff, start};
use crate::domain::delivery::{DeliveryKind, NewDelivery};
use crate::domain::ids::{ChatJid, DeliveryId, RunId};
use crate::domain::run::RunState;
use crate::domain::task::FireState;
use crate::store::runs::{self, Run};
use crate::store::tasks::FireEnd;
use crate::store::{StoreError, Tx, TxResult, inbound, outbox, panic_text, tasks};

/// Between two tries of a store that is out of order, and the least pause before a group goes on.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs an actor to its end. Returns false if it panicked; what it had under way then waits again.
pub(super) async fn supervise(deps: &Arc<Deps>, jid: &ChatJid, actor: impl Future<Output = ()>) -> bool {
    let Err(payload) = AssertUnwindSafe(actor).catch_unwind().await else { return true };
    let text = panic_text(&*payload);
    tracing::error!("the actor of {jid} panicked ({text}): a defect of Parlor; its messages wait again");
    metrics::counter!("parlor_actor_panics_total").increment(1);
    // A panic that comes back with the same work must not take the processor.
    sleep(PAUSE).await;
    let runs = loop {
        match take_back(deps, jid).await {
            Ok(runs) => break runs,
            Err(error) if error.is_temporary() && !deps.shutdown.hard.is_cancelled() => sleep(PAUSE).await,
            Err(error) => {
                tracing::error!("what the actor of {jid} had under way is not taken back: {error}");
                return false;
            }
        }
    };
    for run in runs {
        // Its own task ends it, too, when nobody listens any more; this waits for it.
        if let Err(error) = deps.engine.remove(std::slice::from_ref(&run.container)).await {
            tracing::warn!("cannot end container {}: {error}", run.container);
        }
        start::clean_up(deps, &run.folder, run.id).await;
    }
    false
}

/// Has everything that a chat had under way wait again, as a start of the host does for all of them. The try counts.
async fn take_back(deps: &Arc<Deps>, jid: &ChatJid) -> Result<Vec<Run>, StoreError> {
    let (jid, deps_too) = (jid.clone(), deps.clone());
    deps.store.write(move |tx| put_all_back(tx, &jid, &deps_too)).await
}

fn put_all_back(tx: &mut Tx<'_>, jid: &ChatJid, deps: &Deps) -> TxResult<Vec<Run>> {
    let now = deps.clock.now();
    let say = |tx: &mut Tx<'_>, text: String, run_id: Option<RunId>| {
        let new = NewDelivery {
            id: DeliveryId(deps.clock.ulid()),
            jid: jid.clone(),
            text,
            sender: None,
            reply_to: None,
            file: None,
            kind: DeliveryKind::Notice,
            run_id,
        };
        outbox::put(tx, &new, deps.registry.route(jid), false, now).map(drop)
    };
    let mut mine = runs::live(tx)?;
    mine.retain(|run| run.jid == *jid);
    for run in &mine {
        let error = Some("its group had to be restarted: a defect of Parlor, see the log of the host".to_owned());
        runs::put(tx, &Run { state: RunState::Interrupted, ended_at: Some(now), error, ..run.clone() })?;
        if let (Some(task), Some(due)) = (&run.task_id, run.due) {
            let end = FireEnd { state: FireState::Interrupted, result: None, error: Some("a defect of Parlor".into()) };
            tasks::end(tx, task, due, &end, now)?;
            let text = format!(
                "Task {task} was interrupted by a defect of Parlor. It is not repeated; `parlor tasks run {task}` runs it again."
            );
            say(tx, text, Some(run.id))?;
        }
    }
    if inbound::reclaim(tx, jid, backoff::MAX_RETRIES, now)? {
        let text = "This could not be answered: Parlor has a defect that shows with it. It is kept: `parlor runs retry` tries again.";
        say(tx, text.to_owned(), None)?;
    }
    Ok(mine)
}
