//! `resume_task`: lets a paused task fire again.

use parlor_protocol::requests::ResumeTask;
use rusqlite::Connection;

use super::rules::own_task;
use super::{Context, Effect, Verb, of_task, quoted};
use crate::domain::group::Group;
use crate::domain::ids::TaskId;
use crate::ipc::authorize::{Authorized, Denied};
use crate::ops::tasks;
use crate::store::{Tx, TxResult};

impl Verb for ResumeTask {
    type Command = TaskId;

    fn words(&self) -> String {
        format!("resume_task {}", quoted(&self.task_id))
    }

    fn rule(&self, db: &Connection, who: &Group) -> Result<TaskId, Denied> {
        own_task(db, who, &self.task_id)
    }

    fn handle(tx: &mut Tx<'_>, command: Authorized<Self>, cx: &Context) -> TxResult<Effect> {
        Ok(of_task(&tasks::resume(tx, &command.into_inner(), cx.now, cx.zone)?, cx.zone))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::ipc::verbs::testing::{DUE, Desk};

    #[tokio::test]
    async fn a_group_resumes_its_own_tasks() {
        let desk = Desk::new().await;
        desk.only_for_own_tasks("resume_task").await;
        desk.schedule("a", "t").await;
        desk.ask("a", json!({"type": "pause_task", "taskId": "t"})).await.unwrap();
        let resumed = desk.ask("a", json!({"type": "resume_task", "taskId": "t"})).await.unwrap();
        assert_eq!((&resumed["status"], &resumed["nextRun"]), (&json!("active"), &json!(DUE)));
    }
}
