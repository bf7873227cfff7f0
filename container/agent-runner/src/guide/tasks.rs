//! Tasks and chats: asked of the host, and told as the host answered.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Voice;
use super::grammar::Change;
use super::lang::Lang;
use super::state::Undo;
use super::texts;
use super::when::When;
use super::words::{self, by_lang};
use crate::host::{self, Refusal, find_task};
use crate::prompt::Message;
use crate::protocol::{CommandResult, EXISTS_ALREADY, TaskFile, TaskSnapshot};
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
pub fn schedule(room: &Room, guide: &Voice, when: &When, prompt: String, id: Option<&str>) -> String {
    let zone = host::zone();
    let lang = guide.lang;
    let schedule = match when.resolve(Utc::now().with_timezone(&zone)) {
        Ok(schedule) => schedule,
        Err(problem) => return texts::problem(lang, &problem),
    };
    let what = quoted(lang, &prompt);
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

/// An earlier try of this turn made the task and was broken off before it could say so.
fn made_before(room: &Room, lang: Lang, what: &str, id: Option<&str>) -> String {
    let tasks = host::tasks(&room.folders).unwrap_or_default();
    let next = tasks.into_iter().find(|task| Some(task.id.as_str()) == id).and_then(|task| task.next_run);
    let next = next.map_or(String::new(), |next| next_on(lang, &moment_of(lang, &next)));
    format!("{}: {what}{next}.", done(lang))
}

/// The tasks that there are.
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

/// Changes the task that a number or an id names.
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
            TaskFile::PauseTask { task_id: task_id.clone() },
            by_lang!(lang, "is paused", "ist pausiert", "está en pausa", "est suspendu"),
            Some(Undo::Resume(task_id)),
        ),
        Change::Resume => (
            TaskFile::ResumeTask { task_id: task_id.clone() },
            by_lang!(lang, "is active again", "ist wieder aktiv", "está activo de nuevo", "est de nouveau actif"),
            Some(Undo::Pause(task_id)),
        ),
        Change::Cancel => (
            TaskFile::CancelTask { task_id },
            by_lang!(lang, "is cancelled", "ist gelöscht", "está cancelado", "est annulé"),
            Some(Undo::recreate(vec![task.clone()])),
        ),
        Change::Run => (
            TaskFile::RunTaskNow { task_id },
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

/// Which task is meant: a number of the list stays that task's; else an id or its beginning.
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
        match host::ask(&room.folders, "tasks", &TaskFile::CancelTask { task_id: task.id.clone() }) {
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

/// The last reminder once more.
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

/// Takes back what was done last.
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
        Some(Undo::Cancel(task_id)) => ask(&TaskFile::CancelTask { task_id }),
        Some(Undo::Resume(task_id)) => ask(&TaskFile::ResumeTask { task_id }),
        Some(Undo::Pause(task_id)) => ask(&TaskFile::PauseTask { task_id }),
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

/// Makes an ended task again. A single time is known as the next run alone, in UTC.
fn recreate(room: &Room, task: TaskSnapshot) -> Result<(), Refusal> {
    let next = task.next_run.as_deref().and_then(|next| DateTime::parse_from_rfc3339(next).ok());
    let (value, zone) = match (task.schedule_type.as_str(), next) {
        ("once", Some(next)) => {
            (next.with_timezone(&Utc).format("%Y-%m-%dT%H:%M:%S%.3f").to_string(), "UTC".to_owned())
        }
        _ => (task.schedule_value, host::zone().name().to_owned()),
    };
    let request = TaskFile::ScheduleTask {
        task_id: None,
        prompt: task.prompt,
        schedule_type: task.schedule_type,
        schedule_value: value,
        context_mode: None,
        target_jid: room.input.chat_jid.clone(),
        timezone: Some(zone),
        missed: None,
    };
    let made = host::ask(&room.folders, "tasks", &request)?;
    match made.details.get("taskId").and_then(Value::as_str) {
        Some(id) if task.status == "paused" => {
            host::ask(&room.folders, "tasks", &TaskFile::PauseTask { task_id: id.to_owned() }).map(drop)
        }
        _ => Ok(()),
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
        Err(refusal) => refused(Lang::En, &refusal),
    }
}

fn refused(lang: Lang, refusal: &Refusal) -> String {
    match refusal {
        Refusal::Refused(why) => by_lang!(
            lang,
            refusal.to_string(),
            format!("Parlor hat das abgelehnt: {why}"),
            format!("Parlor lo ha rechazado: {why}"),
            format!("Parlor l'a refusé : {why}")
        ),
        _ => refusal.to_string(),
    }
}

/// A task in words: what it says, or what it does.
fn quoted(lang: Lang, prompt: &str) -> String {
    if let Some((_, text)) = Lang::reminder(prompt) {
        return by_lang!(
            lang,
            format!("reminder “{text}”"),
            format!("Erinnerung „{text}“"),
            format!("recordatorio «{text}»"),
            format!("rappel « {text} »")
        );
    }
    let text = prompt.trim();
    by_lang!(
        lang,
        format!("task “{text}”"),
        format!("Aufgabe „{text}“"),
        format!("tarea «{text}»"),
        format!("tâche « {text} »")
    )
}

fn done(lang: Lang) -> &'static str {
    by_lang!(lang, "Done", "Erledigt", "Hecho", "Fait ")
}

fn none(lang: Lang) -> &'static str {
    by_lang!(
        lang,
        "There are no tasks. Try “remind me in 10 seconds to smile”.",
        "Es gibt keine Aufgaben. Versuch „erinnere mich in 10 Sekunden ans Lächeln“.",
        "No hay tareas. Prueba «recuérdame en 10 segundos sonreír».",
        "Il n'y a pas de tâches. Essaie « rappelle-moi dans 10 secondes de sourire »."
    )
}

