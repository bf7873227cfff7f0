//! The requests that agents, people and programs share, as plain functions inside a store transaction. The IPC
//! service and the local API call the same functions. Their callers check permissions before.
//!
//! Between the store and the services: uses `store`, and the layers below it (`config`, `policy`, `domain`).

pub mod container;
pub mod groups;
pub mod tasks;

use thiserror::Error;

/// A request that is not valid, whatever is stored. The text says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Cuts a value for an error, because it may come from an attacker and be long.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}
