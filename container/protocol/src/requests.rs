//! The requests that an agent drops as files into `messages/` and `tasks/`: one type for each verb, and its name in the
//! field `type`. A field that is added to an existing request must be optional: agents of earlier versions leave it out.

use serde::{Deserialize, Serialize};

/// A file an agent drops into `messages/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the type of a request says what it asks for")]
pub enum MessageFile {
    Message(SendMessage),
    File(SendFile),
}

/// A file an agent drops into `tasks/`. Field names mix two styles because `NanoClaw` v1's do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the type of a request says what it asks for")]
pub enum TaskFile {
    ScheduleTask(ScheduleTask),
    PauseTask(PauseTask),
    ResumeTask(ResumeTask),
    CancelTask(CancelTask),
    RunTaskNow(RunTaskNow),
    UpdateTask(UpdateTask),
    RefreshGroups(RefreshGroups),
    RegisterGroup(RegisterGroup),
}

/// Sends a text to a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SendMessage {
    /// The chat to write to.
    pub chat_jid: String,
    /// The text.
    pub text: String,
    /// A name to show as the sender, where the channel can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// The platform's id of the message it answers (Parlor).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
}

/// Sends a file of the group's folder to a chat (Parlor).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SendFile {
    /// The chat to send it to.
    pub chat_jid: String,
    /// Its path below the group's folder.
    pub path: String,
    /// A text that goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// The platform's id of the message it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
}

/// Creates a scheduled task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleTask {
    /// The task's id; the host makes one when absent.
    #[serde(default, rename = "taskId", skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// What the agent is asked when the task is due.
    pub prompt: String,
    /// `cron`, `interval` or `once`.
    pub schedule_type: String,
    /// Five cron fields, milliseconds, or a local time.
    pub schedule_value: String,
    /// `group` or `isolated` (default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_mode: Option<String>,
    /// The chat whose group the task is for.
    #[serde(rename = "targetJid")]
    pub target_jid: String,
    /// An IANA zone; the host's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// `run` (default) or `skip`: what happens to missed times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<String>,
}

/// Pauses a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PauseTask {
    /// The task's id.
    pub task_id: String,
}

/// Resumes a paused task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResumeTask {
    /// The task's id.
    pub task_id: String,
}

/// Ends a task for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CancelTask {
    /// The task's id.
    pub task_id: String,
}

/// Runs a task once, now, beside its schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunTaskNow {
    /// The task's id.
    pub task_id: String,
}

/// Changes a task; absent fields stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateTask {
    /// The task's id.
    #[serde(rename = "taskId")]
    pub task_id: String,
    /// New prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// New type; needs a new value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_type: Option<String>,
    /// New value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_value: Option<String>,
    /// New zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
}

/// Asks for fresh snapshots (main only).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshGroups {}

/// Registers a group (main only).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterGroup {
    /// The chat.
    pub jid: String,
    /// The group's name.
    pub name: String,
    /// The group's folder.
    pub folder: String,
    /// The group's trigger.
    pub trigger: String,
    /// Whether it answers only when triggered; yes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_trigger: Option<bool>,
    /// Of this only `additionalMounts` and `timeout` count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_config: Option<serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes are those that agents write since `NanoClaw` v1, in the same order.
    #[test]
    fn a_request_is_one_flat_object_that_begins_with_its_type() {
        let pause = TaskFile::PauseTask(PauseTask { task_id: "t".into() });
        let refresh = TaskFile::RefreshGroups(RefreshGroups {});
        let group = TaskFile::RegisterGroup(RegisterGroup {
            jid: "web:a".into(),
            name: "A".into(),
            folder: "a".into(),
            trigger: "@x".into(),
            requires_trigger: Some(false),
            container_config: Some(serde_json::json!({"timeout": 1})),
        });
        for (request, bytes) in [
            (pause, r#"{"type":"pause_task","taskId":"t"}"#),
            (refresh, r#"{"type":"refresh_groups"}"#),
            (
                group,
                r#"{"type":"register_group","jid":"web:a","name":"A","folder":"a","trigger":"@x","requiresTrigger":false,"containerConfig":{"timeout":1}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&request).unwrap(), bytes);
            assert_eq!(serde_json::from_str::<TaskFile>(bytes).unwrap(), request);
        }
        let file = MessageFile::File(SendFile {
            chat_jid: "web:a".into(),
            path: "x".into(),
            caption: None,
            reply_to: Some("m".into()),
        });
        let bytes = r#"{"type":"file","chatJid":"web:a","path":"x","replyTo":"m"}"#;
        assert_eq!(serde_json::to_string(&file).unwrap(), bytes);
        assert_eq!(serde_json::from_str::<MessageFile>(bytes).unwrap(), file);
    }

    #[test]
    fn a_field_that_is_missing_unknown_or_wrong_is_judged_as_ever() {
        let error = |json: &str| serde_json::from_str::<TaskFile>(json).unwrap_err().to_string();
        assert!(error(r#"{"type":"pause_task"}"#).starts_with("missing field `taskId`"));
        let wrong = error(r#"{"type":"pause_task","taskId":5}"#);
        assert!(wrong.starts_with("invalid type: integer `5`, expected a string"), "{wrong}");
        assert!(error(r#"{"type":"x"}"#).starts_with("unknown variant `x`, expected one of `schedule_task`, "));
        assert!(serde_json::from_str::<TaskFile>(r#"{"groupFolder":"x","type":"refresh_groups"}"#).is_ok());
    }
}
