//! The contracts of traits: one suite for all implementations of each.

mod builds;
mod channel;
mod courier;
mod engine;
mod engine_here;
mod platform;
mod rooms;
mod users;
