//! Tasks: asks the host, and reports its answers.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use parlor_protocol::prompt::Message;
use parlor_protocol::requests::{CancelTask, PauseTask, ResumeTask, RunTaskNow, ScheduleTask};
use parlor_protocol::{EXISTS_ALREADY, TaskFile, TaskSnapshot};
use serde_json::Value;

use super::Voice;
use super::command::Change;
use super::lang::Lang;
use super::state::Undo;
use super::task_texts::{done, guessed, how_to_end, moment_of, next_on, next_run, none, quoted, refused, unseen};
use super::texts;
use super::when::When;
use super::words::{self, by_lang};
use crate::host::{self, Refusal, find_task};
use crate::provider::Room;

/// Returns the id of the task that a message asks for. The same message always gives the same id, so that a repeated
/// turn finds the task that its first try made. None if the prompt has no time of the message.
pub fn id_of(jid: &str, message: &Message, again: usize) -> Option<String> {
    if message.time.is_empty() {
        return None;
    }
    // FNV-1a: only a name for equal content.
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    for part in [jid, &message.sender, &message.time, &message.text, &again.to_string()] {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
    Some(format!("t{hash:032x}"))
}

/// Makes a task; an existing task with this id is the one that was asked for.
pub fn schedule(room: &Room, guide: &Voice, when: &When, prompt: String, id: Option<&str>) -> String {
    let zone = host::zone();
    let lang = guide.lang;
    let schedule = match when.resolve(Utc::now().with_timezone(&zone)) {
        Ok(schedule) => schedule,
        Err(problem) => return texts::problem(lang, &problem),
    };
    let what = quoted(lang, &prompt);
    let task = TaskFile::ScheduleTask(ScheduleTask {
        task_id: id.map(str::to_owned),
        prompt,
        schedule_type: schedule.kind.to_owned(),
        schedule_value: schedule.value.clone(),
        context_mode: None,
        target_jid: room.input.chat_jid.clone(),
        timezone: Some(schedule.zone.clone()),
        missed: None,
    });
    match host::ask(&room.folders, "tasks", &task) {
        Ok(result) => {
            let rhythm = match schedule.kind {
                "once" => String::new(),
                kind => format!(", {}", words::rhythm(lang, kind, &schedule.value)),
            };
            let next = next_run(lang, &result).map_or(String::new(), |next| next_on(lang, &next));
            let made = result.details.get("taskId").and_then(Value::as_str);
            let mut number = None;
            if let Some(made) = made {
                let tasks = host::tasks(&room.folders).unwrap_or_default();
                guide.place.change(|state| {
                    state.number(&tasks);
                    number = Some(state.number_of(made));
                    state.undo = Some(Undo::Cancel(made.to_owned()));
                });
            }
            let hint = number.map_or(String::new(), |number| how_to_end(lang, number));
            let guess = if when.is_guessed() { guessed(lang) } else { "" };
            format!("{}: {what}{rhythm}{next}.{guess}{hint}", done(lang))
        }
        Err(Refusal::Refused(why)) if why.contains(EXISTS_ALREADY) && id.is_some() => {
            made_before(room, lang, &what, id)
        }
        Err(refusal) => refused(lang, &refusal),
    }
}

/// Reports a task that an earlier try of this turn made before it was interrupted.
fn made_before(room: &Room, lang: Lang, what: &str, id: Option<&str>) -> String {
    let tasks = host::tasks(&room.folders).unwrap_or_default();
    let next = tasks.into_iter().find(|task| Some(task.id.as_str()) == id).and_then(|task| task.next_run);
    let next = next.map_or(String::new(), |next| next_on(lang, &moment_of(lang, &next)));
    format!("{}: {what}{next}.", done(lang))
}

/// Lists the tasks.
pub fn list(room: &Room, guide: &Voice) -> String {
    let lang = guide.lang;
    let tasks = match host::tasks(&room.folders) {
        Ok(tasks) if tasks.is_empty() => return none(lang).to_owned(),
        Ok(tasks) => tasks,
        Err(reason) => return unseen(lang, &reason),
    };
    let mut numbers = BTreeMap::new();
    guide.place.change(|state| numbers = state.number(&tasks));
    let number = |task: &TaskSnapshot| numbers.get(&task.id).copied().unwrap_or(0);
    let mut sorted: Vec<&TaskSnapshot> = tasks.iter().collect();
    sorted.sort_by_key(|task| number(task));
    let lines: Vec<String> = sorted.iter().map(|task| line(room, lang, number(task), task)).collect();
    let footer = by_lang!(
        lang,
        "“pause”, “resume”, “cancel” or “run … now” with a number changes them.",
        "„pausiere“ oder „lösche“ mit einer Nummer ändert sie.",
        "«pausa», «reanuda» o «cancela» con un número las cambia.",
        "« suspends », « reprends » ou « annule » avec un numéro les change."
    );
    format!("{}\n\n{footer}", lines.join("\n"))
}

fn line(room: &Room, lang: Lang, number: u32, task: &TaskSnapshot) -> String {
    let group = if task.group_folder == room.input.group_folder {
        String::new()
    } else {
        format!(" ({} {})", by_lang!(lang, "group", "Gruppe", "grupo", "groupe"), task.group_folder)
    };
    let next = match (task.status.as_str(), &task.next_run) {
        ("active", Some(next)) => next_on(lang, &moment_of(lang, next)).trim_start_matches(", ").to_owned(),
        ("active", None) => {
            by_lang!(lang, "no further run", "kein weiterer Lauf", "sin más ejecuciones", "plus rien").to_owned()
        }
        ("paused", _) => by_lang!(lang, "paused", "pausiert", "en pausa", "suspendue").to_owned(),
        (status, _) => status.to_owned(),
    };
    let rhythm = words::rhythm(lang, &task.schedule_type, &task.schedule_value);
    format!("{number}. {} – {rhythm}; {next}{group}", quoted(lang, &task.prompt))
}

/// Changes the task with this number or id.
pub fn change(room: &Room, guide: &Voice, change: Change, wanted: &str) -> String {
    let lang = guide.lang;
    let tasks = match host::tasks(&room.folders) {
        Ok(tasks) => tasks,
        Err(reason) => return unseen(lang, &reason),
    };
    let task = match find(guide, &tasks, wanted) {
        Ok(task) => task,
        Err(reason) => return reason,
    };
    let task_id = task.id.clone();
    let (request, done_words, undo) = match change {
        Change::Pause => (
            TaskFile::PauseTask(PauseTask { task_id: task_id.clone() }),
            by_lang!(lang, "is paused", "ist pausiert", "está en pausa", "est suspendu"),
            Some(Undo::Resume(task_id)),
        ),
        Change::Resume => (
            TaskFile::ResumeTask(ResumeTask { task_id: task_id.clone() }),
            by_lang!(lang, "is active again", "ist wieder aktiv", "está activo de nuevo", "est de nouveau actif"),
            Some(Undo::Pause(task_id)),
        ),
        Change::Cancel => (
            TaskFile::CancelTask(CancelTask { task_id }),
            by_lang!(lang, "is cancelled", "ist gelöscht", "está cancelado", "est annulé"),
            Some(Undo::recreate(vec![task.clone()])),
        ),
        Change::Run => (
            TaskFile::RunTaskNow(RunTaskNow { task_id }),
            by_lang!(lang, "runs now", "läuft jetzt", "se ejecuta ahora", "s'exécute maintenant"),
            None,
        ),
    };
    match host::ask(&room.folders, "tasks", &request) {
        Ok(result) => {
            guide.place.change(|state| state.undo = undo);
            let next = next_run(lang, &result).filter(|_| change == Change::Resume);
            let next = next.map_or(String::new(), |next| next_on(lang, &next));
            format!("{}: {} {done_words}{next}.", done(lang), quoted(lang, &task.prompt))
        }
        Err(refusal) => refused(lang, &refusal),
    }
}

/// Returns the task with this number of the list, else with this id or beginning of an id.
fn find<'a>(guide: &Voice, tasks: &'a [TaskSnapshot], wanted: &str) -> Result<&'a TaskSnapshot, String> {
    let mut numbers = BTreeMap::new();
    let plain = wanted.trim().trim_start_matches('#');
    let state = guide.place.change(|state| numbers = state.number(tasks));
    let Ok(number) = plain.parse::<u32>() else { return find_task(tasks, wanted) };
    let named = state.task(number).and_then(|id| tasks.iter().find(|task| task.id == id));
    let here = || numbers.values().map(u32::to_string).collect::<Vec<_>>().join(", ");
    named.ok_or_else(|| {
        if tasks.is_empty() {
            return none(guide.lang).to_owned();
        }
        by_lang!(
            guide.lang,
            format!("There is no task {number}. Those there are have the numbers {}.", here()),
            format!("Eine Aufgabe {number} gibt es nicht. Es gibt: {}.", here()),
            format!("No hay tarea {number}. Hay: {}.", here()),
            format!("Il n'y a pas de tâche {number}. Il y a : {}.", here())
        )
    })
}

