//! Containers that an earlier life of this installation left behind.

use std::time::Duration;

use super::engine::{ContainerEngine, EngineError};

/// The label that says which installation a container belongs to.
pub const INSTANCE_LABEL: &str = "parlor.instance";

/// Tries to remove what is there, and the pause between them. An engine that was just starting a container does not
/// find it for a removal, and shows one a moment longer whose removal is on its way.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Ends and removes every container of this installation, all at once; returns how many there were.
///
/// To be called at start, before the first run. Other installations' containers have another label value and stay.
pub async fn clear(engine: &dyn ContainerEngine, instance: &str) -> Result<usize, EngineError> {
    let mut names = engine.list(INSTANCE_LABEL, instance).await?;
    let count = names.len();
    if count > 0 {
        tracing::info!(engine = engine.name(), count, ?names, "removing containers left from before");
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
