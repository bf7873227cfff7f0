//! Times as people write them: "in 10 minutes", "tomorrow at 9", "every monday at 8:30".
//!
//! Pure: now is a parameter. Phrases are read from a list of words, so that they can stand before or after what is to
//! be done.

use std::time::Duration;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, Timelike, Utc, Weekday};
use chrono_tz::Tz;

/// A time as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// So many milliseconds from now.
    In(u64),
    /// Once, at a local time of a day.
    At(Day, NaiveTime),
    /// Every so many milliseconds.
    Every(u64),
    /// Five cron fields.
    Cron(String),
    /// Every day at the present time of day.
    Daily,
}

/// The day of a single time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Day {
    /// Today, or tomorrow when the time is over.
    Next,
    /// Today only.
    Today,
    /// Tomorrow.
    Tomorrow,
    /// The next such day; today counts while the time is ahead.
    Weekday(Weekday),
    /// A date.
    Date(NaiveDate),
}

/// A schedule in the host's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// `once`, `interval` or `cron`.
    pub kind: &'static str,
    /// The value that belongs to it.
    pub value: String,
    /// The zone in which it counts.
    pub zone: String,
}

/// When nothing says at what time of a day.
const MORNING: (u32, u32) = (9, 0);
/// The longest delay or interval that is understood: ten years.
const LONGEST_MS: u64 = 10 * 366 * 86_400_000;

impl When {
    /// The schedule it means now.
    ///
    /// # Errors
    /// Why there is none, for the person who asked.
    pub fn resolve(&self, now: DateTime<Tz>) -> Result<Schedule, String> {
        let zone = now.timezone();
        let schedule = |kind, value| Schedule { kind, value, zone: zone.name().to_owned() };
        match self {
            Self::In(ms) => in_ms(*ms, now.with_timezone(&Utc))
                .map(|(value, zone)| Schedule { kind: "once", value, zone })
                .ok_or_else(|| "That is too far away.".to_owned()),
            Self::Every(ms) => Ok(schedule("interval", ms.to_string())),
            Self::Cron(fields) => Ok(schedule("cron", fields.clone())),
            Self::Daily => Ok(schedule("cron", format!("{} {} * * *", now.minute(), now.hour()))),
            Self::At(day, time) => {
                let date = date_of(*day, *time, now)?;
                Ok(schedule("once", date.and_time(*time).format("%Y-%m-%dT%H:%M:%S").to_string()))
            }
        }
    }
}

fn date_of(day: Day, time: NaiveTime, now: DateTime<Tz>) -> Result<NaiveDate, String> {
    let today = now.date_naive();
    let ahead = time > now.time();
    let later = |days| today.checked_add_days(Days::new(days)).ok_or_else(|| "That is too far away.".to_owned());
    match day {
        Day::Next => later(u64::from(!ahead)),
        Day::Today if ahead => Ok(today),
        Day::Today => Err(format!("Today {} is over already; it is {}.", time.format("%H:%M"), now.format("%H:%M"))),
        Day::Tomorrow => later(1),
        Day::Weekday(wanted) => match u64::from(wanted.days_since(today.weekday())) {
            0 if !ahead => later(7),
            days => later(days),
        },
        Day::Date(date) if date.and_time(time) > now.naive_local() => Ok(date),
        Day::Date(date) => Err(format!("{date} {} is over already.", time.format("%H:%M"))),
    }
}

/// The schedule value and zone for a time so far from now. In UTC, because a local time is ambiguous for an hour a
/// year.
pub fn in_ms(ms: u64, now: DateTime<Utc>) -> Option<(String, String)> {
    let at = now.checked_add_signed(chrono::Duration::from_std(Duration::from_millis(ms)).ok()?)?;
    Some((at.format("%Y-%m-%dT%H:%M:%S%.3f").to_string(), "UTC".to_owned()))
}

