//! Limits of the protocol. The host enforces them on every agent; the runner's tools check them before they ask the
//! host.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Characters of `error`, on one line: it is shown in the chat, in events, and as the reason of a pause.
pub const MAX_ERROR: usize = 2_000;
/// Names in `consumed`: a room takes at most hundreds of follow-ups into one turn.
pub const MAX_CONSUMED: usize = 4_096;
/// Bytes of a name in `consumed`: the host's own names have 13.
pub const MAX_INPUT_NAME: usize = 64;
/// Bytes of `retryAt`: a time with nanoseconds and zone has 35.
pub const MAX_TIME: usize = 64;
/// Counts kept of `usage`: vendors report fewer than ten.
pub const MAX_COUNTS: usize = 64;
/// Bytes of a count's name.
pub const MAX_COUNT_NAME: usize = 64;
/// The only text in `usage`: the model that the turn used, whose price the host may know.
pub const MODEL: &str = "model";
/// Bytes of a model's name.
pub const MAX_MODEL: usize = 256;
/// Tokens of one count: a larger number is an error, or an attempt to spoil the sums.
pub const MAX_TOKENS: u64 = 1_000_000_000;
/// US dollars of one turn, for the same reason.
pub const MAX_USD: f64 = 100_000.0;

/// Bytes of a file in `messages/` or `tasks/`.
pub const MAX_FILE: u64 = 1 << 20;
/// Bytes of one string in such a file, in its JSON form.
pub const MAX_STRING: usize = 256 << 10;
/// Levels of arrays and objects in such a file.
pub const MAX_DEPTH: usize = 64;
/// Bytes of a task's prompt: it is stored, listed, and given to the agent at each run.
pub const MAX_PROMPT: usize = 64 << 10;
/// Bytes of a chat's id, and of a platform's message id.
pub const MAX_ID: usize = 256;
/// Characters of a group's name.
pub const MAX_NAME: usize = 256;
/// Characters of a group's trigger: people type it before each message.
pub const MAX_TRIGGER: usize = 64;
/// Characters of a sender's name that a message shows.
pub const MAX_SENDER: usize = 64;
/// Bytes of a folder's name, of a task's id and of a request's id: all become names of files.
pub const MAX_WORD: usize = 64;
/// Bytes of a cron expression.
pub const MAX_CRON: usize = 256;
/// Milliseconds of an interval: from ten seconds to ten years.
pub const INTERVAL_MS: RangeInclusive<u64> = 10_000..=315_360_000_000;

/// Returns true if a text may be a task's id or a request's id: 1 to [`MAX_WORD`] letters, digits, `_` or `-`.
pub fn is_word(text: &str) -> bool {
    (1..=MAX_WORD).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Values that are no count.
macro_rules! nothing {
    () => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(None)
        }
    };
}
/// Reads at most one name more than the limit, so that the caller sees that there were too many; skips the rest.
pub(super) fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of names")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<String>, A::Error> {
            let mut names = Vec::new();
            while names.len() <= MAX_CONSUMED {
                let Some(name) = from.next_element()? else { return Ok(names) };
                names.push(name);
            }
            while from.next_element::<IgnoredAny>()?.is_some() {}
            Ok(names)
        }
    }
    from.deserialize_seq(Names)
}

/// Reads the counts of a report, and its model. Skips anything else: nobody needs it, and it may have any size and
/// depth.
pub(super) fn counts<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    struct Count(Option<Value>);
    impl<'de> serde::Deserialize<'de> for Count {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_any(OneCount).map(Self)
        }
    }
    struct Counts;
    impl<'de> Visitor<'de> for Counts {
        type Value = Option<Value>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("counts by name")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
            let mut counts = BTreeMap::new();
            while let Some((name, Count(count))) = from.next_entry::<String, Count>()? {
                if let Some(count) = count
                    && counts.len() < MAX_COUNTS
                    && name.len() <= MAX_COUNT_NAME
                    && (count.is_u64() || name == MODEL)
                {
                    counts.insert(name, count);
                }
            }
            Ok(Some(counts.into_iter().collect()))
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
            while from.next_element::<IgnoredAny>()?.is_some() {}
            Ok(None)
        }
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok(None)
        }
        nothing!();
    }
    from.deserialize_any(Counts)
}

struct OneCount;

impl<'de> Visitor<'de> for OneCount {
    type Value = Option<Value>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a count")
    }
    fn visit_u64<E>(self, count: u64) -> Result<Self::Value, E> {
        Ok(Some(count.into()))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok((text.len() <= MAX_MODEL).then(|| text.into()))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        while from.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        while from.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
    nothing!();
}

#[cfg(test)]
mod tests {
    use super::super::Output;
    use super::*;

    fn parse(field: &str) -> Output {
        serde_json::from_str(&format!(r#"{{"status":"success","result":"kept",{field}}}"#)).unwrap()
    }

    #[test]
    fn words_are_short_and_plain() {
        let longest = "x".repeat(MAX_WORD);
        assert!(["a", "-", "A-b_9", &longest].into_iter().all(is_word));
        assert!(!["", "a b", "a.b", "../x", "ä", "a\n", &format!("{longest}x")].into_iter().any(is_word));
    }

    #[test]
    fn names_end_one_above_the_limit() {
        let list = |n: usize| parse(&format!(r#""consumed":[{}]"#, vec![r#""a""#; n].join(","))).consumed.len();
        assert_eq!((list(0), list(MAX_CONSUMED), list(MAX_CONSUMED + 1)), (0, MAX_CONSUMED, MAX_CONSUMED + 1));
        assert_eq!(list(MAX_CONSUMED * 10), MAX_CONSUMED + 1);
    }

    #[test]
    fn usage_keeps_only_its_counts() {
        let usage = |json: &str| parse(&format!(r#""usage":{json}"#)).usage;
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        let json =
            format!(r#"{{"input_tokens":3,"tier":"x","a":{deep},"b":{{"c":1}},"d":-1,"e":1.5,"f":null,"g":true}}"#);
        assert_eq!(usage(&json), Some(serde_json::json!({"input_tokens": 3})));
        let model = |name: &str| usage(&format!(r#"{{"model":"{name}","tier":"x","output_tokens":1}}"#)).unwrap();
        assert_eq!(model("m-1"), serde_json::json!({"model": "m-1", "output_tokens": 1}));
        assert_eq!(model(&"m".repeat(MAX_MODEL))["model"].as_str().map(str::len), Some(MAX_MODEL));
        assert_eq!(model(&"m".repeat(MAX_MODEL + 1)), serde_json::json!({"output_tokens": 1}));
        assert_eq!(usage(r#"{"model":["m"]}"#), Some(serde_json::json!({})));
        for odd in [r#""many""#, "[1,[2]]", "5", "-5", "1.5", "true", "null"] {
            assert_eq!(usage(odd), None, "{odd}");
        }
        let many: Vec<String> = (0..10_000).map(|n| format!(r#""n{n}":1"#)).collect();
        let kept = usage(&format!("{{{}}}", many.join(","))).unwrap();
        assert_eq!(kept.as_object().unwrap().len(), MAX_COUNTS);
        let long = usage(&format!(r#"{{"{}":1,"{}":1}}"#, "x".repeat(MAX_COUNT_NAME), "y".repeat(MAX_COUNT_NAME + 1)));
        assert_eq!(long.unwrap().as_object().unwrap().len(), 1);
    }
}
