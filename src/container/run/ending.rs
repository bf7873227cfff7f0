//! Ending a container by name: ask, grace, kill, and the proof that the name is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::EndReason;
use crate::container::engine::{ContainerEngine, EngineError};

/// The time between asking and killing.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// The same at the host's shutdown: the agent had the shutdown's grace before.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
/// After this time the run ends in any case, and its container is ended in the background.
const GIVE_UP: Duration = Duration::from_secs(20);
/// The wait between two checks whether the name is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The wait between two tries to end a container that outlived its run.
const RETRY: Duration = Duration::from_secs(10);
/// The number of tries in the background; the next start of the host removes containers that remain.
const TRIES: u32 = 360;

/// Ends a container. Returns true if it is proved to be gone. Takes little more than 20 s at most.
pub(super) async fn end(engine: Arc<dyn ContainerEngine>, name: String, reason: EndReason) -> bool {
    let deadline = Instant::now() + GIVE_UP;
    let gone = timeout_at(deadline, async {
        let grace = match reason {
            EndReason::Stopped => None,
            EndReason::Shutdown => Some(SHUTDOWN_GRACE),
            EndReason::HardTimeout | EndReason::TurnLimit | EndReason::CloseGrace => Some(STOP_GRACE),
        };
        if let Some(grace) = grace
            && let Err(error) = engine.stop(&name, grace).await
        {
            tracing::warn!("cannot stop container {name}: {error}");
        }
        kill_until_gone(&*engine, &name).await
    })
    .await;
    if let Ok(Ok(())) = gone {
        return true;
    }
    if let Ok(Err(error)) = gone {
        tracing::warn!("cannot end container {name}: {error}");
    }
    tokio::spawn(end_later(engine, name));
    false
}

async fn kill_until_gone(engine: &dyn ContainerEngine, name: &str) -> Result<(), EngineError> {
    loop {
        engine.kill(name).await?;
        if !engine.exists(name).await? {
            return Ok(());
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Continues after the run has ended: a hanging or stopped engine must not leave a container behind.
async fn end_later(engine: Arc<dyn ContainerEngine>, name: String) {
    for _ in 0..TRIES {
        sleep(RETRY).await;
        if engine.remove(std::slice::from_ref(&name)).await.is_ok() && matches!(engine.exists(&name).await, Ok(false)) {
            return;
        }
    }
    tracing::error!("cannot end container {name}: see `parlor doctor`");
}
