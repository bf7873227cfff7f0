//! Times for people: in the installation's zone, which each answer names once. Programs get the host's own form.

use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::Value;

/// The installation's zone: a property of the process like its terminal, set once before a command runs.
static ZONE: OnceLock<Tz> = OnceLock::new();

/// Marks a heading of a column with times.
const MARK: char = '@';

/// Sets the zone; a second call changes nothing.
pub(super) fn set_zone(zone: Tz) {
    let _ = ZONE.set(zone);
}

/// The zone's name.
pub(super) fn zone() -> &'static str {
    current().name()
}

/// The zone; UTC until it is set.
pub(super) fn current() -> Tz {
    ZONE.get().copied().unwrap_or(Tz::UTC)
}

/// Converts a time of the host to local time. Returns None for any other text.
pub(super) fn local(text: &str) -> Option<String> {
    local_in(text, current())
}

fn local_in(text: &str, zone: Tz) -> Option<String> {
    let time = DateTime::parse_from_rfc3339(text).ok().filter(|_| text.len() >= 20)?;
    Some(time.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S").to_string())
}

/// The time of day of a host's time; with the date unless it is today.
pub(super) fn short(text: &str, now: DateTime<Utc>) -> Option<String> {
    let zone = current();
    let time = DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&zone);
    let today = time.date_naive() == now.with_timezone(&zone).date_naive();
    Some(time.format(if today { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" }).to_string())
}

/// Formats a time for a sentence, with its zone.
pub(super) fn at(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    local(text).map_or_else(|| text.to_owned(), |time| format!("{time} ({})", zone()))
}

/// Formats a heading: the first column with times names the zone.
pub(super) fn heading(columns: &[&str]) -> Vec<String> {
    let mut said = false;
    let name = |column: &&str| match column.strip_prefix(MARK) {
        Some(column) if !std::mem::replace(&mut said, true) => format!("{column} ({})", zone()),
        Some(column) => column.to_owned(),
        None => (*column).to_owned(),
    };
    columns.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_local_and_the_zone_is_named_once() {
        let berlin = Tz::Europe__Berlin;
        for (text, local) in [
            ("2026-12-24T17:00:00.000Z", "2026-12-24 18:00:00"),
            ("2026-07-01T06:00:00Z", "2026-07-01 08:00:00"),
            ("2026-12-24T18:00:00.123456789+01:00", "2026-12-24 18:00:00"),
        ] {
            assert_eq!(local_in(text, berlin).as_deref(), Some(local), "{text}");
        }
        for text in ["", "soon", "2026-12-24", "2026-12-24 18:00", "12:00Z"] {
            assert_eq!(local_in(text, berlin), None, "{text}");
        }
        assert_eq!(heading(&["ID", "@NEXT", "@LAST", "TEXT"]), ["ID", "NEXT (UTC)", "LAST", "TEXT"]);
        let now = DateTime::parse_from_rfc3339("2026-12-24T20:00:00Z").unwrap().to_utc();
        assert_eq!(short("2026-12-24T17:00:00.5Z", now).as_deref(), Some("17:00:00"));
        assert_eq!(short("2026-12-23T17:00:00Z", now).as_deref(), Some("2026-12-23 17:00:00"));
        assert_eq!(at(&serde_json::json!("2026-12-24T17:00:00Z")), "2026-12-24 17:00:00 (UTC)");
    }
}
