use chrono::{Datelike, Timelike};
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
}

fn zone(name: &str) -> Tz {
    parse_zone(name).unwrap()
}

fn cron(text: &str) -> Schedule {
    Schedule::parse("cron", text).unwrap()
}

/// The due times after a start, as local times with offset.
fn dues(schedule: &Schedule, start: &str, tz: &str, count: usize) -> Vec<String> {
    let mut now = at(start);
    let mut all = Vec::new();
    while all.len() < count {
        now = schedule.next_due(now, at(start), zone(tz)).unwrap();
        all.push(now.with_timezone(&zone(tz)).format("%m-%d %H:%M %z").to_string());
    }
    all
}

#[test]
fn schedule_kinds_are_checked() {
    for (kind, value) in [
        ("cron", "0 9 * * 1-5"),
        ("cron", "*/5 * * * *"),
        ("cron", "0 0 29 2 *"),
        ("cron", "0 0 * * 7"),
        ("cron", "0 0 * JAN MON"),
        ("cron", " 0 0 L * * "),
        ("interval", "10000"),
        ("once", "2031-05-17T09:30:00"),
        ("once", "2031-05-17T09:30"),
        ("once", "2031-05-17 09:30:00.250"),
    ] {
        assert!(Schedule::parse(kind, value).is_ok(), "{kind} {value}");
    }
    for (kind, value) in [
        ("daily", "x"),
        ("Cron", "* * * * *"),
        ("", ""),
        ("cron", ""),
        ("cron", "* * * *"),
        ("cron", "* * * * * *"),
        ("cron", "@daily"),
        ("cron", "@daily @daily @daily @daily @daily"),
        ("cron", "60 * * * *"),
        ("cron", "0 24 * * *"),
        ("cron", "0 0 31 2 *"),
        ("cron", "0 0 31 4,6,9,11 *"),
        ("cron", "x y z a b"),
        ("interval", "9999"),
        ("interval", "0"),
        ("interval", "-60000"),
        ("interval", "+60000"),
        ("interval", "1e6"),
        ("interval", "99999999999999999999999999"),
        ("interval", "18446744073709551615"),
        ("once", "tomorrow"),
        ("once", "2031-02-30T00:00:00"),
        ("once", "2031-05-17"),
    ] {
        assert!(Schedule::parse(kind, value).is_err(), "{kind} {value}");
    }
    assert!(Schedule::parse("cron", &"*".repeat(100_000)).is_err());
    assert!(matches!(Schedule::parse("cron", "0 0 30 2 *"), Err(ScheduleError::Never(_))));
}

