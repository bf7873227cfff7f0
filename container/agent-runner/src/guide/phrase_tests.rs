use chrono::{NaiveDate, NaiveTime, Weekday};

use super::super::when::Problem;
use super::*;

fn read(text: &str, lead: Lead) -> Option<(When, usize)> {
    let words: Vec<&str> = text.split(' ').collect();
    phrase(&words, lead)
}

fn clock(hour: u32, minute: u32) -> Clock {
    Clock::exact(NaiveTime::from_hms_opt(hour, minute, 0).unwrap())
}

fn at(day: Day, hour: u32, minute: u32) -> When {
    When::At(day, clock(hour, minute))
}

#[test]
fn single_times_are_read_with_their_length() {
    let christmas = Day::Annual(12, 24);
    let date = Day::Date(NaiveDate::from_ymd_opt(2026, 12, 24).unwrap());
    let friday = Day::Weekday(Weekday::Fri);
    for (text, when, count) in [
        ("in 10 seconds to x", When::In(10_000), 3),
        ("in a minute", When::In(60_000), 3),
        ("in half an hour x", When::In(1_800_000), 4),
        ("in 1.5 hours x", When::In(5_400_000), 3),
        ("in 1 hour and 30 minutes x", When::In(5_400_000), 6),
        ("in 1h30m x", When::In(5_400_000), 2),
        ("in a couple of minutes x", When::In(120_000), 5),
        ("in 2 days", When::In(2 * 86_400_000), 3),
        ("in 3 days at 9am to renew", at(Day::Plus(3), 9, 0), 5),
        ("in 2 months x", at(Day::Months(2), 9, 0), 3),
        ("at 17:30 x", at(Day::Next, 17, 30), 2),
        ("at 17.30 x", at(Day::Next, 17, 30), 2),
        ("at 9 x", at(Day::Next, 9, 0), 2),
        ("at 9 pm x", at(Day::Next, 21, 0), 3),
        ("at 12am", at(Day::Next, 0, 0), 2),
        ("at noon tomorrow", at(Day::Plus(1), 12, 0), 3),
        ("at 17:30 on friday x", at(friday, 17, 30), 4),
        ("at 8 next friday", at(friday, 8, 0), 4),
        ("17h30 x", at(Day::Next, 17, 30), 1),
        ("5pm x", at(Day::Next, 17, 0), 1),
        ("5pm tomorrow x", at(Day::Plus(1), 17, 0), 2),
        ("tomorrow at 9", at(Day::Plus(1), 9, 0), 3),
        ("tomorrow evening", at(Day::Plus(1), 18, 0), 2),
        ("tomorrow evening at 8", at(Day::Plus(1), 20, 0), 4),
        ("tomorrow morning at 6", at(Day::Plus(1), 6, 0), 4),
        ("tomorrow call", at(Day::Plus(1), 9, 0), 1),
        ("day after tomorrow at 10", at(Day::Plus(2), 10, 0), 5),
        ("tonight x", at(Day::Today, 20, 0), 1),
        ("tonight at 8 x", at(Day::Today, 20, 0), 3),
        ("this evening at 7 x", at(Day::Today, 19, 0), 4),
        ("on monday at 8:30", at(Day::Weekday(Weekday::Mon), 8, 30), 4),
        ("this friday x", at(friday, 9, 0), 2),
        ("next week x", at(Day::Plus(7), 9, 0), 2),
        ("next week on monday at 10", at(Day::NextWeek(Weekday::Mon), 10, 0), 6),
        ("next month", at(Day::Months(1), 9, 0), 2),
        ("2026-12-24 at 18:00", at(date, 18, 0), 3),
        ("on december 24 at 18 x", at(christmas, 18, 0), 5),
        ("on 24 december x", at(christmas, 9, 0), 3),
        ("on dec 24th at 6pm x", at(christmas, 18, 0), 5),
        ("24.12 at 18:00 x", at(christmas, 18, 0), 3),
        ("on 24.12.2026 x", at(date, 9, 0), 2),
        ("12/24 x", at(christmas, 9, 0), 1),
        ("on the 15th at 10 x", at(Day::OfMonth(15), 10, 0), 5),
        ("on 3/4 x", When::Never(Problem::WhichMonth(3, 4)), 2),
    ] {
        assert_eq!(read(text, Lead::None), Some((when, count)), "{text}");
    }
    let guess = When::At(friday, Clock { guessed: true, ..clock(16, 0) });
    assert_eq!(read("on friday at 4 x", Lead::None), Some((guess, 4)), "four in the afternoon");
    assert_eq!(read("friday x", Lead::Reminder), Some((at(friday, 9, 0), 1)), "after “remind me”");
    assert_eq!(read("for 5 min x", Lead::Reminder), Some((When::In(300_000), 3)));
    assert_eq!(read("5 min x", Lead::Reminder), Some((When::In(300_000), 2)));
}

