//! Ending a container by name: ask, grace, kill, and the proof that the name is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::EndReason;
use crate::container::engine::{ContainerEngine, EngineError};

/// What a container gets between being asked and being killed.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// The same when the host shuts down: the agent had the whole grace of the shutdown before.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
/// After so long the run is given up as it is, and the container ended in the background.
const GIVE_UP: Duration = Duration::from_secs(20);
/// Between two looks whether the name is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Between two tries to end a container that outlived its run.
const RETRY: Duration = Duration::from_secs(10);
/// Tries in the background; the next start of the host clears what is left even then.
const TRIES: u32 = 360;

/// Ends a container; returns whether it is proved to be gone. Never takes much longer than 20 s.
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
            tracing::warn!("stopping {name}: {error}");
        }
        kill_until_gone(&*engine, &name).await
    })
    .await;
    if let Ok(Ok(())) = gone {
        return true;
    }
    if let Ok(Err(error)) = gone {
        tracing::warn!("ending {name}: {error}");
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

/// Goes on after the run was given up: an engine that hangs or is down must not leave a container behind.
async fn end_later(engine: Arc<dyn ContainerEngine>, name: String) {
    for _ in 0..TRIES {
        sleep(RETRY).await;
        if engine.remove(std::slice::from_ref(&name)).await.is_ok() && matches!(engine.exists(&name).await, Ok(false)) {
            return;
        }
    }
    tracing::error!("container {name} could not be ended: see `parlor doctor`");
}
