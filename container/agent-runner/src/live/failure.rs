//! A failed turn: its kind, its reason, and its output.

use parlor_protocol::{ErrorKind, Output, Status, Turn};
use serde_json::Value;

/// A failure with its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sorted {
    /// The kind. From it the host decides whether another try helps.
    pub kind: ErrorKind,
    /// The reason, with a remedy if there is one.
    pub text: String,
    /// The time of the next try, RFC 3339.
    pub retry_at: Option<String>,
}

impl Sorted {
    /// A failure without a time for the next try.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), retry_at: None }
    }

    /// Returns the output that ends a turn with this failure; `consumed` are the inputs that fail with the turn.
    pub fn output(self, consumed: Vec<String>, usage: Option<Value>) -> Output {
        Output {
            status: Status::Error,
            error: Some(self.text),
            error_kind: Some(self.kind),
            retry_at: self.retry_at,
            turn: Some(Turn::Done),
            consumed,
            usage,
            ..Output::default()
        }
    }
}
