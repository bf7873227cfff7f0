//! A task's schedule: its options on the command line, and its text for people.

use std::time::Duration;

use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Tz;
use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::Failure;
use crate::cli::output::text;
use crate::domain::schedule::{MAX_INTERVAL_MS, MIN_INTERVAL_MS};
use crate::domain::words;

#[derive(Debug, Args)]
pub(in crate::cli) struct Schedule {
    /// Five cron fields, such as "0 9 * * 1-5"
    #[arg(long, conflicts_with_all = ["every", "once", "in"])]
    cron: Option<String>,
    /// Again and again: a number with s, m, h or d, such as 15m
    #[arg(long, value_name = "TIME", conflicts_with_all = ["once", "in"])]
    every: Option<String>,
    /// Once, after a time such as 90s or 10m
    #[arg(id = "in", long = "in", value_name = "TIME", conflicts_with_all = ["once", "timezone"])]
    after: Option<String>,
    /// Once, at a local time such as "2026-12-24 18:00"
    #[arg(long, value_name = "TIME")]
    once: Option<String>,
    /// IANA zone in which it is read; empty for the host's
    #[arg(long, visible_alias = "zone", value_name = "ZONE")]
    timezone: Option<String>,
    /// group: in the chat's session; isolated: in one of its own
    #[arg(long, value_name = "MODE", value_parser = ["group", "isolated"])]
    context: Option<String>,
    /// What happens to times missed while the host was down: one late run, or none
    #[arg(long, value_name = "RULE", value_parser = ["run", "skip"])]
    missed: Option<String>,
}

impl Schedule {
    /// The schedule fields of a request.
    pub(super) fn body(&self, now: DateTime<Utc>, zone: Tz) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        let mut set = |kind: &str, value: String| {
            body.insert("scheduleType".into(), json!(kind));
            body.insert("scheduleValue".into(), json!(value));
        };
        if let Some(cron) = &self.cron {
            set("cron", cron.clone());
        } else if let Some(every) = &self.every {
            set("interval", interval(every)?.as_millis().to_string());
        } else if let Some(once) = &self.once {
            set("once", once.clone());
        } else if let Some(after) = &self.after {
            let (value, zone) = once_after(now, time("--in", after)?, zone)
                .ok_or_else(|| Failure::Usage(format!("--in {after:?} is too long: use less than ten years")))?;
            set("once", value);
            body.insert("timezone".into(), json!(zone.name()));
        }
        for (key, value) in [("timezone", &self.timezone), ("contextMode", &self.context), ("missed", &self.missed)] {
            if let Some(value) = value {
                body.insert(key.into(), json!(value));
            }
        }
        Ok(body)
    }
}

fn time(option: &str, text: &str) -> Result<Duration, Failure> {
    words::parse_duration(text).ok_or_else(|| {
        Failure::Usage(format!("{option} {text:?} is not understood: use a number with s, m, h or d, such as 15m"))
    })
}

fn interval(text: &str) -> Result<Duration, Failure> {
    let every = time("--every", text)?;
    let (min, max) = (Duration::from_millis(MIN_INTERVAL_MS), Duration::from_millis(MAX_INTERVAL_MS));
    if every < min {
        return Err(Failure::Usage(format!("--every {text} is too short: use {} or more", words::duration(min))));
    }
    if every > max {
        return Err(Failure::Usage(format!("--every {text} is too long: use less than ten years")));
    }
    Ok(every)
}

/// The local time after a delay, and the zone in which to read it: UTC if the local time occurs twice.
fn once_after(now: DateTime<Utc>, after: Duration, zone: Tz) -> Option<(String, Tz)> {
    let ten_years = Duration::from_millis(MAX_INTERVAL_MS);
    let due = now.checked_add_signed(chrono::TimeDelta::from_std(after.min(ten_years)).ok()?)?;
    let local = due.with_timezone(&zone).naive_local();
    let zone = if zone.from_local_datetime(&local).single().is_some() { zone } else { Tz::UTC };
    let local = due.with_timezone(&zone).naive_local();
    (after <= ten_years).then(|| (local.format("%Y-%m-%dT%H:%M:%S%.3f").to_string(), zone))
}

/// Formats a task's schedule for people.
pub(super) fn shown(task: &Value) -> String {
    let value = text(&task["scheduleValue"]);
    let zone = task["timezone"].as_str().map(|zone| format!(" ({zone})")).unwrap_or_default();
    match task["scheduleType"].as_str() {
        Some("interval") => value.parse().map_or(value, words::every),
        // Fractions of a second are useless to people.
        Some("once") => format!("once {}{zone}", value.split('.').next().unwrap_or_default().replace('T', " ")),
        Some(kind) => format!("{kind} {value}{zone}"),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_errors_use_the_units_that_were_given() {
        assert!(interval("10s").is_ok() && interval("15m").is_ok() && interval("90000").is_ok());
        for (text, why) in [
            ("5s", "--every 5s is too short: use 10 seconds or more"),
            ("9999d", "--every 9999d is too long: use less than ten years"),
            ("soon", "--every \"soon\" is not understood: use a number with s, m, h or d, such as 15m"),
        ] {
            let Err(Failure::Usage(said)) = interval(text) else { panic!("{text}") };
            assert_eq!(said, why);
        }
    }

    #[test]
    fn delay_from_now_is_the_same_instant_in_every_zone_and_season() {
        // On this night, Berlin's clocks show 02:30 twice.
        let now = DateTime::parse_from_rfc3339("2026-10-24T23:30:00Z").unwrap().to_utc();
        for hours in [1, 2, 3, 24] {
            let after = Duration::from_secs(hours * 3600);
            for zone in [Tz::UTC, Tz::Europe__Berlin, Tz::Asia__Kolkata] {
                let (value, zone) = once_after(now, after, zone).unwrap();
                let schedule = crate::domain::schedule::Schedule::parse("once", &value).unwrap();
                assert_eq!(schedule.next_due(now, now, zone), Some(now + after), "{value} {zone}");
            }
        }
        assert_eq!(once_after(now, Duration::from_secs(u64::MAX / 1000), Tz::UTC), None);
    }

    #[test]
    fn schedules_are_formatted_in_words() {
        for (kind, value, zone, shown) in [
            ("interval", "600000", None, "every 10 minutes"),
            ("cron", "0 9 * * 1-5", None, "cron 0 9 * * 1-5"),
            ("cron", "0 9 * * 1-5", Some("Europe/Berlin"), "cron 0 9 * * 1-5 (Europe/Berlin)"),
            ("once", "2026-12-24T18:00:00.250", None, "once 2026-12-24 18:00:00"),
        ] {
            let task = json!({ "scheduleType": kind, "scheduleValue": value, "timezone": zone });
            assert_eq!(super::shown(&task), shown);
        }
    }
}
