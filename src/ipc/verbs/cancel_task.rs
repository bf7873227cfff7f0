//! `cancel_task`: ends a task for good.

use parlor_protocol::requests::CancelTask;
use rusqlite::Connection;

use super::rules::own_task;
use super::{Context, Effect, Verb, of_task, quoted};
use crate::domain::group::Group;
use crate::domain::ids::TaskId;
use crate::ipc::authorize::{Authorized, Denied};
use crate::ops::tasks;
use crate::store::{Tx, TxResult};

impl Verb for CancelTask {
    type Command = TaskId;

    fn words(&self) -> String {
        format!("cancel_task {}", quoted(&self.task_id))
    }

    fn rule(&self, db: &Connection, who: &Group) -> Result<TaskId, Denied> {
        own_task(db, who, &self.task_id)
    }

    fn handle(tx: &mut Tx<'_>, command: Authorized<Self>, cx: &Context) -> TxResult<Effect> {
        Ok(of_task(&tasks::cancel(tx, &command.into_inner(), cx.now)?, cx.zone))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::ipc::verbs::testing::Desk;

    #[tokio::test]
    async fn a_group_cancels_its_own_tasks_for_good() {
        let desk = Desk::new().await;
        desk.only_for_own_tasks("cancel_task").await;
        desk.schedule("a", "t").await;
        let cancelled = desk.ask("a", json!({"type": "cancel_task", "taskId": "t"})).await;
        assert_eq!(cancelled, Ok(json!({"taskId": "t", "status": "cancelled", "nextRun": null})));
        let why = desk.ask("a", json!({"type": "resume_task", "taskId": "t"})).await.unwrap_err();
        assert_eq!(why, "task t was cancelled: make a new one");
    }
}
