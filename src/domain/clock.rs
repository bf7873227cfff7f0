//! Time and randomness as parameters: no code below `app` asks the system for either.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use ulid::Ulid;

/// The wall clock, and ids made from its time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present time in UTC.
    fn now(&self) -> DateTime<Utc>;
    /// Makes a new ULID.
    fn ulid(&self) -> Ulid;
}

/// A clock shared by all parts of the host.
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

/// Milliseconds since 1970, the store's form of times.
pub fn to_ms(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}

/// The time of stored milliseconds; 1970 for a number beyond the calendar.
pub fn from_ms(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

/// Formats a time in RFC 3339, in UTC with milliseconds and `Z`: the form of every time that leaves the host.
pub fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
