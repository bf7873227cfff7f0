//! A message with files: `multipart/form-data`, first the message's JSON, then a part for each file, streamed to
//! disk.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::BodyDataStream;
use axum::extract::Request;
use bytes::Bytes;
use futures_util::Stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use multer::{Field, Multipart};
use tokio::time::{Instant, timeout, timeout_at};

use super::body;
use super::messages::{self, Body};
use super::problem::Problem;
use super::router::Api;
use crate::channel::intake::attach::{MAX_FILES, Parcel};
use crate::channel::intake::ingest::Accepted;
use crate::domain::ids::ChatJid;

/// The largest number of concurrent uploads; their files wait beside the database.
pub(super) const MAX_UPLOADS: usize = 32;
/// Bytes that the parser may hold between files: a part's headers must fit.
const BETWEEN: usize = 64 << 10;
/// The whole upload may take this many times the limit of an ordinary body.
const PATIENCE: u32 = 20;
/// The name of the part with the message.
const MESSAGE: &str = "message";

/// Returns the boundary of a form, or None if the body is something else.
pub(super) fn boundary(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let form = kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("multipart/form-data"));
    if !form {
        return Ok(None);
    }
    let wrong = |error| Problem::bad("invalid_body", format!("the content type {kind:?} is no form's: {error}"));
    multer::parse_boundary(kind).map(Some).map_err(wrong)
}

/// Stores the message and its files.
pub(super) async fn accept(api: &Api, jid: ChatJid, request: Request, boundary: &str) -> Result<Accepted, Problem> {
    let Ok(_slot) = api.uploads.try_acquire() else {
        let detail = format!("{MAX_UPLOADS} uploads are under way: try again in a moment");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_uploads", detail).retry_after(2));
    };
    let max = most(api);
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > max) {
        return Err(too_large(max));
    }
    let mut form = Form::new(api, request, boundary, max);
    let Some(mut part) = form.next().await? else { return Err(no_message()) };
    if part.name() != Some(MESSAGE) {
        return Err(no_message());
    }
    let mut text = Vec::new();
    while let Some(bytes) = form.more(&mut part).await? {
        text.extend_from_slice(&bytes);
        if text.len() > api.deps.limits.body_bytes {
            return Err(too_large(api.deps.limits.body_bytes as u64));
        }
    }
    drop(part);
    let message = messages::message(api, jid, body::parse::<Body>(&text)?);
    let mut files = api.deps.ingest.files_for(&message).await?;
    while let Some(part) = form.next().await? {
        form.file(part, &mut files).await?;
    }
    Ok(api.deps.ingest.accept_with(message, files).await?)
}

/// The size limit of a whole upload: files over the limits are skipped, but not without end.
fn most(api: &Api) -> u64 {
    let files = api.deps.ingest.max_file().saturating_mul(MAX_FILES as u64);
    files.saturating_add(api.deps.limits.body_bytes as u64)
}

fn no_message() -> Problem {
    let detail = "the form's first part must be called `message` and hold the message's JSON; files come after it";
    Problem::bad("invalid_body", detail)
}

fn too_large(max: u64) -> Problem {
    let detail = format!("the body has more than {max} bytes: send fewer or smaller files");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

/// A form that is being received.
struct Form {
    parts: Multipart<'static>,
    /// Bytes given to the parser since it last returned something.
    held: Arc<AtomicUsize>,
    max: u64,
    /// The time limits of each piece and of the whole form.
    each: Duration,
    until: Instant,
}

impl Form {
    fn new(api: &Api, request: Request, boundary: &str, max: u64) -> Self {
        let held = Arc::new(AtomicUsize::new(0));
        let stream = Paced { body: request.into_body().into_data_stream(), held: held.clone(), left: max, gave: false };
        let each = api.deps.limits.body;
        Self { parts: Multipart::new(stream, boundary), held, max, each, until: Instant::now() + each * PATIENCE }
    }

    async fn next(&mut self) -> Result<Option<Field<'static>>, Problem> {
        let part = timeout_at(self.until, timeout(self.each, self.parts.next_field())).await;
        self.held.store(0, Ordering::Relaxed);
        self.check(part)
    }

    async fn more(&self, part: &mut Field<'static>) -> Result<Option<Bytes>, Problem> {
        let bytes = timeout_at(self.until, timeout(self.each, part.chunk())).await;
        self.held.store(0, Ordering::Relaxed);
        self.check(bytes)
    }

    fn check<T, E>(&self, result: Result<Result<Result<T, multer::Error>, E>, E>) -> Result<T, Problem> {
        match result {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(multer::Error::StreamReadFailed(error)))) if error.is::<TooLong>() => Err(too_large(self.max)),
            Ok(Ok(Err(error))) => {
                Err(Problem::bad("invalid_body", format!("the form could not be read to its end: {error}")))
            }
            Ok(Err(_)) | Err(_) => {
                let (each, all) = (self.each.as_secs_f32(), (self.each * PATIENCE).as_secs_f32());
                let detail = format!("nothing came for {each} s, or the upload took more than {all} s: send it again");
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail))
            }
        }
    }

    async fn file(&self, mut part: Field<'static>, files: &mut Parcel) -> Result<(), Problem> {
        // RFC 7578, 4.2: what has no filename is a field and no file. A client that forgot it would miss the file later.
        let Some(name) = part.file_name().map(str::to_owned) else {
            let detail = "a part after `message` has no filename: send each file with one";
            return Err(Problem::bad("invalid_body", detail));
        };
        let kind = part.content_type().map(|kind| kind.essence_str().to_owned());
        files.begin(&name, kind.as_deref()).await?;
        while let Some(bytes) = self.more(&mut part).await? {
            files.write(&bytes).await?;
        }
        Ok(files.end().await?)
    }
}

/// The form exceeds its size limit.
#[derive(Debug, thiserror::Error)]
#[error("there is no end to it")]
struct TooLong;

/// A body that is fed to the parser piece by piece. The parser would otherwise read and keep all that is available.
struct Paced {
    body: BodyDataStream,
    held: Arc<AtomicUsize>,
    left: u64,
    gave: bool,
}

impl Stream for Paced {
    type Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.gave) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match std::task::ready!(Pin::new(&mut self.body).poll_next(cx)) {
            None => Poll::Ready(None),
            Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            Some(Ok(bytes)) => {
                self.gave = true;
                let held = self.held.fetch_add(bytes.len(), Ordering::Relaxed);
                let left = self.left.checked_sub(bytes.len() as u64);
                // One piece may be large; the bytes held beside it may not.
                let (true, Some(left)) = (held <= BETWEEN, left) else {
                    return Poll::Ready(Some(Err(TooLong.into())));
                };
                self.left = left;
                Poll::Ready(Some(Ok(bytes)))
            }
        }
    }
}
