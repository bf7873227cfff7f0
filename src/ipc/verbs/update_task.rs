//! `update_task`: changes prompt, schedule or zone.

use parlor_protocol::requests::UpdateTask;
use rusqlite::Connection;

use super::rules::own_task;
use super::{Context, Effect, Verb, of_task, quoted};
use crate::domain::group::Group;
use crate::domain::ids::TaskId;
use crate::ipc::authorize::{Authorized, Denied};
use crate::ops::tasks::{self, TaskChange};
use crate::store::{Tx, TxResult};

/// Changes of a task.
#[derive(Debug)]
pub(in crate::ipc) struct Changed {
    task: TaskId,
    change: TaskChange,
}

impl Verb for UpdateTask {
    type Command = Changed;

    fn words(&self) -> String {
        format!("update_task {}", quoted(&self.task_id))
    }

    fn rule(&self, db: &Connection, who: &Group) -> Result<Changed, Denied> {
        let task = own_task(db, who, &self.task_id)?;
        let asked = self.clone();
        let change = TaskChange {
            prompt: asked.prompt,
            schedule_type: asked.schedule_type,
            schedule_value: asked.schedule_value,
            timezone: asked.timezone,
            context_mode: None,
            missed: None,
        };
        Ok(Changed { task, change })
    }

    fn handle(tx: &mut Tx<'_>, command: Authorized<Self>, cx: &Context) -> TxResult<Effect> {
        let Changed { task, change } = command.into_inner();
        Ok(of_task(&tasks::update(tx, &task, &change, cx.now, cx.zone)?, cx.zone))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::ipc::verbs::testing::{DUE, Desk};

    #[tokio::test]
    async fn a_group_changes_its_own_tasks() {
        let desk = Desk::new().await;
        desk.only_for_own_tasks("update_task").await;
        desk.schedule("a", "t").await;
        let update = |field: &str, value: &str| json!({"type": "update_task", "taskId": "t", field: value});
        assert_eq!(desk.ask("a", update("prompt", "q")).await.unwrap()["nextRun"], DUE, "its schedule stays");
        let moved = desk.ask("a", update("schedule_value", "2099-01-02T00:00:00")).await.unwrap();
        assert_eq!(moved["nextRun"], "2099-01-02T00:00:00.000Z");
        let why = desk.ask("a", update("schedule_type", "cron")).await.unwrap_err();
        assert!(why.contains("needs a schedule_value of its own"), "{why}");
    }
}
