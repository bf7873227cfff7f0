//! The requests that agents, people and programs share, as plain functions inside a store transaction: the IPC service
//! and the local API call the same ones. Who may ask is decided before.
//!
//! Lies between the store and the services: uses `store`, and the layers below it (`config`, `policy`, `domain`).

pub mod container;
pub mod groups;
pub mod tasks;

use thiserror::Error;

/// What was asked for makes no sense, whatever is stored. The text says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Values in errors are cut: they may come from an attacker and be long.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}
