//! Times as people write them, and the schedules of the host that they mean. Pure: now is a parameter.

use std::time::Duration;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, Timelike, Utc, Weekday};
use chrono_tz::Tz;

/// A time as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// So many milliseconds from now.
    In(u64),
    /// Once, at a local time of a day.
    At(Day, Clock),
    /// Every so many milliseconds.
    Every(u64),
    /// Five cron fields.
    Cron(String),
    /// Every day at the present time of day.
    Daily,
    /// Understood, and nothing that a schedule can say.
    Never(Problem),
}

/// A time of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// On a clock of 24 hours.
    pub time: NaiveTime,
    /// True if a bare hour such as "4" was taken for the afternoon.
    pub guessed: bool,
}

/// The day of a single time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Day {
    /// Today, or tomorrow when the time is over.
    Next,
    /// Today only.
    Today,
    /// So many days from today.
    Plus(u32),
    /// So many months from today.
    Months(u32),
    /// The next such day; today counts while the time is ahead.
    Weekday(Weekday),
    /// That day of the week that begins next Monday.
    NextWeek(Weekday),
    /// The next such day of a month.
    OfMonth(u32),
    /// The next such month and day.
    Annual(u32, u32),
    /// A date.
    Date(NaiveDate),
}

/// Why there is no schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Every second week: no schedule of the host says that.
    EveryOtherWeek,
    /// Several times of a day with different minutes.
    TwoMinutes,
    /// A window that does not begin and end at a full hour, or a step that does not fit into an hour or a day.
    Window,
    /// Two numbers of which either could be the month.
    WhichMonth(u32, u32),
    /// That date or time is over, and it is now so late.
    Over(String, String),
    /// Later than anyone plans.
    TooFar,
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
pub const MORNING: NaiveTime = NaiveTime::from_hms_opt(9, 0, 0).unwrap();
/// The longest delay or interval that is understood: ten years.
pub const LONGEST_MS: u64 = 10 * 366 * 86_400_000;
/// Years that are looked through for a date such as the 29th of February.
const YEARS: i32 = 9;

impl Clock {
    /// A time that was written so that it means nothing else.
    pub fn exact(time: NaiveTime) -> Self {
        Self { time, guessed: false }
    }
}

impl When {
    /// The schedule it means now.
    ///
    /// # Errors
    /// Why there is none.
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

/// The milliseconds of a unit by its name.
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
