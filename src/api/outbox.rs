//! What waits to go out, and what could not.

use std::fmt::Write as _;

use axum::Json as Out;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;

use super::body::{Id, Json, Params, Short, limit};
use super::problem::Problem;
use super::router::Api;
use crate::domain::clock::rfc3339;
use crate::domain::delivery::{Delivery, NewDelivery};
use crate::store::{outbox, short_ids};

/// Characters of a text that a list shows.
const PREVIEW: usize = 200;
/// Bytes of a file that are sent in one piece.
const PIECE: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Delivered rows, too.
    #[serde(default)]
    all: bool,
    limit: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    id: Option<String>,
}

pub(super) async fn list(State(api): State<Api>, Params(query): Params<Query>) -> Result<Out<Value>, Problem> {
    let limit = limit(query.limit)?;
    let rows = api
        .deps
        .store
        .read(move |db| Ok(outbox::list(db, query.all, limit)?.iter().map(row).collect::<Vec<Value>>()))
        .await?;
    Ok(Out(json!({ "outbox": rows })))
}

pub(super) async fn show(State(api): State<Api>, Id(Short(id)): Id<Short>) -> Result<Out<Value>, Problem> {
    let delivery = find(&api, id).await?;
    let mut whole = row(&delivery);
    whole["text"] = delivery.new.text.into();
    Ok(Out(whole))
}

/// A delivery by its id, or the beginning of it.
async fn find(api: &Api, id: String) -> Result<Delivery, Problem> {
    let found = api.deps.store.read(move |db| outbox::get(db, short_ids::delivery(db, &id)?)).await?;
    found.ok_or_else(|| Problem::not_found("there is no such delivery"))
}

/// The bytes of the file that a delivery carries.
pub(super) async fn file(State(api): State<Api>, Id(Short(id)): Id<Short>) -> Result<Response, Problem> {
    let NewDelivery { id, file, .. } = find(&api, id).await?.new;
    let Some(file) = file else { return Err(Problem::not_found(format!("delivery {id} has no file"))) };
    let path = api.deps.store.files().path(id, &file.name);
    let open = tokio::fs::File::open(path).await;
    let open = open.map_err(|error| Problem::not_found(format!("the file of delivery {id} is gone: {error}")))?;
    let mut response = Response::new(Body::from_stream(ReaderStream::with_capacity(open, PIECE)));
    let headers = response.headers_mut();
    // Never shown by a browser as a page of the host's own: an agent chose what is in it.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_LENGTH, file.size.into());
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename*=UTF-8''{}", percent(&file.name))) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// A name as RFC 8187 writes it.
fn percent(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A delivery with the beginning of its text.
fn row(delivery: &Delivery) -> Value {
    let new = &delivery.new;
    json!({
        "id": new.id,
        "jid": new.jid,
        "text": new.text.chars().take(PREVIEW).collect::<String>(),
        "length": new.text.chars().count(),
        "kind": new.kind,
        "runId": new.run_id,
        "state": delivery.state,
        "partsDone": delivery.parts_done,
        "tries": delivery.tries,
        "nextTry": delivery.next_try.map(rfc3339),
        "lastError": delivery.last_error,
        "createdAt": rfc3339(delivery.created_at),
        "file": new.file,
    })
}

pub(super) async fn retry(State(api): State<Api>, body: Option<Json<Retry>>) -> Result<Out<Value>, Problem> {
    let id = body.and_then(|Json(body)| body.id);
    let retried = api
        .deps
        .store
        .write(move |tx| {
            let id = id.map(|id| short_ids::delivery(tx, &id)).transpose()?;
            outbox::retry(tx, id)
        })
        .await?;
    Ok(Out(json!({ "retried": retried })))
}
