//! Recurring times: "every monday at 8:30", "weekdays except friday", "every 15 minutes from 9 to 17". Pure.

use std::collections::BTreeSet;

use chrono::{NaiveTime, Timelike};

use super::clock::{Bare, day_part, time};
use super::days::{self, ordinal, weekday};
use super::delay::{Span, number, span};
use super::rule::{Rule, Step};
use super::when::{Day, Problem, When};

const ALL: [u32; 7] = [0, 1, 2, 3, 4, 5, 6];
pub(super) const WORKDAYS: [u32; 5] = [1, 2, 3, 4, 5];
const WEEKEND: [u32; 2] = [0, 6];

/// Reads a recurring time from the beginning of `words`. Returns it with the number of words used.
pub fn phrase(words: &[&str]) -> Option<(When, usize)> {
    let mut rule = Rule::default();
    let taken = head(words, &mut rule)?;
    let count = taken + tail(&words[taken..], &mut rule);
    Some((rule.when(), count))
}

/// Reads the words that mark a recurrence.
fn head(words: &[&str], rule: &mut Rule) -> Option<usize> {
    let lead = usize::from(words[0] == "on");
    match words[lead..] {
        ["every" | "each", ref rest @ ..] if lead == 0 => return every(rest, rule).map(|taken| taken + 1),
        ["everyday" | "daily", ..] if lead == 0 => return Some(1),
        ["hourly", ..] if lead == 0 => rule.step = Some(Step::Hours(1)),
        ["weekly", ..] if lead == 0 => rule.days = Some([1].into()),
        ["monthly", ..] if lead == 0 => rule.of_month = Some("1".into()),
        ["yearly" | "annually", ..] if lead == 0 => return yearly(&words[1..], rule).map(|taken| taken + 1),
        ["once" | "twice", "a" | "per", "day", ..] if lead == 0 => {
            rule.times = times_a_day(if words[0] == "once" { 1 } else { 2 });
            return Some(3);
        }
        [count, "times", "a" | "per", "day", ..] if lead == 0 => {
            let count = number(count).filter(|count| (1.0..=4.0).contains(count) && count.fract() == 0.0)?;
            rule.times = times_a_day(count as usize);
            return Some(4);
        }
        _ => return plural_days(&words[lead..], rule).map(|taken| taken + lead),
    }
    Some(1)
}

/// Returns that many times of a day.
fn times_a_day(count: usize) -> Vec<NaiveTime> {
    const HOURS: [&[u32]; 4] = [&[9], &[9, 21], &[8, 14, 20], &[8, 12, 16, 20]];
    let hours = HOURS.get(count.saturating_sub(1)).copied().unwrap_or_default();
    hours.iter().filter_map(|hour| NaiveTime::from_hms_opt(*hour, 0, 0)).collect()
}

/// `mondays`, `weekdays`, `mondays and thursdays`
fn plural_days(words: &[&str], rule: &mut Rule) -> Option<usize> {
    match *words.first()? {
        "weekdays" | "workdays" => rule.days = Some(WORKDAYS.into()),
        "weekends" => rule.days = Some(WEEKEND.into()),
        word => {
            days::weekdays(word)?;
            return day_list(words, rule);
        }
    }
    Some(1)
}

/// Reads the words after "every".
fn every(words: &[&str], rule: &mut Rule) -> Option<usize> {
    if let Some(taken) = nth(words, rule, false) {
        return Some(taken);
    }
    match words {
        ["weekday" | "weekdays" | "workday" | "workdays", ..] => rule.days = Some(WORKDAYS.into()),
        ["weekend" | "weekends", ..] => rule.days = Some(WEEKEND.into()),
        ["week", ..] => rule.days = Some([1].into()),
        ["month", ..] => rule.of_month = Some("1".into()),
        ["year", rest @ ..] => return yearly(rest, rule).map(|taken| taken + 1),
        ["day", ..] => {}
        _ if day_part(words).is_some() && !matches!(words[0], "in" | "at") => {
            rule.times = day_part(words).map(|(clock, _)| clock.time).into_iter().collect();
        }
        _ => {
            if let Some(taken) = day_list(words, rule).or_else(|| annual(words, rule)) {
                return Some(taken);
            }
            return steps(words, rule);
        }
    }
    Some(1)
}