/// Ends every task of the group.
pub fn cancel_all(room: &Room, guide: &Voice) -> String {
    let lang = guide.lang;
    let tasks = match host::tasks(&room.folders) {
        Ok(tasks) => tasks,
        Err(reason) => return unseen(lang, &reason),
    };
    let own: Vec<TaskSnapshot> =
        tasks.into_iter().filter(|task| task.group_folder == room.input.group_folder).collect();
    if own.is_empty() {
        return none(lang).to_owned();
    }
    let (mut ended, mut failure) = (Vec::new(), None);
    for task in own {
        match host::ask(&room.folders, "tasks", &TaskFile::CancelTask(CancelTask { task_id: task.id.clone() })) {
            Ok(_) => ended.push(task),
            Err(refusal) => failure = Some(refused(lang, &refusal)),
        }
    }
    let count = ended.len();
    guide.place.change(|state| state.undo = Some(Undo::recreate(ended)));
    let said = by_lang!(
        lang,
        format!("Done: all {count} tasks are cancelled. “undo” brings them back."),
        format!("Erledigt: {count} Aufgaben sind gelöscht. „rückgängig“ bringt sie zurück."),
        format!("Hecho: {count} tareas canceladas. «deshacer» las recupera."),
        format!("Fait : {count} tâches annulées. « annuler » les rétablit.")
    );
    failure.map_or(said.clone(), |failure| format!("{said} {failure}"))
}

