//! What every implementation of a trait must do, once for all of them.

mod builds;
mod channel;
mod courier;
mod engine;
mod engine_here;
mod platform;
mod rooms;
mod users;
