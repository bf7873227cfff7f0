//! The OpenAPI 3.1 document, made from the types of handlers' parameters and answers. A route cannot be added without
//! a description, and a description cannot name a type that the handler does not use.

mod operation;
mod parts;
mod schemas;

use std::fmt;
use std::sync::OnceLock;

use axum::Router;
use axum::extract::State;
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

pub(super) use operation::{Operation, Status};
pub(super) use parts::{Accepted, Created, NoContent};
pub(super) use schemas::at_most;

use self::parts::Described;
use self::schemas::Schemas;
use super::problem;
use super::router::Api;

/// The router, and the description of each route.
pub(super) struct Routes {
    router: Router<Api>,
    document: Document,
}

/// The address and the description of a route.
struct Route {
    method: &'static str,
    path: &'static str,
    describe: Box<dyn Fn(Operation) -> Operation + Send + Sync>,
}

impl Routes {
    pub(super) fn new() -> Self {
        Self { router: Router::new(), document: Document { routes: Vec::new(), bytes: OnceLock::new() } }
    }

    pub(super) fn get<H: Handler<T, Api> + Described<D>, T: 'static, D>(
        self,
        path: &'static str,
        handler: H,
        about: fn(Operation) -> Operation,
    ) -> Self {
        self.route("get", path, get(handler), move |operation| about(H::describe(operation)))
    }

    pub(super) fn post<H: Handler<T, Api> + Described<D>, T: 'static, D>(
        self,
        path: &'static str,
        handler: H,
        about: fn(Operation) -> Operation,
    ) -> Self {
        self.route("post", path, post(handler), move |operation| about(H::describe(operation)))
    }

    pub(super) fn patch<H: Handler<T, Api> + Described<D>, T: 'static, D>(
        self,
        path: &'static str,
        handler: H,
        about: fn(Operation) -> Operation,
    ) -> Self {
        self.route("patch", path, patch(handler), move |operation| about(H::describe(operation)))
    }

    pub(super) fn delete<H: Handler<T, Api> + Described<D>, T: 'static, D>(
        self,
        path: &'static str,
        handler: H,
        about: fn(Operation) -> Operation,
    ) -> Self {
        self.route("delete", path, delete(handler), move |operation| about(H::describe(operation)))
    }

    fn route(
        mut self,
        method: &'static str,
        path: &'static str,
        handler: MethodRouter<Api>,
        describe: impl Fn(Operation) -> Operation + Send + Sync + 'static,
    ) -> Self {
        self.router = self.router.route(path, handler);
        self.document.routes.push(Route { method, path, describe: Box::new(describe) });
        self
    }

    pub(super) fn into_parts(self) -> (Router<Api>, Document) {
        (self.router, self.document)
    }
}

/// The document; rendered at the first request.
pub(super) struct Document {
    routes: Vec<Route>,
    bytes: OnceLock<Bytes>,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("routes", &self.routes.len()).finish_non_exhaustive()
    }
}

impl Document {
    /// Makes the document's JSON.
    pub(super) fn json(&self) -> Value {
        let mut schemas = Schemas::new();
        let mut paths: Map<String, Value> = Map::new();
        for route in &self.routes {
            let operation = (route.describe)(Operation::new(route.path, schemas));
            let (described, back) = operation.finish();
            schemas = back;
            let path = paths.entry(route.path).or_insert_with(|| json!({}));
            path[route.method] = described;
        }
        let mut paths = Value::Object(paths);
        let problem = schemas.given::<problem::Document>();
        let components = schemas.finish(&mut paths);
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Parlor",
                "version": env!("CARGO_PKG_VERSION"),
                "summary": "The local API of a Parlor host",
                "description": "On a Unix socket without authentication (its mode lets in its user alone), on TCP with a \
                    bearer token. Every GET route answers HEAD, too. docs/API.md explains the meaning of the fields.",
                "license": { "name": "Apache 2.0", "identifier": "Apache-2.0" },
            },
            "servers": [{ "url": "/", "description": "The host that serves this document" }],
            "security": [{ "token": [] }, {}],
            "paths": paths,
            "components": {
                "schemas": components,
                "responses": operation::refusals(&problem),
                "securitySchemes": {
                    "token": { "type": "http", "scheme": "bearer", "description": "`PARLOR_TOKEN`; on TCP alone" },
                },
            },
        })
    }
}

pub(super) fn describe(operation: Operation) -> Operation {
    operation.answers(StatusCode::OK, "An OpenAPI 3.1 document").content(
        StatusCode::OK,
        "application/json",
        &json!({ "type": "object" }),
    )
}

/// `GET /v1/openapi.json`.
pub(super) async fn serve(State(api): State<Api>) -> Response {
    let document = &api.document;
    let bytes = document.bytes.get_or_init(|| Bytes::from(document.json().to_string())).clone();
    let mut response = bytes.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