/// A duration in one word, for command lines: `90s`, `10m`, `2h`, `1d`, `500ms`, or plain milliseconds.
pub fn duration_ms(text: &str) -> Option<u64> {
    let digits = text.trim().find(|char: char| !char.is_ascii_digit()).unwrap_or(text.trim().len());
    let (number, unit) = text.trim().split_at(digits);
    let scale = if unit.is_empty() { 1 } else { unit_ms(unit)? };
    number.parse::<u64>().ok()?.checked_mul(scale).filter(|ms| (1..=LONGEST_MS).contains(ms))
}

fn unit_ms(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        "w" | "week" | "weeks" => 7 * 86_400_000,
        _ => return None,
    })
}

/// Reads a phrase from the beginning of `words` (lower case, without punctuation at their ends) and says how many
/// of them it took.
pub fn phrase(words: &[&str]) -> Option<(When, usize)> {
    let (&first, rest) = words.split_first()?;
    let after = |found: Option<(When, usize)>| found.map(|(when, count)| (when, count + 1));
    match first {
        "in" => after(delay(rest).map(|(ms, count)| (When::In(ms), count))),
        "every" | "each" => after(every(rest)),
        "daily" => after(Some(at_each(rest, "*", When::Daily))),
        "hourly" => Some((When::Every(3_600_000), 1)),
        "weekly" => after(Some(weekly(rest))),
        "cron" => after(cron(rest)),
        "at" => after(at(rest)),
        _ => on_day(words),
    }
}

/// `17:30 [today|tomorrow|on monday]`
fn at(words: &[&str]) -> Option<(When, usize)> {
    let (time, count) = time(words)?;
    let (day, taken) = match words.get(count..).and_then(<[_]>::split_first) {
        Some((&"on", rest)) => day(rest).map_or((Day::Next, 0), |(day, taken)| (day, taken + 1)),
        Some((&("today" | "tomorrow"), _)) => day(&words[count..]).unwrap_or((Day::Next, 0)),
        _ => (Day::Next, 0),
    };
    Some((When::At(day, time), count + taken))
}

/// `tomorrow [at 9]`, `on monday [at 9]`, `monday at 9`, `2026-12-24 at 18:00`, `tonight`
fn on_day(words: &[&str]) -> Option<(When, usize)> {
    if words[0] == "tonight" {
        return Some((When::At(Day::Today, NaiveTime::from_hms_opt(20, 0, 0)?), 1));
    }
    let lead = usize::from(matches!(words[0], "on" | "next"));
    let (day, taken) = day(&words[lead..])?;
    let rest = &words[lead + taken..];
    let at = match rest.split_first() {
        Some((&"at", tail)) => time(tail).map(|(time, count)| (time, count + 1)),
        _ => day_part(rest).or_else(|| clock_time(rest)),
    };
    match at {
        Some((time, count)) => Some((When::At(day, time), lead + taken + count)),
        // A bare "today", or a day's name within a sentence, is no time to do something.
        None if day == Day::Today || (lead == 0 && day != Day::Tomorrow) => None,
        None => Some((When::At(day, NaiveTime::from_hms_opt(MORNING.0, MORNING.1, 0)?), lead + taken)),
    }
}

fn day(words: &[&str]) -> Option<(Day, usize)> {
    let day = match *words.first()? {
        "today" | "this" if words[0] == "today" || day_part(&words[1..]).is_some() => Day::Today,
        "tomorrow" => Day::Tomorrow,
        word => weekday(word).map(Day::Weekday).or_else(|| word.parse().ok().map(Day::Date))?,
    };
    Some((day, 1))
}

fn weekday(word: &str) -> Option<Weekday> {
    Some(match word.strip_suffix('s').filter(|day| day.ends_with("day")).unwrap_or(word) {
        "monday" | "mon" => Weekday::Mon,
        "tuesday" | "tue" => Weekday::Tue,
        "wednesday" | "wed" => Weekday::Wed,
        "thursday" | "thu" => Weekday::Thu,
        "friday" | "fri" => Weekday::Fri,
        "saturday" | "sat" => Weekday::Sat,
        "sunday" | "sun" => Weekday::Sun,
        _ => return None,
    })
}

