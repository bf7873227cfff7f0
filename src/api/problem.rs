//! Errors as problem documents (RFC 9457): what happened, why, and what to do, with a stable `code`.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::channel::ingest::IngestError;
use crate::store::StoreError;

/// A problem document on its way to a client.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after: Option<u32>,
    more: Map<String, Value>,
}

impl Problem {
    /// A problem with a status, a stable code, and a text for people.
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after: None, more: Map::new() }
    }

    /// The request itself is wrong.
    pub(super) fn bad(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// What was asked for is not there.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// The text for people.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Adds a member to the document.
    pub(super) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.more.insert(key.to_owned(), value.into());
        self
    }

    /// Says when to try again, in seconds.
    pub(super) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut document = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if let Value::Object(members) = &mut document {
            members.extend(self.more);
        }
        let mut response = (self.status, Bytes::from(document.to_string())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let detail = error.to_string();
        let unavailable = |code| Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail.clone()).retry_after(5);
        match error {
            StoreError::Full { .. } => unavailable("store_full"),
            StoreError::ReadOnly { .. } => unavailable("store_read_only"),
            StoreError::Closed => unavailable("shutting_down"),
            StoreError::Sqlite { .. } => unavailable("store_error"),
            StoreError::Conflict(_) => Self::new(StatusCode::CONFLICT, "conflict", detail),
            StoreError::NotFound(_) => Self::not_found(detail),
            StoreError::TooNew { .. }
            | StoreError::TooOld { .. }
            | StoreError::Panicked { .. }
            | StoreError::Thread { .. } => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "store_error", detail),
        }
    }
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        let detail = error.to_string();
        match error {
            IngestError::NotRegistered(_) => Self::new(StatusCode::NOT_FOUND, "chat_not_registered", detail),
            IngestError::Invalid(_) => Self::bad("invalid_field", detail),
            IngestError::Store(error) => error.into(),
        }
    }
}
