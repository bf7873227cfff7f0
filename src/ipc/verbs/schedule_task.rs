//! `schedule_task`: a new task.

use parlor_protocol::requests::ScheduleTask;
use rusqlite::Connection;

use super::rules::target;
use super::{Context, Effect, Verb, of_task, quoted};
use crate::domain::group::Group;
use crate::ipc::authorize::{Authorized, Denied};
use crate::ops::tasks::{self, NewTask, TaskFields};
use crate::store::{Tx, TxError, TxResult};

/// A new task, and the group that it is for.
#[derive(Debug)]
pub(in crate::ipc) struct Scheduled {
    group: Group,
    new: NewTask,
}

impl Verb for ScheduleTask {
    type Command = Scheduled;

    fn words(&self) -> String {
        format!("schedule_task for chat {}", quoted(&self.target_jid))
    }

    fn rule(&self, db: &Connection, who: &Group) -> Result<Scheduled, Denied> {
        let group = target(db, who, &self.target_jid, "tasks for")?;
        let new = NewTask::parse(&TaskFields {
            id: self.task_id.as_deref(),
            prompt: &self.prompt,
            schedule_type: &self.schedule_type,
            schedule_value: &self.schedule_value,
            context_mode: self.context_mode.as_deref(),
            timezone: self.timezone.as_deref(),
            missed: self.missed.as_deref(),
        })?;
        Ok(Scheduled { group, new })
    }

    fn handle(tx: &mut Tx<'_>, command: Authorized<Self>, cx: &Context) -> TxResult<Effect> {
        let Scheduled { group, new } = command.into_inner();
        let fresh = format!("task-{}", cx.claim.to_string().to_lowercase());
        let fresh = fresh.parse().map_err(|e| TxError::Conflict(format!("{e}")))?;
        Ok(of_task(&tasks::create(tx, &group, new, fresh, cx.now, cx.zone)?, cx.zone))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::ipc::verbs::testing::{Desk, words};

    fn schedule(chat: &str) -> Value {
        json!({"type": "schedule_task", "prompt": "p", "schedule_type": "interval", "schedule_value": "60000",
            "targetJid": chat})
    }

    #[tokio::test]
    async fn a_group_makes_tasks_for_itself_and_main_for_any_group() {
        let desk = Desk::new().await;
        assert_eq!(words(&schedule("web:\"a")), r#"schedule_task for chat "web:\"a""#);
        for (who, chat) in [("a", "web:a"), ("main", "web:b")] {
            let made = desk.ask(who, schedule(chat)).await.unwrap();
            assert_eq!((&made["status"], &made["nextRun"]), (&json!("active"), &json!("2026-01-01T00:01:00.000Z")));
            assert!(made["taskId"].as_str().unwrap().starts_with("task-"), "{made}");
        }
        let why = "only the main group may send tasks for other chats; the own chat is web:a";
        assert_eq!(desk.ask("a", schedule("web:b")).await, Err(why.into()));
        let why = "chat web:x is not registered: see available_groups.json, and register it first";
        assert_eq!(desk.ask("main", schedule("web:x")).await, Err(why.into()));
    }

    #[tokio::test]
    async fn an_id_is_taken_once_and_a_schedule_must_make_sense() {
        let desk = Desk::new().await;
        let mut named = schedule("web:a");
        named["taskId"] = "t".into();
        assert_eq!(desk.ask("a", named.clone()).await.unwrap()["taskId"], "t");
        assert!(desk.ask("a", named).await.unwrap_err().contains(parlor_protocol::EXISTS_ALREADY));
        let mut often = schedule("web:a");
        often["schedule_value"] = "9999".into();
        assert!(desk.ask("a", often).await.is_err());
    }
}
