//! Times of a day: `17:30`, `9am`, `17h30`, `half past 9`, `noon`. Pure.

use chrono::NaiveTime;

use super::when::Clock;

/// The meaning of a bare hour such as `9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bare {
    /// A time: the word before it says so ("at 9"). A small hour is taken for the afternoon.
    Hour,
    /// A time, exactly as written: in "from 9 to 17".
    Exact,
    /// Not a time.
    Never,
}

/// Without a word for the half of the day, most people mean these hours in the afternoon.
const AFTERNOON: std::ops::RangeInclusive<u32> = 1..=6;

/// Reads a time from the beginning of `words`. Returns it with the number of words used.
pub fn time(words: &[&str], bare: Bare) -> Option<(Clock, usize)> {
    let named = |hour| Some((Clock::exact(NaiveTime::from_hms_opt(hour, 0, 0)?), 1));
    match *words.first()? {
        "noon" | "midday" => return named(12),
        "midnight" => return named(0),
        _ => {}
    }
    let (mut hour, minute, second, mut taken, mut sure) = relative(words).or_else(|| digits(words, bare))?;
    if let Some((half, count)) = half(&words[taken..]) {
        // "13 pm" is a slip, "17:30 in the evening" is not.
        hour = match half {
            Half::Pm if (1..=12).contains(&hour) => hour % 12 + 12,
            Half::Evening if hour <= 12 => hour % 12 + 12,
            Half::Am | Half::Morning if hour <= 12 => hour % 12,
            Half::Evening => hour,
            _ => return None,
        };
        taken += count;
        sure = true;
    }
    let guessed = !sure && bare == Bare::Hour && AFTERNOON.contains(&hour);
    if guessed {
        hour += 12;
    }
    Some((Clock { time: NaiveTime::from_hms_opt(hour, minute, second)?, guessed }, taken))
}

/// Returns the time for a part of the day, and the number of words that name it.
pub fn day_part(words: &[&str]) -> Option<(Clock, usize)> {
    let lead = match words {
        ["in", "the", ..] => 2,
        ["at", "night", ..] => 1,
        _ => 0,
    };
    let hour = match *words.get(lead)? {
        "morning" => 9,
        "noon" | "midday" => 12,
        "afternoon" => 15,
        "evening" => 18,
        "night" => 21,
        _ => return None,
    };
    Some((Clock::exact(NaiveTime::from_hms_opt(hour, 0, 0)?), lead + 1))
}

/// The half of the day, as written.
enum Half {
    Am,
    Pm,
    Morning,
    Evening,
}

fn half(words: &[&str]) -> Option<(Half, usize)> {
    match *words.first()? {
        "am" | "a.m" => Some((Half::Am, 1)),
        "pm" | "p.m" => Some((Half::Pm, 1)),
        "tonight" => Some((Half::Evening, 1)),
        _ => {
            let (clock, taken) = day_part(words)?;
            let morning = clock.time < NaiveTime::from_hms_opt(12, 0, 0)?;
            Some((if morning { Half::Morning } else { Half::Evening }, taken))
        }
    }
}

/// Hour, minute, second, words taken, and whether the half of the day is certain.
type Parts = (u32, u32, u32, usize, bool);

/// `half past 9`, `quarter to 9`, and `half-before 9`, which is how other languages say 8:30.
fn relative(words: &[&str]) -> Option<Parts> {
    let (minutes, taken) = match words {
        ["half-before", ..] => (-30, 1),
        ["half", "past", ..] => (30, 2),
        ["quarter", "past", ..] => (15, 2),
        ["quarter", "to", ..] => (-15, 2),
        ["a", "quarter", "past", ..] => (15, 3),
        ["a", "quarter", "to", ..] => (-15, 3),
        _ => return None,
    };
    let (hour, _, _, count, sure) = digits(&words[taken..], Bare::Hour).filter(|(_, minute, ..)| *minute == 0)?;
    let total = i64::from(hour) * 60 + minutes;
    let total = u32::try_from(total.rem_euclid(24 * 60)).ok()?;
    Some((total / 60, total % 60, 0, taken + count, sure))
}

