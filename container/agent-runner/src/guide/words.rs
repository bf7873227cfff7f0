//! Schedules and times in words. Pure.

use chrono::{DateTime, Datelike, Timelike};
use chrono_tz::Tz;

use super::lang::Lang;

/// Selects one of four texts by language: English, German, Spanish, French.
macro_rules! by_lang {
    ($lang:expr, $en:expr, $de:expr, $es:expr, $fr:expr $(,)?) => {
        match $lang {
            $crate::guide::lang::Lang::En => $en,
            $crate::guide::lang::Lang::De => $de,
            $crate::guide::lang::Lang::Es => $es,
            $crate::guide::lang::Lang::Fr => $fr,
        }
    };
}
pub(super) use by_lang;

const DAYS: [[&str; 7]; 4] = [
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"],
    ["Sonntag", "Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag"],
    ["domingo", "lunes", "martes", "miércoles", "jueves", "viernes", "sábado"],
    ["dimanche", "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi"],
];
const SHORT_DAYS: [[&str; 7]; 4] = [
    ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"],
    ["So", "Mo", "Di", "Mi", "Do", "Fr", "Sa"],
    ["dom", "lun", "mar", "mié", "jue", "vie", "sáb"],
    ["dim", "lun", "mar", "mer", "jeu", "ven", "sam"],
];
const MONTHS: [[&str; 12]; 4] = [
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
    ["Jan.", "Feb.", "März", "Apr.", "Mai", "Juni", "Juli", "Aug.", "Sep.", "Okt.", "Nov.", "Dez."],
    ["ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic"],
    ["janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."],
];

/// Formats a time: `Mon 3 Aug 2026, 17:30 CEST`, with seconds if they are not zero.
pub fn moment(lang: Lang, time: DateTime<Tz>) -> String {
    let day = SHORT_DAYS[lang as usize][time.weekday().num_days_from_sunday() as usize];
    let month = MONTHS[lang as usize][time.month0() as usize];
    let dot = by_lang!(lang, "", ".", "", "");
    let clock = time.format(if time.second() == 0 { "%H:%M %Z" } else { "%H:%M:%S %Z" });
    format!("{day} {}{dot} {month} {}, {clock}", time.day(), time.year())
}

/// Describes a schedule in words; a schedule that the guide did not make is returned unchanged.
pub fn rhythm(lang: Lang, kind: &str, value: &str) -> String {
    match (kind, value.parse()) {
        ("interval", Ok(ms)) => every(lang, ms),
        ("once", _) => by_lang!(lang, "once", "einmal", "una vez", "une fois").to_owned(),
        ("cron", _) => cron(lang, value).unwrap_or_else(|| format!("cron {value}")),
        _ => format!("{kind} {value}"),
    }
}

fn every(lang: Lang, ms: u64) -> String {
    let units = [
        (86_400_000, ["day", "Tag", "día", "jour"], ["days", "Tage", "días", "jours"]),
        (3_600_000, ["hour", "Stunde", "hora", "heure"], ["hours", "Stunden", "horas", "heures"]),
        (60_000, ["minute", "Minute", "minuto", "minute"], ["minutes", "Minuten", "minutos", "minutes"]),
        (1000, ["second", "Sekunde", "segundo", "seconde"], ["seconds", "Sekunden", "segundos", "secondes"]),
        (1, ["ms"; 4], ["ms"; 4]),
    ];
    let found = units.into_iter().find(|(size, ..)| ms.is_multiple_of(*size));
    let (size, one, many) = found.unwrap_or((1, ["ms"; 4], ["ms"; 4]));
    let (one, many) = (one[lang as usize], many[lang as usize]);
    match (ms / size, lang) {
        (1, Lang::En) => format!("every {one}"),
        (1, Lang::De) if size == 86_400_000 => format!("jeden {one}"),
        (1, Lang::De) => format!("jede {one}"),
        (1, Lang::Es) => format!("cada {one}"),
        (1, Lang::Fr) => format!("chaque {one}"),
        (count, Lang::En) => format!("every {count} {many}"),
        (count, Lang::De) => format!("alle {count} {many}"),
        (count, Lang::Es) => format!("cada {count} {many}"),
        (count, Lang::Fr) => format!("toutes les {count} {many}"),
    }
}

