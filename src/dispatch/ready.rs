//! Folders of a group that was just registered, made before its first message: opening its room then costs no more than that
//! of any other.

use std::sync::Arc;

use anyhow::Context;

use super::{Deps, DispatchHandle};
use crate::agent;
use crate::config::settings::Settings;
use crate::domain::ids::GroupFolder;
use crate::store::groups;

impl DispatchHandle {
    /// Makes a new group's folders in the background, one group at a time. Whatever goes wrong is reported by the first room,
    /// which makes what is missing.
    pub fn make_ready(&self, folder: GroupFolder) {
        let shared = self.shared.clone();
        self.shared.tracker.spawn(async move {
            // It is never closed.
            let _turn = shared.ready.acquire().await;
            if shared.deps.shutdown.soft.is_cancelled() {
                return;
            }
            if let Err(error) = make(&shared.deps, &folder).await {
                tracing::debug!("the folders of group {folder} are not made in advance: {error:#}");
            }
        });
    }
}

async fn make(deps: &Arc<Deps>, folder: &GroupFolder) -> anyhow::Result<()> {
    let whose = folder.clone();
    // It may be removed again already.
    let Some(group) = deps.store.read(move |db| groups::by_folder(db, &whose)).await? else { return Ok(()) };
    deps.ipc.make_folders(folder).await.context("IPC folder")?;
    // The copy of the agent's source is the first room's: of the source as it is then.
    let settings = Settings { agent_runner_src: None, ..(*deps.settings).clone() };
    let owner = deps.rooms.owner();
    let prepare = move || agent::prepare(&settings.home, &settings, &group, owner).map(drop);
    Ok(tokio::task::spawn_blocking(prepare).await??)
}
