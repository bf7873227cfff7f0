//! Extractors of request parts (body, path, query). Each refuses bad input with a problem document.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Path, Query, Request};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use parlor_protocol::json;
use parlor_protocol::limits::is_word;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use super::router::Api;
use crate::domain::schema;

/// A JSON body. `body_bytes` limits its size; `serde_json` limits nesting to 128 levels.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        is_json(request.headers())?;
        parse(&collect(request, api).await?).map(Self)
    }
}

impl<T: DeserializeOwned> OptionalFromRequest<Api> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Option<Self>, Problem> {
        let is_json = is_json(request.headers());
        let bytes = collect(request, api).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        is_json?;
        parse(&bytes).map(|value| Some(Self(value)))
    }
}

/// Refuses a body without a JSON content type: a page of another origin can send any other type without a CORS
/// preflight.
fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let mut given = headers.get_all(header::CONTENT_TYPE).iter();
    let kind = given.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = kind.split(';').map(str::trim);
    let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.filter_map(|part| part.split_once('=')).all(|(name, value)| {
        let value = value.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset")
            || ["utf-8", "utf8", "us-ascii"].iter().any(|known| known.eq_ignore_ascii_case(value))
    });
    if json && utf8 && given.next().is_none() {
        return Ok(());
    }
    let kind: String = kind.chars().take(80).collect();
    let detail = format!(
        "the content type {kind:?} is not taken here: send JSON in UTF-8 with `Content-Type: application/json`"
    );
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail))
}

/// Parses a body. Invalid JSON with a clear meaning is mended and parsed again. Errors name the field.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let (path, error) = match strict(bytes) {
        Ok(value) => return Ok(value),
        Err(failed) if failed.1.is_syntax() => match strict(&json::mend(bytes)) {
            Ok(value) => return Ok(value),
            Err(failed) => failed,
        },
        Err(failed) => failed,
    };
    Err(Problem::bad(
        "invalid_body",
        match (error.classify(), path.as_str()) {
            (serde_json::error::Category::Data, ".") => format!("the body does not fit: {error}"),
            (serde_json::error::Category::Data, path) => format!("{path} does not fit: {error}"),
            _ => format!("the body is not JSON: {error}"),
        },
    ))
}

/// Parses without mending. An error comes with the path of the field that does not fit.
fn strict<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, (String, serde_json::Error)> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| (error.path().to_string(), error.into_inner()))?;
    reader.end().map_err(|error| (String::new(), error))?;
    Ok(value)
}

async fn collect(request: Request, api: &Api) -> Result<Bytes, Problem> {
    let limits = &api.deps.limits;
    let max = limits.body_bytes;
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("the body has more than {max} bytes: send less, or put large content into a file of the group"),
        )
    };
    let announced = request.headers().get(http::header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > max as u64) {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), max).collect();
    match tokio::time::timeout(limits.body, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Problem::bad("invalid_body", format!("the body could not be read: {error}"))),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            format!("the body did not arrive within {} s: send it in one go", limits.body.as_secs_f32()),
        )),
    }
}

/// The single id in a request's path.
pub(super) struct Id<T>(pub(super) T);

impl<S: Send + Sync, T: FromStr<Err: Display>> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error: PathRejection| Problem::bad("invalid_id", error.body_text()))?;
        text.parse().map(Self).map_err(|error: T::Err| Problem::bad("invalid_id", error.to_string()))
    }
}

/// An id that may be shortened to its beginning; the handler looks up the full id.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Short(pub(super) String);

schema::by_hand!(Short, "Short", {
    "type": "string",
    "pattern": "^[A-Za-z0-9_-]{1,64}$",
    "description": "An id, or so much of its beginning that no other id has it",
});

impl TryFrom<String> for Short {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Short {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(80).collect();
        if is_word(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("{shown:?} is no id, nor the beginning of one"))
        }
    }
}

/// The query parameters of a request.
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(value) = Query::<T>::from_request_parts(parts, state)
            .await
            .map_err(|error: QueryRejection| Problem::bad("invalid_query", error.body_text()))?;
        Ok(Self(value))
    }
}

/// The default and the maximum number of rows in a list.
const LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 10_000;

/// The `limit` parameter of a list.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
pub(super) struct Limit(u32);

impl Default for Limit {
    fn default() -> Self {
        Self(LIMIT)
    }
}

impl Limit {
    /// Returns the number if it is in the allowed range.
    pub(super) fn rows(self) -> Result<u32, Problem> {
        within("limit", self.0, MAX_LIMIT)
    }
}

schema::by_hand!(Limit, "Limit", { "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": LIMIT });

/// Checks that a parameter is from 1 to `max`.
pub(super) fn within(name: &str, number: u32, max: u32) -> Result<u32, Problem> {
    if (1..=max).contains(&number) {
        return Ok(number);
    }
    Err(Problem::bad("invalid_query", format!("{name} {number} is not allowed: use a whole number from 1 to {max}")))
}

/// A field of a patch: an absent field keeps the value, `null` clears it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Change<T> {
    /// The field is absent.
    #[default]
    Keep,
    /// `null`, or the new value.
    Set(Option<T>),
}

impl<T: JsonSchema> JsonSchema for Change<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        Option::<T>::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Change<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::Set)
    }
}
