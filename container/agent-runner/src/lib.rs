//! The program that Parlor starts in its containers: turn loop, providers and host tools.

#![forbid(unsafe_code)]

pub mod agent_toml;
pub mod claude;
pub mod codex;
pub mod exec;
pub mod gemini;
pub mod guide;
pub mod host;
pub mod limits;
pub mod live;
pub mod llm;
pub mod mcp;
pub mod memory;
mod passwd;
pub mod process;
pub mod provider;
pub mod providers;
pub mod refusal;
pub mod run;
pub mod thought;
pub mod tool;
pub mod tools;
pub mod wire;
