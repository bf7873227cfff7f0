//! The tools' actions: each checks its arguments, sends a request to the host, and words its answer.

use std::fs;
use std::path::{Component, Path, PathBuf};

use parlor_protocol::limits::{MAX_ID, MAX_NAME, MAX_TRIGGER};
use parlor_protocol::{CommandResult, GroupSnapshot, MessageFile, TaskFile, TaskSnapshot};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Call, Done, Trouble, check};
use crate::host::{self, Refusal, find_task};
use crate::memory;

/// Characters of a fact to remember.
const MAX_FACT: usize = 4_000;

type Outcome = Result<Done, Trouble>;

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Failed(refusal.to_string())
    }
}

fn ask(call: &Call<'_>, kind: &str, request: &impl Serialize) -> Result<CommandResult, Trouble> {
    Ok(host::ask_for(&call.context.folders, kind, request, call.context.patience)?)
}

/// Returns the chat that the call names, else the run's.
fn chat(call: &Call<'_>) -> Result<String, Trouble> {
    let chat = call.text("chatJid").or_else(|| call.context.chat.clone());
    let chat = chat.ok_or_else(|| Trouble::Usage("Which chat? Name it, or set PARLOR_CHAT_JID.".to_owned()))?;
    check::jid(&chat)?;
    Ok(chat)
}

fn reply_to(call: &Call<'_>) -> Result<Option<String>, Trouble> {
    let id = call.text("replyTo");
    id.as_deref().map_or(Ok(()), |id| check::line("replyTo", id, MAX_ID))?;
    Ok(id)
}

pub(super) fn send_message(call: &Call<'_>) -> Outcome {
    let (text, chat_jid) = (call.need("text")?, chat(call)?);
    let message = MessageFile::Message { chat_jid, text, sender: call.text("sender"), reply_to: reply_to(call)? };
    let result = ask(call, "messages", &message)?;
    Ok(if result.details.get("sent") == Some(&Value::Bool(false)) {
        Done::say("Nothing was sent: all of the text is marked as internal.")
    } else {
        Done::say("Done: the message is on its way.")
    })
}

pub(super) fn send_file(call: &Call<'_>) -> Outcome {
    let path = below(&call.context.folders.group, &call.need("path")?)?;
    let (shown, chat_jid) = (path.clone(), chat(call)?);
    let file = MessageFile::File { chat_jid, path, caption: call.text("caption"), reply_to: reply_to(call)? };
    let result = ask(call, "messages", &file)?;
    let size = result.details.get("size").and_then(Value::as_u64).map_or_else(String::new, |n| format!(" ({n} bytes)"));
    Ok(Done::say(format!("Done: the file {shown}{size} is on its way.")))
}

/// Returns a path below the group's folder. It may be given with the folder, and must be a regular file.
fn below(group: &Path, wanted: &str) -> Result<String, Trouble> {
    let path = Path::new(wanted.trim());
    let path: PathBuf =
        path.strip_prefix(group).unwrap_or(path).components().filter(|c| *c != Component::CurDir).collect();
    let inside = !path.as_os_str().is_empty() && path.components().all(|c| matches!(c, Component::Normal(_)));
    let (true, Some(text)) = (inside, path.to_str()) else {
        return Err(Trouble::Failed(format!(
            "{wanted:?} is not a path below {}: only files there can be sent",
            group.display()
        )));
    };
    match fs::symlink_metadata(group.join(&path)) {
        Ok(found) if found.is_file() => Ok(text.to_owned()),
        Ok(_) => Err(Trouble::Failed(format!("{text} is not a regular file: only those can be sent"))),
        Err(error) => Err(Trouble::Failed(format!("{text} cannot be sent: {error}"))),
    }
}

pub(super) fn schedule_task(call: &Call<'_>) -> Outcome {
    let (prompt, kind, value) = (call.need("prompt")?, call.need("schedule_type")?, call.need("schedule_value")?);
    check::prompt(&prompt)?;
    check::schedule(&kind, &value)?;
    let (timezone, task_id) = (zone(call)?, call.text("taskId"));
    task_id.as_deref().map_or(Ok(()), check::task_id)?;
    let task = TaskFile::ScheduleTask {
        task_id,
        prompt,
        schedule_type: kind,
        schedule_value: value,
        context_mode: call.text("context_mode"),
        target_jid: chat(call)?,
        timezone,
        missed: call.text("missed"),
    };
    let result = ask(call, "tasks", &task)?;
    let id = result.details.get("taskId").and_then(Value::as_str).unwrap_or("(without an id)");
    let next = host::next_run(&result, host::zone()).map_or_else(String::new, |next| format!(", next run {next}"));
    Ok(Done { text: format!("Done: task {id}{next}"), data: Some(json!(result.details)) })
}

fn zone(call: &Call<'_>) -> Result<Option<String>, Trouble> {
    let zone = call.text("timezone");
    zone.as_deref().map_or(Ok(()), check::zone)?;
    Ok(zone)
}

/// Resolves a task: a number means one in the list; an id that is not in the list is passed to the host, which decides.
fn task_id(call: &Call<'_>) -> Result<String, Trouble> {
    let wanted = call.need("taskId")?;
    let tasks = host::tasks(&call.context.folders).map_err(Trouble::Failed)?;
    match find_task(&tasks, &wanted) {
        Ok(task) => return Ok(task.id.clone()),
        Err(reason) if wanted.parse::<u16>().is_ok() => return Err(Trouble::Failed(reason)),
        Err(_) => {}
    }
    check::task_id(&wanted)?;
    Ok(wanted)
}

pub(super) fn pause_task(call: &Call<'_>) -> Outcome {
    on_task(call, &TaskFile::PauseTask { task_id: task_id(call)? }, "paused")
}

