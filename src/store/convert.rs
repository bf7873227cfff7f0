//! How the domain's types are stored in SQLite: ids and enums as text, times as milliseconds.

use chrono::{DateTime, Utc};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::clock::{from_ms, to_ms};
use crate::domain::delivery::{DeliveryKind, DeliveryState};
use crate::domain::ids::{ChatJid, DeliveryId, GroupFolder, RunId, TaskId};
use crate::domain::message::{InboundState, Role};
use crate::domain::run::{Lane, RunState};
use crate::domain::task::{ContextMode, FireState, Missed, TaskStatus};

macro_rules! parsed {
    ($($name:ty),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.to_string().into())
            }
        }
        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_str()?.parse().map_err(FromSqlError::other)
            }
        }
    )*};
}
parsed!(ChatJid, GroupFolder, TaskId, RunId, DeliveryId);

/// Stores a unit variant by its serde name, so that the store and the API use the same words.
fn variant<T: Serialize>(value: &T) -> rusqlite::Result<ToSqlOutput<'static>> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => Ok(text.into()),
        other => Err(rusqlite::Error::ToSqlConversionFailure(format!("not a unit variant: {other:?}").into())),
    }
}

fn from_variant<T: DeserializeOwned>(value: ValueRef<'_>) -> FromSqlResult<T> {
    T::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(value.as_str()?))
        .map_err(FromSqlError::other)
}

macro_rules! named {
    ($($name:ty),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                variant(self)
            }
        }
        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                from_variant(value)
            }
        }
    )*};
}
named!(DeliveryKind, DeliveryState, InboundState, Role, Lane, RunState, ContextMode, FireState, Missed, TaskStatus);

/// A time as it is stored: milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Ms(pub DateTime<Utc>);

impl ToSql for Ms {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(to_ms(self.0).into())
    }
}

impl FromSql for Ms {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(|ms| Self(from_ms(ms)))
    }
}
