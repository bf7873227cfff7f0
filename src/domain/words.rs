//! Numbers and durations as people write them.

use std::time::Duration;

/// Formats a number with its noun, singular for one; the plural adds an `s`, or `ies` for a `y`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {}", plural(noun)) }
}

/// Formats the same as the subject of a sentence: `1 message is`, `2 messages are`.
pub fn are(number: u64, noun: &str) -> String {
    format!("{} {}", count(number, noun), if number == 1 { "is" } else { "are" })
}

fn plural(noun: &str) -> String {
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if noun.ends_with(['s', 'x']) => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

const UNITS: [(&str, u64); 4] = [("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1_000)];

/// Formats a duration in its two largest units: `10 minutes`, `1 day 2 hours`. Milliseconds appear only below a
/// second.
pub fn duration(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut parts = Vec::new();
    for (unit, size) in UNITS {
        if left >= size && parts.len() < 2 {
            parts.push(count(left / size, unit));
        } else if !parts.is_empty() {
            break;
        }
        left %= size;
    }
    if parts.is_empty() { format!("{left} ms") } else { parts.join(" ") }
}

/// Formats an interval: `every 10 minutes`, `every day`.
pub fn every(milliseconds: u64) -> String {
    // The interval is exact, in the largest unit that divides it.
    for (unit, size) in UNITS {
        if milliseconds >= size && milliseconds.is_multiple_of(size) {
            return match milliseconds / size {
                1 => format!("every {unit}"),
                number => format!("every {}", count(number, unit)),
            };
        }
    }
    format!("every {milliseconds} ms")
}

/// Parses a number with `s`, `m`, `h` or `d`, or bare milliseconds. Returns None for anything else.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor = match unit {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(factor).map(Duration::from_millis)
}

/// Parses the same, but a bare number means seconds.
pub fn parse_seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        parse_duration(&format!("{text}s"))
    } else {
        parse_duration(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_uses_singular_and_plural_nouns() {
        for (number, noun, text) in [
            (0, "message", "0 messages"),
            (1, "message", "1 message"),
            (2, "delivery", "2 deliveries"),
            (3, "day", "3 days"),
            (1, "delivery", "1 delivery"),
            (4, "box", "4 boxes"),
        ] {
            assert_eq!(count(number, noun), text);
        }
    }

    #[test]
    fn durations_and_intervals_are_formatted_in_words() {
        for (seconds, text) in [
            (1, "1 second"),
            (90, "1 minute 30 seconds"),
            (600, "10 minutes"),
            (3600, "1 hour"),
            (3605, "1 hour"),
            (71_297, "19 hours 48 minutes"),
            (90_000, "1 day 1 hour"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
        assert_eq!(duration(Duration::from_millis(12)), "12 ms");
        for (ms, text) in [
            (600_000, "every 10 minutes"),
            (60_000, "every minute"),
            (86_400_000, "every day"),
            (90_000, "every 90 seconds"),
            (10_500, "every 10500 ms"),
        ] {
            assert_eq!(every(ms), text);
        }
    }

    #[test]
    fn durations_are_parsed() {
        for (text, ms) in [
            ("90000", 90_000),
            ("90s", 90_000),
            ("15m", 900_000),
            ("15min", 900_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "m", "1.5h", "1w", "-1s", "99999999999999999d", "soon"] {
            assert_eq!(parse_duration(text), None, "{text}");
            assert_eq!(parse_seconds(text), None, "{text}");
        }
        let seconds = |text| parse_seconds(text).map(|time| time.as_millis());
        assert_eq!((seconds(" 90 "), seconds("2m"), seconds("500ms")), (Some(90_000), Some(120_000), Some(500)));
    }
}
