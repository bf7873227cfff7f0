//! Days as people write them: `friday`, `24.12.`, `December 24th`, `the day after tomorrow`. Pure.

use chrono::{NaiveDate, Weekday};

use super::when::{Day, Problem};

/// Returns the weekday with this name, in the singular.
pub fn weekday(word: &str) -> Option<Weekday> {
    Some(match word {
        "monday" | "mon" => Weekday::Mon,
        "tuesday" | "tue" | "tues" => Weekday::Tue,
        "wednesday" | "wed" => Weekday::Wed,
        "thursday" | "thu" | "thur" | "thurs" => Weekday::Thu,
        "friday" | "fri" => Weekday::Fri,
        "saturday" | "sat" => Weekday::Sat,
        "sunday" | "sun" => Weekday::Sun,
        _ => return None,
    })
}

/// Returns the weekday with this name in the plural: `mondays`.
pub fn weekdays(word: &str) -> Option<Weekday> {
    word.strip_suffix('s').filter(|day| day.ends_with("day")).and_then(weekday)
}

/// Returns the month with this name, from 1.
pub fn month(word: &str) -> Option<u32> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let at = NAMES
        .iter()
        .position(|name| word == *name || word == &name[..3] || (word == "sept" && *name == "september"))?;
    u32::try_from(at + 1).ok()
}

/// Reads a number with or without its ending: `24`, `24th`, `1st`, `3rd`.
pub fn ordinal(word: &str) -> Option<u32> {
    let number = ["st", "nd", "rd", "th"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
    number.parse().ok().filter(|day| (1..=31).contains(day))
}

/// A day, or why it is not one, and the number of words used.
pub type Found = (Result<Day, Problem>, usize);

/// Reads a date from the beginning of `words`.
pub fn date(words: &[&str]) -> Option<Found> {
    let found = |day: Option<Day>, taken| day.map(|day| (Ok(day), taken));
    let word = *words.first()?;
    if let Ok(date) = word.parse::<NaiveDate>() {
        return found(Some(Day::Date(date)), 1);
    }
    // "december 24[th] [2026]"
    if let Some(month) = month(word) {
        let day = words.get(1).and_then(|word| ordinal(word))?;
        return match words.get(2).and_then(|word| year(word)) {
            Some(year) => found(exact(year, month, day), 3),
            None => found(annual(month, day), 2),
        };
    }
    // "24[th] [of] december [2026]"
    if let Some(day) = ordinal(word) {
        let of = 1 + usize::from(matches!(words.get(1), Some(&"of")));
        if let Some(month) = words.get(of).and_then(|word| month(word)) {
            let year = words.get(of + 1).map(|word| word.trim_start_matches("of")).and_then(year);
            return match year {
                Some(year) => found(exact(year, month, day), of + 2),
                None => found(annual(month, day), of + 1),
            };
        }
    }
    numeric(word)
}

/// `24.12`, `24.12.2026`, `24/12`, `12/24`, `24/12/2026`
fn numeric(word: &str) -> Option<Found> {
    let separator = ['.', '/'].into_iter().find(|separator| word.contains(*separator))?;
    let mut parts = word.split(separator);
    let mut number = || parts.next()?.parse::<u32>().ok();
    let (first, second) = (number()?, number()?);
    let year = word.split(separator).nth(2);
    let year = match year {
        None | Some("") => None,
        Some(text) => Some(self::year(text)?),
    };
    if word.split(separator).count() > 3 {
        return None;
    }
    let (day, month) = match (separator, first, second) {
        ('.', day, month) => (day, month),
        (_, day, month) if day > 12 => (day, month),
        (_, month, day) if day > 12 || day == month => (day, month),
        // Half of the world writes the month first, so either number may be the month.
        (_, first @ 1..=12, second @ 1..=12) => return Some((Err(Problem::WhichMonth(first, second)), 1)),
        _ => return None,
    };
    let day = match year {
        Some(year) => exact(year, month, day)?,
        None => annual(month, day)?,
    };
    Some((Ok(day), 1))
}

fn year(word: &str) -> Option<i32> {
    (word.len() == 4).then(|| word.parse().ok())?.filter(|year| (1970..=9999).contains(year))
}

fn exact(year: i32, month: u32, day: u32) -> Option<Day> {
    NaiveDate::from_ymd_opt(year, month, day).map(Day::Date)
}

fn annual(month: u32, day: u32) -> Option<Day> {
    // 2028 is a leap year, so that the 29th of February is a valid day.
    NaiveDate::from_ymd_opt(2028, month, day).map(|_| Day::Annual(month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_all_spellings_are_read() {
        let read = |text: &str| date(&text.split(' ').collect::<Vec<_>>());
        let christmas = Day::Annual(12, 24);
        let this_year = Day::Date(NaiveDate::from_ymd_opt(2026, 12, 24).unwrap());
        for (text, day, taken) in [
            ("2026-12-24 x", this_year, 1),
            ("december 24 x", christmas, 2),
            ("dec 24th", christmas, 2),
            ("24 december", christmas, 2),
            ("24th of december 2026", this_year, 4),
            ("december 24 2026", this_year, 3),
            ("24.12", christmas, 1),
            ("24.12.2026", this_year, 1),
            ("24/12", christmas, 1),
            ("12/24", christmas, 1),
            ("12/24/2026", this_year, 1),
            ("29 february", Day::Annual(2, 29), 2),
            ("5/5", Day::Annual(5, 5), 1),
        ] {
            assert_eq!(read(text), Some((Ok(day), taken)), "{text}");
        }
        assert_eq!(read("3/4"), Some((Err(Problem::WhichMonth(3, 4)), 1)));
        for text in ["32.12", "30 february", "24.13", "december", "24", "13/13", "1.2.3.4", "24.12.26", "may the"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
