//! Schedules: their forms, and the only code that decides when a task is due next.
//!
//! A cron whose hour field is `*` follows elapsed time: it fires in each real hour, so twice in the hour that autumn
//! repeats and not at all in the hour that spring skips. Every other cron, and `once`, names local times of day. A
//! time that spring skips is due at the end of the gap (several such times cause one firing), and a time that autumn
//! repeats is due only the first time.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Duration, LocalResult, NaiveDate, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use parlor_protocol::limits::{INTERVAL_MS, MAX_CRON};
use thiserror::Error;

/// The shortest interval, in milliseconds.
pub const MIN_INTERVAL_MS: u64 = *INTERVAL_MS.start();
/// The longest interval, in milliseconds: ten years.
pub const MAX_INTERVAL_MS: u64 = *INTERVAL_MS.end();

/// The times at which a task fires.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// Five cron fields, as written.
    Cron(String),
    /// A period in milliseconds, counted from the task's anchor.
    Interval(u64),
    /// One time, local or with an offset, as written.
    Once(String),
}

/// Reasons why a schedule was refused. Each text says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// The kind of schedule is unknown.
    #[error("schedule type {0:?} is not known: use cron, interval or once")]
    Kind(String),
    /// The interval is no number of milliseconds, or out of bounds.
    #[error(
        "interval {0:?} is not allowed: use whole milliseconds from {MIN_INTERVAL_MS} (10 seconds) to {MAX_INTERVAL_MS} (ten years)"
    )]
    Interval(String),
    /// The text does not have five valid cron fields.
    #[error(
        "cron {value:?} is not allowed ({reason}): use five fields, minute hour day-of-month month day-of-week, for example `0 9 * * 1-5`"
    )]
    Cron {
        /// The text as given, cut.
        value: String,
        /// The fault in the text.
        reason: String,
    },
    /// No calendar has such a date.
    #[error("cron {0:?} never fires: no such date exists; check day and month")]
    Never(String),
    /// The text is no local time.
    #[error(
        "time {0:?} is not allowed: use a local time such as 2031-05-17T09:30:00, or one with its offset such as 2031-05-17T09:30:00+02:00"
    )]
    Once(String),
    /// The time has passed.
    #[error("time {value:?} has passed in zone {zone} (it is {now} there): give a time in the future")]
    Past {
        /// The text as given.
        value: String,
        /// The zone in which it was read.
        zone: String,
        /// The present local time.
        now: String,
    },
}

impl Schedule {
    /// Parses a schedule as people and agents write it.
    pub fn parse(kind: &str, value: &str) -> Result<Self, ScheduleError> {
        let value = value.trim();
        match kind {
            "cron" => {
                parse_cron(value)?;
                Ok(Self::Cron(value.to_owned()))
            }
            "interval" => {
                let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
                let ms = if digits { value.parse().ok() } else { None };
                ms.filter(|ms| (MIN_INTERVAL_MS..=MAX_INTERVAL_MS).contains(ms))
                    .map(Self::Interval)
                    .ok_or_else(|| ScheduleError::Interval(shorten(value)))
            }
            "once" => {
                parse_once(value)?;
                Ok(Self::Once(value.to_owned()))
            }
            _ => Err(ScheduleError::Kind(shorten(kind))),
        }
    }

    /// The kind's name: `cron`, `interval` or `once`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cron(_) => "cron",
            Self::Interval(_) => "interval",
            Self::Once(_) => "once",
        }
    }

    /// Returns the first due time of a task that is made, resumed or changed at `now`. A `once` that has passed is
    /// refused.
    pub fn first_due(
        &self,
        now: DateTime<Utc>,
        anchor: DateTime<Utc>,
        tz: Tz,
    ) -> Result<Option<DateTime<Utc>>, ScheduleError> {
        match (self.next_due(now, anchor, tz), self) {
            (Some(due), _) => Ok(Some(due)),
            (None, Self::Cron(value)) => {
                parse_cron(value)?;
                Err(ScheduleError::Never(shorten(value)))
            }
            (None, Self::Interval(ms)) => Err(ScheduleError::Interval(ms.to_string())),
            (None, Self::Once(value)) => {
                parse_once(value)?;
                Err(ScheduleError::Past {
                    value: shorten(value),
                    zone: tz.name().to_owned(),
                    now: now.with_timezone(&tz).format("%Y-%m-%dT%H:%M:%S").to_string(),
                })
            }
        }
    }

    /// Returns the first due time strictly after `after`, or None if there is none. Intervals stay on the grid
    /// `anchor + k × period`, however late the call is.
    pub fn next_due(&self, after: DateTime<Utc>, anchor: DateTime<Utc>, tz: Tz) -> Option<DateTime<Utc>> {
        match self {
            Self::Cron(value) => next_cron(value, after, tz),
            Self::Interval(ms) => next_interval(*ms, after, anchor),
            Self::Once(value) => {
                let due = parse_once(value).ok()?.instant(tz)?;
                (due > after).then_some(due)
            }
        }
    }
}

