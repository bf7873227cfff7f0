//! Descriptions of the types in handlers' signatures.

use std::future::Future;

use axum::Json as Out;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;

use super::operation::{Operation, Status};
use crate::api::body::{Id, Json, Params};
use crate::api::problem::Problem;
use crate::api::router::Api;

/// A parameter of a handler: a part of the request.
pub(in crate::api) trait Takes {
    fn describe(operation: Operation) -> Operation;
}

/// The result of a handler.
pub(in crate::api) trait Gives {
    fn describe(operation: Operation) -> Operation;
}

/// A handler whose parameters and result are described.
pub(in crate::api) trait Described<D> {
    fn describe(operation: Operation) -> Operation;
}

macro_rules! described {
    ($($part:ident),*) => {
        impl<F, Answer, Given, $($part),*> Described<($($part,)*)> for F
        where
            F: Fn($($part),*) -> Answer,
            Answer: Future<Output = Given>,
            Given: Gives,
            $($part: Takes),*
        {
            fn describe(operation: Operation) -> Operation {
                $(let operation = $part::describe(operation);)*
                Given::describe(operation)
            }
        }
    };
}
described!(A);
described!(A, B);
described!(A, B, C);

impl Takes for State<Api> {
    fn describe(operation: Operation) -> Operation {
        operation
    }
}

/// Described beside its route, because the handler reads the request itself.
impl Takes for Request {
    fn describe(operation: Operation) -> Operation {
        operation
    }
}

/// Described beside its route, too.
impl Takes for HeaderMap {
    fn describe(operation: Operation) -> Operation {
        operation
    }
}

impl<T: JsonSchema> Takes for Id<T> {
    fn describe(operation: Operation) -> Operation {
        operation.path_parameter::<T>().fails(&[Status::BadRequest, Status::NotFound])
    }
}

impl<T: JsonSchema> Takes for Params<T> {
    fn describe(operation: Operation) -> Operation {
        operation.query_parameters::<T>().fails(&[Status::BadRequest])
    }
}

impl<T: JsonSchema> Takes for Json<T> {
    fn describe(operation: Operation) -> Operation {
        operation.body::<T>(true)
    }
}

impl<T: JsonSchema> Takes for Option<Json<T>> {
    fn describe(operation: Operation) -> Operation {
        operation.body::<T>(false)
    }
}

impl<T: JsonSchema> Gives for Out<T> {
    fn describe(operation: Operation) -> Operation {
        operation.answers_json::<T>(StatusCode::OK)
    }
}

impl<T: Gives> Gives for Result<T, Problem> {
    fn describe(operation: Operation) -> Operation {
        T::describe(operation).fails(&[Status::Internal])
    }
}

/// Described beside its route: the type does not show the content.
impl Gives for Response {
    fn describe(operation: Operation) -> Operation {
        operation
    }
}

/// `201` with the new object.
pub(in crate::api) struct Created<T>(pub(in crate::api) T);

impl<T: serde::Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Out(self.0)).into_response()
    }
}

impl<T: JsonSchema> Gives for Created<T> {
    fn describe(operation: Operation) -> Operation {
        operation.answers_json::<T>(StatusCode::CREATED)
    }
}

/// `202` with the accepted object.
pub(in crate::api) struct Accepted<T>(pub(in crate::api) T);

impl<T: serde::Serialize> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, Out(self.0)).into_response()
    }
}

impl<T: JsonSchema> Gives for Accepted<T> {
    fn describe(operation: Operation) -> Operation {
        operation.answers_json::<T>(StatusCode::ACCEPTED)
    }
}

/// `204`: success without a body.
pub(in crate::api) struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl Gives for NoContent {
    fn describe(operation: Operation) -> Operation {
        operation.answers(StatusCode::NO_CONTENT, "Done")
    }
}
