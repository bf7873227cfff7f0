//! Phrases of time: "in 10 minutes", "tomorrow at 9", "every weekday except friday at 8". Pure.
//!
//! The parsers read English words in lower case without punctuation at their ends; other languages are translated
//! first. A phrase can stand before or after the request's subject.

use super::clock::{Bare, day_part, time};
use super::days::{self, weekday};
use super::delay::{Span, span};
use super::recurring;
use super::when::{Clock, Day, MORNING, When};

/// Tells whether a word such as "remind me" already announced a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// Yes, so a day alone is a time: "remind me friday".
    Reminder,
    /// No, it may be any sentence: "friday is a holiday".
    None,
}

/// Reads a phrase from the beginning of `words`. Returns it with the number of words used.
pub fn phrase(words: &[&str], lead: Lead) -> Option<(When, usize)> {
    let (&first, rest) = words.split_first()?;
    let after = |found: Option<(When, usize)>| found.map(|(when, count)| (when, count + 1));
    match first {
        "in" => after(within(rest)),
        // A timer runs "for" a span; an alarm is set "for" a time.
        "for" if lead == Lead::Reminder => after(within(rest).or_else(|| at(rest))),
        "at" | "around" | "by" => after(at(rest)),
        "cron" => after(cron(rest)),
        "snooze" => None,
        _ => recurring::phrase(words)
            .or_else(|| on_day(words, lead))
            .or_else(|| clock_first(words))
            .or_else(|| bare_span(words, lead)),
    }
}

/// `10 minutes`, `3 days [at 9am]`, `2 months`
fn within(words: &[&str]) -> Option<(When, usize)> {
    let (span, taken) = span(words)?;
    let day = match span {
        Span::Ms(ms) => return Some((When::In(ms), taken)),
        Span::Days(days) => Day::Plus(days),
        Span::Months(months) => Day::Months(months),
    };
    match (time_of_day(&words[taken..]), span) {
        (Some((clock, count)), _) => Some((When::At(day, clock), taken + count)),
        (None, Span::Days(days)) => Some((When::In(u64::from(days) * 86_400_000), taken)),
        (None, _) => Some((When::At(day, Clock::exact(MORNING)), taken)),
    }
}

/// `timer 5 min`
fn bare_span(words: &[&str], lead: Lead) -> Option<(When, usize)> {
    if lead == Lead::None {
        return None;
    }
    within(words)
}

/// `17:30 [today|tomorrow|on monday|on December 24]`
fn at(words: &[&str]) -> Option<(When, usize)> {
    let (clock, count) = time(words, Bare::Hour)?;
    Some(with_day(words, clock, count))
}

/// `5pm [tomorrow]`: clearly a time, even without "at".
fn clock_first(words: &[&str]) -> Option<(When, usize)> {
    let (clock, count) = time(words, Bare::Never)?;
    Some(with_day(words, clock, count))
}

fn with_day(words: &[&str], clock: Clock, count: usize) -> (When, usize) {
    match some_day(&words[count..]).filter(|(day, ..)| day.is_ok()) {
        Some((Ok(day), taken, _)) => (When::At(day, clock), count + taken),
        _ => (When::At(Day::Next, clock), count),
    }
}

/// `tomorrow [at 9]`, `on monday [at 9]`, `next week`, `2026-12-24 at 18:00`, `tonight [at 8]`
fn on_day(words: &[&str], lead: Lead) -> Option<(When, usize)> {
    if words[0] == "tonight" {
        let (clock, taken) = match words.get(1..).and_then(time_of_day) {
            Some((clock, taken)) => (evening(clock), taken),
            None => (Clock::exact(chrono::NaiveTime::from_hms_opt(20, 0, 0)?), 0),
        };
        return Some((When::At(Day::Today, clock), taken + 1));
    }
    let (day, taken, sure) = some_day(words)?;
    let day = match day {
        Ok(day) => day,
        Err(problem) => return Some((When::Never(problem), taken)),
    };
    match time_of_day(&words[taken..]) {
        Some((clock, count)) => Some((When::At(day, clock), taken + count)),
        // A bare "today", or a day's name within a sentence, is not a time for a task.
        None if day == Day::Today || !(sure || lead == Lead::Reminder) => None,
        None => Some((When::At(day, Clock::exact(MORNING)), taken)),
    }
}

