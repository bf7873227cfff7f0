//! The guide's texts about tasks, in the language of the request.

use chrono::DateTime;
use parlor_protocol::CommandResult;

use super::lang::Lang;
use super::words::{self, by_lang};
use crate::host::{self, Refusal};

pub(super) fn refused(lang: Lang, refusal: &Refusal) -> String {
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

/// Describes a task: the reminder's text, or the prompt.
pub(super) fn quoted(lang: Lang, prompt: &str) -> String {
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

pub(super) fn done(lang: Lang) -> &'static str {
    by_lang!(lang, "Done", "Erledigt", "Hecho", "Fait ")
}

pub(super) fn none(lang: Lang) -> &'static str {
    by_lang!(
        lang,
        "There are no tasks. Try “remind me in 10 seconds to smile”.",
        "Es gibt keine Aufgaben. Versuch „erinnere mich in 10 Sekunden ans Lächeln“.",
        "No hay tareas. Prueba «recuérdame en 10 segundos sonreír».",
        "Il n'y a pas de tâches. Essaie « rappelle-moi dans 10 secondes de sourire »."
    )
}

pub(super) fn unseen(lang: Lang, reason: &str) -> String {
    by_lang!(
        lang,
        format!("I cannot see the tasks: {reason}"),
        format!("Ich kann die Aufgaben nicht sehen: {reason}"),
        format!("No puedo ver las tareas: {reason}"),
        format!("Je ne peux pas voir les tâches : {reason}")
    )
}

pub(super) fn next_on(lang: Lang, next: &str) -> String {
    by_lang!(
        lang,
        format!(", next on {next}"),
        format!(", nächstes Mal {next}"),
        format!(", próxima vez {next}"),
        format!(", prochaine fois {next}")
    )
}

pub(super) fn how_to_end(lang: Lang, number: u32) -> String {
    by_lang!(
        lang,
        format!(" “cancel {number}” ends it, “list tasks” shows all."),
        format!(" „lösche {number}“ beendet sie, „Aufgaben“ zeigt alle."),
        format!(" «cancela {number}» la termina, «tareas» las muestra todas."),
        format!(" « annule {number} » y met fin, « tâches » montre tout.")
    )
}

pub(super) fn guessed(lang: Lang) -> &'static str {
    by_lang!(
        lang,
        " I took the hour for the afternoon; write “am” for the early morning.",
        " Ich habe die Stunde als nachmittags verstanden; mit „Uhr“ gilt sie, wie sie dasteht.",
        " He entendido que es por la tarde; escribe «de la mañana» si no.",
        " J'ai compris l'après-midi ; écris « du matin » sinon."
    )
}

pub(super) fn next_run(lang: Lang, result: &CommandResult) -> Option<String> {
    let text = ["nextRun", "next_run"].iter().find_map(|key| result.details.get(*key)?.as_str())?;
    Some(moment_of(lang, text))
}

/// Formats an RFC 3339 text for people; returns any other text unchanged.
pub(super) fn moment_of(lang: Lang, text: &str) -> String {
    let time = DateTime::parse_from_rfc3339(text);
    time.map_or_else(|_| text.to_owned(), |time| words::moment(lang, time.with_timezone(&host::zone())))
}