fn unseen(lang: Lang, reason: &str) -> String {
    by_lang!(
        lang,
        format!("I cannot see the tasks: {reason}"),
        format!("Ich kann die Aufgaben nicht sehen: {reason}"),
        format!("No puedo ver las tareas: {reason}"),
        format!("Je ne peux pas voir les tâches : {reason}")
    )
}

fn next_on(lang: Lang, next: &str) -> String {
    by_lang!(
        lang,
        format!(", next on {next}"),
        format!(", nächstes Mal {next}"),
        format!(", próxima vez {next}"),
        format!(", prochaine fois {next}")
    )
}

fn how_to_end(lang: Lang, number: u32) -> String {
    by_lang!(
        lang,
        format!(" “cancel {number}” ends it, “list tasks” shows all."),
        format!(" „lösche {number}“ beendet sie, „Aufgaben“ zeigt alle."),
        format!(" «cancela {number}» la termina, «tareas» las muestra todas."),
        format!(" « annule {number} » y met fin, « tâches » montre tout.")
    )
}

fn guessed(lang: Lang) -> &'static str {
    by_lang!(
        lang,
        " I took the hour for the afternoon; write “am” for the early morning.",
        " Ich habe die Stunde als nachmittags verstanden; mit „Uhr“ gilt sie, wie sie dasteht.",
        " He entendido que es por la tarde; escribe «de la mañana» si no.",
        " J'ai compris l'après-midi ; écris « du matin » sinon."
    )
}

fn next_run(lang: Lang, result: &CommandResult) -> Option<String> {
    let text = ["nextRun", "next_run"].iter().find_map(|key| result.details.get(*key)?.as_str())?;
    Some(moment_of(lang, text))
}

/// An RFC 3339 text as people read it; as it is when it is none.
fn moment_of(lang: Lang, text: &str) -> String {
    let time = DateTime::parse_from_rfc3339(text);
    time.map_or_else(|_| text.to_owned(), |time| words::moment(lang, time.with_timezone(&host::zone())))
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
}
