//! A turn that failed: its kind, its reason, and the output that says so.

use parlor_protocol::{ErrorKind, Output, Status, Turn};
use serde_json::Value;

/// A failure, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sorted {
    /// The kind, by which the host decides whether another try helps.
    pub kind: ErrorKind,
    /// The reason, and a remedy where there is one.
    pub text: String,
    /// When to try again, RFC 3339.
    pub retry_at: Option<String>,
}

impl Sorted {
    /// A failure for which nobody named a time.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), retry_at: None }
    }

    /// The output that ends a turn with it; `consumed` are the inputs that fail with the turn.
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
