//! Plain types and rules, without I/O and without a clock. They depend only on std, serde, chrono and the protocol
//! types.

pub mod attachment;
pub mod clock;
pub mod delivery;
pub mod event;
pub mod group;
pub mod ids;
pub mod message;
pub mod prices;
pub mod run;
pub mod schedule;
pub(crate) mod schema;
pub mod task;
pub mod text;
pub mod typing;
pub mod usage;
pub mod words;