/// `first monday [of the month]`, `last friday`, `15th [of the month]`, `other day`, `second week`
fn nth(words: &[&str], rule: &mut Rule, monthly: bool) -> Option<usize> {
    let which = match *words.first()? {
        "first" | "1st" => "1",
        "second" | "other" | "2nd" => "2",
        "third" | "3rd" => "3",
        "fourth" | "4th" => "4",
        "last" => "L",
        _ => {
            let day = ordinal(words[0]).filter(|_| !words[0].ends_with(|c: char| c.is_ascii_digit()))?;
            rule.of_month = Some(day.to_string());
            return Some(1 + of_the_month(&words[1..]));
        }
    };
    let rest = &words[1..];
    let of = rest.get(1..).map_or(0, of_the_month);
    if let Some(day) = rest.first().and_then(|word| weekday(word)) {
        let number = day.num_days_from_sunday();
        match which {
            "L" => rule.nth = Some(format!("{number}L")),
            "2" | "3" if of == 0 && !monthly => rule.problem = Some(Problem::EveryOtherWeek),
            which => rule.nth = Some(format!("{number}#{which}")),
        }
        return Some(2 + of);
    }
    match (which, *rest.first()?) {
        ("L", "day") => rule.of_month = Some("L".into()),
        ("1", "day") if of > 0 => rule.of_month = Some("1".into()),
        ("2", "day") => rule.step = Some(Step::Other(2 * 86_400_000)),
        ("3", "day") => rule.step = Some(Step::Other(3 * 86_400_000)),
        ("2" | "3", "week") => rule.problem = Some(Problem::EveryOtherWeek),
        ("2", "hour") => rule.step = Some(Step::Hours(2)),
        ("3", "hour") => rule.step = Some(Step::Hours(3)),
        ("2", "minute") => rule.step = Some(Step::Minutes(2)),
        _ if days::ordinal(words[0]).is_some() && of_the_month(rest) > 0 => rule.of_month = Some(which.into()),
        _ => return None,
    }
    if words[1] == "of" || words[1] == "in" {
        return Some(1 + of_the_month(rest));
    }
    Some(2 + of)
}

/// `of the month`
fn of_the_month(words: &[&str]) -> usize {
    match words {
        ["of" | "in", "the" | "each" | "every" | "a", "month", ..] => 3,
        ["of" | "in", "month", ..] => 2,
        _ => 0,
    }
}

/// `on december 24`
fn yearly(words: &[&str], rule: &mut Rule) -> Option<usize> {
    let lead = usize::from(words.first() == Some(&"on")) + usize::from(words.get(1) == Some(&"the"));
    annual(words.get(lead..)?, rule).map(|taken| taken + lead)
}

fn annual(words: &[&str], rule: &mut Rule) -> Option<usize> {
    let (day, taken) = days::date(words)?;
    match day {
        Ok(Day::Annual(month, day)) => {
            (rule.month, rule.of_month) = (Some(month), Some(day.to_string()));
        }
        Ok(_) => return None,
        Err(problem) => rule.problem = Some(problem),
    }
    Some(taken)
}

/// `15 minutes`, `hour`, `2 hours`, `3 days`
fn steps(words: &[&str], rule: &mut Rule) -> Option<usize> {
    let (span, taken) = match *words.first()? {
        unit @ ("second" | "minute" | "hour") => (Span::Ms(super::when::unit_ms(unit)?), 1),
        _ => span(words)?,
    };
    rule.step = Some(match span {
        Span::Days(days) if days.is_multiple_of(7) && days > 7 => {
            rule.problem = Some(Problem::EveryOtherWeek);
            Step::Other(0)
        }
        Span::Months(_) => return None,
        span => {
            let ms = span.ms()?;
            match (u32::try_from(ms / 60_000).ok()?, ms % 60_000) {
                (minutes @ 1..60, 0) => Step::Minutes(minutes),
                (minutes, 0) if minutes % 60 == 0 && (1..24).contains(&(minutes / 60)) => Step::Hours(minutes / 60),
                _ => Step::Other(ms),
            }
        }
    });
    Some(taken)
}

/// `monday, wednesday and friday`, `monday to friday`, each in the plural, too
fn day_list(words: &[&str], rule: &mut Rule) -> Option<usize> {
    let named = |word: &&str| weekday(word).or_else(|| days::weekdays(word)).map(|day| day.num_days_from_sunday());
    let mut found = BTreeSet::from([named(words.first()?)?]);
    let mut taken = 1;
    while let Some(word) = words.get(taken) {
        let (glue, range) = match *word {
            "and" | "or" => (1, false),
            "to" | "through" | "until" | "-" => (1, true),
            _ => (0, false),
        };
        let Some(day) = words.get(taken + glue).and_then(named) else { break };
        if range {
            let from = words.get(taken - 1).and_then(named)?;
            let mut at = from;
            while at != day {
                at = (at + 1) % 7;
                found.insert(at);
            }
        }
        found.insert(day);
        taken += glue + 1;
    }
    rule.days = Some(found);
    Some(taken)
}

