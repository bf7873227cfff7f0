//! What runs, what waits and why; health, readiness and metrics.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json as Out;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::problem::Problem;
use super::router::Api;
use crate::container::engine::ContainerEngine;
use crate::dispatch::Doing;
use crate::domain::group::Group;
use crate::store::fallbacks::StandIns;
use crate::store::{TxResult, groups};

/// How long the store may take to show that it lives.
const ALIVE: Duration = Duration::from_secs(5);
/// Groups that are asked at a time what they do.
const AT_ONCE: usize = 64;

pub(super) async fn status(State(api): State<Api>) -> Result<Out<Value>, Problem> {
    let deps = &api.deps;
    let now = deps.clock.now();
    let (all, counts) = deps.store.read(move |db| Ok((groups::all(db)?, Counts::read(db, now)?))).await?;
    // Asked at once, answered in order.
    let rows: Vec<Value> = stream::iter(all).map(|group| row(&api, group, &counts)).buffered(AT_ONCE).collect().await;
    Ok(Out(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": *deps.ready.borrow(),
        "home": deps.settings.home.root(),
        "assistant": deps.settings.assistant_name,
        "maxContainers": deps.settings.max_containers,
        "cursor": format!("{}-{}", deps.store.id(), *deps.store.events().borrow()),
        "engine": deps.engine.as_deref().map(engine),
        "outbox": counts.outbox,
        "groups": rows,
    })))
}

fn engine(engine: &dyn ContainerEngine) -> Value {
    let can = engine.capabilities();
    let unsupported: Vec<Value> = can.unsupported.iter().map(|u| json!({ "what": u.what, "why": u.why })).collect();
    json!({ "name": engine.name(), "version": can.version, "rootless": can.rootless, "unsupported": unsupported })
}

async fn row(api: &Api, group: Group, counts: &Counts) -> Value {
    let activity = api.deps.dispatch.activity(&group.folder).await;
    let runs: Vec<Value> = activity
        .runs
        .iter()
        .map(|run| {
            let open = run.doing != Doing::Idle;
            json!({ "id": run.run, "lane": run.lane, "turnOpen": open, "doing": run.doing })
        })
        .collect();
    json!({
        "messages": counts.messages.get(group.jid.as_str()),
        "folder": group.folder,
        "jid": group.jid,
        "name": group.name,
        "isMain": group.is_main,
        "paused": group.paused,
        "answers": counts.stand_ins.told.get(group.folder.as_str()),
        "outages": counts.stand_ins.outages.get(group.folder.as_str()).map_or(&[][..], Vec::as_slice),
        "runs": runs,
        "waiting": activity.waiting,
    })
}

/// Open and failed rows, counted.
struct Counts {
    /// By chat and state.
    messages: HashMap<String, HashMap<String, i64>>,
    /// By state.
    outbox: HashMap<String, i64>,
    /// Who answers instead of groups' own.
    stand_ins: StandIns,
}

impl Counts {
    fn read(db: &Connection, now: DateTime<Utc>) -> TxResult<Self> {
        let mut messages: HashMap<String, HashMap<String, i64>> = HashMap::new();
        // Context that is kept waits for no turn. Each part of the union has a partial index of its own.
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

pub(super) async fn healthz(State(api): State<Api>) -> Result<Out<Value>, Problem> {
    let alive = api.deps.store.read(|db| Ok(db.query_row("SELECT 1", [], |_| Ok(()))?));
    match tokio::time::timeout(ALIVE, alive).await {
        Ok(Ok(())) => Ok(Out(json!({ "status": "ok" }))),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_slow",
            format!("the store did not answer within {} s: look at the disk", ALIVE.as_secs()),
        )),
    }
}

pub(super) async fn readyz(State(api): State<Api>) -> Result<Out<Value>, Problem> {
    if *api.deps.ready.borrow() {
        return Ok(Out(json!({ "status": "ready" })));
    }
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "the host is starting or ending: ask again soon")
        .retry_after(1))
}

pub(super) async fn metrics(State(api): State<Api>) -> Response {
    let mut response = api.deps.metrics.render().into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}