/// `17:30`, `17:30:15`, `17.30`, `17h30`, `17h`, `9am`, `9`, `9 o'clock`, `17 uhr 30`.
fn digits(words: &[&str], bare: Bare) -> Option<Parts> {
    let word = *words.first()?;
    let (number, glued) = match ["am", "pm"].iter().find_map(|end| word.strip_suffix(end).map(|rest| (rest, *end))) {
        Some((number, end)) if !number.is_empty() => (number, Some(end)),
        _ => (word, None),
    };
    let spoken = spoken(number).filter(|_| bare != Bare::Never || matches!(words.get(1), Some(&("o'clock" | "uhr"))));
    let number = spoken.as_deref().unwrap_or(number);
    let separator = number.find(|c: char| !c.is_ascii_digit());
    let (hour, rest) = number.split_at(separator.unwrap_or(number.len()));
    let mut hour: u32 = hour.parse().ok().filter(|hour| *hour <= 24)?;
    let two = |text: &str| (text.len() == 2).then(|| text.parse().ok())?.filter(|number: &u32| *number < 60);
    let (mut minute, mut second, mut marked) = (0, 0, true);
    match rest.chars().next() {
        Some(':') => {
            let mut parts = rest[1..].split(':');
            minute = two(parts.next()?)?;
            second = parts.next().map_or(Some(0), two)?;
            if parts.next().is_some() {
                return None;
            }
        }
        // Only after "at": elsewhere 24.12 is a date.
        Some('.') if bare != Bare::Never || rest.len() == 3 && two(&rest[1..])? > 12 => minute = two(&rest[1..])?,
        Some('h') if rest.len() > 1 => minute = two(&rest[1..])?,
        Some('h') => {}
        None => marked = false,
        _ => return None,
    }
    let mut taken = 1;
    let mut sure = marked;
    match words.get(1) {
        Some(&("uhr" | "h")) if !marked => {
            (taken, sure) = (2, true);
            if let Some(more) = words.get(2).and_then(|word| two(word)) {
                (minute, taken) = (more, 3);
            }
        }
        Some(&("o'clock" | "uhr")) => taken = 2,
        Some(&("hours" | "hour")) if bare == Bare::Hour => taken = 2,
        _ => {}
    }
    let named = glued.is_some() || taken > 1 || matches!(words.get(1), Some(&("am" | "pm" | "a.m" | "p.m")));
    if !marked && !named && bare == Bare::Never {
        return None;
    }
    match glued {
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some("am") => (hour, sure) = (hour % 12, true),
        Some(_) => (hour, sure) = (hour % 12 + 12, true),
        None => {}
    }
    // An hour above 12 is on the 24-hour clock.
    Some((hour % 24, minute, second, taken, sure || hour > 12))
}

/// Returns the digits for an hour's word, such as `nine`.
fn spoken(word: &str) -> Option<String> {
    let hour = super::delay::number(word).filter(|hour| (1.0..=12.0).contains(hour) && hour.fract() == 0.0)?;
    (word.len() > 2 && word.chars().all(char::is_alphabetic)).then(|| hour.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, bare: Bare) -> Option<(String, bool, usize)> {
        let words: Vec<&str> = text.split(' ').collect();
        time(&words, bare).map(|(clock, taken)| (clock.time.to_string(), clock.guessed, taken))
    }

    #[test]
    fn times_in_all_spellings_are_read() {
        for (text, expected, taken) in [
            ("17:30 x", "17:30:00", 1),
            ("17:30:15", "17:30:15", 1),
            ("17.30", "17:30:00", 1),
            ("17h30", "17:30:00", 1),
            ("17h", "17:00:00", 1),
            ("17 h 30", "17:30:00", 3),
            ("17 uhr 30", "17:30:00", 3),
            ("4 uhr", "04:00:00", 2),
            ("9 uhr evening", "21:00:00", 3),
            ("9am", "09:00:00", 1),
            ("9:30 pm", "21:30:00", 2),
            ("12am", "00:00:00", 1),
            ("12 pm", "12:00:00", 2),
            ("noon", "12:00:00", 1),
            ("half past 9", "09:30:00", 3),
            ("quarter to 9 pm", "20:45:00", 4),
            ("half-before 9", "08:30:00", 2),
            ("9 in the evening", "21:00:00", 4),
            ("8 in the morning", "08:00:00", 4),
            ("9 o'clock", "09:00:00", 2),
            ("24:00", "00:00:00", 1),
        ] {
            assert_eq!(read(text, Bare::Hour), Some((expected.to_owned(), false, taken)), "{text}");
        }
        assert_eq!(read("4 x", Bare::Hour), Some(("16:00:00".into(), true, 1)), "the afternoon is meant");
        assert_eq!(read("4am", Bare::Hour), Some(("04:00:00".into(), false, 1)));
        assert_eq!(read("4 x", Bare::Exact), Some(("04:00:00".into(), false, 1)));
        for text in ["25:00", "13pm", "9:5", "17.3", "x", "", "17:61", "9:30:99", "pm"] {
            assert_eq!(read(text, Bare::Hour), None, "{text}");
        }
        for text in ["9", "24.12", "5 apples"] {
            assert_eq!(read(text, Bare::Never), None, "{text}");
        }
        assert_eq!(read("5pm", Bare::Never), Some(("17:00:00".into(), false, 1)));
    }
}