/// Describes a cron line that the guide makes; returns None for others.
fn cron(lang: Lang, value: &str) -> Option<String> {
    let [minute, hour, of_month, month, days] = value.split(' ').collect::<Vec<_>>()[..] else { return None };
    let when = if let Some(step) = minute.strip_prefix("*/") {
        let step = every(lang, step.parse::<u64>().ok()?.checked_mul(60_000)?);
        format!("{step}{}", between(lang, hour, true)?)
    } else if hour == "*" || hour.contains(['-', '/']) {
        let (hours, step) = hour.split_once('/').unwrap_or((hour, "1"));
        let step = every(lang, step.parse::<u64>().ok()?.checked_mul(3_600_000)?);
        (minute == "0").then(|| between(lang, hours, false)).flatten().map(|window| format!("{step}{window}"))?
    } else {
        let minute: u32 = minute.parse().ok()?;
        let times: Option<Vec<String>> =
            hour.split(',').map(|hour| Some(format!("{:02}:{minute:02}", hour.parse::<u32>().ok()?))).collect();
        let at = by_lang!(lang, "at", "um", "a las", "à");
        format!("{at} {}", and(lang, &times?))
    };
    let stepping = minute.starts_with("*/") || hour == "*" || hour.contains(['-', '/']);
    let day = match (of_month, month, days) {
        ("*", "*", "*") if stepping => return Some(when),
        ("*", "*", "*") => by_lang!(lang, "every day", "jeden Tag", "cada día", "chaque jour").to_owned(),
        ("*", "*", days) => weekly(lang, days)?,
        ("L", "*", "*") => by_lang!(
            lang,
            "on the last day of each month",
            "am letzten Tag jedes Monats",
            "el último día de cada mes",
            "le dernier jour de chaque mois"
        )
        .to_owned(),
        (step, "*", "*") if step.starts_with("*/") => {
            let step: u64 = step[2..].parse().ok()?;
            let days = every(lang, step.checked_mul(86_400_000)?);
            let anew = by_lang!(
                lang,
                "counted from the 1st of each month",
                "gezählt ab dem 1. jedes Monats",
                "contando desde el día 1 de cada mes",
                "compté à partir du 1er de chaque mois"
            );
            format!("{days} ({anew})")
        }
        (day, "*", "*") => {
            let day: u32 = day.parse().ok()?;
            by_lang!(
                lang,
                format!("on day {day} of each month"),
                format!("am {day}. jedes Monats"),
                format!("el día {day} de cada mes"),
                format!("le {day} de chaque mois")
            )
        }
        (day, month, "*") => {
            let day: u32 = day.parse().ok()?;
            let month = MONTHS[lang as usize].get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
            by_lang!(
                lang,
                format!("every year on {day} {month}"),
                format!("jedes Jahr am {day}. {month}"),
                format!("cada año el {day} {month}"),
                format!("chaque année le {day} {month}")
            )
        }
        _ => return None,
    };
    Some(format!("{day} {when}"))
}

/// Describes the hours: ` from 09:00 to 17:00`; empty for the whole day.
fn between(lang: Lang, hours: &str, ends_after: bool) -> Option<String> {
    if hours == "*" {
        return Some(String::new());
    }
    let (from, to) = hours.split_once('-')?;
    let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
    let to = to + u32::from(ends_after);
    Some(by_lang!(
        lang,
        format!(" from {from:02}:00 to {to:02}:00"),
        format!(" von {from:02}:00 bis {to:02}:00"),
        format!(" de {from:02}:00 a {to:02}:00"),
        format!(" de {from:02}:00 à {to:02}:00")
    ))
}

