use super::*;

fn read(text: &str) -> Option<(When, usize)> {
    let words: Vec<&str> = text.split(' ').collect();
    phrase(&words)
}

fn clock(hour: u32, minute: u32) -> NaiveTime {
    NaiveTime::from_hms_opt(hour, minute, 0).unwrap()
}

fn now(text: &str) -> DateTime<Tz> {
    text.parse::<DateTime<Utc>>().unwrap().with_timezone(&Tz::Europe__Berlin)
}

#[test]
fn phrases_say_when_and_how_long_they_are() {
    let cron = |fields: &str| When::Cron(fields.into());
    let date = Day::Date("2026-12-24".parse().unwrap());
    for (text, when, count) in [
        ("in 10 seconds to x", When::In(10_000), 3),
        ("in a minute", When::In(60_000), 3),
        ("in half an hour x", When::In(1_800_000), 4),
        ("in 1 hour and 30 minutes x", When::In(5_400_000), 6),
        ("in 1h30m x", When::In(5_400_000), 2),
        ("in five minutes", When::In(300_000), 3),
        ("in 2 days", When::In(2 * 86_400_000), 3),
        ("at 17:30 x", When::At(Day::Next, clock(17, 30)), 2),
        ("at 9 x", When::At(Day::Next, clock(9, 0)), 2),
        ("at 9 pm x", When::At(Day::Next, clock(21, 0)), 3),
        ("at 12am", When::At(Day::Next, clock(0, 0)), 2),
        ("at noon tomorrow", When::At(Day::Tomorrow, clock(12, 0)), 3),
        ("tomorrow at 9", When::At(Day::Tomorrow, clock(9, 0)), 3),
        ("tomorrow evening", When::At(Day::Tomorrow, clock(18, 0)), 2),
        ("tomorrow call", When::At(Day::Tomorrow, clock(9, 0)), 1),
        ("on monday at 8:30", When::At(Day::Weekday(Weekday::Mon), clock(8, 30)), 4),
        ("2026-12-24 at 18:00", When::At(date, clock(18, 0)), 3),
        ("every minute x", When::Every(60_000), 2),
        ("every 15 minutes", When::Every(900_000), 3),
        ("every 30s", When::Every(30_000), 2),
        ("every day at 9 x", cron("0 9 * * *"), 4),
        ("every day x", When::Daily, 2),
        ("daily at 7:05", cron("5 7 * * *"), 3),
        ("every monday at 8:30 x", cron("30 8 * * 1"), 4),
        ("every monday wednesday and sunday at 8", cron("0 8 * * 0,1,3"), 7),
        ("every weekday at 6pm", cron("0 18 * * 1-5"), 4),
        ("every month on the 15th at 10", cron("0 10 15 * *"), 7),
        ("every week on friday", cron("0 9 * * 5"), 4),
        ("cron */5 * * * 1-5 x", cron("*/5 * * * 1-5"), 6),
    ] {
        assert_eq!(read(text), Some((when, count)), "{text}");
    }
}

#[test]
fn what_is_no_time_is_left_alone() {
    for text in [
        "at home",
        "in the end",
        "every one",
        "at 25:00",
        "at 13pm",
        "today",
        "monday",
        "cron job is off x y",
        "in 99999999999999999999 s",
        "in 9999999 weeks",
        "in",
        "at",
        "every",
        "on",
        "buy",
        "at 9:5",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn times_become_the_hosts_schedules() {
    let now = now("2026-11-21T16:00:00.250Z"); // Saturday, 17:00 in Berlin
    let value = |when: When| when.resolve(now).map(|schedule| schedule.value);
    assert_eq!(value(When::At(Day::Next, clock(17, 30))).unwrap(), "2026-11-21T17:30:00");
    assert_eq!(value(When::At(Day::Next, clock(9, 0))).unwrap(), "2026-11-22T09:00:00");
    assert_eq!(value(When::At(Day::Weekday(Weekday::Sat), clock(9, 0))).unwrap(), "2026-11-28T09:00:00");
    assert_eq!(value(When::At(Day::Weekday(Weekday::Mon), clock(9, 0))).unwrap(), "2026-11-23T09:00:00");
    assert!(value(When::At(Day::Today, clock(9, 0))).unwrap_err().contains("over already"));
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