#[test]
fn once_with_an_offset_is_the_same_instant_in_every_zone() {
    for value in [
        "2031-05-17T07:30:00Z",
        "2031-05-17T09:30:00+02:00",
        "2031-05-17T07:30Z",
        "2031-05-17T09:30:00+0200",
        "2031-05-17 09:30+02:00",
        "2031-05-17T03:30:00.000-04:00",
        "2031-05-17 07:30:00z",
    ] {
        let once = Schedule::parse("once", value).unwrap();
        for name in ["Europe/Berlin", "America/New_York", "UTC"] {
            let due = once.next_due(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"), zone(name));
            assert_eq!(due, Some(at("2031-05-17T07:30:00Z")), "{value} in {name}");
        }
        assert_eq!(once.to_string(), value);
    }
    for value in ["2031-05-17T09:30:00 Berlin", "2031-05-17T09:30:00+99:00", "+02:00", "2031-05-17Z", "Z"] {
        assert!(matches!(Schedule::parse("once", value), Err(ScheduleError::Once(_))), "{value}");
    }
}

#[test]
fn cron_with_an_impossible_date_is_refused_quickly() {
    let started = std::time::Instant::now();
    for _ in 0..10 {
        assert!(Schedule::parse("cron", "59 23 31 2 *").is_err());
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn spring_gap_fires_once_when_it_ends() {
    let gap = "2026-03-28T23:00:00Z";
    for text in ["30 2 * * *", "0 2 * * *", "*/5 2 * * *", "0,30 2 * * *"] {
        let first = &dues(&cron(text), gap, "Europe/Berlin", 2);
        assert_eq!(first[0], "03-29 03:00 +0200", "{text}");
        assert!(first[1].starts_with("03-30 02:"), "{text}: {}", first[1]);
    }
    assert_eq!(
        dues(&cron("0 1-4 * * *"), gap, "Europe/Berlin", 4),
        ["03-29 01:00 +0100", "03-29 03:00 +0200", "03-29 04:00 +0200", "03-30 01:00 +0200"]
    );
    assert_eq!(
        dues(&cron("0 */2 * * *"), gap, "Europe/Berlin", 2),
        ["03-29 03:00 +0200", "03-29 04:00 +0200"],
        "02:00 does not exist"
    );
    assert_eq!(
        dues(&cron("30 * * * *"), gap, "Europe/Berlin", 4),
        ["03-29 00:30 +0100", "03-29 01:30 +0100", "03-29 03:30 +0200", "03-29 04:30 +0200"]
    );
}

#[test]
fn autumn_fold_fires_once() {
    let fold = "2026-10-24T22:00:00Z";
    assert_eq!(dues(&cron("30 2 * * *"), fold, "Europe/Berlin", 2), ["10-25 02:30 +0200", "10-26 02:30 +0100"]);
    assert_eq!(
        dues(&cron("0,30 2 * * *"), fold, "Europe/Berlin", 3),
        ["10-25 02:00 +0200", "10-25 02:30 +0200", "10-26 02:00 +0100"]
    );
    // `after` lies within the repeated hour.
    let later = cron("30 2 * * *").next_due(at("2026-10-25T01:10:00Z"), at(fold), zone("Europe/Berlin"));
    assert_eq!(later, Some(at("2026-10-26T01:30:00Z")));
    // A cron with the hour `*` fires in each real hour.
    assert_eq!(
        dues(&cron("30 * * * *"), fold, "Europe/Berlin", 5),
        ["10-25 00:30 +0200", "10-25 01:30 +0200", "10-25 02:30 +0200", "10-25 02:30 +0100", "10-25 03:30 +0100"]
    );
}

#[test]
fn once_moves_out_of_a_gap_and_takes_the_first_of_two() {
    let tz = zone("Europe/Berlin");
    let start = at("2026-01-01T00:00:00Z");
    let due = |text: &str| Schedule::parse("once", text).unwrap().first_due(start, start, tz).unwrap();
    assert_eq!(due("2026-03-29T02:30:00"), Some(at("2026-03-29T01:00:00Z")));
    assert_eq!(due("2026-10-25T02:30:00"), Some(at("2026-10-25T00:30:00Z")));
    assert_eq!(due("2026-07-01T12:00:00"), Some(at("2026-07-01T10:00:00Z")));
    // Samoa skipped this whole day.
    let apia = Schedule::parse("once", "2011-12-30T12:00:00").unwrap();
    let before = at("2011-01-01T00:00:00Z");
    assert_eq!(apia.next_due(before, before, zone("Pacific/Apia")), Some(at("2011-12-30T10:00:00Z")));
}

#[test]
fn once_in_the_past_is_refused_and_never_due_again() {
    let once = Schedule::parse("once", "2026-01-01T10:00:00").unwrap();
    let now = at("2026-01-01T10:00:00Z");
    let error = once.first_due(now, now, Tz::UTC).unwrap_err();
    assert!(error.to_string().contains("has passed"), "{error}");
    assert_eq!(once.next_due(now, now, Tz::UTC), None);
    assert_eq!(once.next_due(at("2026-01-01T09:59:59.999Z"), now, Tz::UTC), Some(now));
}

#[test]
fn intervals_stay_on_their_grid() {
    let every = Schedule::parse("interval", "60000").unwrap();
    let anchor = at("2026-01-01T00:00:07.123Z");
    assert_eq!(every.first_due(anchor, anchor, Tz::UTC).unwrap(), Some(at("2026-01-01T00:01:07.123Z")));
    assert_eq!(every.next_due(at("2026-01-01T05:30:00Z"), anchor, Tz::UTC), Some(at("2026-01-01T05:30:07.123Z")));
    assert_eq!(every.next_due(at("2025-12-31T23:00:00Z"), anchor, Tz::UTC), Some(at("2025-12-31T23:00:07.123Z")));
}

#[test]
fn unknown_zones_are_refused_with_what_is_allowed() {
    assert!(parse_zone("Mars/Olympus").unwrap_err().contains("IANA"));
    assert!(parse_zone("").is_err());
    assert!(parse_zone("../../etc/passwd").is_err());
}

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Pacific/Apia",
];

fn instants() -> impl Strategy<Value = DateTime<Utc>> {
    // From 2005 to 2037, in milliseconds.
    (1_104_537_600_000_i64..2_145_916_800_000).prop_map(|ms| DateTime::from_timestamp_millis(ms).unwrap())
}

fn crons() -> impl Strategy<Value = (String, Option<u32>, Option<u32>)> {
    (proptest::option::of(0_u32..60), proptest::option::of(0_u32..24)).prop_map(|(minute, hour)| {
        let field = |value: Option<u32>| value.map_or("*".to_owned(), |v| v.to_string());
        (format!("{} {} * * *", field(minute), field(hour)), minute, hour)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn crons_are_strictly_later_monotone_and_match(
        (text, minute, hour) in crons(), now in instants(), step in 0_i64..200_000_000, z in 0..ZONES.len(),
    ) {
        let tz = zone(ZONES[z]);
        let schedule = cron(&text);
        let due = schedule.next_due(now, now, tz).unwrap();
        prop_assert!(due > now);
        // A later `after` before the due time gives the same time; one after it never gives an earlier time.
        let later = now + Duration::milliseconds(step);
        let again = schedule.next_due(later, now, tz).unwrap();
        if later < due { prop_assert_eq!(again, due); } else { prop_assert!(again > due); }
        let local = due.with_timezone(&tz);
        // Right after a gap, the local time is the gap's end and not the written one.
        let moved = tz.from_local_datetime(&(local.naive_local() - Duration::seconds(1))) == LocalResult::None;
        if !moved {
            prop_assert_eq!(local.second(), 0);
            if let Some(minute) = minute { prop_assert_eq!(local.minute(), minute); }
            if let Some(hour) = hour { prop_assert_eq!(local.hour(), hour); }
        }
        // Never more than about two days away: no day is skipped.
        prop_assert!(due - now <= Duration::hours(50), "{} after {}", due, now);
    }

    #[test]
    fn weekdays_match(day in 0_u32..7, now in instants(), z in 0..ZONES.len()) {
        let tz = zone(ZONES[z]);
        let due = cron(&format!("30 12 * * {day}")).next_due(now, now, tz).unwrap();
        prop_assert_eq!(due.with_timezone(&tz).weekday().num_days_from_sunday(), day);
        prop_assert!(due > now);
    }

    #[test]
    fn intervals_are_on_the_grid(ms in MIN_INTERVAL_MS..=MAX_INTERVAL_MS, anchor in instants(), now in instants()) {
        let due = Schedule::Interval(ms).next_due(now, anchor, Tz::UTC).unwrap();
        prop_assert!(due > now);
        prop_assert!(due - now <= Duration::milliseconds(ms as i64));
        prop_assert_eq!((due - anchor).num_milliseconds().rem_euclid(ms as i64), 0);
    }

    #[test]
    fn nothing_written_as_a_schedule_panics(kind in "cron|interval|once", value in "\\PC{0,40}|[0-9*/,LW#? -]{5,20}") {
        if let Ok(schedule) = Schedule::parse(&kind, &value) {
            let now = at("2026-03-29T00:30:00Z");
            let due = schedule.next_due(now, now, zone("Europe/Berlin"));
            prop_assert!(due.is_none_or(|due| due > now));
        }
    }
}
