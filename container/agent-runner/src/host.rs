//! Requests to the host and their answers: the common part of the guide and the host tools.

use std::fs;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use parlor_protocol::files::Folders;
use parlor_protocol::results::Results;
use parlor_protocol::{CommandResult, GroupsSnapshot, TaskSnapshot};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Time that the host may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The reason why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The host refused it, for this reason.
    Refused(String),
    /// The host did not answer within this time; it may still carry out the request.
    NoAnswer(Duration),
    /// The request could not be written.
    NotWritten(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "Parlor refused this: {why}"),
            Self::NoAnswer(patience) => write!(
                f,
                "Parlor has not answered within {} seconds. The request is waiting and may still be carried out; look \
                 at the list of tasks before you ask again.",
                patience.as_secs()
            ),
            Self::NotWritten(why) => write!(f, "The request could not be handed to Parlor: {why}"),
        }
    }
}

/// Puts a request into `messages/` or `tasks/` and waits for the host's answer.
pub fn ask(folders: &Folders, kind: &str, request: &impl Serialize) -> Result<CommandResult, Refusal> {
    ask_for(folders, kind, request, PATIENCE)
}

/// Like [`ask`], with the caller's time limit.
pub fn ask_for(
    folders: &Folders,
    kind: &str,
    request: &impl Serialize,
    patience: Duration,
) -> Result<CommandResult, Refusal> {
    let mut results = Results::open(&folders.ipc);
    let id = folders.request(kind, request).map_err(|error| Refusal::NotWritten(error.to_string()))?;
    match results.wait(&id, patience) {
        Some(result) if result.ok => Ok(result),
        Some(result) => Err(Refusal::Refused(result.error.unwrap_or_else(|| "no reason was given".to_owned()))),
        None => Err(Refusal::NoAnswer(patience)),
    }
}

/// Returns the group's tasks as the host last wrote them; for main the tasks of all groups.
pub fn tasks(folders: &Folders) -> Result<Vec<TaskSnapshot>, String> {
    snapshot(&folders.ipc.join("current_tasks.json"))
}

/// Returns the chats that the host knows; empty except for main.
pub fn groups(folders: &Folders) -> Result<GroupsSnapshot, String> {
    snapshot(&folders.ipc.join("available_groups.json"))
}

/// Reads a snapshot. One that was never written is empty.
fn snapshot<T: DeserializeOwned + Default>(path: &Path) -> Result<T, String> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| format!("{} is broken: {error}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

/// Returns the zone of the environment's `TZ`; UTC if it names none.
pub fn zone() -> Tz {
    std::env::var("TZ").ok().and_then(|name| name.trim_start_matches(':').parse().ok()).unwrap_or(Tz::UTC)
}

/// Formats a time for people: `Mon 3 Aug 2026, 17:30:00 CEST`.
pub fn readable(time: DateTime<Utc>, zone: Tz) -> String {
    time.with_timezone(&zone).format("%a %-d %b %Y, %H:%M:%S %Z").to_string()
}

/// Returns the present time with its offset and the zone's name, as a sentence for agents.
pub fn now_told(now: DateTime<Utc>, zone: Tz) -> String {
    let now = now.with_timezone(&zone);
    format!(
        "It is {} in the time zone {zone}. Times of messages have their offset.",
        now.format("%a %-d %b %Y, %H:%M:%S %:z")
    )
}

/// Returns the host's `nextRun`, formatted for people.
pub fn next_run(result: &CommandResult, zone: Tz) -> Option<String> {
    let text = ["nextRun", "next_run"].iter().find_map(|key| result.details.get(*key)?.as_str())?;
    Some(readable_text(text, zone))
}

/// Formats an RFC 3339 text for people; returns any other text unchanged.
pub fn readable_text(text: &str, zone: Tz) -> String {
    DateTime::parse_from_rfc3339(text).map_or_else(|_| text.to_owned(), |time| readable(time.with_timezone(&Utc), zone))
}

/// Finds a task by its number in the list, its id, or a unique beginning of its id.
pub fn find_task<'a>(tasks: &'a [TaskSnapshot], wanted: &str) -> Result<&'a TaskSnapshot, String> {
    let wanted = wanted.trim().trim_start_matches('#');
    if let Some(task) = tasks.iter().find(|task| task.id.eq_ignore_ascii_case(wanted)) {
        return Ok(task);
    }
    if let Some(task) = wanted.parse::<usize>().ok().and_then(|number| tasks.get(number.checked_sub(1)?)) {
        return Ok(task);
    }
    let starts = |task: &&TaskSnapshot| task.id.get(..wanted.len()).is_some_and(|id| id.eq_ignore_ascii_case(wanted));
    let mut found = tasks.iter().filter(starts);
    match (found.next(), found.next()) {
        (Some(task), None) if wanted.len() >= 4 => Ok(task),
        (Some(_), Some(_)) if wanted.len() >= 4 => {
            Err(format!("More than one task's id begins with “{wanted}”: write more of it."))
        }
        _ if tasks.is_empty() => Err("There are no tasks.".to_owned()),
        _ => Err(format!(
            "There is no task “{wanted}”: use a number from 1 to {} as in the list of tasks, or an id.",
            tasks.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str) -> TaskSnapshot {
        serde_json::from_value(serde_json::json!({"id": id, "groupFolder": "g", "prompt": "p", "schedule_type": "cron",
            "schedule_value": "* * * * *", "status": "active", "next_run": null}))
        .unwrap()
    }

    #[test]
    fn now_told_has_the_offset_and_the_zone() {
        let now = "2026-08-03T15:30:00Z".parse().unwrap();
        let told = now_told(now, Tz::Europe__Berlin);
        assert!(told.starts_with("It is Mon 3 Aug 2026, 17:30:00 +02:00 in the time zone Europe/Berlin."), "{told}");
        assert!(now_told(now, Tz::UTC).contains("15:30:00 +00:00 in the time zone UTC"));
    }

    #[test]
    fn tasks_are_found_by_number_id_and_unique_beginning() {
        let tasks = [task("01ABCDE"), task("01ABXYZ"), task("7")];
        assert_eq!(find_task(&tasks, "#2").unwrap().id, "01ABXYZ");
        assert_eq!(find_task(&tasks, "01abcde").unwrap().id, "01ABCDE");
        assert_eq!(find_task(&tasks, "01abx").unwrap().id, "01ABXYZ");
        assert_eq!(find_task(&tasks, "7").unwrap().id, "7");
        assert!(find_task(&tasks, "01AB").unwrap_err().contains("More than one"));
        for wrong in ["0", "4", "xyz", "", "🙂"] {
            assert!(find_task(&tasks, wrong).unwrap_err().contains("no task"), "{wrong}");
        }
    }
}
