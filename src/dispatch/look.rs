//! What the store says about a group: looked up at every wake-up, so that what to do never depends on who woke it.

use super::budget::{self, UsedUp};
use super::group_actor::GroupActor;
use crate::domain::group::Group;
use crate::domain::message::Inbound;
use crate::domain::task::{ContextMode, Fire, Task};
use crate::domain::usage;
use crate::store::{groups, inbound, tasks};

/// What the store says about the group.
pub(super) struct Look {
    pub(super) group: Option<Group>,
    pub(super) commands: Vec<Inbound>,
    pub(super) message_waits: bool,
    pub(super) chat_fire: Option<(Fire, Task)>,
    pub(super) task_fire: Option<(Fire, Task)>,
    pub(super) used_up: Option<UsedUp>,
}

impl GroupActor {
    /// Looks.
    pub(super) async fn look(&self) -> Result<Look, crate::store::StoreError> {
        let jid = self.jid.clone();
        let budget = self.deps.settings.budget;
        let today = usage::day(self.deps.clock.now(), self.deps.settings.timezone);
        self.deps
            .store
            .read(move |db| {
                let group = groups::by_jid(db, &jid)?;
                let fires = match &group {
                    Some(group) => tasks::claimed(db, &group.folder)?,
                    None => Vec::new(),
                };
                let (mut chat_fire, mut task_fire) = (None, None);
                for (fire, task) in fires {
                    let place = if task.context_mode == ContextMode::Group { &mut chat_fire } else { &mut task_fire };
                    place.get_or_insert((fire, task));
                }
                let used_up = match &group {
                    Some(group) => budget::used_up(db, group, budget, today)?,
                    None => None,
                };
                Ok(Look {
                    commands: inbound::commands(db, &jid)?,
                    message_waits: inbound::first_trigger(db, &jid)?.is_some(),
                    group,
                    chat_fire,
                    task_fire,
                    used_up,
                })
            })
            .await
    }
}
