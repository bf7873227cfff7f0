//! Tasks and chats: asked of the host, and told as the host answered.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::grammar::{Change, REMIND};
use super::when::When;
use crate::host::{self, Refusal, find_task};
use crate::prompt::Message;
use crate::protocol::{EXISTS_ALREADY, TaskFile, TaskSnapshot};
use crate::run::Room;

/// The id of the task that a message asks for: the same whenever the same message is read, so that a turn that is tried
/// again finds what its first try made. None where the prompt does not say when the message was written.
pub fn id_of(jid: &str, message: &Message, again: usize) -> Option<String> {
    if message.time.is_empty() {
        return None;
    }
    // FNV-1a: a name for equal content, not a secret.
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    for part in [jid, &message.sender, &message.time, &message.text, &again.to_string()] {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
    Some(format!("t{hash:032x}"))
}

/// Makes a task; one of this id that is there already is the one that was asked for.
pub fn schedule(room: &Room, when: &When, prompt: String, id: Option<&str>) -> String {
    let zone = host::zone();
    let now: DateTime<Utc> = Utc::now();
    let schedule = match when.resolve(now.with_timezone(&zone)) {
        Ok(schedule) => schedule,
        Err(reason) => return reason,
    };
    let what = quoted(&prompt);
    let task = TaskFile::ScheduleTask {
        task_id: id.map(str::to_owned),
        prompt,
        schedule_type: schedule.kind.to_owned(),
        schedule_value: schedule.value.clone(),
        context_mode: None,
        target_jid: room.input.chat_jid.clone(),
        timezone: Some(schedule.zone.clone()),
        missed: None,
    };
    match host::ask(&room.folders, "tasks", &task) {
        Ok(result) => {
            let rhythm = match schedule.kind {
                "once" => String::new(),
                kind => format!(", {}", rhythm(kind, &schedule.value)),
            };
            let next = host::next_run(&result, zone).map_or(String::new(), |next| format!(", next on {next}"));
            let id = result.details.get("taskId").and_then(Value::as_str);
            let id = id.map_or(String::new(), |id| format!(" Its id is {id}."));
            format!("Done: {what}{rhythm}{next}.{id} “list tasks” shows it, “cancel” and its number ends it.")
        }
        Err(Refusal::Refused(why)) if why.contains(EXISTS_ALREADY) && id.is_some() => made_before(room, &what, id),
        Err(refusal) => refused(&refusal),
    }
}

/// An earlier try of this turn made the task and was broken off before it could say so.
fn made_before(room: &Room, what: &str, id: Option<&str>) -> String {
    let tasks = host::tasks(&room.folders).unwrap_or_default();
    let next = tasks.into_iter().find(|task| Some(task.id.as_str()) == id).and_then(|task| task.next_run);
    let next = next.map_or(String::new(), |next| format!(", next on {}", host::readable_text(&next, host::zone())));
    format!("Done: {what}{next}. “list tasks” shows what is planned.")
}

/// The tasks that there are.
pub fn list(room: &Room) -> String {
    let tasks = match host::tasks(&room.folders) {
        Ok(tasks) if tasks.is_empty() => {
            return "There are no tasks. Try “remind me in 10 seconds to smile”.".to_owned();
        }
        Ok(tasks) => tasks,
        Err(reason) => return format!("I cannot see the tasks: {reason}"),
    };
    let lines: Vec<String> = tasks.iter().enumerate().map(|(at, task)| line(room, at + 1, task)).collect();
    format!("{}\n\n“pause”, “resume”, “cancel” or “run … now” with a number changes them.", lines.join("\n"))
}

fn line(room: &Room, number: usize, task: &TaskSnapshot) -> String {
    let group = if task.group_folder == room.input.group_folder {
        String::new()
    } else {
        format!(" (group {})", task.group_folder)
    };
    let next = match (task.status.as_str(), &task.next_run) {
        ("active", Some(next)) => format!("next on {}", host::readable_text(next, host::zone())),
        ("active", None) => "no further run".to_owned(),
        (status, _) => status.to_owned(),
    };
    let rhythm = rhythm(&task.schedule_type, &task.schedule_value);
    format!("{number}. {} – {rhythm}; {next}{group} [{}]", quoted(&task.prompt), task.id)
}

/// Changes the task that a number or an id names.
pub fn change(room: &Room, change: Change, wanted: &str) -> String {
    let tasks = match host::tasks(&room.folders) {
        Ok(tasks) => tasks,
        Err(reason) => return format!("I cannot see the tasks: {reason}"),
    };
    let task = match find_task(&tasks, wanted) {
        Ok(task) => task,
        Err(reason) => return reason,
    };
    let task_id = task.id.clone();
    let (request, done) = match change {
        Change::Pause => (TaskFile::PauseTask { task_id }, "is paused"),
        Change::Resume => (TaskFile::ResumeTask { task_id }, "is active again"),
        Change::Cancel => (TaskFile::CancelTask { task_id }, "is cancelled"),
        Change::Run => (TaskFile::RunTaskNow { task_id }, "runs now"),
    };
    match host::ask(&room.folders, "tasks", &request) {
        Ok(result) => {
            let next = host::next_run(&result, host::zone()).filter(|_| change == Change::Resume);
            let next = next.map_or(String::new(), |next| format!(", next on {next}"));
            format!("Done: {} {done}{next}.", quoted(&task.prompt))
        }
        Err(refusal) => refused(&refusal),
    }
}

/// The chats that the host knows.
pub fn chats(room: &Room) -> String {
    let groups = match host::groups(&room.folders) {
        Ok(snapshot) => snapshot.groups,
        Err(reason) => return format!("I cannot see the chats: {reason}"),
    };
    if groups.is_empty() {
        return if room.input.is_main {
            "No other chat has been seen yet.".to_owned()
        } else {
            "Only the main group sees the list of chats.".to_owned()
        };
    }
    let line = |group: &crate::protocol::GroupSnapshot| {
        let state = if group.is_registered { "registered" } else { "available" };
        format!("- {} ({}), {state}", group.jid, group.name)
    };
    let lines: Vec<String> = groups.iter().map(line).collect();
    format!("{}\n\n“register JID as FOLDER” makes a chat a group with an agent of its own.", lines.join("\n"))
}

/// Makes a chat a group.
pub fn register(room: &Room, jid: &str, folder: &str) -> String {
    let known = host::groups(&room.folders).unwrap_or_default();
    let name = known.groups.into_iter().find(|group| group.jid == jid).map(|group| group.name);
    let trigger = format!("@{}", room.input.assistant_name.as_deref().unwrap_or("Andy"));
    let group = TaskFile::RegisterGroup {
        jid: jid.to_owned(),
        name: name.filter(|name| !name.is_empty()).unwrap_or_else(|| folder.to_owned()),
        folder: folder.to_owned(),
        trigger: trigger.clone(),
        requires_trigger: None,
        container_config: None,
    };
    match host::ask(&room.folders, "tasks", &group) {
        Ok(_) => format!("Done: {jid} is a group now, with the folder {folder}. In it, write {trigger} to begin."),
        Err(refusal) => refused(&refusal),
    }
}

fn refused(refusal: &Refusal) -> String {
    refusal.to_string()
}

/// A task in words: what it says, or what it does.
fn quoted(prompt: &str) -> String {
    match prompt.strip_prefix(REMIND) {
        Some(text) => format!("reminder “{}”", text.trim()),
        None => format!("task “{}”", prompt.trim()),
    }
}

/// A schedule in words.
fn rhythm(kind: &str, value: &str) -> String {
    let every = |ms: u64| {
        let units =
            [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1000, "second"), (1, "millisecond")];
        let (size, unit) = units.into_iter().find(|(size, _)| ms.is_multiple_of(*size)).unwrap_or((1, "millisecond"));
        match ms / size {
            1 => format!("every {unit}"),
            count => format!("every {count} {unit}s"),
        }
    };
    match (kind, value.parse()) {
        ("interval", Ok(ms)) => every(ms),
        ("once", _) => "once".to_owned(),
        _ => format!("{kind} {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_tasks_are_those_of_their_messages() {
        let message = |time: &str, text: &str| Message { time: time.into(), text: text.into(), ..Message::default() };
        let id = |message: &Message, again| id_of("web:a", message, again);
        let first = message("2026-01-01T00:00:00.000Z", "remind me");
        assert_eq!(id(&first, 0), id(&first.clone(), 0));
        assert!(id(&first, 0).is_some_and(|id| id.len() == 33 && id.starts_with('t')));
        let others = [
            id(&first, 1),
            id(&message("2026-01-01T00:00:00.001Z", "remind me"), 0),
            id(&message("2026-01-01T00:00:00.000Z", "remind you"), 0),
            id_of("web:b", &first, 0),
        ];
        assert!(others.iter().all(|other| other.is_some() && *other != id(&first, 0)));
        assert_eq!(id(&message("", "remind me"), 0), None);
    }

    #[test]
    fn schedules_in_words() {
        assert_eq!(rhythm("interval", "60000"), "every minute");
        assert_eq!(rhythm("interval", "90000"), "every 90 seconds");
        assert_eq!(rhythm("interval", "172800000"), "every 2 days");
        assert_eq!(rhythm("cron", "0 9 * * *"), "cron 0 9 * * *");
        assert_eq!(rhythm("once", "2026-11-21T09:00:00"), "once");
    }
}
