use super::*;

fn clock(hour: u32, minute: u32) -> Clock {
    Clock::exact(NaiveTime::from_hms_opt(hour, minute, 0).unwrap())
}

fn now(text: &str) -> DateTime<Tz> {
    text.parse::<DateTime<Utc>>().unwrap().with_timezone(&Tz::Europe__Berlin)
}

#[test]
fn times_become_schedules_of_the_host() {
    let now = now("2026-11-21T16:00:00.250Z"); // Saturday, 17:00 in Berlin
    let value = |when: When| when.resolve(now).map(|schedule| schedule.value);
    let at = |day, hour, minute| value(When::At(day, clock(hour, minute)));
    assert_eq!(at(Day::Next, 17, 30).unwrap(), "2026-11-21T17:30:00");
    assert_eq!(at(Day::Next, 9, 0).unwrap(), "2026-11-22T09:00:00");
    assert_eq!(at(Day::Weekday(Weekday::Sat), 9, 0).unwrap(), "2026-11-28T09:00:00");
    assert_eq!(at(Day::Weekday(Weekday::Mon), 9, 0).unwrap(), "2026-11-23T09:00:00");
    assert_eq!(at(Day::NextWeek(Weekday::Wed), 9, 0).unwrap(), "2026-11-25T09:00:00");
    assert_eq!(at(Day::Plus(3), 9, 0).unwrap(), "2026-11-24T09:00:00");
    assert_eq!(at(Day::Months(3), 9, 0).unwrap(), "2027-02-21T09:00:00");
    assert_eq!(at(Day::Annual(12, 24), 18, 0).unwrap(), "2026-12-24T18:00:00");
    assert_eq!(at(Day::Annual(3, 1), 18, 0).unwrap(), "2027-03-01T18:00:00");
    assert_eq!(at(Day::Annual(2, 29), 9, 0).unwrap(), "2028-02-29T09:00:00");
    assert_eq!(at(Day::OfMonth(21), 9, 0).unwrap(), "2026-12-21T09:00:00");
    assert_eq!(at(Day::OfMonth(31), 9, 0).unwrap(), "2026-12-31T09:00:00");
    assert!(matches!(at(Day::Today, 9, 0), Err(Problem::Over(..))));
    assert!(matches!(at(Day::Date(NaiveDate::from_ymd_opt(2020, 1, 1).unwrap()), 9, 0), Err(Problem::Over(..))));
    assert_eq!(value(When::Daily).unwrap(), "0 17 * * *");
    let soon = When::In(10_000).resolve(now).unwrap();
    assert_eq!((soon.kind, soon.value.as_str(), soon.zone.as_str()), ("once", "2026-11-21T16:00:10.250", "UTC"));
    assert_eq!(When::Every(60_000).resolve(now).unwrap().zone, "Europe/Berlin");
}

#[test]
fn durations_of_command_lines() {
    for (text, ms) in [("90s", 90_000), ("10m", 600_000), ("2h", 7_200_000), ("60000", 60_000), ("500ms", 500)] {
        assert_eq!(duration_ms(text), Some(ms), "{text}");
    }
    for text in ["", "m", "0s", "1x", "-1s", "99999999999999d", "1.5h"] {
        assert_eq!(duration_ms(text), None, "{text}");
    }
}
