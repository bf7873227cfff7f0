//! What groups used, by day.

use axum::Json as Out;
use axum::extract::State;
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Params, within};
use super::problem::Problem;
use super::router::Api;
use crate::domain::ids::GroupFolder;
use crate::domain::usage::day;
use crate::store::{Connection, groups, usage};

/// Days that are answered when none are asked for.
const DAYS: u32 = 30;
/// Days that are answered at the most.
const MAX_DAYS: u32 = 3660;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    folder: Option<GroupFolder>,
    days: Option<u32>,
}

pub(super) async fn list(State(api): State<Api>, Params(query): Params<Query>) -> Result<Out<Value>, Problem> {
    let days = within("days", query.days.unwrap_or(DAYS), MAX_DAYS)?;
    let today = day(api.deps.clock.now(), api.deps.settings.timezone);
    let from = today - TimeDelta::days(i64::from(days) - 1);
    let since = move |db: &Connection| {
        let rows = usage::since(db, from, query.folder.as_ref())?;
        groups::expect_known(db, query.folder.as_ref(), rows.is_empty())?;
        Ok(rows)
    };
    let rows = api.deps.store.read(since).await?;
    Ok(Out(json!({ "usage": rows })))
}
