//! The table of all routes.

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::extract::OriginalUri;
use http::{Method, StatusCode};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::long_texts::LongTexts;
use super::openapi::{self, Document, Routes, Status};
use super::problem::Problem;
use super::upload::MAX_UPLOADS;
use super::{ApiDeps, chats, events, groups, history, messages, outbox, runs, sessions, status, tasks, usage};

/// The state that handlers share.
#[derive(Debug, Clone)]
pub(super) struct Api(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) deps: ApiDeps,
    /// Limits concurrent uploads.
    pub(super) uploads: Semaphore,
    /// The cache of long texts for event streams.
    pub(super) long_texts: LongTexts,
    /// Cancelled at shutdown; ends event streams.
    pub(super) shutdown: CancellationToken,
    /// The OpenAPI document.
    pub(super) document: Document,
}

impl Deref for Api {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

pub(super) fn router(deps: ApiDeps, shutdown: CancellationToken) -> Router {
    let (router, document) = routes().into_parts();
    router.fallback(no_route).method_not_allowed_fallback(no_method).with_state(Api(Arc::new(Inner {
        deps,
        uploads: Semaphore::new(MAX_UPLOADS),
        long_texts: LongTexts::default(),
        shutdown,
        document,
    })))
}

/// Each route with its handler, its id, its summary, and the refusals that the handler's types do not show.
pub(super) fn routes() -> Routes {
    let conversations = Routes::new()
        .get("/v1/chats", chats::list, |op| op.is("listChats", "Lists known chats, registered or not"))
        .get("/v1/chats/{jid}/messages", history::list, |op| {
            op.is("listMessages", "Lists the messages of a chat, in both directions, newest first")
                .explained(
                    "Without a cursor, the last ones. `before` leads back; a client that polls gives the `after` \
                    of the answer before. What is stored is answered once, whatever its time.",
                )
                .fails(&[Status::Gone])
        })
        .post("/v1/chats/{jid}/messages", messages::accept, |op| {
            op.is("sendMessage", "Accepts a message, answered after it is on the disk")
                .body::<messages::Body>(true)
                .or_form::<messages::Body>()
        })
        .get("/v1/events", events::stream, |op| events::describe(op.is("followEvents", "Follows events")))
        .get("/v1/outbox", outbox::list, |op| {
            op.is("listDeliveries", "Lists waiting and failed deliveries, newest first")
        })
        .post("/v1/outbox/retry", outbox::retry, |op| {
            op.is("retryDeliveries", "Tries failed deliveries again").fails(&[Status::NotFound, Status::Conflict])
        })
        .get("/v1/outbox/{id}", outbox::show, |op| {
            op.is("showDelivery", "Shows a delivery with its whole text").fails(&[Status::Conflict])
        })
        .get("/v1/outbox/{id}/file", outbox::file, |op| {
            outbox::describe_file(op.is("readFile", "Reads the file that a delivery carries"))
        })
        .get("/v1/refusals", chats::refusals, |op| {
            op.is("listRefusals", "Lists refused requests of agents, newest first")
        });
    operations(groups_and_tasks(conversations))
}

fn groups_and_tasks(routes: Routes) -> Routes {
    use Status::{Conflict, NotFound};
    routes
        .get("/v1/groups", groups::list, |op| op.is("listGroups", "Lists registered groups"))
        .post("/v1/groups", groups::register, |op| op.is("registerGroup", "Registers a group").fails(&[Conflict]))
        .get("/v1/groups/{folder}", groups::show, |op| op.is("showGroup", "Shows a group"))
        .patch("/v1/groups/{folder}", groups::update, |op| op.is("changeGroup", "Changes a group").fails(&[Conflict]))
        .delete("/v1/groups/{folder}", groups::remove, |op| {
            op.is("removeGroup", "Removes a group and ends its runs; its files stay").fails(&[Conflict])
        })
        .get("/v1/sessions", sessions::list, |op| op.is("listSessions", "Lists the sessions that agents resume"))
        .get("/v1/sessions/{folder}", sessions::show, |op| {
            op.is("showSession", "Shows the session that a group used last")
        })
        .patch("/v1/sessions/{folder}", sessions::set, |op| {
            op.is("setSession", "Sets the session that a group resumes")
        })
        .delete("/v1/sessions/{folder}", sessions::forget, |op| {
            op.is("forgetSessions", "Forgets all sessions of a group")
        })
        .get("/v1/tasks", tasks::list, |op| op.is("listTasks", "Lists scheduled tasks").fails(&[NotFound]))
        .post("/v1/tasks", tasks::create, |op| op.is("createTask", "Schedules a task").fails(&[NotFound, Conflict]))
        .get("/v1/tasks/{id}", tasks::show, |op| op.is("showTask", "Shows a task").fails(&[Conflict]))
        .patch("/v1/tasks/{id}", tasks::update, |op| op.is("changeTask", "Changes a task").fails(&[Conflict]))
        .delete("/v1/tasks/{id}", tasks::cancel, |op| op.is("cancelTask", "Cancels a task").fails(&[Conflict]))
        .post("/v1/tasks/{id}/run", tasks::run, |op| op.is("runTask", "Fires a task now").fails(&[Conflict]))
        .post("/v1/tasks/{id}/pause", tasks::pause, |op| op.is("pauseTask", "Pauses a task").fails(&[Conflict]))
        .post("/v1/tasks/{id}/resume", tasks::resume, |op| op.is("resumeTask", "Resumes a task").fails(&[Conflict]))
        .get("/v1/tasks/{id}/history", tasks::history, |op| {
            op.is("listFirings", "Lists the firings of a task, newest first").fails(&[Conflict])
        })
}

fn operations(routes: Routes) -> Routes {
    use Status::{Conflict, NotFound};
    routes
        .get("/v1/runs", runs::list, |op| op.is("listRuns", "Lists runs, newest first").fails(&[NotFound]))
        .post("/v1/runs/retry", runs::retry, |op| {
            op.is("retryRuns", "Gives a group's failed messages another try").fails(&[NotFound])
        })
        .get("/v1/runs/{id}", runs::show, |op| op.is("showRun", "Shows a run").fails(&[Conflict]))
        .delete("/v1/runs/{id}", runs::stop, |op| op.is("stopRun", "Ends a run and no other").fails(&[Conflict]))
        .get("/v1/runs/{id}/log", runs::log, |op| runs::describe_log(op.is("readLog", "Reads the log of a run")))
        .get("/v1/usage", usage::list, |op| {
            op.is("listUsage", "Lists the use of groups by day, newest first").fails(&[NotFound])
        })
        .get("/v1/status", status::status, |op| op.is("showStatus", "Shows what the host and its groups do"))
        .get("/v1/openapi.json", openapi::serve, |op| openapi::describe(op.is("describe", "Shows this document")))
        .get("/healthz", status::healthz, |op| op.is("isHealthy", "Answers while the store does"))
        .get("/readyz", status::readyz, |op| op.is("isReady", "Answers once the host has recovered and takes work"))
        .get("/metrics", status::metrics, |op| {
            status::describe_metrics(op.is("readMetrics", "Reads metrics for Prometheus"))
        })
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