#[test]
fn recurring_times_are_read_with_their_length() {
    let cron = |fields: &str| When::Cron(fields.into());
    let never = When::Never;
    for (text, when, count) in [
        ("every minute x", When::Every(60_000), 2),
        ("every 15 minutes", When::Every(900_000), 3),
        ("every 30s", When::Every(30_000), 2),
        ("every day at 9 x", cron("0 9 * * *"), 4),
        ("everyday at 9 x", cron("0 9 * * *"), 3),
        ("every day x", When::Daily, 2),
        ("daily at 7:05", cron("5 7 * * *"), 3),
        ("every day at 8 and 20 x", cron("0 8,20 * * *"), 6),
        ("every day at 8:00 and 20:30 x", never(Problem::TwoMinutes), 6),
        ("every monday at 8:30 x", cron("30 8 * * 1"), 4),
        ("every monday wednesday and sunday at 8", cron("0 8 * * 0,1,3"), 7),
        ("every monday to friday at 8", cron("0 8 * * 1-5"), 6),
        ("every weekday at 6pm", cron("0 18 * * 1-5"), 4),
        ("every weekday except friday at 8 x", cron("0 8 * * 1,2,3,4"), 6),
        ("every day but not on weekends at 8 x", cron("0 8 * * 1-5"), 8),
        ("mondays at 9 x", cron("0 9 * * 1"), 3),
        ("on mondays and thursdays at 9 x", cron("0 9 * * 1,4"), 6),
        ("weekdays at 9 x", cron("0 9 * * 1-5"), 3),
        ("on weekends x", cron("0 9 * * 0,6"), 2),
        ("every 15 minutes from 9 to 17 x", cron("*/15 9-16 * * *"), 7),
        ("every 30 minutes between 9 and 17 on weekdays x", cron("*/30 9-16 * * 1-5"), 9),
        ("every hour from 9 to 5 x", cron("0 9-17 * * *"), 6),
        ("every 2 hours from 8 to 20 x", cron("0 8-20/2 * * *"), 7),
        ("every 7 minutes from 9 to 17 x", never(Problem::Window), 7),
        ("every 15 minutes from 9:30 to 17 x", never(Problem::Window), 7),
        ("every month on the 15th at 10", cron("0 10 15 * *"), 7),
        ("every month on the last day", cron("0 9 L * *"), 6),
        ("every 15th of the month at 8 x", cron("0 8 15 * *"), 7),
        ("every week on friday", cron("0 9 * * 5"), 4),
        ("every first monday of the month at 10 x", cron("0 10 * * 1#1"), 8),
        ("every last friday of the month x", cron("0 9 * * 5L"), 6),
        ("every month on the second tuesday at 9", cron("0 9 * * 2#2"), 8),
        ("every second tuesday x", never(Problem::EveryOtherWeek), 3),
        ("every other week x", never(Problem::EveryOtherWeek), 3),
        ("every 2 weeks x", never(Problem::EveryOtherWeek), 3),
        ("every other day x", When::Every(2 * 86_400_000), 3),
        ("every other day at 9 x", cron("0 9 */2 * *"), 5),
        ("every year on december 24 x", cron("0 9 24 12 *"), 5),
        ("twice a day x", cron("0 9,21 * * *"), 3),
        ("three times a day", cron("0 8,14,20 * * *"), 4),
        ("hourly x", When::Every(3_600_000), 1),
        ("every morning at 7 x", cron("0 7 * * *"), 4),
        ("cron */5 * * * 1-5 x", cron("*/5 * * * 1-5"), 6),
    ] {
        assert_eq!(read(text, Lead::None), Some((when, count)), "{text}");
    }
}

#[test]
fn words_that_are_no_time_are_not_read() {
    for text in [
        "at home",
        "in the end",
        "every one",
        "at 25:00",
        "at 13pm",
        "today",
        "monday",
        "friday is a holiday",
        "cron job is off x y",
        "in 99999999999999999999 s",
        "in 9999999 weeks",
        "in",
        "at",
        "every",
        "on",
        "on 5 chairs",
        "5 apples",
        "the 5",
        "next",
        "this",
        "buy",
        "at 9:5",
        "for 5 min",
    ] {
        assert_eq!(read(text, Lead::None), None, "{text}");
    }
}
