//! Makes the folders of a group right after its registration, before its first message, so that its first room opens
//! as fast as any other.

use std::sync::Arc;

use anyhow::Context;

use super::{Deps, DispatchHandle};
use crate::agent;
use crate::config::settings::Settings;
use crate::domain::ids::GroupFolder;
use crate::store::groups;

impl DispatchHandle {
    /// Makes a new group's folders in the background, one group at a time. Errors are left to the first room, which
    /// makes missing folders and reports failures.
    pub fn make_ready(&self, folder: GroupFolder) {
        let shared = self.shared.clone();
        self.shared.tracker.spawn(async move {
            // The semaphore is never closed.
            let _turn = shared.ready.acquire().await;
            if shared.deps.shutdown.soft.is_cancelled() {
                return;
            }
            if let Err(error) = make(&shared.deps, &folder).await {
                tracing::debug!("cannot make the folders of group {folder} in advance: {error:#}");
            }
        });
    }
}

async fn make(deps: &Arc<Deps>, folder: &GroupFolder) -> anyhow::Result<()> {
    let whose = folder.clone();
    // The group may have been removed again.
    let Some(group) = deps.store.read(move |db| groups::by_folder(db, &whose)).await? else { return Ok(()) };
    deps.ipc.make_folders(folder).await.context("IPC folder")?;
    // The first room copies the agent's source, so that the copy is recent.
    let settings = Settings { agent_runner_src: None, ..(*deps.settings).clone() };
    let owner = deps.rooms.owner();
    let prepare = move || agent::prepare(&settings.home, &settings, &group, owner).map(drop);
    Ok(tokio::task::spawn_blocking(prepare).await??)
}