/// Repeats the last reminder at this time.
pub fn snooze(room: &Room, guide: &Voice, when: &When, id: Option<&str>) -> String {
    match guide.place.load().reminder {
        Some(text) => schedule(room, guide, when, format!("{} {text}", guide.lang.remind()), id),
        None => by_lang!(
            guide.lang,
            "There is no reminder to snooze yet.",
            "Es gibt noch keine Erinnerung zum Verschieben.",
            "Aún no hay ningún recordatorio que posponer.",
            "Il n'y a pas encore de rappel à reporter."
        )
        .to_owned(),
    }
}

/// Undoes the last change.
pub fn undo(room: &Room, guide: &Voice) -> String {
    let lang = guide.lang;
    let mut last = None;
    guide.place.change(|state| last = state.undo.take());
    let ask = |request: &TaskFile| host::ask(&room.folders, "tasks", request).map(drop);
    let outcome = match last {
        None => {
            return by_lang!(
                lang,
                "There is nothing that I can take back.",
                "Es gibt nichts, was ich zurücknehmen kann.",
                "No hay nada que pueda deshacer.",
                "Il n'y a rien que je puisse annuler."
            )
            .to_owned();
        }
        Some(Undo::Cancel(task_id)) => ask(&TaskFile::CancelTask(CancelTask { task_id })),
        Some(Undo::Resume(task_id)) => ask(&TaskFile::ResumeTask(ResumeTask { task_id })),
        Some(Undo::Pause(task_id)) => ask(&TaskFile::PauseTask(PauseTask { task_id })),
        Some(Undo::Recreate(tasks)) => tasks.into_iter().try_for_each(|task| recreate(room, task)),
        Some(Undo::Forget(fact)) => return super::room::forget(&room.folders.group, guide, &fact),
        Some(Undo::Remember(fact)) => return super::room::remember(&room.folders.group, guide, &fact),
    };
    match outcome {
        Ok(()) => by_lang!(
            lang,
            "Done: it is as before.",
            "Erledigt: Es ist wie vorher.",
            "Hecho: está como antes.",
            "Fait : c'est comme avant."
        )
        .to_owned(),
        Err(refusal) => refused(lang, &refusal),
    }
}

/// Makes an ended task again. Of a task that fires once, only the next run is known, in UTC.
fn recreate(room: &Room, task: TaskSnapshot) -> Result<(), Refusal> {
    let next = task.next_run.as_deref().and_then(|next| DateTime::parse_from_rfc3339(next).ok());
    let (value, zone) = match (task.schedule_type.as_str(), next) {
        ("once", Some(next)) => {
            (next.with_timezone(&Utc).format("%Y-%m-%dT%H:%M:%S%.3f").to_string(), "UTC".to_owned())
        }
        _ => (task.schedule_value, host::zone().name().to_owned()),
    };
    let request = TaskFile::ScheduleTask(ScheduleTask {
        task_id: None,
        prompt: task.prompt,
        schedule_type: task.schedule_type,
        schedule_value: value,
        context_mode: None,
        target_jid: room.input.chat_jid.clone(),
        timezone: Some(zone),
        missed: None,
    });
    let made = host::ask(&room.folders, "tasks", &request)?;
    match made.details.get("taskId").and_then(Value::as_str) {
        Some(id) if task.status == "paused" => {
            host::ask(&room.folders, "tasks", &TaskFile::PauseTask(PauseTask { task_id: id.to_owned() })).map(drop)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_id_is_derived_from_its_message() {
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
}
