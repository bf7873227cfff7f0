//! Spans of time: `10 minutes`, `1.5 hours`, `an hour and a half`, `90s`, `1h30m`. Pure.

use super::when::{LONGEST_MS, unit_ms};

/// A span as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Milliseconds. Whole days are apart, because they can have a time of day.
    Ms(u64),
    /// A number of days.
    Days(u32),
    /// A number of months.
    Months(u32),
}

impl Span {
    /// Returns the milliseconds; None for months, whose length differs.
    pub fn ms(self) -> Option<u64> {
        match self {
            Self::Ms(ms) => Some(ms),
            Self::Days(days) => Some(u64::from(days) * 86_400_000),
            Self::Months(_) => None,
        }
    }
}

/// Reads a span from the beginning of `words`. Returns it with the number of words used.
pub fn span(words: &[&str]) -> Option<(Span, usize)> {
    if let Some((months, taken)) = months(words) {
        return Some((Span::Months(months), taken));
    }
    let (mut total, mut taken, mut last) = (0_u64, 0, 0_u64);
    loop {
        let rest = words.get(taken..)?;
        let glue = usize::from(taken > 0 && rest.first() == Some(&"and"));
        let after = rest.get(glue..)?;
        // "an hour and a half", "1 hour and a quarter"
        let part = match after {
            ["a", "half", ..] if glue == 1 => Some((last / 2, 2)),
            ["a", "quarter", ..] if glue == 1 => Some((last / 4, 2)),
            _ => amount(after).inspect(|(_, _, unit)| last = *unit).map(|(ms, count, _)| (ms, count)),
        };
        match part {
            Some((ms, count)) => {
                total = total.checked_add(ms).filter(|total| *total <= LONGEST_MS)?;
                taken += glue + count;
            }
            None => break,
        }
    }
    if total == 0 {
        return None;
    }
    let in_days = matches!(words[taken - 1], "day" | "days" | "d" | "week" | "weeks" | "w");
    let days = u32::try_from(total / 86_400_000).ok().filter(|_| in_days && total.is_multiple_of(86_400_000));
    Some((days.map_or(Span::Ms(total), Span::Days), taken))
}

fn months(words: &[&str]) -> Option<(u32, usize)> {
    let (number, taken) = quantity(words)?;
    let scale = match *words.get(taken)? {
        "month" | "months" => 1.0,
        "year" | "years" => 12.0,
        _ => return None,
    };
    let months = number * scale;
    ((1.0..=120.0).contains(&months) && months.fract() == 0.0).then_some((months as u32, taken + 1))
}

/// Returns the milliseconds, the number of words used, and the milliseconds of the unit.
fn amount(words: &[&str]) -> Option<(u64, usize, u64)> {
    match words {
        ["half", "an" | "a", unit, ..] | ["half", unit, ..] if unit_ms(unit).is_some() => {
            let taken = if matches!(words[1], "an" | "a") { 3 } else { 2 };
            return unit_ms(unit).map(|ms| (ms / 2, taken, ms));
        }
        ["a", "quarter", "of", "an" | "a", unit, ..] => return unit_ms(unit).map(|ms| (ms / 4, 5, ms)),
        _ => {}
    }
    if let Some((number, taken)) = quantity(words)
        && let Some(unit) = words.get(taken).and_then(|unit| unit_ms(unit))
    {
        let ms = number * unit as f64;
        return (ms <= LONGEST_MS as f64).then_some((ms.round() as u64, taken + 1, unit));
    }
    joined(words.first()?).map(|ms| (ms, 1, ms))
}

/// `10`, `1.5`, `1,5`, `a`, `ten`, `a couple of`, `a few`
fn quantity(words: &[&str]) -> Option<(f64, usize)> {
    match words {
        ["a", "couple", "of", ..] => return Some((2.0, 3)),
        ["a", "couple", ..] | ["couple", "of", ..] => return Some((2.0, 2)),
        ["a", "few", ..] => return Some((3.0, 2)),
        ["one", "and", "a", "half", ..] => return Some((1.5, 4)),
        _ => {}
    }
    number(words.first()?).map(|number| (number, 1))
}

/// Reads a number in digits or as a word.
pub fn number(word: &str) -> Option<f64> {
    const WORDS: [&str; 13] =
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    match word {
        "a" | "an" => return Some(1.0),
        "fifteen" => return Some(15.0),
        "twenty" => return Some(20.0),
        "thirty" => return Some(30.0),
        "forty-five" => return Some(45.0),
        "one-and-a-half" => return Some(1.5),
        _ => {}
    }
    if let Some(at) = WORDS.iter().position(|known| *known == word) {
        return Some(at as f64);
    }
    let plain = word.starts_with(|c: char| c.is_ascii_digit())
        && word.ends_with(|c: char| c.is_ascii_digit())
        && word.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ','))
        && word.matches(['.', ',']).count() <= 1;
    plain.then(|| word.replace(',', ".").parse().ok())?
}

/// `1h30m`
fn joined(word: &str) -> Option<u64> {
    let (mut rest, mut total) = (word, 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit())?;
        let letters = rest[digits..].find(|char: char| char.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let number: u64 = rest[..digits].parse().ok()?;
        total = total.checked_add(number.checked_mul(unit_ms(&rest[digits..letters])?)?)?;
        rest = &rest[letters..];
    }
    (total > 0).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_in_all_spellings_are_read() {
        const HOUR: u64 = 3_600_000;
        for (text, expected, taken) in [
            ("10 minutes x", Span::Ms(600_000), 2),
            ("1.5 hours", Span::Ms(HOUR * 3 / 2), 2),
            ("1,5 hours", Span::Ms(HOUR * 3 / 2), 2),
            ("an hour and a half x", Span::Ms(HOUR * 3 / 2), 5),
            ("one and a half hours", Span::Ms(HOUR * 3 / 2), 5),
            ("half an hour", Span::Ms(HOUR / 2), 3),
            ("a quarter of an hour", Span::Ms(HOUR / 4), 5),
            ("a couple of minutes", Span::Ms(120_000), 4),
            ("a few minutes", Span::Ms(180_000), 3),
            ("1 hour and 30 minutes x", Span::Ms(HOUR * 3 / 2), 5),
            ("1h30m", Span::Ms(HOUR * 3 / 2), 1),
            ("3 days at", Span::Days(3), 2),
            ("2 weeks", Span::Days(14), 2),
            ("1 day and 2 hours", Span::Ms(26 * HOUR), 5),
            ("2 months", Span::Months(2), 2),
            ("a year", Span::Months(12), 2),
        ] {
            assert_eq!(span(&text.split(' ').collect::<Vec<_>>()), Some((expected, taken)), "{text}");
        }
        for text in [
            "",
            "x",
            "9999999 weeks",
            "99999999999999999999 s",
            "0 minutes",
            "1.2.3 hours",
            "minutes",
            "and",
            "1.5 months",
        ] {
            assert_eq!(span(&text.split(' ').collect::<Vec<_>>()), None, "{text}");
        }
    }
}