fn day_part(words: &[&str]) -> Option<(NaiveTime, usize)> {
    let hour = match *words.first()? {
        "morning" => 9,
        "noon" => 12,
        "afternoon" => 15,
        "evening" => 18,
        "night" => 21,
        _ => return None,
    };
    Some((NaiveTime::from_hms_opt(hour, 0, 0)?, 1))
}

/// A time after "at", where a bare hour is clear enough.
fn time(words: &[&str]) -> Option<(NaiveTime, usize)> {
    clock_time(words).or_else(|| {
        let hour = words.first()?.parse().ok()?;
        let words_taken = if words.get(1) == Some(&"o'clock") { 2 } else { 1 };
        Some((NaiveTime::from_hms_opt(hour, 0, 0)?, words_taken))
    })
}

/// A time that is clear without "at": `17:30`, `9am`, `9:30 pm`, `noon`.
fn clock_time(words: &[&str]) -> Option<(NaiveTime, usize)> {
    let word = *words.first()?;
    match word {
        "noon" | "midday" => return Some((NaiveTime::from_hms_opt(12, 0, 0)?, 1)),
        "midnight" => return Some((NaiveTime::MIN, 1)),
        _ => {}
    }
    let (digits, half, taken) = match (word.strip_suffix("am"), word.strip_suffix("pm"), words.get(1)) {
        (Some(digits), _, _) => (digits, Some(0), 1),
        (_, Some(digits), _) => (digits, Some(12), 1),
        (_, _, Some(&"am")) => (word, Some(0), 2),
        (_, _, Some(&"pm")) => (word, Some(12), 2),
        _ => (word, None, 1),
    };
    let mut parts = digits.split(':');
    let mut hour: u32 = parts.next()?.parse().ok()?;
    let minute = parts.next().map_or(Some(0), |part| (part.len() == 2).then(|| part.parse().ok())?)?;
    let second = parts.next().map_or(Some(0), |part| (part.len() == 2).then(|| part.parse().ok())?)?;
    if parts.next().is_some() || (half.is_none() && !digits.contains(':')) {
        return None;
    }
    if let Some(half) = half {
        if !(1..=12).contains(&hour) {
            return None;
        }
        hour = hour % 12 + half;
    }
    Some((NaiveTime::from_hms_opt(hour, minute, second)?, taken))
}

/// `10 seconds`, `1 hour and 30 minutes`, `a minute`, `half an hour`, `90s`, `1h30m`
fn delay(words: &[&str]) -> Option<(u64, usize)> {
    if words.get(..3) == Some(&["half", "an", "hour"]) {
        return Some((1_800_000, 3));
    }
    let (mut total, mut taken) = (0_u64, 0);
    loop {
        let glue = usize::from(taken > 0 && words.get(taken) == Some(&"and"));
        match amount(&words[(taken + glue).min(words.len())..]) {
            Some((ms, count)) => {
                total = total.checked_add(ms).filter(|total| *total <= LONGEST_MS)?;
                taken += glue + count;
            }
            None => return (total > 0).then_some((total, taken)),
        }
    }
}

fn amount(words: &[&str]) -> Option<(u64, usize)> {
    let word = *words.first()?;
    if let Some((number, unit)) = number(word).zip(words.get(1).and_then(|unit| unit_ms(unit))) {
        return Some((number.checked_mul(unit)?, 2));
    }
    joined(word).map(|ms| (ms, 1))
}

/// `1h30m`
fn joined(word: &str) -> Option<u64> {
    let (mut rest, mut total) = (word, 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit())?;
        let letters = rest[digits..].find(|char: char| char.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let number: u64 = rest[..digits].parse().ok()?;
        total = total.checked_add(number.checked_mul(unit_ms(&rest[digits..letters])?)?)?;
        rest = &rest[letters..];
    }
    (total > 0).then_some(total)
}

fn number(word: &str) -> Option<u64> {
    const WORDS: [&str; 13] =
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    match word {
        "a" | "an" => Some(1),
        "fifteen" => Some(15),
        "twenty" => Some(20),
        "thirty" => Some(30),
        _ => word.parse().ok().or_else(|| WORDS.iter().position(|known| *known == word).map(|at| at as u64)),
    }
}

