//! What handlers take from a request, with every refusal as a problem document.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Path, Query, Request};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::problem::Problem;
use super::router::Api;

/// A JSON body of at most the limit's bytes; `serde_json` refuses more than 128 levels of nesting by itself.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        parse(&collect(request, api).await?).map(Self)
    }
}

impl<T: DeserializeOwned> OptionalFromRequest<Api> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Option<Self>, Problem> {
        let bytes = collect(request, api).await?;
        if bytes.is_empty() { Ok(None) } else { parse(&bytes).map(|value| Some(Self(value))) }
    }
}

pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let detail = match error.classify() {
            serde_json::error::Category::Data => format!("the body does not fit: {error}"),
            _ => format!("the body is not JSON: {error}"),
        };
        Problem::bad("invalid_body", detail)
    })
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

/// The one id in a request's path.
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

/// An id as people shorten it; what it stands for is looked up where it is used.
pub(super) struct Short(pub(super) String);

impl FromStr for Short {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fine = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        let shown: String = text.chars().take(80).collect();
        if fine { Ok(Self(text.to_owned())) } else { Err(format!("{shown:?} is no id, nor the beginning of one")) }
    }
}

/// A request's query parameters.
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

/// A field that tells "absent" from `null`: absent leaves a value, null clears it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Change<T> {
    /// Not in the body.
    #[default]
    Keep,
    /// `null`, or the new value.
    Set(Option<T>),
}

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Change<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::Set)
    }
}
