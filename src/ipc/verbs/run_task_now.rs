//! `run_task_now`: fires a task once, now.

use parlor_protocol::requests::RunTaskNow;
use rusqlite::Connection;

use super::rules::own_task;
use super::{Context, Effect, Verb, of_task, quoted};
use crate::domain::group::Group;
use crate::domain::ids::TaskId;
use crate::ipc::authorize::{Authorized, Denied};
use crate::ops::tasks;
use crate::store::{Tx, TxResult};

impl Verb for RunTaskNow {
    type Command = TaskId;

    fn words(&self) -> String {
        format!("run_task_now {}", quoted(&self.task_id))
    }

    fn rule(&self, db: &Connection, who: &Group) -> Result<TaskId, Denied> {
        own_task(db, who, &self.task_id)
    }

    fn handle(tx: &mut Tx<'_>, command: Authorized<Self>, cx: &Context) -> TxResult<Effect> {
        Ok(of_task(&tasks::run_now(tx, &command.into_inner(), cx.now)?, cx.zone))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::ipc::verbs::testing::{DUE, Desk};

    #[tokio::test]
    async fn a_group_runs_its_own_tasks_one_run_at_a_time() {
        let desk = Desk::new().await;
        desk.only_for_own_tasks("run_task_now").await;
        desk.schedule("a", "t").await;
        let run = json!({"type": "run_task_now", "taskId": "t"});
        assert_eq!(desk.ask("a", run.clone()).await.unwrap()["nextRun"], DUE, "its schedule stays");
        assert_eq!(desk.ask("a", run).await, Err("task t waits for its turn already".into()));
    }
}