/// What follows "every".
fn every(words: &[&str]) -> Option<(When, usize)> {
    let (&first, rest) = words.split_first()?;
    let after = |(when, count)| Some((when, count + 1));
    match first {
        "day" => after(at_each(rest, "*", When::Daily)),
        "weekday" | "weekdays" | "workday" => after(at_each(rest, "1-5", morning("1-5"))),
        "weekend" => after(at_each(rest, "0,6", morning("0,6"))),
        "week" => after(weekly(rest)),
        "month" => after(monthly(rest)?),
        "morning" => after(at_each(rest, "*", morning("*"))),
        "evening" => after(at_each(rest, "*", When::Cron("0 18 * * *".into()))),
        "night" => after(at_each(rest, "*", When::Cron("0 21 * * *".into()))),
        "second" | "minute" | "hour" => unit_ms(first).map(|ms| (When::Every(ms), 1)),
        _ => weekdays(words).or_else(|| {
            let (ms, count) = delay(words)?;
            Some((When::Every(ms), count))
        }),
    }
}

fn morning(days: &str) -> When {
    When::Cron(format!("{} {} * * {days}", MORNING.1, MORNING.0))
}

/// `[at 9]` for certain days of the week.
fn at_each(words: &[&str], days: &str, otherwise: When) -> (When, usize) {
    let found = match words.split_first() {
        Some((&"at", rest)) => time(rest).map(|(time, count)| (time, count + 1)),
        _ => clock_time(words).or_else(|| day_part(words)),
    };
    found.map_or((otherwise, 0), |(time, count)| {
        (When::Cron(format!("{} {} * * {days}", time.minute(), time.hour())), count)
    })
}

/// `monday, wednesday and friday [at 9]`
fn weekdays(words: &[&str]) -> Option<(When, usize)> {
    let mut numbers = vec![weekday(words.first()?)?.num_days_from_sunday()];
    let mut taken = 1;
    loop {
        let glue = usize::from(words.get(taken) == Some(&"and"));
        match words.get(taken + glue).and_then(|word| weekday(word)) {
            Some(day) => numbers.push(day.num_days_from_sunday()),
            None => break,
        }
        taken += glue + 1;
    }
    numbers.sort_unstable();
    numbers.dedup();
    let days = numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let (when, count) = at_each(&words[taken..], &days, morning(&days));
    Some((when, taken + count))
}

/// `week [on monday] [at 9]`; Monday when no day is named.
fn weekly(words: &[&str]) -> (When, usize) {
    match words.split_first() {
        Some((&"on", rest)) if weekdays(rest).is_some() => {
            weekdays(rest).map_or((morning("1"), 0), |(when, count)| (when, count + 1))
        }
        _ => at_each(words, "1", morning("1")),
    }
}

/// `month [on the 15th] [at 9]`; the first when no day is named.
fn monthly(words: &[&str]) -> Option<(When, usize)> {
    let (mut taken, mut day) = (0, 1);
    if words.first() == Some(&"on") {
        let the = 1 + usize::from(words.get(1) == Some(&"the"));
        let word = words.get(the)?;
        let digits = ["st", "nd", "rd", "th"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
        day = digits.parse().ok().filter(|day| (1..=31).contains(day))?;
        taken = the + 1;
    }
    let (when, count) = at_each(&words[taken..], "*", morning("*"));
    let When::Cron(fields) = when else { return None };
    let mut fields: Vec<&str> = fields.split(' ').collect();
    let day = day.to_string();
    *fields.get_mut(2)? = &day;
    Some((When::Cron(fields.join(" ")), taken + count))
}

/// Five fields as they are; the host judges them.
fn cron(words: &[&str]) -> Option<(When, usize)> {
    let fields = words.get(..5)?;
    let plausible = |field: &&str| field.chars().all(|char| char.is_ascii_alphanumeric() || "*/,-#L".contains(char));
    let first_is_time = fields[0].starts_with(|char: char| char.is_ascii_digit() || char == '*');
    (first_is_time && fields.iter().all(plausible)).then(|| (When::Cron(fields.join(" ")), 5))
}

#[cfg(test)]
#[path = "when_tests.rs"]
mod tests;
