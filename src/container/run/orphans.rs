//! Containers that an earlier host of this installation left behind.

use std::time::Duration;

use crate::container::engine::{ContainerEngine, EngineError};

/// The label with the id of a container's installation.
pub const INSTANCE_LABEL: &str = "parlor.instance";

/// The number of tries to remove the containers, and the pause between them. A container that is just being started
/// cannot be removed yet, and one that is being removed is still listed for a moment.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Removes every container of this installation, all at once. Returns how many there were.
///
/// To be called at start, before the first run. Other installations' containers have another label value and stay.
pub async fn clear(engine: &dyn ContainerEngine, instance: &str) -> Result<usize, EngineError> {
    let mut names = engine.list(INSTANCE_LABEL, instance).await?;
    let count = names.len();
    if count > 0 {
        tracing::info!(engine = engine.name(), count, ?names, "removing containers of the previous host");
    }
    for _ in 0..TRIES {
        if names.is_empty() {
            return Ok(count);
        }
        engine.remove(&names).await?;
        names = engine.list(INSTANCE_LABEL, instance).await?;
        if !names.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Err(EngineError::Failed {
        engine: engine.name().to_owned(),
        action: "rm".to_owned(),
        reason: format!("containers are still there after their removal: {}", names.join(", ")),
    })
}