/// Formats the value as it was given.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron(text) | Self::Once(text) => f.write_str(text),
            Self::Interval(ms) => ms.fmt(f),
        }
    }
}

/// Finds a time zone by its IANA name.
pub fn parse_zone(name: &str) -> Result<Tz, String> {
    Tz::from_str(name.trim()).map_err(|_| {
        format!(
            "time zone {:?} is not known: use an IANA name such as Europe/Berlin, America/New_York or UTC",
            shorten(name)
        )
    })
}

fn parse_cron(value: &str) -> Result<Cron, ScheduleError> {
    let refuse = |reason: String| ScheduleError::Cron { value: shorten(value), reason };
    if value.len() > MAX_CRON {
        return Err(refuse(format!("it is longer than {MAX_CRON} characters")));
    }
    let fields = value.split_whitespace().count();
    if fields != 5 {
        return Err(refuse(format!("it has {fields} fields")));
    }
    if value.contains('@') {
        return Err(refuse("names with `@` are not fields".into()));
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let cron = parser.parse(value).map_err(|e| refuse(e.to_string().trim_end_matches('.').to_owned()))?;
    // The search starts at a fixed day, so that the answer does not depend on the present time; it covers every
    // calendar.
    let start = NaiveDate::from_ymd_opt(2000, 1, 1).and_then(|d| d.and_hms_opt(0, 0, 0));
    match start.map(|start| cron.find_next_occurrence(&start, true)) {
        Some(Ok(_)) => Ok(cron),
        _ => Err(ScheduleError::Never(shorten(value))),
    }
}

fn next_cron(value: &str, after: DateTime<Utc>, tz: Tz) -> Option<DateTime<Utc>> {
    let cron = parse_cron(value).ok()?;
    let local = after.with_timezone(&tz);
    if value.split_whitespace().nth(1) == Some("*") {
        return Some(cron.find_next_occurrence(&local, false).ok()?.with_timezone(&Utc));
    }
    // Local times only rise, and so do their instants: the first one after `after` is the next.
    let mut at = local.naive_local();
    loop {
        at = cron.find_next_occurrence(&at, false).ok()?;
        let due = resolve(at, tz)?;
        if due > after {
            return Some(due);
        }
    }
}

fn next_interval(period: u64, after: DateTime<Utc>, anchor: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let period = i64::try_from(period).ok().filter(|p| *p > 0)?;
    let since = after.timestamp_millis().checked_sub(anchor.timestamp_millis())?;
    let steps = since.div_euclid(period).checked_add(1)?;
    let due = anchor.timestamp_millis().checked_add(steps.checked_mul(period)?)?;
    DateTime::from_timestamp_millis(due)
}

/// A time as `once` gives it.
enum OnceTime {
    Local(NaiveDateTime),
    /// With an offset, the instant does not depend on a zone.
    At(DateTime<Utc>),
}

impl OnceTime {
    fn instant(self, tz: Tz) -> Option<DateTime<Utc>> {
        match self {
            Self::Local(local) => resolve(local, tz),
            Self::At(time) => Some(time),
        }
    }
}

fn parse_once(value: &str) -> Result<OnceTime, ScheduleError> {
    const FORMS: [&str; 4] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    if let Some(time) = FORMS.iter().find_map(|form| NaiveDateTime::parse_from_str(value, form).ok()) {
        return Ok(OnceTime::Local(time));
    }
    let utc = value.strip_suffix(['Z', 'z']).map(|local| format!("{}+00:00", local.trim_end()));
    let value = utc.as_deref().unwrap_or(value);
    let time = FORMS.iter().find_map(|form| DateTime::parse_from_str(value, &format!("{form}%#z")).ok());
    time.map(|time| OnceTime::At(time.to_utc())).ok_or_else(|| ScheduleError::Once(shorten(value)))
}

/// The instant of a local time: the first of two, or the end of the gap that contains it.
fn resolve(local: NaiveDateTime, tz: Tz) -> Option<DateTime<Utc>> {
    match tz.from_local_datetime(&local) {
        LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Some(time.with_timezone(&Utc)),
        LocalResult::None => gap_end(local, tz),
    }
}

/// The first second whose local time is after `local`. No zone is further from UTC than these bounds.
fn gap_end(local: NaiveDateTime, tz: Tz) -> Option<DateTime<Utc>> {
    let past = |second: i64| {
        DateTime::from_timestamp(second, 0).is_none_or(|time| time.with_timezone(&tz).naive_local() > local)
    };
    let mut before = local.checked_sub_signed(Duration::hours(16))?.and_utc().timestamp();
    let mut after = local.checked_add_signed(Duration::hours(16))?.and_utc().timestamp();
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if past(middle) { after = middle } else { before = middle }
    }
    DateTime::from_timestamp(after, 0)
}

/// Cuts a value for an error: it may be long and come from an attacker.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
