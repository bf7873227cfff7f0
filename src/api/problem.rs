//! Errors as problem documents (RFC 9457): what happened, why, and what to do, with a stable `code`.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

use crate::channel::intake::ingest::IngestError;
use crate::store::StoreError;

/// Every error code with its status. The document and docs/API.md are tested against this list.
pub(super) const CODES: [(u16, &str); 29] = [
    (400, "invalid_body"),
    (400, "invalid_field"),
    (400, "invalid_id"),
    (400, "invalid_query"),
    (400, "invalid_cursor"),
    (401, "unauthorized"),
    (403, "host_not_allowed"),
    (403, "origin_not_allowed"),
    (403, "chat_of_another_channel"),
    (404, "not_found"),
    (404, "chat_not_registered"),
    (404, "no_log"),
    (404, "no_such_route"),
    (405, "method_not_allowed"),
    (408, "body_timeout"),
    (409, "conflict"),
    (409, "not_running"),
    (410, "resync"),
    (413, "body_too_large"),
    (415, "unsupported_media_type"),
    (500, "store_error"),
    (503, "store_full"),
    (503, "store_read_only"),
    (503, "store_error"),
    (503, "store_slow"),
    (503, "not_ready"),
    (503, "shutting_down"),
    (503, "too_many_connections"),
    (503, "too_many_uploads"),
];

/// A problem document (RFC 9457).
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct Document<'a> {
    /// Always `about:blank`: `code` says more.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'a str,
    /// The status.
    status: u16,
    /// The kind of error, for programs; stable.
    code: &'static str,
    /// What happened, why, and what to do, for people; may change.
    detail: &'a str,
    /// With `resync`: the cursor at which to continue.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
}

/// An error answer; becomes a [`Document`].
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after: Option<u32>,
    cursor: Option<String>,
}

impl Problem {
    /// A problem with a status, a stable code, and a detail for people.
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        debug_assert!(CODES.contains(&(status.as_u16(), code)), "{status} {code} is not among the codes");
        Self { status, code, detail: detail.into(), retry_after: None, cursor: None }
    }

    /// `400`: the request itself is wrong.
    pub(super) fn bad(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// `404`.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// The text for people.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// `410`: the client's cursor cannot be followed; it must continue at this one.
    pub(super) fn resync(cursor: String, detail: impl Into<String>) -> Self {
        Self { cursor: Some(cursor), ..Self::new(StatusCode::GONE, "resync", detail) }
    }

    /// Adds a `Retry-After` header, in seconds.
    pub(super) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            cursor: self.cursor.as_deref(),
        };
        // Serializing texts and a number cannot fail.
        let document = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (self.status, Bytes::from(document)).into_response();
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