/// Moves a time to the evening, as in "tonight at 8".
fn evening(clock: Clock) -> Clock {
    use chrono::Timelike;
    let hour = clock.time.hour();
    let later = clock.time.with_hour(hour + 12).filter(|_| hour < 12 && hour > 3);
    Clock::exact(later.unwrap_or(clock.time))
}

/// `[at] 9`, `in the evening`, `morning at 8`
fn time_of_day(words: &[&str]) -> Option<(Clock, usize)> {
    let after_at = |words: &[&str]| match words.split_first() {
        Some((&("at" | "around" | "by"), rest)) => time(rest, Bare::Hour).map(|(clock, count)| (clock, count + 1)),
        _ => time(words, Bare::Never),
    };
    if let Some(found) = after_at(words) {
        return Some(found);
    }
    let (part, taken) = day_part(words)?;
    match after_at(&words[taken..]) {
        Some((clock, count)) if part.time >= MORNING && part.time > clock.time && !is_morning(part) => {
            Some((evening(clock), taken + count))
        }
        Some((clock, count)) => Some((unguessed(clock, part), taken + count)),
        None => Some((part, taken)),
    }
}

fn is_morning(part: Clock) -> bool {
    part.time == MORNING
}

/// Undoes the guess of the afternoon: "tomorrow morning at 6".
fn unguessed(clock: Clock, part: Clock) -> Clock {
    use chrono::Timelike;
    let earlier = clock.time.hour().checked_sub(12).and_then(|hour| clock.time.with_hour(hour));
    Clock::exact(earlier.filter(|_| clock.guessed && is_morning(part)).unwrap_or(clock.time))
}

/// Reads a day: `on friday`, `next week`, `tomorrow`. Returns it with the number of words used, and true if these
/// words can mean nothing else.
fn some_day(words: &[&str]) -> Option<(Result<Day, super::when::Problem>, usize, bool)> {
    let (&first, rest) = words.split_first()?;
    let sure = |day, taken| Some((Ok(day), taken, true));
    match (first, rest) {
        ("today", _) => return Some((Ok(Day::Today), 1, false)),
        ("tomorrow", _) => return sure(Day::Plus(1), 1),
        ("the", ["day", "after", "tomorrow", ..]) => return sure(Day::Plus(2), 4),
        ("day", ["after", "tomorrow", ..]) => return sure(Day::Plus(2), 3),
        ("this", _) if day_part(rest).is_some() => return Some((Ok(Day::Today), 1, true)),
        ("next", ["week", "on", day, ..]) if weekday(day).is_some() => {
            return sure(Day::NextWeek(weekday(day)?), 4);
        }
        ("next", ["week", day, ..]) if weekday(day).is_some() => return sure(Day::NextWeek(weekday(day)?), 3),
        ("next", ["week", ..]) => return sure(Day::Plus(7), 2),
        ("next", ["month", ..]) => return sure(Day::Months(1), 2),
        ("next", ["year", ..]) => return sure(Day::Months(12), 2),
        _ => {}
    }
    let lead = match words {
        ["on", "the", ..] => 2,
        ["on" | "next" | "this" | "coming" | "the", ..] => 1,
        _ => 0,
    };
    let rest = &words[lead..];
    if let Some((day, taken)) = days::date(rest) {
        return Some((day, lead + taken, true));
    }
    let word = *rest.first()?;
    if let Some(day) = weekday(word) {
        return Some((Ok(Day::Weekday(day)), lead + 1, lead > 0));
    }
    // "on the 24th", but not "on 24 chairs".
    let ends = ["st", "nd", "rd", "th"].iter().any(|end| word.ends_with(end));
    let day = days::ordinal(word).filter(|_| lead > 0 && (ends || lead == 2))?;
    Some((Ok(Day::OfMonth(day)), lead + 1, true))
}

/// Reads five cron fields unchanged; the host validates them.
fn cron(words: &[&str]) -> Option<(When, usize)> {
    let fields = words.get(..5)?;
    let plausible = |field: &&str| field.chars().all(|char| char.is_ascii_alphanumeric() || "*/,-#L".contains(char));
    let first_is_time = fields[0].starts_with(|char: char| char.is_ascii_digit() || char == '*');
    (first_is_time && fields.iter().all(plausible)).then(|| (When::Cron(fields.join(" ")), 5))
}

#[cfg(test)]
#[path = "phrase_tests.rs"]
mod tests;