/// Reads further parts in any order: times, days, a window, exceptions. Returns the number of words used.
fn tail(words: &[&str], rule: &mut Rule) -> usize {
    let mut taken = 0;
    while let Some(count) = modifier(&words[taken..], rule) {
        taken += count;
    }
    taken
}

fn modifier(words: &[&str], rule: &mut Rule) -> Option<usize> {
    match *words.first()? {
        "except" | "but" | "excluding" => except(words, rule),
        "from" | "between" => window(words, rule),
        "at" => at_times(words, rule),
        "on" => on_days(&words[1..], rule).map(|taken| taken + 1),
        "of" => Some(of_the_month(words)).filter(|taken| *taken > 0),
        _ => {
            let (clock, taken) = time(words, Bare::Never).or_else(|| day_part(words))?;
            rule.times.push(clock.time);
            Some(taken)
        }
    }
}

/// `at 9`, `at 9 and 17`, `at 9:00 and at 17:00`
fn at_times(words: &[&str], rule: &mut Rule) -> Option<usize> {
    let mut times = Vec::new();
    let mut taken = 1;
    loop {
        let (clock, count) = time(&words[taken..], Bare::Hour)?;
        times.push(clock.time);
        taken += count;
        let glue = match words.get(taken..) {
            Some(["and", "at", ..]) => 2,
            Some(["and", ..]) => 1,
            _ => 0,
        };
        if glue == 0 || words.get(taken + glue..).and_then(|rest| time(rest, Bare::Hour)).is_none() {
            break;
        }
        taken += glue;
    }
    rule.times = times;
    Some(taken)
}

/// `on weekdays`, `on monday and friday`, `on the 15th`, `on the first monday`
fn on_days(words: &[&str], rule: &mut Rule) -> Option<usize> {
    if let Some(taken) = plural_days(words, rule).or_else(|| day_list(words, rule)) {
        return Some(taken);
    }
    let the = usize::from(words.first() == Some(&"the"));
    let rest = words.get(the..)?;
    rule.of_month.as_ref()?;
    if let Some((number, taken)) = match rest {
        ["day", number, ..] => ordinal(number).map(|day| (day, 2)),
        [number, ..] => ordinal(number).map(|day| (day, 1)),
        [] => None,
    } {
        rule.of_month = Some(number.to_string());
        return Some(the + taken);
    }
    let taken = nth(rest, rule, true)?;
    if rule.nth.is_some() {
        rule.of_month = None;
    }
    Some(the + taken)
}

/// `except friday`, `but not on weekends`
fn except(words: &[&str], rule: &mut Rule) -> Option<usize> {
    let mut taken = 1;
    for skipped in ["for", "not", "on"] {
        taken += usize::from(words.get(taken) == Some(&skipped));
    }
    let mut without = Rule::default();
    let rest = words.get(taken..)?;
    let count = match rest.first() {
        Some(&"weekend") => {
            without.days = Some(WEEKEND.into());
            1
        }
        _ => plural_days(rest, &mut without).or_else(|| day_list(rest, &mut without))?,
    };
    let mut days = rule.days.clone().unwrap_or_else(|| ALL.into());
    days.retain(|day| !without.days.as_ref().is_some_and(|out| out.contains(day)));
    if days.is_empty() {
        return None;
    }
    rule.days = Some(days);
    Some(taken + count)
}

/// `from 9 to 17`, `between 9 and 17`
fn window(words: &[&str], rule: &mut Rule) -> Option<usize> {
    let (from, count) = time(&words[1..], Bare::Exact)?;
    words.get(1 + count).filter(|word| matches!(**word, "to" | "until" | "till" | "and" | "-"))?;
    let (to, more) = time(words.get(2 + count..)?, Bare::Exact)?;
    let (start, mut end) = (from.time.hour(), to.time.hour());
    // "from 9 to 5" means a working day.
    if end <= start && end <= 12 && to.time.hour() + 12 > start && start < 12 {
        end += 12;
    }
    if from.time.minute() + to.time.minute() > 0 || end <= start {
        rule.problem = Some(Problem::Window);
    }
    rule.window = Some((start, end));
    Some(2 + count + more)
}
