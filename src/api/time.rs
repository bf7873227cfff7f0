//! Times in answers: RFC 3339 in UTC with milliseconds.

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use crate::domain::clock::rfc3339;
use crate::domain::schema;

#[derive(Debug, Clone, Copy)]
pub(super) struct Time(pub(super) DateTime<Utc>);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&rfc3339(self.0))
    }
}

schema::by_hand!(Time, "Time", { "type": "string", "format": "date-time" });
