//! Deserializers for fields that clients write in several forms.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Utc};
use parlor_protocol::limits::MAX_ID;
use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

use crate::domain::clock::from_ms;
use crate::domain::schema;

/// Numbers from here on are milliseconds: as seconds they would lie after the year 5138.
const FROM_MILLISECONDS: f64 = 1e11;

/// Reads an id that is a text or a whole number.
pub(super) fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(Word)
}

/// Reads the same, or null.
pub(super) fn optional_word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    deserializer.deserialize_option(Optional(Word))
}

/// Reads a time: RFC 3339, or seconds or milliseconds since 1970 as a number or a text; or null.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    deserializer.deserialize_option(Optional(Time))
}

/// Visitor and schema of an id.
pub(super) struct Word;

schema::by_hand!(Word, "Word", {
    "type": ["string", "integer"],
    "minLength": 1,
    "maxLength": MAX_ID,
    "pattern": r"^[^\x01-\x1f\x7f-\x9f]+$",
    "minimum": i64::MIN,
    "maximum": u64::MAX,
});

impl Visitor<'_> for Word {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a whole number")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

/// Visitor and schema of a time.
pub(super) struct Time;

schema::by_hand!(Time, "LooseTime", {
    "anyOf": [
        { "type": "string", "format": "date-time" },
        { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$" },
        { "type": "number", "minimum": 0, "maximum": 253_402_300_799_999_u64 },
    ],
});

impl Visitor<'_> for Time {
    type Value = DateTime<Utc>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as 2031-05-17T09:30:00Z, or seconds or milliseconds since 1970, up to the year 9999")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<DateTime<Utc>, E> {
        let digits =
            text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let read = match text.parse() {
            Ok(number) if digits => at(number),
            _ => DateTime::from_str(text).ok().filter(|time: &DateTime<Utc>| (1970..=9999).contains(&time.year())),
        };
        let shown: String = text.chars().take(80).collect();
        read.ok_or_else(|| E::invalid_value(Unexpected::Str(&shown), &self))
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<DateTime<Utc>, E> {
        at(number as f64).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<DateTime<Utc>, E> {
        at(number as f64).ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<DateTime<Utc>, E> {
        at(number).ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
    }
}

/// Converts seconds or milliseconds.
fn at(number: f64) -> Option<DateTime<Utc>> {
    let ms = if number < FROM_MILLISECONDS { number * 1e3 } else { number };
    // The upper bound is the year 10000.
    (0.0..253_402_300_800_000.0).contains(&ms).then(|| from_ms(ms.round() as i64))
}

struct Optional<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Optional<V> {
    type Value = Option<V::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self.0).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::domain::clock::rfc3339;

    #[derive(Deserialize)]
    struct Body {
        #[serde(default, deserialize_with = "optional_word")]
        id: Option<String>,
        #[serde(default, deserialize_with = "time")]
        at: Option<DateTime<Utc>>,
    }

    #[test]
    fn times_are_read_in_every_unambiguous_form() {
        let read =
            |json: &str| serde_json::from_str::<Body>(&format!("{{\"at\":{json}}}")).map(|body| body.at.map(rfc3339));
        for (json, time) in [
            ("1767319445", "2026-01-02T02:04:05.000Z"),
            ("1767319445.25", "2026-01-02T02:04:05.250Z"),
            ("1767319445250", "2026-01-02T02:04:05.250Z"),
            ("\"1767319445250\"", "2026-01-02T02:04:05.250Z"),
            ("\"2026-01-02T03:04:05+01:00\"", "2026-01-02T02:04:05.000Z"),
            ("\"2026-01-02 03:04:05+01:00\"", "2026-01-02T02:04:05.000Z"),
            ("0", "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(read(json).unwrap().as_deref(), Some(time), "{json}");
        }
        assert_eq!(read("null").unwrap(), None);
        for json in [
            "-1",
            "1e18",
            "true",
            "\"\"",
            "\"yesterday\"",
            "\"2026-01-02T03:04:05\"",
            "\"12026-01-01T00:00:00Z\"",
            "[1]",
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }

    #[test]
    fn ids_are_texts_or_whole_numbers() {
        let read = |json: &str| serde_json::from_str::<Body>(&format!("{{\"id\":{json}}}")).map(|body| body.id);
        for (json, id) in [("\"a\"", Some("a")), ("12", Some("12")), ("-100123", Some("-100123")), ("null", None)] {
            assert_eq!(read(json).unwrap().as_deref(), id, "{json}");
        }
        for json in ["1.5", "true", "{}"] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
