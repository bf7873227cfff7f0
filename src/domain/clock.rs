//! Time and randomness as parameters: nothing below `app` asks the system for either.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use ulid::Ulid;

/// The wall clock, and ids that follow it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Now, in UTC.
    fn now(&self) -> DateTime<Utc>;
    /// A fresh ULID.
    fn ulid(&self) -> Ulid;
}

/// A clock that many parts share.
pub type SharedClock = Arc<dyn Clock>;

/// The system's clock and random source.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
    fn ulid(&self) -> Ulid {
        Ulid::new()
    }
}

/// Milliseconds since 1970 as the store keeps them.
pub fn to_ms(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}

/// The time of stored milliseconds; 1970 for a number no calendar reaches.
pub fn from_ms(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

/// RFC 3339 in UTC with milliseconds and `Z`: the form of every time that leaves the host.
pub fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
