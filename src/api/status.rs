//! Status of the host and its groups; health, readiness and metrics.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use axum::Json as Out;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use rusqlite::Connection;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::openapi::Operation;
use super::problem::Problem;
use super::router::Api;
use crate::container::engine::ContainerEngine;
use crate::dispatch::Doing;
use crate::domain::group::{Group, Pause};
use crate::domain::ids::{ChatJid, GroupFolder, RunId};
use crate::domain::run::Lane;
use crate::store::fallbacks::{Outage, StandIns};
use crate::store::{TxResult, groups};

/// The time limit for the store's answer to the health check.
const ALIVE: Duration = Duration::from_secs(5);
/// The number of groups whose actors are asked concurrently.
const AT_ONCE: usize = 64;

/// The state of the host and its groups.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    /// Parlor's version.
    version: &'static str,
    /// Whether the host has recovered and takes work.
    ready: bool,
    /// The installation's folder.
    #[schemars(with = "String")]
    home: PathBuf,
    /// The assistant's name.
    assistant: String,
    /// The largest number of containers at once.
    max_containers: usize,
    /// The current end of the event stream.
    cursor: String,
    /// Null if no host runs.
    engine: Option<Engine>,
    /// Deliveries that wait or failed, by state.
    outbox: BTreeMap<String, u32>,
    groups: Vec<Row>,
}

/// The container engine.
#[derive(Serialize, JsonSchema)]
struct Engine {
    name: String,
    version: String,
    rootless: bool,
    /// Features that it cannot enforce or provide here.
    unsupported: Vec<Unsupported>,
}

/// A feature that the engine cannot enforce or provide here.
#[derive(Serialize, JsonSchema)]
struct Unsupported {
    what: &'static str,
    why: String,
}

/// The state of a group.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GroupStatus")]
struct Row {
    folder: GroupFolder,
    jid: ChatJid,
    name: String,
    is_main: bool,
    /// Set while a limit of the vendor pauses the group.
    paused: Option<Pause>,
    /// Messages that wait for an answer or failed, by state; null if there are none.
    messages: Option<BTreeMap<String, u32>>,
    /// The provider that answers instead of the group's own.
    answers: Option<String>,
    /// Providers that cannot answer at the moment.
    outages: Vec<Outage>,
    runs: Vec<LiveRun>,
    /// Why work waits: a slot, a back-off, a pause.
    waiting: Option<String>,
}

/// A run that is alive or about to start.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LiveRun {
    id: RunId,
    lane: Lane,
    /// Whether it owes an answer.
    turn_open: bool,
    doing: Doing,
}

/// A positive health or readiness answer.
#[derive(Serialize, JsonSchema)]
pub(super) struct Well {
    /// `ok` or `ready`.
    status: &'static str,
}

pub(super) async fn status(State(api): State<Api>) -> Result<Out<Status>, Problem> {
    let deps = &api.deps;
    let now = deps.clock.now();
    let (all, counts) = deps.store.read(move |db| Ok((groups::all(db)?, Counts::read(db, now)?))).await?;
    // Groups are queried concurrently; the rows keep their order.
    let rows: Vec<Row> = stream::iter(all).map(|group| row(&api, group, &counts)).buffered(AT_ONCE).collect().await;
    Ok(Out(Status {
        version: env!("CARGO_PKG_VERSION"),
        ready: *deps.ready.borrow(),
        home: deps.settings.home.root().to_owned(),
        assistant: deps.settings.assistant_name.clone(),
        max_containers: deps.settings.max_containers,
        cursor: format!("{}-{}", deps.store.id(), *deps.store.events().borrow()),
        engine: deps.engine.as_deref().map(engine),
        outbox: counts.outbox,
        groups: rows,
    }))
}

fn engine(engine: &dyn ContainerEngine) -> Engine {
    let can = engine.capabilities();
    let unsupported = can.unsupported.into_iter().map(|u| Unsupported { what: u.what, why: u.why }).collect();
    Engine { name: engine.name().to_owned(), version: can.version, rootless: can.rootless, unsupported }
}

async fn row(api: &Api, group: Group, counts: &Counts) -> Row {
    let activity = api.deps.dispatch.activity(&group.folder).await;
    let runs = activity.runs.iter().map(|run| LiveRun {
        id: run.run,
        lane: run.lane,
        turn_open: run.doing != Doing::Idle,
        doing: run.doing,
    });
    let stand_ins = &counts.stand_ins;
    Row {
        messages: counts.messages.get(group.jid.as_str()).cloned(),
        answers: stand_ins.told.get(group.folder.as_str()).cloned(),
        outages: stand_ins.outages.get(group.folder.as_str()).cloned().unwrap_or_default(),
        runs: runs.collect(),
        waiting: activity.waiting,
        folder: group.folder,
        jid: group.jid,
        name: group.name,
        is_main: group.is_main,
        paused: group.paused,
    }
}

/// Numbers of open and failed rows.
struct Counts {
    /// By chat and state.
    messages: HashMap<String, BTreeMap<String, u32>>,
    /// By state.
    outbox: BTreeMap<String, u32>,
    /// Providers that answer instead of groups' own.
    stand_ins: StandIns,
}

impl Counts {
    fn read(db: &Connection, now: DateTime<Utc>) -> TxResult<Self> {
        let mut messages: HashMap<String, BTreeMap<String, u32>> = HashMap::new();
        // Context messages do not wait for a turn and are not counted. Each part of the union uses its own partial
        // index.
        let mut s = db.prepare_cached(
            "SELECT jid, state, count(*) FROM inbound
               WHERE state IN ('pending', 'in_flight') AND (role IN ('trigger', 'command') OR state = 'in_flight') GROUP BY jid, state
             UNION ALL SELECT jid, state, count(*) FROM inbound WHERE state = 'failed' GROUP BY jid",
        )?;
        let mut rows = s.query([])?;
        while let Some(row) = rows.next()? {
            messages.entry(row.get(0)?).or_default().insert(row.get(1)?, row.get(2)?);
        }
        let mut s = db.prepare_cached(
            "SELECT 'pending', count(*) FROM outbox WHERE state = 'pending'
             UNION ALL SELECT 'failed', count(*) FROM outbox WHERE state = 'failed'",
        )?;
        let outbox = s.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let stand_ins = StandIns::of_all(db, now)?;
        Ok(Self { messages, outbox, stand_ins })
    }
}

pub(super) async fn healthz(State(api): State<Api>) -> Result<Out<Well>, Problem> {
    let alive = api.deps.store.read(|db| Ok(db.query_row("SELECT 1", [], |_| Ok(()))?));
    match tokio::time::timeout(ALIVE, alive).await {
        Ok(Ok(())) => Ok(Out(Well { status: "ok" })),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_slow",
            format!("the store did not answer within {} s: look at the disk", ALIVE.as_secs()),
        )),
    }
}

pub(super) async fn readyz(State(api): State<Api>) -> Result<Out<Well>, Problem> {
    if *api.deps.ready.borrow() {
        return Ok(Out(Well { status: "ready" }));
    }
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "the host is starting or ending: ask again soon")
        .retry_after(1))
}

pub(super) fn describe_metrics(operation: Operation) -> Operation {
    operation.answers(StatusCode::OK, "Metrics").content(StatusCode::OK, "text/plain", &json!({ "type": "string" }))
}

pub(super) async fn metrics(State(api): State<Api>) -> Response {
    let mut response = api.deps.metrics.render().into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}