pub(super) fn resume_task(call: &Call<'_>) -> Outcome {
    on_task(call, &TaskFile::ResumeTask { task_id: task_id(call)? }, "active again")
}

pub(super) fn cancel_task(call: &Call<'_>) -> Outcome {
    on_task(call, &TaskFile::CancelTask { task_id: task_id(call)? }, "cancelled")
}

pub(super) fn run_task_now(call: &Call<'_>) -> Outcome {
    on_task(call, &TaskFile::RunTaskNow { task_id: task_id(call)? }, "about to run")
}

fn on_task(call: &Call<'_>, request: &TaskFile, done: &str) -> Outcome {
    let result = ask(call, "tasks", request)?;
    Ok(changed(&result, &format!("Done: the task is {done}.")))
}

fn changed(result: &CommandResult, done: &str) -> Done {
    let next = host::next_run(result, host::zone()).map_or_else(String::new, |next| format!(" Next run: {next}"));
    Done { text: format!("{done}{next}"), data: Some(json!(result.details)) }
}

pub(super) fn update_task(call: &Call<'_>) -> Outcome {
    let (prompt, kind, value) = (call.text("prompt"), call.text("schedule_type"), call.text("schedule_value"));
    let timezone = zone(call)?;
    if prompt.is_none() && value.is_none() && kind.is_none() && timezone.is_none() {
        return Err(Trouble::Usage("What shall change? Give a prompt, a schedule or a zone.".to_owned()));
    }
    prompt.as_deref().map_or(Ok(()), check::prompt)?;
    match (&kind, &value) {
        (Some(kind), Some(value)) => check::schedule(kind, value)?,
        (Some(_), None) => return Err(Trouble::Usage("A new schedule_type needs a schedule_value.".to_owned())),
        // The value is in the form of the task's present type, which the host knows.
        (None, _) => {}
    }
    let task_id = task_id(call)?;
    let change = TaskFile::UpdateTask { task_id, prompt, schedule_type: kind, schedule_value: value, timezone };
    let result = ask(call, "tasks", &change)?;
    Ok(changed(&result, "Done: the task is changed."))
}

pub(super) fn list_tasks(call: &Call<'_>) -> Outcome {
    let tasks = host::tasks(&call.context.folders).map_err(Trouble::Failed)?;
    let line = |(at, task): (usize, &TaskSnapshot)| {
        let next = task.next_run.as_deref().map_or("-".to_owned(), |next| host::readable_text(next, host::zone()));
        let prompt = task.prompt.replace('\n', " ");
        let (kind, value) = (&task.schedule_type, &task.schedule_value);
        format!("{}\t{}\t{}\t{}\t{kind} {value}\t{next}\t{prompt}", at + 1, task.id, task.group_folder, task.status)
    };
    let text = match &tasks[..] {
        [] => "There are no tasks.".to_owned(),
        tasks => tasks.iter().enumerate().map(line).collect::<Vec<_>>().join("\n"),
    };
    Ok(Done { text, data: Some(json!({ "tasks": tasks })) })
}

pub(super) fn list_groups(call: &Call<'_>) -> Outcome {
    let snapshot = host::groups(&call.context.folders).map_err(Trouble::Failed)?;
    let line = |group: &GroupSnapshot| {
        let state = if group.is_registered { "registered" } else { "available" };
        format!("{}\t{}\t{state}\t{}", group.jid, group.name, group.last_activity)
    };
    let text = match &snapshot.groups[..] {
        [] => "No chats are listed: only the main group sees them.".to_owned(),
        groups => groups.iter().map(line).collect::<Vec<_>>().join("\n"),
    };
    Ok(Done { text, data: Some(json!(snapshot)) })
}

pub(super) fn register_group(call: &Call<'_>) -> Outcome {
    let (jid, name, folder) = (call.need("jid")?, call.need("name")?, call.need("folder")?);
    let trigger = call.need("trigger")?;
    check::jid(&jid)?;
    check::line("name", &name, MAX_NAME)?;
    check::folder(&folder)?;
    check::line("trigger", &trigger, MAX_TRIGGER)?;
    let done = format!("Done: {jid} is a group now, with the folder {folder}.");
    let requires_trigger = call.args.get("requiresTrigger").and_then(Value::as_bool);
    let container_config = call.args.get("containerConfig").cloned();
    let group = TaskFile::RegisterGroup { jid, name, folder, trigger, requires_trigger, container_config };
    ask(call, "tasks", &group)?;
    Ok(Done::say(done))
}

pub(super) fn refresh_groups(call: &Call<'_>) -> Outcome {
    ask(call, "tasks", &TaskFile::RefreshGroups {})?;
    Ok(Done::say("Done: the lists are fresh."))
}

pub(super) fn remember(call: &Call<'_>) -> Outcome {
    let text = call.need("text")?;
    if text.chars().count() > MAX_FACT {
        return Err(Trouble::Failed(format!(
            "the text is longer than {MAX_FACT} characters: keep it in a file, and remember where"
        )));
    }
    let folders = &call.context.folders;
    let (folder, whose) = match call.text("scope").as_deref() {
        Some("global") if !call.context.is_main => {
            return Err(Trouble::Failed("only the main group can write the memory of all groups".to_owned()));
        }
        Some("global") => (&folders.global, "the memory of all groups"),
        _ => (&folders.group, "this group's memory"),
    };
    match memory::append(folder, &text) {
        Ok(()) => Ok(Done::say(format!("Done: it is in {whose}, {} now.", memory::FILE))),
        Err(error) => Err(Trouble::Failed(format!("{}/{} cannot be written: {error}", folder.display(), memory::FILE))),
    }
}
