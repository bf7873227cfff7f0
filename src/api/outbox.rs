//! Routes of the outbox: deliveries that wait, failed or were made.

use std::fmt::Write as _;

use axum::Json as Out;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::io::ReaderStream;

use super::body::{Id, Json, Limit, Params, Short};
use super::openapi::{Operation, Status};
use super::problem::Problem;
use super::router::Api;
use super::runs::Retried;
use super::time::Time;
use crate::domain::delivery::{Delivery, DeliveryKind, DeliveryState, FileInfo, NewDelivery};
use crate::domain::ids::{ChatJid, DeliveryId, RunId};
use crate::store::{outbox, short_ids};

/// Characters of a text in a list.
const PREVIEW: usize = 200;
/// Bytes of a piece when a file is sent.
const PIECE: usize = 64 << 10;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Delivered rows, too.
    #[serde(default)]
    all: bool,
    /// The largest number of rows.
    #[serde(default)]
    limit: Limit,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DeliveriesToRetry")]
pub(super) struct Retry {
    /// One delivery, by its id or the beginning of it; without it, all failed ones.
    id: Option<Short>,
}

/// Deliveries, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Deliveries {
    outbox: Vec<Shown>,
}

/// A text or file on its way to a chat.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Delivery")]
pub(super) struct Shown {
    id: DeliveryId,
    jid: ChatJid,
    /// In a list, its first 200 characters.
    text: String,
    /// Characters of the whole text.
    length: usize,
    kind: DeliveryKind,
    /// The run that made it.
    run_id: Option<RunId>,
    state: DeliveryState,
    /// Parts that the channel has taken.
    parts_done: u32,
    /// Failed attempts so far.
    tries: u32,
    /// When the next attempt is due.
    next_try: Option<Time>,
    last_error: Option<String>,
    created_at: Time,
    file: Option<FileInfo>,
}

impl From<Delivery> for Shown {
    fn from(delivery: Delivery) -> Self {
        let new = delivery.new;
        Self {
            id: new.id,
            jid: new.jid,
            length: new.text.chars().count(),
            text: new.text,
            kind: new.kind,
            run_id: new.run_id,
            state: delivery.state,
            parts_done: delivery.parts_done,
            tries: delivery.tries,
            next_try: delivery.next_try.map(Time),
            last_error: delivery.last_error,
            created_at: Time(delivery.created_at),
            file: new.file,
        }
    }
}

impl Shown {
    /// Cuts the text to its preview.
    fn cut(mut self) -> Self {
        if let Some((end, _)) = self.text.char_indices().nth(PREVIEW) {
            self.text.truncate(end);
        }
        self
    }
}

pub(super) async fn list(State(api): State<Api>, Params(query): Params<Query>) -> Result<Out<Deliveries>, Problem> {
    let limit = query.limit.rows()?;
    let rows = api
        .deps
        .store
        .read(move |db| Ok(outbox::list(db, query.all, limit)?.into_iter().map(|row| Shown::from(row).cut()).collect()))
        .await?;
    Ok(Out(Deliveries { outbox: rows }))
}

pub(super) async fn show(State(api): State<Api>, Id(Short(id)): Id<Short>) -> Result<Out<Shown>, Problem> {
    Ok(Out(find(&api, id).await?.into()))
}

/// Finds a delivery by its id or the beginning of it.
async fn find(api: &Api, id: String) -> Result<Delivery, Problem> {
    let found = api.deps.store.read(move |db| outbox::get(db, short_ids::delivery(db, &id)?)).await?;
    found.ok_or_else(|| Problem::not_found("there is no such delivery"))
}

pub(super) fn describe_file(operation: Operation) -> Operation {
    let schema = json!({ "type": "string", "contentMediaType": "application/octet-stream" });
    operation
        .answers(StatusCode::OK, "Its bytes")
        .content(StatusCode::OK, "application/octet-stream", &schema)
        .header(StatusCode::OK, "Content-Disposition", "The file's name")
        .fails(&[Status::Conflict])
}

/// Serves the file of a delivery.
pub(super) async fn file(State(api): State<Api>, Id(Short(id)): Id<Short>) -> Result<Response, Problem> {
    let NewDelivery { id, file, .. } = find(&api, id).await?.new;
    let Some(file) = file else { return Err(Problem::not_found(format!("delivery {id} has no file"))) };
    let path = api.deps.store.files().path(id, &file.name);
    let open = tokio::fs::File::open(path).await;
    let open = open.map_err(|error| Problem::not_found(format!("the file of delivery {id} is gone: {error}")))?;
    let mut response = Response::new(Body::from_stream(ReaderStream::with_capacity(open, PIECE)));
    let headers = response.headers_mut();
    // A browser must never show it as a page of the host: an agent chose the content.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_LENGTH, file.size.into());
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename*=UTF-8''{}", percent(&file.name))) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// Encodes a name as in RFC 8187.
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

pub(super) async fn retry(State(api): State<Api>, body: Option<Json<Retry>>) -> Result<Out<Retried>, Problem> {
    let id = body.and_then(|Json(body)| body.id);
    let retried = api
        .deps
        .store
        .write(move |tx| {
            let id = id.map(|Short(id)| short_ids::delivery(tx, &id)).transpose()?;
            outbox::retry(tx, id)
        })
        .await?;
    Ok(Out(Retried { retried }))
}
