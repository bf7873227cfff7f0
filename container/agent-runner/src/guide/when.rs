//! Times as people write them, and their schedules for the host. Pure: the present time is a parameter.

use std::time::Duration;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, Timelike, Utc, Weekday};
use chrono_tz::Tz;

/// A time as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// This many milliseconds from now.
    In(u64),
    /// Once, at a local time of a day.
    At(Day, Clock),
    /// Every this many milliseconds.
    Every(u64),
    /// Five cron fields.
    Cron(String),
    /// Every day at the current time of day.
    Daily,
    /// Understood, but no schedule can express it.
    Never(Problem),
}

/// A time of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// The time, on a 24-hour clock.
    pub time: NaiveTime,
    /// True if a bare hour such as "4" was taken for the afternoon.
    pub guessed: bool,
}

/// The day of a single time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Day {
    /// Today, or tomorrow if the time has passed.
    Next,
    /// Today only.
    Today,
    /// This many days from today.
    Plus(u32),
    /// This many months from today.
    Months(u32),
    /// The next such day; today counts if the time is still ahead.
    Weekday(Weekday),
    /// The weekday in the week that begins next Monday.
    NextWeek(Weekday),
    /// The next such day of the month.
    OfMonth(u32),
    /// The next such month and day of the month.
    Annual(u32, u32),
    /// A date.
    Date(NaiveDate),
}

/// The reason why there is no schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Every second week: the host has no such schedule.
    EveryOtherWeek,
    /// Several times of a day with different minutes, which one cron line cannot have.
    TwoMinutes,
    /// A window that does not begin and end at a full hour, or a step that does not fit into an hour or a day.
    Window,
    /// Two numbers of which either could be the month.
    WhichMonth(u32, u32),
    /// The date or time has passed; the second text is the present time.
    Over(String, String),
    /// Later than the limit of ten years.
    TooFar,
}

/// A schedule in the host's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// `once`, `interval` or `cron`.
    pub kind: &'static str,
    /// The value, in the form of this kind.
    pub value: String,
    /// The time zone of the value.
    pub zone: String,
}

/// The default time of day.
pub const MORNING: NaiveTime = NaiveTime::from_hms_opt(9, 0, 0).unwrap();
/// The longest delay or interval: ten years.
pub const LONGEST_MS: u64 = 10 * 366 * 86_400_000;
/// Number of years that are searched for a date such as the 29th of February.
const YEARS: i32 = 9;

impl Clock {
    /// A time that is written unambiguously.
    pub fn exact(time: NaiveTime) -> Self {
        Self { time, guessed: false }
    }
}

impl When {
    /// Returns the schedule for the present time.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn resolve(&self, now: DateTime<Tz>) -> Result<Schedule, Problem> {
        let zone = now.timezone();
        let schedule = |kind, value| Schedule { kind, value, zone: zone.name().to_owned() };
        match self {
            Self::In(ms) => in_ms(*ms, now.with_timezone(&Utc))
                .map(|(value, zone)| Schedule { kind: "once", value, zone })
                .ok_or(Problem::TooFar),
            Self::Every(ms) => Ok(schedule("interval", ms.to_string())),
            Self::Cron(fields) => Ok(schedule("cron", fields.clone())),
            Self::Daily => Ok(schedule("cron", format!("{} {} * * *", now.minute(), now.hour()))),
            Self::At(day, clock) => {
                let date = date_of(*day, clock.time, now)?;
                Ok(schedule("once", date.and_time(clock.time).format("%Y-%m-%dT%H:%M:%S").to_string()))
            }
            Self::Never(problem) => Err(problem.clone()),
        }
    }

    /// Returns true if a bare hour was taken for the afternoon.
    pub fn is_guessed(&self) -> bool {
        matches!(self, Self::At(_, Clock { guessed: true, .. }))
    }
}

fn date_of(day: Day, time: NaiveTime, now: DateTime<Tz>) -> Result<NaiveDate, Problem> {
    let today = now.date_naive();
    let is_ahead = |date: &NaiveDate| date.and_time(time) > now.naive_local();
    let later = |days: u64| today.checked_add_days(Days::new(days)).ok_or(Problem::TooFar);
    let over = |date: NaiveDate| {
        Problem::Over(format!("{date} {}", time.format("%H:%M")), now.format("%Y-%m-%d %H:%M").to_string())
    };
    let ahead = is_ahead(&today);
    let first_ahead = |dates: &mut dyn Iterator<Item = Option<NaiveDate>>| {
        dates.flatten().find(|date| is_ahead(date)).ok_or(Problem::TooFar)
    };
    match day {
        Day::Next => later(u64::from(!ahead)),
        Day::Today if ahead => Ok(today),
        Day::Today => Err(over(today)),
        Day::Plus(days) => later(u64::from(days)),
        Day::Months(months) => today.checked_add_months(Months::new(months)).ok_or(Problem::TooFar),
        Day::Weekday(wanted) => match u64::from(wanted.days_since(today.weekday())) {
            0 if !ahead => later(7),
            days => later(days),
        },
        Day::NextWeek(wanted) => {
            let monday = 7 - u64::from(today.weekday().num_days_from_monday());
            later(monday + u64::from(wanted.num_days_from_monday()))
        }
        Day::OfMonth(day) => first_ahead(
            &mut (0..12).map(|months| today.with_day(1)?.checked_add_months(Months::new(months))?.with_day(day)),
        ),
        Day::Annual(month, day) => {
            first_ahead(&mut (0..YEARS).map(|years| NaiveDate::from_ymd_opt(today.year() + years, month, day)))
        }
        Day::Date(date) if is_ahead(&date) => Ok(date),
        Day::Date(date) => Err(over(date)),
    }
}

/// Returns the schedule value and zone for a time that long from now. It is in UTC, because a local time is ambiguous
/// for one hour a year.
pub fn in_ms(ms: u64, now: DateTime<Utc>) -> Option<(String, String)> {
    let at = now.checked_add_signed(chrono::Duration::from_std(Duration::from_millis(ms)).ok()?)?;
    Some((at.format("%Y-%m-%dT%H:%M:%S%.3f").to_string(), "UTC".to_owned()))
}

/// Reads a duration of a command line: `90s`, `10m`, `2h`, `1d`, `500ms`, or plain milliseconds.
pub fn duration_ms(text: &str) -> Option<u64> {
    let digits = text.trim().find(|char: char| !char.is_ascii_digit()).unwrap_or(text.trim().len());
    let (number, unit) = text.trim().split_at(digits);
    let scale = if unit.is_empty() { 1 } else { unit_ms(unit)? };
    number.parse::<u64>().ok()?.checked_mul(scale).filter(|ms| (1..=LONGEST_MS).contains(ms))
}

/// Returns the milliseconds of a unit.
pub fn unit_ms(unit: &str) -> Option<u64> {
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

#[cfg(test)]
#[path = "when_tests.rs"]
mod tests;