fn weekly(lang: Lang, days: &str) -> Option<String> {
    let name = |number: &str| DAYS[lang as usize].get(number.parse::<usize>().ok()?).copied();
    if days == "1-5" {
        return Some(by_lang!(lang, "every weekday", "an Werktagen", "de lunes a viernes", "en semaine").to_owned());
    }
    if let Some((day, which)) = days.split_once('#') {
        let which: usize = which.parse().ok().filter(|which| (1..=4).contains(which))?;
        let nth = by_lang!(
            lang,
            ["first", "second", "third", "fourth"],
            ["ersten", "zweiten", "dritten", "vierten"],
            ["primer", "segundo", "tercer", "cuarto"],
            ["premier", "deuxième", "troisième", "quatrième"]
        )[which - 1];
        return Some(of_month(lang, nth, name(day)?));
    }
    if let Some(day) = days.strip_suffix('L') {
        let last = by_lang!(lang, "last", "letzten", "último", "dernier");
        return Some(of_month(lang, last, name(day)?));
    }
    let names: Option<Vec<String>> = days.split(',').map(|day| name(day).map(str::to_owned)).collect();
    let names = and(lang, &names?);
    Some(by_lang!(
        lang,
        format!("every {names}"),
        format!("jeden {names}"),
        format!("cada {names}"),
        format!("chaque {names}")
    ))
}

fn of_month(lang: Lang, nth: &str, day: &str) -> String {
    by_lang!(
        lang,
        format!("on the {nth} {day} of each month"),
        format!("am {nth} {day} jedes Monats"),
        format!("el {nth} {day} de cada mes"),
        format!("le {nth} {day} de chaque mois")
    )
}

fn and(lang: Lang, items: &[String]) -> String {
    let word = by_lang!(lang, "and", "und", "y", "et");
    match items {
        [all @ .., last] if !all.is_empty() => format!("{} {word} {last}", all.join(", ")),
        _ => items.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_described_in_words() {
        let en = |kind, value| rhythm(Lang::En, kind, value);
        for (kind, value, words) in [
            ("interval", "60000", "every minute"),
            ("interval", "90000", "every 90 seconds"),
            ("interval", "172800000", "every 2 days"),
            ("once", "2026-11-21T09:00:00", "once"),
            ("cron", "0 9 * * *", "every day at 09:00"),
            ("cron", "30 8,17 * * 1-5", "every weekday at 08:30 and 17:30"),
            ("cron", "0 8 * * 1,3", "every Monday and Wednesday at 08:00"),
            ("cron", "*/15 9-16 * * *", "every 15 minutes from 09:00 to 17:00"),
            ("cron", "0 9-17 * * 1-5", "every weekday every hour from 09:00 to 17:00"),
            ("cron", "0 9 * * 1#2", "on the second Monday of each month at 09:00"),
            ("cron", "0 9 * * 5L", "on the last Friday of each month at 09:00"),
            ("cron", "0 10 15 * *", "on day 15 of each month at 10:00"),
            ("cron", "0 9 */2 * *", "every 2 days (counted from the 1st of each month) at 09:00"),
            ("cron", "0 9 24 12 *", "every year on 24 Dec at 09:00"),
            ("cron", "*/5 * * 1-3 mon", "cron */5 * * 1-3 mon"),
            ("cron", "odd", "cron odd"),
        ] {
            assert_eq!(en(kind, value), words, "{value}");
        }
        assert_eq!(rhythm(Lang::De, "cron", "30 8 * * 1"), "jeden Montag um 08:30");
        assert_eq!(rhythm(Lang::Es, "cron", "0 9 * * *"), "cada día a las 09:00");
        assert_eq!(rhythm(Lang::Fr, "cron", "0 9 * * 1-5"), "en semaine à 09:00");
    }

    #[test]
    fn times_are_formatted_in_each_language() {
        let time = DateTime::parse_from_rfc3339("2026-12-24T17:00:00Z").unwrap().with_timezone(&Tz::Europe__Berlin);
        assert_eq!(moment(Lang::En, time), "Thu 24 Dec 2026, 18:00 CET");
        assert_eq!(moment(Lang::De, time), "Do 24. Dez. 2026, 18:00 CET");
    }
}
