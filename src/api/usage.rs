//! `GET /v1/usage`: groups' usage by day.

use axum::Json as Out;
use axum::extract::State;
use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::{Params, within};
use super::openapi::at_most;
use super::problem::Problem;
use super::router::Api;
use crate::domain::ids::GroupFolder;
use crate::domain::usage::day;
use crate::store::usage::Day;
use crate::store::{Connection, groups, usage};

/// Days in an answer by default.
const DAYS: u32 = 30;
/// The largest number of days in an answer.
const MAX_DAYS: u32 = 3660;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Only this group.
    folder: Option<GroupFolder>,
    /// The number of days, including today; 30 by default.
    #[serde(default)]
    #[schemars(schema_with = "at_most::<MAX_DAYS>")]
    days: Option<u32>,
}

/// The usage of groups by day, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Used {
    usage: Vec<Day>,
}

pub(super) async fn list(State(api): State<Api>, Params(query): Params<Query>) -> Result<Out<Used>, Problem> {
    let days = within("days", query.days.unwrap_or(DAYS), MAX_DAYS)?;
    let today = day(api.deps.clock.now(), api.deps.settings.timezone);
    let from = today - TimeDelta::days(i64::from(days) - 1);
    let since = move |db: &Connection| {
        let rows = usage::since(db, from, query.folder.as_ref())?;
        groups::expect_known(db, query.folder.as_ref(), rows.is_empty())?;
        Ok(rows)
    };
    let rows = api.deps.store.read(since).await?;
    Ok(Out(Used { usage: rows }))
}
