//! Every route on one page.

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::extract::OriginalUri;
use axum::routing::{get, post};
use http::{Method, StatusCode};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::problem::Problem;
use super::upload::MAX_UPLOADS;
use super::{ApiDeps, chats, events, groups, history, messages, outbox, runs, sessions, status, tasks, usage};

/// What handlers share.
#[derive(Debug, Clone)]
pub(super) struct Api(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) deps: ApiDeps,
    /// How many uploads there may be at a time.
    pub(super) uploads: Semaphore,
    /// Ends event streams.
    pub(super) shutdown: CancellationToken,
}

impl Deref for Api {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

pub(super) fn router(deps: ApiDeps, shutdown: CancellationToken) -> Router {
    Router::new()
        .route("/v1/chats", get(chats::list))
        .route("/v1/chats/{jid}/messages", get(history::list).post(messages::accept))
        .route("/v1/events", get(events::stream))
        .route("/v1/groups", get(groups::list).post(groups::register))
        .route("/v1/groups/{folder}", get(groups::show).patch(groups::update).delete(groups::remove))
        .route("/v1/tasks", get(tasks::list).post(tasks::create))
        .route("/v1/tasks/{id}", get(tasks::show).patch(tasks::update).delete(tasks::cancel))
        .route("/v1/tasks/{id}/run", post(tasks::run))
        .route("/v1/tasks/{id}/pause", post(tasks::pause))
        .route("/v1/tasks/{id}/resume", post(tasks::resume))
        .route("/v1/tasks/{id}/history", get(tasks::history))
        .route("/v1/sessions", get(sessions::list))
        .route("/v1/sessions/{folder}", get(sessions::show).patch(sessions::set).delete(sessions::forget))
        .route("/v1/runs", get(runs::list))
        .route("/v1/runs/retry", post(runs::retry))
        .route("/v1/runs/{id}", get(runs::show).delete(runs::stop))
        .route("/v1/runs/{id}/log", get(runs::log))
        .route("/v1/outbox", get(outbox::list))
        .route("/v1/outbox/retry", post(outbox::retry))
        .route("/v1/outbox/{id}", get(outbox::show))
        .route("/v1/outbox/{id}/file", get(outbox::file))
        .route("/v1/refusals", get(chats::refusals))
        .route("/v1/usage", get(usage::list))
        .route("/v1/status", get(status::status))
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .route("/metrics", get(status::metrics))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .with_state(Api(Arc::new(Inner { deps, uploads: Semaphore::new(MAX_UPLOADS), shutdown })))
}

async fn no_route(OriginalUri(uri): OriginalUri) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_route",
        format!("there is nothing at {}: see the list of routes in the documentation", uri.path()),
    )
}

async fn no_method(method: Method, OriginalUri(uri): OriginalUri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{} does not take {method}: the allow header of this answer lists what it takes", uri.path()),
    )
}
