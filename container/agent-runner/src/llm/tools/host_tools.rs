//! The host's tools for the model: the one place that knows how a call becomes a request to the host.

use serde_json::{Map, Value, json};

use super::Spec;
use crate::host::{self, Refusal, find_task};
use crate::protocol::{CommandResult, MessageFile, TaskFile};
use crate::run::Room;

/// The tools; main has more of them.
pub(super) fn offered(is_main: bool) -> Vec<Spec> {
    let text = |about: &str| json!({"type": "string", "description": about});
    let object = |properties: Value, required: &[&str]| json!({"type": "object", "properties": properties, "required": required});
    let task = || json!({"task": text("The task's number in list_tasks, or its id.")});
    let when = || {
        json!({"prompt": text("What the agent is asked when the task is due: everything it must know."),
               "schedule_type": {"type": "string", "enum": ["cron", "interval", "once"]},
               "schedule_value": text("cron: five fields; interval: milliseconds, at least 10000; once: a local time like \
                                       2026-12-24T18:00:00, without a zone."),
               "timezone": text("An IANA zone; the host's when left out."),
               "context_mode": {"type": "string", "enum": ["group", "isolated"],
                                "description": "group: in this conversation; isolated (the default): in one of its own."}})
    };
    let mut tools = vec![
        Spec::new(
            "send_message",
            "Sends a text to the chat at once, while you go on working. Not for your final answer, which is sent anyway.",
            object(json!({"text": text("The text.")}), &["text"]),
        ),
        Spec::new("list_tasks", "Lists the scheduled tasks.", object(json!({}), &[])),
        Spec::new(
            "schedule_task",
            "Sets up a task for later, once or regularly.",
            object(when(), &["prompt", "schedule_type", "schedule_value"]),
        ),
        Spec::new("update_task", "Changes a task; what is left out stays.", {
            let mut properties = when();
            if let (Some(properties), Some(task)) = (properties.as_object_mut(), task().as_object()) {
                properties.remove("context_mode");
                properties.extend(task.clone());
            }
            object(properties, &["task"])
        }),
        Spec::new("pause_task", "Pauses a task.", object(task(), &["task"])),
        Spec::new("resume_task", "Lets a paused task go on.", object(task(), &["task"])),
        Spec::new("cancel_task", "Ends a task for good.", object(task(), &["task"])),
        Spec::new("run_task_now", "Runs a task once, now, beside its schedule.", object(task(), &["task"])),
    ];
    if is_main {
        tools.push(Spec::new("list_chats", "Lists the chats Parlor knows, registered or not.", object(json!({}), &[])));
        tools.push(Spec::new(
            "register_group",
            "Makes a chat a group with an agent of its own.",
            object(
                json!({"jid": text("The chat."), "name": text("The group's name."),
                       "folder": text("A new folder's name: letters, digits, - and _."),
                       "trigger": text("What a message begins with, for example @Andy.")}),
                &["jid", "name", "folder", "trigger"],
            ),
        ));
    }
    tools
}

/// Carries out a call.
pub(super) fn call(name: &str, args: &Map<String, Value>, room: &Room) -> Result<String, String> {
    let get = |key: &str| {
        args.get(key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let need = |key: &str| get(key).ok_or_else(|| format!("{key} is missing."));
    let folders = &room.folders;
    match name {
        "send_message" => {
            let chat_jid = room.input.chat_jid.clone();
            let message = MessageFile::Message { chat_jid, text: need("text")?, sender: None };
            host::ask(folders, "messages", &message).map_err(|refusal| told(&refusal))?;
            Ok("Done: the message is on its way.".to_owned())
        }
        "list_tasks" => list(room),
        "list_chats" => {
            let chats = host::groups(folders)?.groups;
            let line = |chat: &crate::protocol::GroupSnapshot| {
                let state = if chat.is_registered { "registered" } else { "not registered" };
                format!("{} ({}), {state}", chat.jid, chat.name)
            };
            Ok(if chats.is_empty() {
                "There are none.".to_owned()
            } else {
                chats.iter().map(line).collect::<Vec<_>>().join("\n")
            })
        }
        "schedule_task" => ask(
            room,
            &TaskFile::ScheduleTask {
                task_id: None,
                prompt: need("prompt")?,
                schedule_type: need("schedule_type")?,
                schedule_value: need("schedule_value")?,
                context_mode: get("context_mode"),
                target_jid: room.input.chat_jid.clone(),
                timezone: get("timezone"),
                missed: None,
            },
        ),
        "update_task" => ask(
            room,
            &TaskFile::UpdateTask {
                task_id: task(room, &need("task")?)?,
                prompt: get("prompt"),
                schedule_type: get("schedule_type"),
                schedule_value: get("schedule_value"),
                timezone: get("timezone"),
            },
        ),
        "pause_task" => ask(room, &TaskFile::PauseTask { task_id: task(room, &need("task")?)? }),
        "resume_task" => ask(room, &TaskFile::ResumeTask { task_id: task(room, &need("task")?)? }),
        "cancel_task" => ask(room, &TaskFile::CancelTask { task_id: task(room, &need("task")?)? }),
        "run_task_now" => ask(room, &TaskFile::RunTaskNow { task_id: task(room, &need("task")?)? }),
        "register_group" => ask(
            room,
            &TaskFile::RegisterGroup {
                jid: need("jid")?,
                name: need("name")?,
                folder: need("folder")?,
                trigger: need("trigger")?,
                requires_trigger: None,
                container_config: None,
            },
        ),
        other => Err(format!("there is no tool {other:?}.")),
    }
}

fn ask(room: &Room, request: &TaskFile) -> Result<String, String> {
    let result: CommandResult = host::ask(&room.folders, "tasks", request).map_err(|refusal| told(&refusal))?;
    let id = result.details.get("taskId").and_then(Value::as_str).map_or_else(String::new, |id| format!(" Task {id}."));
    let next = host::next_run(&result, host::zone()).map_or_else(String::new, |next| format!(" Next run: {next}."));
    Ok(format!("Done.{id}{next}"))
}

fn told(refusal: &Refusal) -> String {
    refusal.to_string()
}

/// A number counts in the list; what is not in the list goes to the host as it is, which knows best.
fn task(room: &Room, wanted: &str) -> Result<String, String> {
    let tasks = host::tasks(&room.folders)?;
    match find_task(&tasks, wanted) {
        Ok(task) => Ok(task.id.clone()),
        Err(reason) if wanted.parse::<u16>().is_ok() => Err(reason),
        Err(_) => Ok(wanted.to_owned()),
    }
}

fn list(room: &Room) -> Result<String, String> {
    let tasks = host::tasks(&room.folders)?;
    if tasks.is_empty() {
        return Ok("There are no tasks.".to_owned());
    }
    let line = |(at, task): (usize, &crate::protocol::TaskSnapshot)| {
        let next = task.next_run.as_deref().map_or("-".to_owned(), |next| host::readable_text(next, host::zone()));
        let prompt = task.prompt.replace('\n', " ");
        format!(
            "{}. {} ({}, {}): {} {}; next {next}; {prompt}",
            at + 1,
            task.id,
            task.group_folder,
            task.status,
            task.schedule_type,
            task.schedule_value
        )
    };
    Ok(tasks.iter().enumerate().map(line).collect::<Vec<_>>().join("\n"))
}
