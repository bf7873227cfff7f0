//! The agent side of Parlor.
//!
//! The library part is the wire protocol between the host and an agent in its container, written once and used by
//! both sides, with small helpers around it: prompts, ids, files written atomically. With the feature `io` it watches
//! folders; with `runner` it also holds the runner's own parts: turn loop, providers and host tools.

#![forbid(unsafe_code)]

pub mod deep;
pub mod default_model;
pub mod files;
#[cfg(feature = "io")]
pub mod inputs;
pub mod json;
pub mod prompt;
pub mod protocol;
#[cfg(feature = "io")]
pub mod results;
pub mod session_id;
#[cfg(feature = "io")]
mod watch;

#[cfg(feature = "runner")]
pub mod agent_toml;
#[cfg(feature = "runner")]
pub mod claude;
#[cfg(feature = "runner")]
pub mod codex;
#[cfg(feature = "runner")]
pub mod exec;
#[cfg(feature = "runner")]
pub mod gemini;
#[cfg(feature = "runner")]
pub mod guide;
#[cfg(feature = "runner")]
pub mod host;
#[cfg(feature = "runner")]
pub mod limits;
#[cfg(feature = "runner")]
pub mod live;
#[cfg(feature = "runner")]
pub mod llm;
#[cfg(feature = "runner")]
pub mod mcp;
#[cfg(feature = "runner")]
pub mod memory;
#[cfg(feature = "runner")]
mod passwd;
#[cfg(feature = "runner")]
pub mod process;
#[cfg(feature = "runner")]
pub mod refusal;
#[cfg(feature = "runner")]
pub mod run;
#[cfg(feature = "runner")]
#[cfg(feature = "runner")]
pub mod thought;
#[cfg(feature = "runner")]
pub mod tool;
#[cfg(feature = "runner")]
pub mod tools;
#[cfg(feature = "runner")]
pub mod wire;
